"""The one SQLite file of a workspace: a connection for each thread, reads, and the one helper for every write."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelite.clock import CLOCK
from pipelite.errors import WorkspaceBusyError, WorkspaceError
from pipelite.store.disk import explain_database
from pipelite.store.locks import FileLock, lock_holders
from pipelite.store.migrations import create, migrate, version_of
from pipelite.store.rows import now_text
from pipelite.store.schema import CURRENT, NOW, Schema
from pipelite.store.transactions import retry_while_busy, transaction

#: How long a writer waits for another one before it gives up.
BUSY_TIMEOUT_S = 30.0

#: Size of the write-ahead log at which it is copied into the database.
CHECKPOINT_BYTES = 16 * 1024 * 1024
#: From this size on writers wait for readers, for so long, to have it start anew.
EMPTY_BYTES = 2 * CHECKPOINT_BYTES
EMPTY_WAIT_S = 2.0

#: Result codes of SQLite to what a user is told, by their beginning.
_REASONS = {
    "SQLITE_READONLY": "it cannot be written; check the permissions of the folder, or point PIPELITE_WORKSPACE at another",
    "SQLITE_PERM": "it cannot be accessed; check the permissions of the folder, or point PIPELITE_WORKSPACE at another",
    "SQLITE_CANTOPEN": "it cannot be opened; check the permissions of the folder, or point PIPELITE_WORKSPACE at another",
    "SQLITE_NOTADB": "it is not a database of pipelite; move it away or point PIPELITE_WORKSPACE at another folder",
    "SQLITE_CORRUPT": "it is damaged; run `pipelite doctor`, and restore a backup",
}


def explain(exc: sqlite3.Error, path: Path) -> WorkspaceError | None:
    """Return what a failure of SQLite means for the workspace; None for one that is a mistake in a statement."""
    name = getattr(exc, "sqlite_errorname", None) or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return WorkspaceBusyError(
            f"{path} is being written by another process{_named(path)}; try again when it is done"
        )
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return explain_database(path, name)
    for code, reason in _REASONS.items():
        if name.startswith(code):
            return WorkspaceError(f"the database {path} cannot be used: {reason}")
    return None


def _named(path: Path) -> str:
    # The locks of a database in WAL mode lie on its shared-memory file.
    holders = lock_holders(path.with_name(path.name + "-shm"))
    return f" (open in: {', '.join(holders)})" if holders else ""


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn failures of the file, the disk or its locks into errors that say what to do."""
    try:
        yield
    except sqlite3.Error as exc:
        error = explain(exc, path)
        if error is None:
            raise
        raise error from exc


class Database:
    """An open database of the current schema; safe to use from every thread.

    Every connection sees committed data only, readers never wait, and whoever has it open holds a shared lock on
    `pipelite.db.lock`, which a migration needs for itself.
    """

    def __init__(self, path: Path, *, schema: Schema = CURRENT, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.path = path
        self.busy_timeout_s = busy_timeout_s
        self.schema = schema
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        self._checkpoint_lock = FileLock(path.with_name(path.name + ".checkpoint"))
        self._local = threading.local()
        self._connections: list[tuple[threading.Thread, sqlite3.Connection]] = []
        self._guard = threading.Lock()
        self._checkpointing = threading.Lock()
        self._turn_lock = FileLock(path.with_name(path.name + ".turn"), stays_open=True)
        self._writing = threading.RLock()
        self._process = os.getpid()
        self._wal = f"{path}-wal"
        #: Size of the log at the last try to copy it, and some more.
        self._checkpoint_at = 0
        self._open()

    def _open(self) -> None:
        self._hold_shared()
        try:
            with explained(self.path):
                if version_of(self.connection()) != self.schema.version:
                    self._bring_up_to_date()
        except BaseException:
            self.close()
            raise

    def _hold_shared(self) -> None:
        try:
            is_held = self._lock.acquire(exclusive=False, timeout_s=self.busy_timeout_s)
        except OSError as exc:
            raise WorkspaceError(f"the workspace {self.path.parent} cannot be written: {exc.strerror}") from exc
        if not is_held:
            holders = ", ".join(lock_holders(self._lock.path)) or "another process"
            raise WorkspaceBusyError(f"{self.path} is being changed to a newer schema by {holders}; try again soon")

    def _bring_up_to_date(self) -> None:
        connection = self.connection()
        if version_of(connection) == 0:
            create(connection, self.path, self.schema, timeout_s=self.busy_timeout_s)
        else:
            migrate(connection, self.path, self.schema, lock=self._lock)

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection; for reading, and inside `write` only for writing."""
        if self._process != os.getpid():
            self._forget_parent()
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            with explained(self.path):
                connection = connect(self.path, busy_timeout_s=self.busy_timeout_s)
            self._local.connection = connection
            self._keep(connection)
        return connection

    @contextlib.contextmanager
    def lent(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Have this thread use another one's connection for a while, during which that one must not."""
        own = getattr(self._local, "connection", None)
        self._local.connection = connection
        try:
            yield
        finally:
            self._local.connection = own

    def _keep(self, connection: sqlite3.Connection) -> None:
        with self._guard:
            for thread, old in self._connections:
                if not thread.is_alive():
                    old.close()
            self._connections = [entry for entry in self._connections if entry[0].is_alive()]
            self._connections.append((threading.current_thread(), connection))

    def _forget_parent(self) -> None:
        # A connection must not cross a fork, nor be closed in the child: the list keeps the parent's from that.
        self._process = os.getpid()
        self._guard = threading.Lock()
        self._checkpointing = threading.Lock()
        self._writing = threading.RLock()
        self._local = threading.local()
        _parents.append(self._connections)
        self._connections = []
        self._hold_shared()

    def read(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[sqlite3.Row]:
        """Return all rows of a query; they can be read by position and by name."""
        with explained(self.path):
            return self.connection().execute(sql, parameters).fetchall()

    @contextlib.contextmanager
    def write(self, *, is_small: bool = False) -> Iterator[sqlite3.Connection]:
        """Run the body as one transaction: committed at its end, rolled back if it raises.

        After a small one that others follow, the size of the log is not looked at.

        Raises
        ------
        WorkspaceBusyError
            If others write without a pause for longer than the busy time-out.
        WorkspaceError
            If the disk is full, the file damaged or not writable; nothing of the body is stored then.
        """
        connection = self.connection()
        with self._turn(), explained(self.path), transaction(connection, timeout_s=self.busy_timeout_s):
            yield connection
        if not is_small:
            self._checkpoint_if_large(connection)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for the turn to write.

        SQLite waits too, but with longer and longer pauses: who has waited longest looks least often, and some wait for
        seconds where all the others write.
        """
        # A nested transaction is refused below, not waited for.
        with self._writing:
            deadline = CLOCK.monotonic() + self.busy_timeout_s
            # Without a turn after all that time, or a disk that has no place for the lock, SQLite finds out and says so.
            with contextlib.suppress(OSError):
                while not self._turn_lock.acquire(exclusive=True) and CLOCK.monotonic() < deadline:
                    # Uneven, so that those who wait do not look at the same time.
                    CLOCK.sleep(0.0005 + CLOCK.monotonic_ns() % 1000 / 200_000)
            try:
                yield
            finally:
                self._turn_lock.release()

    def _checkpoint_if_large(self, connection: sqlite3.Connection) -> None:
        """Copy the write-ahead log into the database, one process at a time.

        SQLite before 3.51.3 can damage a file when two connections do this while a third starts the log anew
        (https://sqlite.org/wal.html), so connections do not do it by themselves.
        """
        try:
            size = os.stat(self._wal).st_size
        except FileNotFoundError:
            return
        if size < CHECKPOINT_BYTES:
            self._checkpoint_at = 0
            return
        if size < self._checkpoint_at:
            return
        # The log starts anew, and shrinks, with a later write that no reader is in the way of. To try again at each
        # write until then would cost a synchronous write of the disk each time.
        self._checkpoint_at = size + CHECKPOINT_BYTES // 4
        # What was committed is safe in the log. If the disk is full, the next write says so.
        with self._checkpointing, contextlib.suppress(sqlite3.OperationalError, OSError):
            if self._checkpoint_lock.acquire(exclusive=True):
                try:
                    # Passive: waits for nobody, and leaves to the next time what a reader still needs.
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
                    if size > EMPTY_BYTES and not self._empty_log(connection):
                        # Somebody reads for long; others are not to wait for that again and again.
                        self._checkpoint_at = 2 * size
                finally:
                    self._checkpoint_lock.release()

    def _empty_log(self, connection: sqlite3.Connection) -> bool:
        """Copy all of the log and start it anew, if readers let it.

        Where they never all rest at once, it would grow without end.
        """
        with self._turn():
            connection.execute(f"PRAGMA busy_timeout = {int(EMPTY_WAIT_S * 1000)}")
            try:
                # Nobody writes now, so who begins to read does without the log; for those who need it, this waits.
                is_blocked, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                return not is_blocked
            finally:
                connection.execute(f"PRAGMA busy_timeout = {int(self.busy_timeout_s * 1000)}")

    def close(self) -> None:
        """Close the connections of all threads; the object cannot be used afterwards."""
        with self._guard:
            for _, connection in self._connections:
                connection.close()
            self._connections = []
            self._local = threading.local()
        self._turn_lock.close()
        self._lock.release()


#: Connections that a forked child inherited; never used, never closed.
_parents: list[list[tuple[threading.Thread, sqlite3.Connection]]] = []


def connect(path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
    """Open a connection with everything set that every user of the file must agree on."""
    connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA busy_timeout = {int(busy_timeout_s * 1000)}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.create_function(NOW, 0, now_text)
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        # To this the log shrinks when it starts anew: well below the size at which that is brought about.
        connection.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_BYTES // 4}")
        # When several processes open a new file at once, this is refused without a look at the busy time-out.
        retry_while_busy(lambda: connection.execute("PRAGMA journal_mode = WAL"), timeout_s=busy_timeout_s)
        # After a crash of the process nothing is lost; after a loss of power perhaps the last commits, but no more.
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection
