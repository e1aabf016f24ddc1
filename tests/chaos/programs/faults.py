"""Makes the Nth call of one kind fail: in the seam through which the workspace is written, and in SQLite."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

#: Which call fails: "os write 3 ENOSPC"; read by the workers too, which are given the environment of the run.
VARIABLE = "CHAOS_FAULT"
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
        if not fault.startswith(f"{kind} "):
            return None
        self.count += 1
        number, reason, *_ = fault.removeprefix(f"{kind} ").split()
        return reason if self.count == int(number) else None


counter = Counter()


class FaultyOs:
    """The module `os`, as the seam uses it."""

    def __getattr__(self, name: str):
        real = getattr(os, name)
        if name not in OS_CALLS:
            return real

        def call(*args, **kwargs):
            reason = counter.strikes(f"os {name}")
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


@contextmanager
def fault(text: str) -> Iterator[None]:
    """Have one call fail within the block."""
    os.environ[VARIABLE] = text
    try:
        yield
    finally:
        del os.environ[VARIABLE]
