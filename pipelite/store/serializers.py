"""How values become files: one serializer per kind, found by the type of the value. Others can be registered."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

#: Plain values whose JSON text is at most this long are kept in their row and have no file.
INLINE_BYTES = 4096

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Serializer(Protocol):
    """Stores values of some types in a format of their own.

    `name` becomes the kind of the artifact and is kept with it: whoever loads the artifact must have registered a
    serializer of that name. Registering belongs into the module that defines the steps, which workers import too.
    """

    name: str

    def matches(self, value: Any) -> bool:
        """Whether this serializer stores the value; is asked often, so look at the type only (see `is_type`)."""

    def save(self, value: Any, path: Path) -> None:
        """Write the value to `path`, where nothing is yet: one file."""

    def load(self, path: Path) -> Any:
        """Read the value back. The file is read-only and must not be changed."""


_registered: dict[str, Serializer] = {}

#: Kinds that pipelite writes itself.
BUILTIN_KINDS = frozenset({"json", "scalar", "npy", "dataframe", "estimator", "pickle", "file", "folder", "parts"})

_KIND_BY_TYPE = {
    "pandas.DataFrame": "dataframe",
    "pandas.core.frame.DataFrame": "dataframe",
    "pandas.Series": "dataframe",
    "pandas.core.series.Series": "dataframe",
    "sklearn.base.BaseEstimator": "estimator",
}


def register_serializer(serializer: Serializer) -> None:
    """Use a serializer from now on, before all others; one of the same name is replaced.

    Raises
    ------
    ValueError
        If the name is one of pipelite's own kinds.
    """
    if serializer.name in BUILTIN_KINDS:
        raise ValueError(f"a serializer cannot be named {serializer.name!r}: pipelite stores that kind itself")
    _registered.pop(serializer.name, None)
    _registered[serializer.name] = serializer


def get_serializer(name: str) -> Serializer | None:
    """The registered serializer of this name."""
    return _registered.get(name)


def find_serializer(value: Any) -> Serializer | None:
    """The registered serializer that stores the value; the one registered last wins."""
    for serializer in reversed(_registered.values()):
        if serializer.matches(value):
            return serializer
    return None


def kind_of(value: Any) -> str:
    """Which of pipelite's own kinds stores a value that is not plain."""
    if isinstance(value, Path):
        return "path"
    if is_plain_array(value):
        return "npy"
    for name in iter_type_names(type(value)):
        if name in _KIND_BY_TYPE:
            return _KIND_BY_TYPE[name]
    return "pickle"


def is_type(value: Any, name: str) -> bool:
    """Whether a value is of the type with this full name, or of a subclass, without importing the type."""
    return name in iter_type_names(type(value))


def iter_type_names(cls: type) -> Iterator[str]:
    """Full names of a type and of its bases, nearest first."""
    return (f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__)


def is_plain_array(value: Any) -> bool:
    """Whether a value is a numpy array itself (also a memory-mapped one), not of a class derived from it."""
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    return name in ("numpy.ndarray", "numpy.memmap", "numpy.core.memmap.memmap")


#: Whole numbers below this are written the same by every way of writing them.
_SAFE = 10**18


def encode_plain(value: Any) -> str | None:
    """JSON text of a small plain value, from which exactly the same value is read again; None for any other."""
    kind = type(value)
    if kind is int and -_SAFE < value < _SAFE:
        # What most small steps return; a fifth of the time.
        return str(value)
    if not _is_plain(value):
        return None
    try:
        text = _encode(value)
        return text if len(text.encode()) <= INLINE_BYTES else None
    except (ValueError, RecursionError):  # Half a surrogate pair, an integer of too many digits, a deep nest.
        return None


def decode_plain(text: str) -> Any:
    """The value that `encode_plain` was given."""
    return json.loads(text)


def encode_scalar(value: Any) -> str | None:
    """JSON text of a numpy number, what metrics often are; None for any other value."""
    if not is_type(value, "numpy.generic") or value.dtype.kind not in "biuf":
        return None
    number = value.item()
    if type(number) not in (bool, int, float) or not math.isfinite(number):
        return None
    return _encode({"dtype": value.dtype.newbyteorder("<").str, "value": number})


def decode_scalar(text: str) -> Any:
    """The number that `encode_scalar` was given."""
    import numpy as np

    found = json.loads(text)
    return np.dtype(found["dtype"]).type(found["value"])


def _is_plain(value: Any) -> bool:
    """Whether a value consists of JSON's own types exactly, as far as it can fit at all."""
    left = INLINE_BYTES // 2  # Every element takes two characters or more.
    waiting = [value]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is float:
            if not math.isfinite(item):
                return False
        elif kind is list:
            left -= len(item)
            if left < 0:
                return False
            waiting += item
        elif kind is dict:
            left -= len(item)
            if left < 0 or any(type(key) is not str for key in item):
                return False
            waiting += item.values()
        elif kind is not str and kind is not int and kind is not bool and item is not None:
            return False
    return True
