"""Locks that the kernel releases when their process dies, and the names of who holds them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref
from pathlib import Path

from pipelite.clock import CLOCK

#: Between two tries for a lock; they are held for long (by an open workspace) or very shortly.
_RETRY_S = 0.01

_NOTE_BYTES = 64

_open: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """An advisory lock on a file of its own, shared or exclusive, held until it is released or the process ends.

    A forked child does not hold it: a child that outlives its parent would otherwise keep it alive.

    Parameters
    ----------
    stays_open : bool
        Keep the file open when the lock is released, for one that is taken often; `close` ends that.
    """

    def __init__(self, path: Path, *, stays_open: bool = False) -> None:
        self.path = path
        self.is_held = False
        self._stays_open = stays_open
        self._file: int | None = None

    def acquire(self, *, exclusive: bool, timeout_s: float = 0.0) -> bool:
        """Take the lock, or change its kind; false if another holds it beyond the time-out, and then none is held."""
        file = self._open()
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        deadline = CLOCK.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
                self.is_held = True
                return True
            except BlockingIOError:
                if CLOCK.monotonic() >= deadline:
                    self.release()
                    return False
                CLOCK.sleep(_RETRY_S)

    def rename(self, path: Path) -> None:
        """Give the file another name, lock and all."""
        os.rename(self.path, path)
        self.path = path

    def wait(self) -> None:
        """Take the lock exclusively when it comes free; of several that wait the kernel serves the first."""
        fcntl.flock(self._open(), fcntl.LOCK_EX)
        self.is_held = True

    def release(self) -> None:
        if not self._stays_open:
            self.close()
        elif self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self.is_held = False

    def note(self, holder: str) -> None:
        """Leave word in the file of who holds the lock, in as many bytes as any other holder leaves."""
        # It is for people only: a full disk is none of its business.
        with contextlib.suppress(OSError):
            os.pwrite(self._open(), holder.encode(), 0)

    def read_note(self) -> str:
        """Return who holds the lock, or was the last that did; empty if nobody said so."""
        return os.pread(self._open(), _NOTE_BYTES, 0).decode(errors="replace")

    def close(self) -> None:
        """Release the lock, and let go of the file."""
        self.is_held = False
        if self._file is not None:
            os.close(self._file)
            self._file = None
            _open.discard(self)

    def _open(self) -> int:
        if self._file is None:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            _open.add(self)
        return self._file


def _drop_in_child() -> None:
    # Closing the child's copy of a descriptor leaves the parent's lock as it is.
    for lock in list(_open):
        with contextlib.suppress(OSError):
            lock.close()


os.register_at_fork(after_in_child=_drop_in_child)


def is_locked(path: Path) -> bool:
    """Whether a living process holds an exclusive lock on the file."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who ask at the same time do not take each other for the holder.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def lock_holders(path: Path) -> list[str]:
    """Other processes that hold a lock on the file, as "12345 (python flow.py)"; empty where the system does not say."""
    try:
        inode = path.stat().st_ino
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []
    holders = {
        int(fields[4])
        for fields in map(str.split, lines)
        if len(fields) >= 6 and fields[1] != "->" and fields[5].endswith(f":{inode}")
    }
    return [_name_process(process) for process in sorted(holders - {os.getpid()}) if process > 0]


def _name_process(process: int) -> str:
    try:
        arguments = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return str(process)
    command = " ".join(argument.decode(errors="replace") for argument in arguments if argument)
    return f"{process} ({command[:80]})" if command else str(process)
