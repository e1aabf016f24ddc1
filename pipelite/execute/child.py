"""A worker process that serves one supervisor: batches come in on its standard input, results go out on its output."""

from __future__ import annotations

import os
import select
import struct

from pipelite.execute.worker import run_batch, start_worker

#: Before each message stands its length.
LENGTH = struct.Struct("<Q")
#: A child that had nothing to do for so long gives back its memory; the next batch starts another.
IDLE_S = 60.0


def main() -> None:
    """Serve until the supervisor closes its end."""
    requests, answers = os.dup(0), os.dup(1)
    start_worker(os.getppid())
    while True:
        payload = receive(requests) if is_readable(requests, IDLE_S) else None
        if payload is None:
            return
        send(answers, run_batch(payload))


def is_readable(descriptor: int, timeout_s: float) -> bool:
    """Wait until there is something to read, or the other end is gone; gives whether it came to that."""
    # Not `select`, which takes no descriptors from 1024 on.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def send(descriptor: int, payload: bytes) -> None:
    """Write one message."""
    for part in (LENGTH.pack(len(payload)), payload):
        view = memoryview(part)
        while view:
            view = view[os.write(descriptor, view) :]


def receive(descriptor: int) -> bytes | None:
    """Read one message; None if there is none any more."""
    head = _read(descriptor, LENGTH.size)
    return None if head is None else _read(descriptor, LENGTH.unpack(head)[0])


def _read(descriptor: int, size: int) -> bytes | None:
    parts = []
    while size:
        part = os.read(descriptor, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
