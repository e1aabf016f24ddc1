"""Pickling that gives the same names to the classes of a script whether it is run or imported."""

from __future__ import annotations

import importlib
import io
import pickle
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

from pipelite.fingerprint.modules import MAIN_NAMES, main_name

PROTOCOL = 5

#: Stands in every pickle that refers to the running script under one of its names.
_MAIN_MARK = b"_main__"

_LARGE_BYTES = 1 << 18

BufferCallback = Callable[[pickle.PickleBuffer], Any]


#: Whether this process has loaded what a notebook defined, as its workers do.
_holds_notebook = False


#: Another minor version of Python, which what comes to this process was pickled in.
_code_of: str | None = None


class Stream:
    """What a pickler takes for a file."""

    def __init__(self, write: Callable[[Any], Any]) -> None:
        self.write = write


class _MarkedStream:
    """Passes a pickle on and notices when it refers to the running script by a name that only this process knows."""

    def __init__(self, write: Callable[[Any], Any]) -> None:
        self._write = write
        self.mentions_main = False

    def write(self, data: Any) -> int:
        # Names stand in frames of opcodes; what is passed on in larger pieces is data.
        if not self.mentions_main and type(data) is bytes and len(data) < _LARGE_BYTES and _MAIN_MARK in data:
            self.mentions_main = True
        self._write(data)
        return len(data)


def dump(
    value: Any,
    write: Callable[[Any], Any],
    restart: Callable[[], Any],
    *,
    buffer_callback: BufferCallback | None = None,
    by_value: bool = False,
) -> None:
    """Pickle a value to `write`; where a second attempt is needed, `restart` is called before it.

    The first attempt is plain and fast. Only a pickle that mentions the running script, or fails, is made again by a
    pickler that looks at every class and function: one of a script is stored under the name by which the script is
    imported, one of a notebook by value. With `by_value`, so are lambdas and functions inside functions.
    """
    stream = _MarkedStream(write)
    try:
        pickle.Pickler(stream, PROTOCOL, buffer_callback=buffer_callback).dump(value)
    except (pickle.PicklingError, AttributeError, TypeError):
        if not by_value and not works_for_notebook():
            raise
    else:
        if not stream.mentions_main:
            return
    restart()
    if by_value or works_for_notebook():
        from pipelite.store.pickles_by_value import ByValuePickler

        ByValuePickler(write, buffer_callback=buffer_callback, anything=by_value).dump(value)
    else:
        _ScriptPickler(Stream(write), PROTOCOL, buffer_callback=buffer_callback).dump(value)


def dumps_value(value: Any) -> bytes:
    """Pickle a value that travels to a worker: functions that nobody can import travel by value."""
    file = io.BytesIO()

    def restart() -> None:
        file.seek(0)
        file.truncate()

    dump(value, file.write, restart, by_value=True)
    return file.getvalue()


def loads_value(data: bytes) -> Any:
    """The value that `dumps_value` was given."""
    return Unpickler(io.BytesIO(data)).load()


class Unpickler(pickle.Unpickler):
    """Finds what a script defines in the script that is running, if it is the same one."""

    def find_class(self, module: str, name: str) -> Any:
        if _code_of is not None and "cloudpickle" in module:
            raise pickle.UnpicklingError(
                f"it holds a function or class by value, whose code is that of Python {_code_of}; define it at the top level "
                "of a module"
            )
        if module == "pathlib._local":
            # What Python 3.13 calls it, and no other.
            module = "pathlib"
        return super().find_class(running_name(module), name)


def running_name(module: str) -> str:
    """The name under which a module is loaded in this process: the running script is `__main__`."""
    return "__main__" if module == main_name() else module


def works_for_notebook() -> bool:
    """Whether this is a notebook, or a process that has loaded what a notebook defined."""
    return _holds_notebook or main_name() is None


def note_notebook() -> None:
    """Remember that this process works for a notebook."""
    global _holds_notebook
    _holds_notebook = True


def find_own(module: str, qualname: str) -> Any:
    """A class or function of a script, by the name under which the script is imported."""
    found: Any = importlib.import_module(running_name(module))
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def find_in_main(qualname: str) -> Any:
    """What the running script calls by this name; None if nothing."""
    found: Any = sys.modules["__main__"]
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


class _ScriptPickler(pickle.Pickler):
    """Stores classes and functions of the running script under the name by which it is imported."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | FunctionType) and obj.__module__ in MAIN_NAMES:
            if find_in_main(obj.__qualname__) is obj:
                return find_own, (main_name(), obj.__qualname__)
            raise pickle.PicklingError(f"{obj.__qualname__!r} of the running script is not found there by that name")
        return NotImplemented


def refuse_code(minor: str) -> None:
    """Take no function or class by value any more: what comes to this process is from another version of Python."""
    global _code_of
    _code_of = minor
