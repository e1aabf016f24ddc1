"""Messages on a pipe: the length, then the bytes."""

from __future__ import annotations

import os
import select
import struct

_LENGTH = struct.Struct("<Q")
#: Parts that a message is read in: a large one is not all allocated on the word of its length.
_PART_BYTES = 1 << 20


def send(descriptor: int, payload: bytes) -> None:
    """Write one message."""
    # In one piece: written in two it would wake the reader twice.
    view = memoryview(_LENGTH.pack(len(payload)) + payload)
    while view:
        view = view[os.write(descriptor, view) :]


def receive(descriptor: int) -> bytes | None:
    """Read one message; None if there is none any more, or the writer ended in the middle of it."""
    head = _read(descriptor, _LENGTH.size)
    return None if head is None else _read(descriptor, _LENGTH.unpack(head)[0])


def is_readable(descriptor: int, timeout_s: float) -> bool:
    """Wait until there is something to read, or the other end is gone; gives whether it came to that."""
    # Not `select`, which takes no descriptors from 1024 on.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def _read(descriptor: int, size: int) -> bytes | None:
    parts = []
    while size:
        part = os.read(descriptor, min(size, _PART_BYTES))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
