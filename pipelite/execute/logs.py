"""Keeps what one step prints within bounds on the disk, without standing between the step and its file."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from pipelite.store import LOG_CAP_BYTES

#: fallocate(2): free the blocks of a range, and leave the size of the file as it is.
_FALLOC_FL_KEEP_SIZE = 0x01
_FALLOC_FL_PUNCH_HOLE = 0x02
#: Holes are punched in whole steps of this size: less would free nothing on common file systems.
_BLOCK = 1 << 20


def exceeds_cap(start: int | None, end: int | None) -> bool:
    """Whether a step printed more than is kept."""
    return start is not None and end is not None and end - start > LOG_CAP_BYTES


def cap_log(path: Path, start: int, end: int | None = None) -> int:
    """Give the disk back the middle of a step's output that exceeds the cap; gives the number of bytes freed.

    The first and the last half of the cap stay. The file keeps its size, so the offsets in the records and the worker's
    own position hold; a reader shows how much is missing. Where the system cannot free the middle of a file, nothing is
    freed. The step's part of the file ends where `end` says, or with the file.
    """
    try:
        size = os.path.getsize(path) if end is None else end
    except OSError:
        return 0
    half = LOG_CAP_BYTES // 2
    first = -(-(start + half) // _BLOCK) * _BLOCK
    length = (size - half - first) // _BLOCK * _BLOCK
    if length <= 0:
        return 0
    return length if _punch(path, first, length) else 0


def _punch(path: Path, offset: int, length: int) -> bool:
    fallocate = getattr(ctypes.CDLL(None), "fallocate", None)
    if fallocate is None:
        return False
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    descriptor = os.open(path, os.O_WRONLY)
    try:
        return bool(fallocate(descriptor, _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE, offset, length) == 0)
    finally:
        os.close(descriptor)
