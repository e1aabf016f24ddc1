"""Makes the Nth call of one kind fail, or kills the process there: where the workspace is written, and in SQLite."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: Which call fails: "os write 3 ENOSPC"; read by the workers too, which are given the environment of the run.
VARIABLE = "CHAOS_FAULT"
#: Reasons that are no error but the end of the process, a write being half done in the second case.
KILL, KILL_HALFWAY = "KILL", "KILL_HALFWAY"
#: In which process such calls count: "owner" or "worker"; in any if it is not set.
WHERE_VARIABLE = "CHAOS_WHERE"
#: A file that is made before a process is killed.
NOTE_VARIABLE = "CHAOS_NOTE"
#: What Python tells of any change of the folders, whoever makes it.
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.link", "os.symlink"}
OS_CALLS = ("open", "write", "posix_fallocate", "replace")
SQL_NAMES = {"ENOSPC": "SQLITE_FULL", "EIO": "SQLITE_IOERR_WRITE"}


class Counter:
    """Counts calls of the kind that is to fail."""

    def __init__(self) -> None:
        self.fault = ""
        self.count = 0

    def strikes(self, kind: str) -> str | None:
        """The reason to fail this call with, if it is the one."""
        fault = os.environ.get(VARIABLE, "")
        if fault != self.fault:
            self.fault, self.count = fault, 0
        if not fault.startswith(f"{kind} ") or not _is_here():
            return None
        self.count += 1
        number, reason, *_ = fault.removeprefix(f"{kind} ").split()
        if self.count != int(number):
            return None
        if reason == KILL:
            die()
        return reason


def die() -> None:
    """End this process as it is."""
    os.close(os.open(os.environ[NOTE_VARIABLE], os.O_WRONLY | os.O_CREAT))
    os.kill(os.getpid(), signal.SIGKILL)


def _is_here() -> bool:
    where = os.environ.get(WHERE_VARIABLE)
    return where is None or (where == "worker") == ("PIPELITE_WORKER" in os.environ)


counter = Counter()


class FaultyOs:
    """The module `os`, as the seam uses it."""

    def __getattr__(self, name: str):
        real = getattr(os, name)
        if name not in OS_CALLS:
            return real

        def call(*args, **kwargs):
            reason = counter.strikes(f"os {name}")
            if reason == KILL_HALFWAY:
                real(args[0], args[1][: len(args[1]) // 2])
                die()
            if reason is not None:
                number = getattr(errno, reason)
                raise OSError(number, os.strerror(number), *(args[:1] if isinstance(args[0], str) else ()))
            return real(*args, **kwargs)

        return call


class FaultyConnection(sqlite3.Connection):
    """A connection whose Nth writing statement fails."""

    def execute(self, sql, *args):
        if self.in_transaction or sql.startswith("BEGIN"):
            self._strike()
        return super().execute(sql, *args)

    def executemany(self, sql, *args):
        self._strike()
        return super().executemany(sql, *args)

    def _strike(self) -> None:
        reason = counter.strikes("sql")
        if reason is not None:
            error = sqlite3.OperationalError("injected")
            error.sqlite_errorname = SQL_NAMES[reason]
            raise error


def install() -> None:
    """Put the faulty parts in place, in this process and in each worker that imports this."""
    from pipelite.store import database, disk

    if isinstance(disk.os, FaultyOs):
        return
    disk.os = FaultyOs()
    connect = sqlite3.connect

    class FaultySqlite:
        def __getattr__(self, name: str):
            return getattr(sqlite3, name)

        def connect(self, *args, **kwargs):
            return connect(*args, factory=FaultyConnection, **kwargs)

    database.sqlite3 = FaultySqlite()
    if os.environ.get(VARIABLE, "").startswith("change "):
        sys.addaudithook(watch_changes)


def watch_changes(event: str, args: tuple[object, ...]) -> None:
    """Count what changes the folders of the workspace."""
    if event not in EVENTS or (event == "open" and not (args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))):
        return
    folder = os.environ["PIPELITE_WORKSPACE"]
    if any(isinstance(path, str | os.PathLike) and os.fspath(path).startswith(folder) for path in args[:2]):
        counter.strikes("change")


@contextmanager
def fault(text: str) -> Iterator[None]:
    """Have one call fail within the block."""
    os.environ[VARIABLE] = text
    try:
        yield
    finally:
        del os.environ[VARIABLE]
