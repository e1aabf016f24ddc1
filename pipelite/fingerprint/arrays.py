"""The bytes of an array as an .npy file, defined by dtype, shape and elements alone.

The identity of an array is the hash of these bytes, so that an array that is stored is hashed once for both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from blake3 import blake3

if TYPE_CHECKING:
    import numpy as np

#: Start of every .npy file of format version 1.0.
MAGIC = b"\x93NUMPY\x01\x00"

#: The data begin at a multiple of this, as numpy's own files do, so that they can be memory-mapped.
ALIGNMENT = 64

#: Elements that do not lie in memory in the order of the file are copied in pieces of about this size.
CHUNK_BYTES = 8 << 20

#: Arrays from this size on are hashed on several threads.
PARALLEL_BYTES = 64 << 20


def npy_header(array: np.ndarray[Any, Any]) -> bytes | None:
    """Header of the .npy file of an array in C order and little-endian; None where the format cannot describe it.

    It cannot where elements are Python objects, or of a type that another package added to numpy.
    """
    import numpy as np

    dtype = array.dtype
    if dtype.hasobject:
        return None
    dtype = dtype.newbyteorder("<")
    descr = np.lib.format.dtype_to_descr(dtype) if dtype.fields else dtype.str
    if np.lib.format.descr_to_dtype(descr) != dtype:
        return None
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {array.shape!r}, }}".encode("latin1", "replace")
    if b"?" in text or len(text) > 60_000:
        return None
    padding = -(len(MAGIC) + 2 + len(text) + 1) % ALIGNMENT
    text += b" " * padding + b"\n"
    return MAGIC + len(text).to_bytes(2, "little") + text


def iter_buffers(array: np.ndarray[Any, Any]) -> Iterator[memoryview]:
    """Yield the elements of an array as bytes, in C order and little-endian, without a copy where they lie so."""
    import numpy as np

    if array.size == 0 or array.dtype.itemsize == 0:
        return
    wanted = array.dtype.newbyteorder("<")
    has_padding = wanted.fields is not None
    if array.flags.c_contiguous and array.dtype == wanted and not has_padding:
        yield array.reshape(-1).view(np.uint8).data
        return
    rows = array.reshape(1) if array.ndim == 0 else array
    step = max(1, CHUNK_BYTES * rows.shape[0] // rows.nbytes) if rows.nbytes else rows.shape[0]
    for start in range(0, rows.shape[0], step):
        part = rows[start : start + step]
        chunk = _without_padding(part, wanted) if has_padding else np.ascontiguousarray(part, dtype=wanted)
        yield chunk.reshape(-1).view(np.uint8).data


def identify_array(array: np.ndarray[Any, Any], header: bytes) -> str:
    """Identity of an array that has an .npy header."""
    hasher = blake3(max_threads=blake3.AUTO) if array.nbytes >= PARALLEL_BYTES else blake3()
    hasher.update(header)
    for buffer in iter_buffers(array):
        hasher.update(buffer)
    return array_identity(hasher.hexdigest())


def array_identity(file_digest: str) -> str:
    """Identity of an array from the digest of its .npy file."""
    return f"ndarray#{file_digest}"


def _without_padding(part: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """A copy of structured elements in which the bytes between the fields are zero: they hold whatever was there."""
    import numpy as np

    copy = np.zeros(part.shape, dtype=dtype)
    for name in dtype.names or ():
        if dtype[name].base.fields:
            copy[name] = _without_padding(part[name], dtype[name].base)
        else:
            copy[name] = part[name]
    return copy
