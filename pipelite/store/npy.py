"""Arrays as .npy files: written and hashed at once, read without a copy."""

from __future__ import annotations

import io
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.fingerprint.arrays import MAGIC, iter_buffers
from pipelite.store.containers import read_or_map
from pipelite.store.sink import HashingFile

if TYPE_CHECKING:
    import numpy as np


def save_array(array: np.ndarray[Any, Any], header: bytes, file: HashingFile) -> None:
    """Write an array; the digest of the file is the array's identity too."""
    file.write(header)
    for buffer in iter_buffers(array):
        file.write(buffer)


def load_array(path: Path) -> np.ndarray[Any, Any]:
    """Read an array: memory-mapped if it is large, and read-only.

    Raises
    ------
    ValueError
        If the file is not an .npy file of ours, or too short.
    """
    import numpy as np

    data = read_or_map(path, mmap.ACCESS_READ)
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError("it is not an .npy file of version 1.0")
    start = len(MAGIC) + 2 + int.from_bytes(data[len(MAGIC) : len(MAGIC) + 2], "little")
    shape, _, dtype = np.lib.format.read_array_header_1_0(io.BytesIO(data[len(MAGIC) : start]))
    array: np.ndarray[Any, Any] = np.ndarray(shape, dtype, buffer=data, offset=start)
    array.flags.writeable = False
    return array
