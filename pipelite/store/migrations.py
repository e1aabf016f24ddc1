"""Making the schema in a new database, and changing that of an older one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from pipelite.clock import CLOCK
from pipelite.errors import WorkspaceBusyError, WorkspaceError
from pipelite.store.locks import FileLock, lock_holders
from pipelite.store.schema import Schema
from pipelite.store.transactions import transaction

#: How long a migration waits for the others that have the workspace open.
ALONE_TIMEOUT_S = 5.0

#: Between two tries to be alone.
_RETRY_S = 0.02


def create(connection: sqlite3.Connection, path: Path, schema: Schema, *, timeout_s: float) -> None:
    """Make the schema in an empty file; of several processes that do so at once, one does and the others find it."""
    with transaction(connection, timeout_s=timeout_s):
        if version_of(connection) != 0:
            return
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            raise WorkspaceError(
                f"{path} is a database of something else; move it away or point PIPELITE_WORKSPACE at another folder"
            )
        for statement in schema.statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {schema.version}")


def migrate(connection: sqlite3.Connection, path: Path, schema: Schema, *, lock: FileLock) -> None:
    """Bring a database of an older schema to the current one, after a copy of it was made beside it.

    Needs the database alone: who reads or writes rows of the old form meanwhile would fail in confusing ways.

    Raises
    ------
    WorkspaceError
        If the database is of a newer schema than this version of pipelite knows.
    WorkspaceBusyError
        If other processes have the workspace open; the message names them.
    """
    _refuse_newer(connection, path, schema)
    try:
        if _wait_to_be_alone(connection, path, schema, lock=lock):
            _copy(connection, path.with_name(f"{path.name}.before-{schema.version}"))
            _apply(connection, path, schema)
    finally:
        lock.acquire(exclusive=False, timeout_s=ALONE_TIMEOUT_S)
    _refuse_newer(connection, path, schema)


def _wait_to_be_alone(connection: sqlite3.Connection, path: Path, schema: Schema, *, lock: FileLock) -> bool:
    """Take the database for this process alone; false if another process has changed the schema meanwhile."""
    deadline = CLOCK.monotonic() + ALONE_TIMEOUT_S
    lock.release()
    while True:
        is_alone = lock.acquire(exclusive=True)
        if version_of(connection) >= schema.version:
            return False
        if is_alone:
            return True
        if CLOCK.monotonic() >= deadline:
            holders = ", ".join(lock_holders(lock.path)) or "another process"
            raise WorkspaceBusyError(
                f"{path} must be changed from schema {version_of(connection)} to {schema.version}, which needs it alone, "
                f"but it is open in: {holders}; end that and start again"
            )
        CLOCK.sleep(_RETRY_S)


def version_of(connection: sqlite3.Connection) -> int:
    """Return the number of the schema in the file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _refuse_newer(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    version = version_of(connection)
    if version > schema.version:
        raise WorkspaceError(
            f"{path} was made by a newer pipelite (schema {version}, this one knows {schema.version}); upgrade pipelite, "
            f"or point PIPELITE_WORKSPACE at another folder"
        )


def _copy(connection: sqlite3.Connection, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    copy = sqlite3.connect(partial)
    try:
        connection.backup(copy)
    finally:
        copy.close()
    partial.replace(target)


def _apply(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    import sqlite_utils
    from sqlite_utils import Migrations

    start = version_of(connection)
    pending = Migrations("pipelite")
    for migration in schema.migrations:
        if migration.version > start:
            pending(name=migration.name)(migration.apply)
    # A table is changed by making it anew, which would cascade; cannot be switched inside a transaction.
    connection.execute("PRAGMA foreign_keys = OFF")
    try:
        # sqlite-utils would send a deferred BEGIN; inside this one its own transactions are savepoints.
        with transaction(connection, timeout_s=ALONE_TIMEOUT_S):
            pending.apply(sqlite_utils.Database(connection))
            broken = connection.execute("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise WorkspaceError(
                    f"changing {path} to schema {schema.version} would leave {len(broken)} broken links"
                )
            connection.execute(f"PRAGMA user_version = {schema.version}")
    finally:
        connection.execute("PRAGMA foreign_keys = ON")
