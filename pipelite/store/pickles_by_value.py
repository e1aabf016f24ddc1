"""Pickling of what nobody can import: classes and functions of a notebook, and lambdas on their way to a worker."""

from __future__ import annotations

import io
import pickle
import sys
from collections import ChainMap
from collections.abc import Callable
from types import FunctionType
from typing import Any, ClassVar

from pipelite.fingerprint.modules import MAIN_NAMES, main_name
from pipelite.store.pickles import (
    PROTOCOL,
    BufferCallback,
    Stream,
    Unpickler,
    find_in_main,
    find_own,
    note_notebook,
    works_for_notebook,
)

try:
    import cloudpickle
except ModuleNotFoundError:
    from joblib.externals import cloudpickle


class ByValuePickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Stores by value what a notebook defines; with `anything`, also what else has no name to import it by."""

    #: Without cloudpickle's rule for open files, which would store a text file's rest without a word.
    dispatch_table: ClassVar[Any] = ChainMap(
        {kind: rule for kind, rule in cloudpickle.Pickler.dispatch_table.items() if kind is not io.TextIOWrapper}
    )

    def __init__(
        self,
        write: Callable[[Any], Any],
        *,
        buffer_callback: BufferCallback | None = None,
        anything: bool,
        inside: frozenset[Any] = frozenset(),
    ) -> None:
        super().__init__(Stream(write), protocol=PROTOCOL, buffer_callback=buffer_callback)
        self._anything = anything
        #: Classes and functions that are being stored: below them, they are not begun once more.
        self._inside = inside

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, type | FunctionType):
            return NotImplemented
        if obj.__module__ in MAIN_NAMES:
            return self._reduce_main(obj)
        if self._anything and _find(obj) is not obj:
            return super().reducer_override(obj)
        return NotImplemented

    def _reduce_main(self, obj: Any) -> Any:
        module = main_name()
        if module is not None and find_in_main(obj.__qualname__) is obj:
            return find_own, (module, obj.__qualname__)
        if works_for_notebook():
            return self._reduce_by_value(obj)
        if self._anything:
            return super().reducer_override(obj)
        raise pickle.PicklingError(f"{obj.__qualname__!r} of the running script is not found there by that name")

    def _reduce_by_value(self, obj: Any) -> Any:
        if obj in self._inside:
            return super().reducer_override(obj)
        file = io.BytesIO()
        ByValuePickler(file.write, anything=True, inside=self._inside | {obj}).dump(obj)
        return load_by_value, (obj.__qualname__, file.getvalue())


def load_by_value(qualname: str, data: bytes) -> Any:
    """A class or function of a notebook: the notebook's own class where this is the notebook, else built from `data`."""
    if main_name() is None:
        own = find_in_main(qualname)
        if isinstance(own, type):
            return own
    note_notebook()
    return Unpickler(io.BytesIO(data)).load()


def _find(obj: Any) -> Any:
    found: Any = sys.modules.get(obj.__module__)
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    return found
