"""The one way in which anything is written: a transaction that holds the write lock from its start."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator

from pipelite.clock import CLOCK


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, *, timeout_s: float) -> Iterator[None]:
    """Run the body as one transaction: committed at its end, rolled back if it raises.

    A deferred transaction that has read is refused at once when it wants to write and another has written meanwhile,
    whatever the busy time-out; `BEGIN IMMEDIATE` waits its turn instead.
    """
    if connection.in_transaction:
        raise RuntimeError("this thread is inside a write transaction already; pass its connection on instead")
    try:
        retry_while_busy(lambda: connection.execute("BEGIN IMMEDIATE"), timeout_s=timeout_s)
        yield
        connection.execute("COMMIT")
    except BaseException:
        # Does nothing where a full disk has ended the transaction already.
        connection.rollback()
        raise


def retry_while_busy(action: Callable[[], object], *, timeout_s: float) -> None:
    """Repeat what SQLite refuses because another process is at it.

    SQLite waits by itself for the busy time-out, except where it sees a deadlock, a recovery of the log, or a change of
    the journal mode by another.
    """
    deadline = CLOCK.monotonic() + timeout_s
    while True:
        try:
            action()
            return
        except sqlite3.OperationalError as exc:
            if not exc.sqlite_errorname.startswith("SQLITE_BUSY") or CLOCK.monotonic() >= deadline:
                raise
        # Uneven, so that two that were refused together do not come back together; importing `random` would cost 5 ms.
        CLOCK.sleep(0.001 + CLOCK.monotonic_ns() % 20 / 1000)
