"""The source of loaded code: found in its file or notebook cell, and taken only if it compiles to what is loaded."""

from __future__ import annotations
import __future__

import ast
import functools
import linecache
import os
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any

from blake3 import blake3

from pipelite.errors import SourceChangedError
from pipelite.fingerprint.bytecode import same_program
from pipelite.fingerprint.modules import loaded_module, module_path, qualified_name

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_FUTURES = functools.reduce(
    lambda flags, name: flags | getattr(__future__, name).compiler_flag, __future__.all_feature_names, 0
)
#: Files kept parsed, for the length of the process.
_FILES_KEPT = 512


class SourceFile:
    """The parsed text of one file or notebook cell, with an index of its functions and classes."""

    def __init__(self, path: str, data: bytes, *, on_disk: bool) -> None:
        self.path = path
        self.digest = blake3(data).hexdigest()
        self.on_disk = on_disk
        self.tree = _parse(data, path)
        self._functions: dict[str, list[tuple[Definition, ast.stmt]]] = {}
        self.classes: dict[str, list[tuple[ast.ClassDef, ast.stmt]]] = {}
        self._compiled: dict[tuple[int, int], list[CodeType]] = {}
        self._imports = list(_imports_in(self.tree.body))
        for statement in self.tree.body:
            self._index(statement, statement, "")

    def _index(self, node: ast.AST, statement: ast.stmt, prefix: str) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._functions.setdefault(node.name, []).append((node, statement))
                prefix = f"{prefix}{node.name}.<locals>."
            case ast.ClassDef():
                self.classes.setdefault(f"{prefix}{node.name}", []).append((node, statement))
                prefix = f"{prefix}{node.name}."
        # Definitions stand in blocks only: expressions, which are most of a tree, need not be looked through.
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            for child in getattr(node, block, ()):
                self._index(child, statement, prefix)

    def functions(self, name: str) -> list[tuple[Definition, ast.stmt]]:
        """Definitions of functions of that name, each with the statement of the top level around it."""
        if name == "<lambda>" and name not in self._functions:
            self._functions[name] = [
                (node, statement)
                for statement in self.tree.body
                for node in ast.walk(statement)
                if isinstance(node, ast.Lambda)
            ]
        return self._functions.get(name, [])

    def compiled(self, node: Definition, statement: ast.stmt, flags: int) -> CodeType | None:
        """The code object that a definition compiles to; None if it cannot be told from its neighbours."""
        key = (id(statement), flags)
        codes = self._compiled.get(key)
        if codes is None:
            # Not the whole file, for speed. With its imports: calls of what they bind compile to other instructions.
            module = ast.Module(body=[*self._imports, statement], type_ignores=[])
            codes = self._compiled[key] = list(_codes_in(_compile(module, self.path, flags)))
        found = [code for code in codes if _is_code_of(code, node)]
        return found[0] if len(found) == 1 else None


def _imports_in(nodes: Iterable[ast.AST]) -> Iterator[ast.stmt]:
    """Import statements of the top level, those below an `if` or `try` too."""
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If | ast.Try | ast.TryStar | ast.With | ast.ExceptHandler):
            yield from _imports_in(ast.iter_child_nodes(node))


def _parse(data: bytes, path: str) -> ast.Module:
    try:
        return ast.parse(data, path)
    except SyntaxError:
        # Notebook cells may await at their top level.
        flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        tree: ast.Module = compile(data, path, "exec", flags, dont_inherit=True)
        return tree


def _compile(module: ast.Module, path: str, flags: int) -> CodeType:
    code: CodeType
    try:
        code = compile(module, path, "exec", flags, dont_inherit=True)
    except SyntaxError:
        code = compile(module, path, "exec", flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return code


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes_in(constant)


def _is_code_of(code: CodeType, node: Definition) -> bool:
    if not isinstance(node, ast.Lambda):
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        return code.co_name == node.name and code.co_firstlineno == first
    if code.co_name != "<lambda>" or code.co_firstlineno != node.lineno:
        return False
    # Lambdas that share a line are told apart by where their bodies stand.
    body = node.body
    return (body.lineno, body.end_lineno, body.col_offset, body.end_col_offset) in set(code.co_positions())


@functools.lru_cache(maxsize=_FILES_KEPT)
def _load_file(path: str, mtime_ns: int, size: int) -> SourceFile:
    with open(path, "rb") as file:
        return SourceFile(path, file.read(), on_disk=True)


@functools.lru_cache(maxsize=_FILES_KEPT)
def _load_text(path: str, text: str) -> SourceFile:
    return SourceFile(path, text.encode("utf-8", "surrogatepass"), on_disk=False)


def load_source(path: str, namespace: dict[str, Any] | None = None) -> SourceFile | None:
    """Parse a file, or the text that a notebook, prompt or archive registered under that name; None without source."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        text = "".join(linecache.getlines(path, namespace))
        try:
            return _load_text(path, text) if text else None
        except SyntaxError:
            return None
    if not path.endswith((".py", ".pyw", ".ipy")) and not os.path.isfile(path):
        return None
    try:
        return _load_file(os.path.abspath(path), stat.st_mtime_ns, stat.st_size)
    except (SyntaxError, ValueError, OSError) as exc:
        raise SourceChangedError(
            f"{path} cannot be read as Python any more ({exc}); the code that is loaded came from an older "
            f"version of it. Correct the file, then restart Python or reload its module"
        ) from exc


def find_function(func: FunctionType) -> tuple[Definition, SourceFile] | None:
    """The definition that a loaded function was compiled from; None where it has no source.

    Raises
    ------
    SourceChangedError
        If its file was edited after it was loaded: the file no longer says what runs.
    """
    code = func.__code__
    source = load_source(code.co_filename, func.__globals__)
    if source is None:
        return None
    if (found := match_code(code, source)) is not None:
        return found, source
    if not source.on_disk or not _is_loaded_as_written(func):
        return None
    raise SourceChangedError(
        f"{source.path} was edited after function {qualified_name(func)!r} was loaded from it, so the file is not the "
        f"code that runs. Restart Python, or call importlib.reload() on the module and define the pipeline again"
    )


def match_code(code: CodeType, source: SourceFile) -> Definition | None:
    """The definition in a source that compiles to a code object, wherever it has moved to."""
    candidates = source.functions(code.co_name)
    nearest = sorted(candidates, key=lambda pair: abs(pair[0].lineno - code.co_firstlineno))
    flags = code.co_flags & _FUTURES
    for node, statement in nearest:
        compiled = source.compiled(node, statement, flags)
        if compiled is not None and compiled.co_qualname == code.co_qualname and same_program(compiled, code):
            return node
    if _has_rewritten_asserts(code):
        for node, _ in nearest:
            if any(isinstance(inner, ast.Assert) for inner in ast.walk(node)):
                return node
    return None


def _has_rewritten_asserts(code: CodeType) -> bool:
    """Whether pytest compiled its own form of an assert statement into a function; only its source is the same."""
    return "@pytest_ar" in code.co_names or any(
        isinstance(constant, CodeType) and _has_rewritten_asserts(constant) for constant in code.co_consts
    )


def _is_loaded_as_written(func: FunctionType) -> bool:
    """Whether its module was loaded by Python's own loader; others (type checkers, macros) change what they load."""
    loader = func.__globals__.get("__loader__")
    return loader is None or type(loader).__module__.partition(".")[0] in (
        "importlib",
        "_frozen_importlib_external",
        "zipimport",
        "_pytest",
    )


def find_class(cls: type) -> tuple[ast.ClassDef, SourceFile] | None:
    """The statement that defines a loaded class; None where it was made by a call.

    Raises
    ------
    SourceChangedError
        If the file has a class of that name, but with other methods or fields than the one that is loaded.
    """
    changed: SourceFile | None = None
    for source in _sources_of_class(cls):
        candidates = source.classes.get(cls.__qualname__, [])
        for node, statement in reversed(candidates):
            if _is_definition_of(cls, node, statement, source):
                return node, source
        if candidates and source.on_disk:
            changed = source
    if changed is None:
        return None
    raise SourceChangedError(
        f"{changed.path} was edited after class {qualified_name(cls)!r} was loaded from it, so the file is not the "
        f"code that runs. Restart Python, or call importlib.reload() on the module and define the pipeline again"
    )


def _sources_of_class(cls: type) -> Iterator[SourceFile]:
    names = dict.fromkeys(func.__code__.co_filename for func in _own_functions(cls))
    path = module_path(cls.__module__)
    if path is not None:
        names[path] = None
    elif not names:
        # A class without methods does not say which notebook cell it is from: the newest one that defines it.
        names = dict.fromkeys(name for name in reversed(list(linecache.cache)) if not os.path.exists(name))
    module = loaded_module(cls.__module__)
    for name in names:
        source = load_source(name, vars(module) if module is not None else None)
        if source is not None:
            yield source


def _own_functions(cls: type) -> Iterator[FunctionType]:
    """Functions that were written in the body of a class, below their decorators."""
    for value in vars(cls).values():
        for func in _functions_under(value):
            if func.__code__.co_qualname.startswith(f"{cls.__qualname__}."):
                yield func


def _functions_under(value: Any) -> Iterator[FunctionType]:
    if isinstance(value, property):
        for accessor in (value.fget, value.fset, value.fdel):
            yield from _functions_under(accessor)
    elif isinstance(value, FunctionType):
        yield value
        if "__wrapped__" in vars(value):
            yield from _functions_under(vars(value)["__wrapped__"])
    elif isinstance(value, staticmethod | classmethod):
        yield from _functions_under(value.__func__)


def _is_definition_of(cls: type, node: ast.ClassDef, statement: ast.stmt, source: SourceFile) -> bool:
    written: dict[str, list[Definition]] = {}
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            written.setdefault(inner.name, []).append(inner)
    for func in _own_functions(cls):
        code = func.__code__
        if code.co_qualname != f"{cls.__qualname__}.{code.co_name}" or code.co_name == "<lambda>":
            continue
        if code.co_filename != source.path and os.path.abspath(code.co_filename) != source.path:
            continue
        versions = written.get(code.co_name)
        if versions is None:
            # Set from outside under a borrowed name, or no longer in the file.
            return False
        flags = code.co_flags & _FUTURES
        compiled = [source.compiled(version, statement, flags) for version in versions]
        if not any(one is not None and same_program(one, code) for one in compiled):
            if not _has_rewritten_asserts(code):
                return False
    return _has_its_members(cls, node)


def _has_its_members(cls: type, node: ast.ClassDef) -> bool:
    """Whether what the body defines and annotates is there: tells versions of a class without methods apart."""
    defined = {inner.name for inner in node.body if isinstance(inner, ast.FunctionDef) and not inner.decorator_list}
    annotated = {
        inner.target.id
        for inner in node.body
        if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name)
    }
    members = vars(cls)
    if any(name not in members and not name.startswith("__") for name in defined):
        return False
    annotations = members.get("__annotations__")
    if not isinstance(annotations, dict):
        return True
    return annotated <= set(annotations) and (type(cls) is not type or set(annotations) <= annotated | _nested(node))


def _nested(node: ast.ClassDef) -> set[str]:
    """Names annotated below an `if` or `try` of a class body."""
    return {
        inner.target.id
        for inner in ast.walk(node)
        if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name)
    }
