"""What steps log, on its way to the database: a file that a worker appends to and the coordinator reads.

A record is written with one `write` before the call that logged it returns, so it outlives the worker; the coordinator
is the only writer of the database.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

from pipelite.clock import CLOCK
from pipelite.store import FileLock, disk

#: A spool is locked by one process only, or looked at for an instant by who wants to know that.
LOCK_TIMEOUT_S = 1.0


class SpoolWriter:
    """A worker's end. It holds a lock on the file: who finds its owner dead waits until nothing more can come.

    Processes that a step starts append to the file of their worker without a lock of their own: they end with it.
    """

    def __init__(self, path: Path, *, locks: bool = True) -> None:
        disk.make_folder(path.parent)
        self.path = path
        self._descriptor = disk.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._lock = FileLock(path)
        if locks:
            self._lock.acquire(exclusive=True, timeout_s=LOCK_TIMEOUT_S)
            if self.end:
                # Of a dead worker that had the same number; its last record may be a half.
                self._write(b"\n")

    @property
    def end(self) -> int:
        """Bytes in the file, also those that processes of the step wrote."""
        return os.fstat(self._descriptor).st_size

    def append(self, record: dict[str, Any]) -> None:
        """Write a record; it outlives this process from the moment this returns."""
        self._write(json.dumps(record, separators=(",", ":"), ensure_ascii=True).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        start = self.end
        view = memoryview(line)
        try:
            while view:
                written = disk.write(self._descriptor, view, self.path)
                view = view[written:]
        except BaseException:
            # Half a record would spoil the next one.
            os.ftruncate(self._descriptor, start)
            raise

    def close(self) -> None:
        os.close(self._descriptor)
        self._lock.release()


class SpoolReader:
    """The coordinator's end."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        #: Bytes that were read so far.
        self.offset = offset

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
        return [record for line in whole.split(b"\n") if line and (record := _parse(line)) is not None]

    def has_grown(self) -> bool:
        try:
            return self.path.stat().st_size > self.offset
        except FileNotFoundError:
            return False


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError:
        # The half record of a worker that was killed: nobody was told that it was kept.
        return None
    return record


class Mark(NamedTuple):
    """Which step a worker is at."""

    #: Number of marks set so far: tells whether anything happened since the last look.
    number: int
    position: int
    attempt: int
    log_start: int
    started_at: float
    name: str


#: Little-endian: the file may be looked at by hand on another machine. The last is the length of the name.
_LAYOUT = struct.Struct("<qqqqdq")
#: A longer name is cut off.
_NAME_BYTES = 384
#: Where the byte stands with which the coordinator asks the worker to start nothing more; one that nobody uses follows.
_STOP = _LAYOUT.size + _NAME_BYTES
#: Less than the smallest block of a disk: one byte that is written claims the place of all.
_SIZE = _STOP + 2


class MarkFile:
    """One `Mark` in shared memory backed by a file, so that it survives the worker.

    Setting it costs less than a microsecond, where a record in the spool costs a system call for every tiny step.
    """

    def __init__(self, path: Path) -> None:
        disk.make_folder(path.parent)
        descriptor = disk.open_file(path, os.O_RDWR | os.O_CREAT)
        try:
            # Claimed, not only made longer: on a full disk the write to memory would end the process. By a byte and not by
            # an allocation, which costs a hundred times as much, most of it when the file is removed.
            os.lseek(descriptor, _SIZE - 1, os.SEEK_SET)
            disk.write(descriptor, b"\0", path)
            self._memory = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self._count = 0

    def set(self, position: int, attempt: int, log_start: int, name: str) -> float:
        """Note that a step starts now; gives the time, in seconds since the epoch."""
        self._count += 1
        started_at = CLOCK.time()
        shown = name.encode()[:_NAME_BYTES]
        mark = _LAYOUT.pack(self._count, position, attempt, log_start, started_at, len(shown)) + shown
        self._memory[: len(mark)] = mark
        return started_at

    def get(self) -> Mark:
        return _unpack(self._memory[:])

    def stop(self) -> None:
        """Ask the worker to start nothing more of what it was sent."""
        self._memory[_STOP] = 1

    def is_stopped(self) -> bool:
        return self._memory[_STOP] == 1

    def close(self) -> None:
        self._memory.close()


def read_mark(path: Path) -> Mark | None:
    """Which step a worker that is gone was at last; None if it got to none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    mark = _unpack(content) if len(content) == _SIZE else None
    return mark if mark is not None and mark.number else None


def _unpack(content: bytes) -> Mark:
    number, position, attempt, log_start, started_at, length = _LAYOUT.unpack_from(content)
    name = content[_LAYOUT.size : _LAYOUT.size + length].decode(errors="replace")
    return Mark(number, position, attempt, log_start, started_at, name)
