"""Code objects: whether two are the same program, and their canonical text where no source exists."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_VARARGS, CO_VARKEYWORDS
from types import CodeType
from typing import Any

from pipelite.fingerprint.digests import digest

#: What a flag says about behaviour; the others tell of nesting, docstrings and futures, or depend on the version.
_FLAGS = CO_VARARGS | CO_VARKEYWORDS | CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR


def same_program(one: CodeType, other: CodeType) -> bool:
    """Whether two code objects do the same, wherever they stand in their files and however they are documented."""
    if one is other:
        return True
    if _shape(one) != _shape(other):
        return False
    if one.co_code == other.co_code and one.co_names == other.co_names:
        if _same_constants(one.co_consts, other.co_consts):
            return True
    # A docstring shifts the places of the constants: look at what the instructions load instead.
    return _instructions(one) == _instructions(other)


def _shape(code: CodeType) -> tuple[Any, ...]:
    return (
        code.co_name,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_flags & _FLAGS,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_exceptiontable,
    )


def _same_constants(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return len(one) == len(other) and all(map(_same_constant, one, other))


def _same_constant(one: Any, other: Any) -> bool:
    if isinstance(one, CodeType) and isinstance(other, CodeType):
        return same_program(one, other)
    return type(one) is type(other) and constant_text(one) == constant_text(other)


def _instructions(code: CodeType) -> list[tuple[Any, ...]]:
    return [(step.opname, _argument(step)) for step in dis.get_instructions(code)]


def _argument(step: dis.Instruction) -> Any:
    if step.opcode in dis.hasconst:
        return code_digest(step.argval) if isinstance(step.argval, CodeType) else constant_text(step.argval)
    if step.opcode in dis.hasname or step.opcode in dis.haslocal or step.opcode in dis.hasfree:
        return step.argrepr
    return step.arg


def constant_text(value: Any) -> str:
    """Text of a constant of source or bytecode, with its type: 1, 1.0, True and "1" all differ."""
    if isinstance(value, tuple):
        return f"tuple({','.join(map(constant_text, value))})"
    if isinstance(value, frozenset):
        return f"frozenset({','.join(sorted(map(constant_text, value)))})"
    if isinstance(value, CodeType):
        return f"code({code_digest(value)})"
    return f"{type(value).__name__}:{value!r}"


def code_digest(code: CodeType) -> str:
    """Identity of a code object without its place and documentation; it holds for one minor version of Python."""
    shape = repr(_shape(code))
    steps = "\n".join(f"{name} {argument}" for name, argument in _instructions(code))
    return digest("bytecode", shape.encode(), steps.encode("utf-8", "surrogatepass"))


def global_names(code: CodeType) -> Iterator[str]:
    """Names that a code object and those inside it look up globally, each once, in the order of first use."""
    seen = set()
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS") and step.argval not in seen:
            seen.add(step.argval)
            yield step.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            for name in global_names(constant):
                if name not in seen:
                    seen.add(name)
                    yield name
