"""The file format of pickled values: one pickle, then its large buffers, each where it can be memory-mapped.

Layout: magic, pickle, buffers at multiples of 64 bytes, then a table of their places and a footer of fixed size. At the
end, because the length of a pickle is known only when it is written, and it is written as it is made.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelite.store.pickles import Unpickler, dump
from pipelite.store.sink import HashingFile

MAGIC = b"pipelite pickle\x01"

#: Buffers below this size stay inside the pickle: they would cost a page and a table entry each.
OUT_OF_BAND_BYTES = 1 << 14

#: Files below this size are read, larger ones are mapped: a mapping holds on to a file descriptor.
MAPPED_BYTES = 1 << 20

_ALIGNMENT = 64
_PLACE = struct.Struct("<QQ")
#: End of the pickle, start of the table, number of buffers, magic.
_FOOTER = struct.Struct(f"<QQQ{len(MAGIC)}s")


def save_pickle(value: Any, file: HashingFile) -> None:
    """Write a value; large buffers go from where they lie to the file without a copy."""
    buffers: list[memoryview] = []

    def restart() -> None:
        buffers.clear()
        file.rewind()
        file.write(MAGIC)

    def keep_out(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < OUT_OF_BAND_BYTES:
            return True
        buffers.append(raw)
        return False

    file.write(MAGIC)
    dump(value, file.write, restart, buffer_callback=keep_out)
    pickle_end = file.size_bytes
    places = []
    for raw in buffers:
        places.append((file.align(_ALIGNMENT), raw.nbytes))
        file.write(raw)
    table = file.align(_ALIGNMENT)
    for place in places:
        file.write(_PLACE.pack(*place))
    file.write(_FOOTER.pack(pickle_end, table, len(places), MAGIC))


def load_pickle(path: Path) -> Any:
    """Read a value; its large buffers are read when they are touched, and may be written to: the file stays as it is.

    Raises
    ------
    ValueError
        If the file is not one of this format, or its end is missing.
    """
    data = read_or_map(path, mmap.ACCESS_COPY)
    pickle_end, table, count, magic = _FOOTER.unpack_from(data, len(data) - _FOOTER.size)
    if magic != MAGIC or data[: len(MAGIC)] != MAGIC:
        raise ValueError("it is not a pickle of pipelite, or its end is missing")
    places = [_PLACE.unpack_from(data, table + _PLACE.size * index) for index in range(count)]
    return _Loader(data[len(MAGIC) : pickle_end], [data[start : start + size] for start, size in places]).load()


def read_or_map(path: Path, access: int) -> memoryview:
    """The bytes of a file: small ones as a copy, large ones as a mapping that outlives the open file."""
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size < MAPPED_BYTES:
            return memoryview(bytearray(file.read()))
        if sys.version_info >= (3, 13):
            return memoryview(mmap.mmap(file.fileno(), 0, access=access, trackfd=False))
        return memoryview(mmap.mmap(file.fileno(), 0, access=access))


class _Loader(Unpickler):
    def __init__(self, data: memoryview, buffers: Sequence[memoryview]) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
