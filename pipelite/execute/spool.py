"""What steps log, on its way to the database: a file that a worker appends to and the coordinator reads.

A record is written with one `write` before the call that logged it returns, so it outlives the worker; the coordinator
is the only writer of the database.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import time
from pathlib import Path
from typing import Any, NamedTuple


class SpoolWriter:
    """A worker's end."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.end = os.fstat(self._descriptor).st_size

    def append(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
        view = memoryview(line)
        while view:
            written = os.write(self._descriptor, view)
            view = view[written:]
        self.end += len(line)

    def close(self) -> None:
        os.close(self._descriptor)


class SpoolReader:
    """The coordinator's end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        #: Bytes read so far: whole records.
        self.offset = 0

    def read(self) -> list[dict[str, Any]]:
        """Whole records that came since the last call."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                content = file.read()
        except FileNotFoundError:
            return []
        # The last line may be half written when its writer was killed, or is writing now.
        whole = content[: content.rfind(b"\n") + 1]
        self.offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]

    def has_grown(self) -> bool:
        try:
            return self.path.stat().st_size > self.offset
        except FileNotFoundError:
            return False


class Mark(NamedTuple):
    """Which step a worker is at."""

    #: Number of marks set so far: tells whether anything happened since the last look.
    number: int
    position: int
    attempt: int
    log_start: int
    started_at: float


#: Little-endian: the file may be looked at by hand on another machine.
_LAYOUT = struct.Struct("<qqqqd")


class MarkFile:
    """One `Mark` in shared memory backed by a file, so that it survives the worker.

    Setting it costs less than a microsecond, where a record in the spool costs a system call for every tiny step.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.ftruncate(descriptor, _LAYOUT.size)
        self._memory = mmap.mmap(descriptor, _LAYOUT.size)
        os.close(descriptor)
        self._count = 0

    def set(self, position: int, attempt: int, log_start: int) -> float:
        """Note that a step starts now; gives the time, in seconds since the epoch."""
        self._count += 1
        started_at = time.time()
        self._memory[:] = _LAYOUT.pack(self._count, position, attempt, log_start, started_at)
        return started_at

    def get(self) -> Mark:
        return Mark(*_LAYOUT.unpack(self._memory[:]))

    def close(self) -> None:
        self._memory.close()
