"""Says in words why a value cannot be stored, which part of it is to blame, and what to return instead."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType
from typing import Any

from pipelite.errors import SerializationError
from pipelite.fingerprint.modules import qualified_name
from pipelite.store.pickles import dump
from pipelite.store.stuck import Stuck, ended_when_stuck

#: How far the part to blame is looked for.
_MAX_LEVELS = 8
_MAX_PARTS = 200

_ITERATOR = "it can be read only once: return list(...) of it"
_FILE = "close it and return its pathlib.Path"
_CONNECTION = "return what is needed to connect again, and connect in the step that needs it"
_LOCK = "return the data without it, and create it in the step that needs it"

_ADVICE = {
    "function": "return data; or define the function with `def` at the top level of a module of yours",
    "generator": _ITERATOR,
    "map": _ITERATOR,
    "filter": _ITERATOR,
    "zip": _ITERATOR,
    "_io.TextIOWrapper": _FILE,
    "_io.BufferedReader": _FILE,
    "_io.BufferedWriter": _FILE,
    "_io.BufferedRandom": _FILE,
    "_io.FileIO": _FILE,
    "socket.socket": _CONNECTION,
    "sqlite3.Connection": _CONNECTION,
    "_thread.lock": _LOCK,
    "_thread.RLock": _LOCK,
    "threading.Lock": _LOCK,
    "module": "return its name",
}

_ANYTHING_ELSE = "return plain data, arrays, frames, a pathlib.Path, or an object that can be pickled"


def explain(value: Any, exc: BaseException, *, step: str, output: str) -> SerializationError:
    """The error for a value whose pickling ended with `exc`."""
    place, part = "", value
    if isinstance(exc, Stuck):
        reason = "its pickling waits for something that does not come"
        advice = "look at its __reduce__ or __getstate__: it must not sleep, or wait for a lock or a connection"
    elif isinstance(exc, RecursionError) or "recursion" in str(exc):
        reason, advice = "it is nested too deeply", "return a flatter structure, for example a list of rows or an array"
    else:
        place, part = _find_culprit(value)
        reason = _reason(part, exc)
        advice = _ADVICE.get(_name(part), _ANYTHING_ELSE)
    where = f"; the part at {place} is of type {_name(part)!r}" if place else ""
    return SerializationError(
        f"step {step!r}, output {output!r}: a value of type {_name(value)!r} cannot be stored{where} ({reason}); {advice}",
        step=step,
        output=output,
        type_name=_name(value),
    )


def _reason(part: Any, exc: BaseException) -> str:
    if isinstance(part, FunctionType):
        return f"nothing can import {part.__qualname__!r} by its name"
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__


def _name(value: Any) -> str:
    return qualified_name(type(value)).removeprefix("builtins.")


def _find_culprit(value: Any) -> tuple[str, Any]:
    """Place and value of the smallest part that cannot be stored."""
    places = []
    try:
        with ended_when_stuck(lambda: 0):
            for _ in range(_MAX_LEVELS):
                part = next((part for part in _iter_parts(value) if not _is_storable(part[1])), None)
                if part is None:
                    break
                places.append(part[0])
                value = part[1]
    except Stuck:
        pass
    return "".join(places), value


def _iter_parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list | tuple):
        yield from ((f"[{index}]", part) for index, part in enumerate(value[:_MAX_PARTS]))
    elif isinstance(value, dict):
        for key in list(value)[:_MAX_PARTS]:
            yield f"[{key!r}]" if isinstance(key, str | int) else "[...]", value[key]
    elif not isinstance(value, type | FunctionType):
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict):
            yield from ((f".{name}", attributes[name]) for name in list(attributes)[:_MAX_PARTS])


def _is_storable(value: Any) -> bool:
    def nothing(*_: Any) -> None:
        pass

    try:
        dump(value, nothing, nothing, buffer_callback=nothing)
    except Exception:  # Whatever its own code raises: it is the answer to the question.
        return False
    return True
