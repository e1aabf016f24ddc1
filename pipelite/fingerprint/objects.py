"""Identity of instances of any class: the class's code, and the state that would be pickled, without pickling it."""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from pipelite.fingerprint.digests import combine
from pipelite.fingerprint.modules import module_name, qualified_name
from pipelite.fingerprint.rules import NoStableHash, Walk, type_name

#: What to do instead, by the type of the value that has no stable hash, or by a word for the case.
_ADVICE = {
    "nested": "pass a flatter structure, for example a list of rows or an array",
    "iterator": "it can be read only once: pass list(...) of it",
    "function": "define it with `def` in a module of yours",
    "_io.TextIOWrapper": "pass the file's pathlib.Path and open it inside the step",
    "_io.BufferedReader": "pass the file's pathlib.Path and open it inside the step",
    "_io.BufferedWriter": "pass the file's pathlib.Path and open it inside the step",
    "_io.BufferedRandom": "pass the file's pathlib.Path and open it inside the step",
    "_io.FileIO": "pass the file's pathlib.Path and open it inside the step",
    "socket.socket": "pass the address and connect inside the step",
    "sqlite3.Connection": "pass the database's pathlib.Path and connect inside the step",
    "_thread.lock": "create it inside the step that needs it",
    "_thread.RLock": "create it inside the step that needs it",
    "module": "import it inside the step",
}

_ANYTHING_ELSE = "pass plain data instead, or create it inside the step, or leave that part out in its __getstate__"

#: Attributes that only remember something computed from the others.
_CACHES = frozenset({"_attrs_cached_hash"})


def advice(kind: str) -> str:
    """What a user can do about a value of this kind."""
    return _ADVICE.get(kind, _ANYTHING_ELSE)


def identify_object(value: Any, walk: Walk) -> str:
    """Identity of an instance through the parts that pickle would store, taken one by one."""
    cls = type(value)
    _refuse_iterators(value, cls)
    reduced = _reduce(value, cls)
    owner = walk.own_class(cls)
    if isinstance(reduced, str):
        module = getattr(value, "__module__", None)
        return combine("global", (owner, f"{module_name(module)}.{reduced}" if isinstance(module, str) else reduced))
    function, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    parts = [owner, *_construction(function, arguments, cls, walk), _identify_state(state, cls, walk)]
    if items is not None:
        parts.append(walk.sequence("items", items))
    if pairs is not None:
        parts.append(walk.mapping("pairs", pairs))
    return combine("object", parts)


def identify_own_state(value: Any, walk: Walk) -> str:
    """Identity of what an instance of a subclass of a builtin type has besides its content."""
    return _identify_state(value.__getstate__(), type(value), walk)


def _reduce(value: Any, cls: type) -> str | tuple[Any, ...]:
    reducer = copyreg.dispatch_table.get(cls)
    try:
        reduced: Any = reducer(value) if reducer is not None else value.__reduce_ex__(4)
    except (RecursionError, NoStableHash):
        raise
    except Exception as exc:
        raise NoStableHash(value, f"{str(exc) or type(exc).__name__}; {advice(type_name(cls))}") from exc
    if not isinstance(reduced, str | tuple):
        raise NoStableHash(value, f"its __reduce__ returned a {type_name(type(reduced))}; {_ANYTHING_ELSE}")
    return reduced


def _refuse_iterators(value: Any, cls: type) -> None:
    if cls.__module__ in {"builtins", "itertools"} and hasattr(cls, "__next__"):
        raise NoStableHash(value, advice("iterator"))


def _construction(function: Any, arguments: tuple[Any, ...], cls: type, walk: Walk) -> Iterator[str]:
    """How pickle would make the empty instance: usually `cls.__new__(cls)`."""
    if function in (copyreg.__newobj__, cls):  # type: ignore[attr-defined]
        yield "new"
        arguments = arguments[1:] if function is not cls else arguments
    elif _is_named(function):
        # Its name is enough: it belongs to the class, whose code or version counts already.
        yield qualified_name(function)
    else:
        yield walk(function)
    # Its arguments are made anew at every call: none of them is a part that a user could name.
    yield combine("arguments", [walk(argument) for argument in arguments])


def _is_named(function: Any) -> bool:
    bound = getattr(function, "__self__", None)
    is_free = bound is None or isinstance(bound, ModuleType | type)
    return is_free and isinstance(getattr(function, "__qualname__", None), str)


def _identify_state(state: Any, cls: type, walk: Walk) -> str:
    if state is None:
        return "no state"
    attributes = _plain_attributes(cls, state)
    return walk(state) if attributes is None else walk.attributes("state", attributes)


def _plain_attributes(cls: type, state: Any) -> dict[str, Any] | None:
    """Attributes out of `__dict__`, or out of `__dict__` and slots, without caches; None where state is not that."""
    first, second = state if type(state) is tuple and len(state) == 2 else (state, None)
    merged: dict[Any, Any] = {}
    for part in (first, second):
        if part is not None and type(part) is not dict:
            return None
        merged.update(part or {})
    if not all(type(name) is str for name in merged):
        return None
    return {name: merged[name] for name in merged if not _is_cache(cls, name)}


def _is_cache(cls: type, name: str) -> bool:
    return name in _CACHES or isinstance(getattr(cls, name, None), functools.cached_property)
