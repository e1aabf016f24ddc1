"""Changing an older schema: alone, after a copy, once, and all or nothing."""

import multiprocessing
import sqlite3
import subprocess
import sys
from contextlib import closing

import attrs
import pytest

from pipelite.errors import WorkspaceBusyError, WorkspaceError
from pipelite.store import Store
from pipelite.store import migrations as migrations_module
from pipelite.store.database import Database
from pipelite.store.locks import FileLock
from pipelite.store.schema import CURRENT, Migration

NEXT = CURRENT.version + 1

#: The first schema: what came later left away.
FIRST = attrs.evolve(
    CURRENT,
    version=1,
    statements=tuple(
        statement
        for statement in CURRENT.statements
        if not any(
            name in statement
            for name in (
                "datastores",
                "datasets",
                "dataset_uses",
                "fetched",
                "published",
                "endpoints",
                "requests",
                "tokens",
                "hooks",
                "deliveries",
                "schedules",
                "slots",
                "triggers",
                "watched_files",
                "firings",
            )
        )
    ),
    migrations=(),
)

SPAWN = multiprocessing.get_context("spawn")

#: What `runs` looks like in the made-up second schema.
WITH_PRIORITY = tuple(
    statement.replace("sources TEXT NOT NULL\n)", "sources TEXT NOT NULL,\n    priority INTEGER NOT NULL DEFAULT 0\n)")
    if "TABLE runs" in statement
    else statement
    for statement in CURRENT.statements
)


def add_priority(database):
    database["runs"].add_column("priority", int, not_null_default=0)


def rename_and_fail(database):
    database["metrics"].transform(rename={"value": "content"})
    database.execute("UPDATE settings SET value = 'changed'")
    raise RuntimeError("no, after all")


def break_a_link(database):
    database.execute("INSERT INTO metrics VALUES (1, 99, 'a', 'scalar', NULL, '1', 'now')")


def second_schema(apply=add_priority):
    return attrs.evolve(
        CURRENT,
        version=CURRENT.version + 1,
        statements=WITH_PRIORITY,
        migrations=(Migration(version=CURRENT.version + 1, name="priority", apply=apply),),
    )


@pytest.fixture
def old(tmp_path):
    """A workspace of the current schema, which the second one is newer than."""
    path = tmp_path / "ws"
    with Store.open(path) as store, store.database.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('colour', '\"blue\"')")
    return path


def schema_of(path):
    """Everything that is defined in the database, as it is written there up to spaces."""
    with closing(sqlite3.connect(path / "pipelite.db")) as connection:
        rows = connection.execute("SELECT type, name FROM sqlite_schema WHERE name NOT LIKE '%sqlite%'").fetchall()
        tables = [name for kind, name in rows if kind in ("table", "view")]
        columns = {name: connection.execute(f"PRAGMA table_info({name})").fetchall() for name in tables}
        links = {name: connection.execute(f"PRAGMA foreign_key_list({name})").fetchall() for name in tables}
        return sorted(rows), columns, links, connection.execute("PRAGMA user_version").fetchone()[0]


def open_second(path, start):
    start.wait()
    with Store.open(path, schema=second_schema()) as store:
        store.database.read("SELECT priority FROM runs")


def test_a_workspace_of_the_first_schema_becomes_one_like_a_new_one(tmp_path):
    with Store.open(tmp_path / "first", schema=FIRST) as store, store.database.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('colour', '\"blue\"')")
    with Store.open(tmp_path / "first") as store:
        assert store.database.read("SELECT value FROM settings")[0]["value"] == '"blue"'
    Store.open(tmp_path / "new").close()

    assert schema_of(tmp_path / "first") == schema_of(tmp_path / "new")


def test_an_older_workspace_is_brought_up_to_date_and_keeps_its_rows(old):
    with Store.open(old, schema=second_schema()) as store:
        assert store.database.read("SELECT value FROM settings")[0]["value"] == '"blue"'
        assert store.database.read("SELECT priority FROM runs") == []
        assert store.database.read("PRAGMA foreign_keys")[0][0] == 1


def test_a_migrated_workspace_has_the_schema_of_a_new_one(old, tmp_path):
    Store.open(old, schema=second_schema()).close()
    Store.open(tmp_path / "new", schema=second_schema()).close()

    assert schema_of(old) == schema_of(tmp_path / "new")


def test_what_was_applied_is_noted_by_name(old):
    with Store.open(old, schema=second_schema()) as store:
        assert [row["name"] for row in store.database.read("SELECT name FROM _sqlite_migrations")] == ["priority"]


def test_the_database_is_copied_before_it_is_changed(old):
    Store.open(old, schema=second_schema()).close()

    with closing(sqlite3.connect(old / f"pipelite.db.before-{NEXT}")) as copy:
        assert copy.execute("PRAGMA user_version").fetchone()[0] == CURRENT.version
        assert copy.execute("SELECT value FROM settings").fetchall() == [('"blue"',)]
    assert not (old / f"pipelite.db.before-{NEXT}.partial").exists()


def test_a_migration_that_fails_leaves_everything_as_it_was(old):
    before = schema_of(old)

    with pytest.raises(RuntimeError, match="after all"):
        Store.open(old, schema=second_schema(rename_and_fail))

    assert schema_of(old) == before
    with Store.open(old) as store:
        assert store.database.read("SELECT value FROM settings")[0]["value"] == '"blue"'


def test_a_migration_that_would_break_links_is_refused(old):
    with pytest.raises(WorkspaceError, match="would leave 1 broken links"):
        Store.open(old, schema=second_schema(break_a_link))

    with Store.open(old) as store:
        assert store.database.read("SELECT * FROM metrics") == []


def test_a_workspace_of_a_newer_schema_is_refused(old):
    Store.open(old, schema=second_schema()).close()

    with pytest.raises(
        WorkspaceError, match=rf"newer pipelite \(schema {NEXT}, this one knows {CURRENT.version}\); upgrade pipelite"
    ):
        Store.open(old)


def test_a_database_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "ws"
    path.mkdir()
    with closing(sqlite3.connect(path / "pipelite.db")) as other:
        other.execute("CREATE TABLE songs (title TEXT)")

    with pytest.raises(WorkspaceError, match="is a database of something else"):
        Store.open(path)

    with closing(sqlite3.connect(path / "pipelite.db")) as other:
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("songs",)]


HOLDS = "import sys; from pipelite.store import Store; store = Store.open(sys.argv[1]); print('open'); sys.stdin.read()"


def test_a_process_in_the_way_of_a_migration_is_named(old, monkeypatch):
    monkeypatch.setattr(migrations_module, "ALONE_TIMEOUT_S", 0.05)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(old)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "open\n"

        with pytest.raises(
            WorkspaceBusyError, match=rf"from schema {CURRENT.version} to {NEXT}.*needs it alone"
        ) as caught:
            Store.open(old, schema=second_schema())
    finally:
        other.communicate("")

    assert f"{other.pid} (" in str(caught.value)
    assert "python" in str(caught.value)
    Store.open(old, schema=second_schema()).close()


def test_eight_processes_that_open_an_old_workspace_at_once_migrate_it_once(old):
    start = SPAWN.Barrier(8)
    processes = [SPAWN.Process(target=open_second, args=(old, start)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0] * 8
    with Store.open(old, schema=second_schema()) as store:
        assert store.database.read("SELECT count(*) FROM _sqlite_migrations")[0][0] == 1
        assert store.database.read("PRAGMA integrity_check")[0][0] == "ok"


def test_who_comes_during_a_migration_waits_and_is_told_why_if_it_takes_too_long(old):
    lock = FileLock(old / "pipelite.db.lock")
    assert lock.acquire(exclusive=True)

    with pytest.raises(WorkspaceBusyError, match="is being changed to a newer schema by another process; try again"):
        Database(old / "pipelite.db", busy_timeout_s=0.05)

    lock.release()
    Database(old / "pipelite.db").close()
