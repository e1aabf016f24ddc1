"""The database under many users at once: one helper for every write, readers that never wait, clear failures."""

import multiprocessing
import sqlite3
import subprocess
import sys
import threading

import pytest

from pipelite.errors import WorkspaceBusyError, WorkspaceError
from pipelite.store import Store
from pipelite.store import database as database_module
from pipelite.store.database import Database, connect, explain

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "ws") as opened:
        yield opened


def read_count(store):
    return store.database.read("SELECT value FROM settings WHERE name = 'count'")[0][0]


def count_up(path, n_times, start):
    """Read, modify and write in one transaction: what a deferred transaction fails at."""
    start.wait()
    with Store.open(path) as store:
        for _ in range(n_times):
            with store.database.write() as connection:
                value = connection.execute("SELECT value FROM settings WHERE name = 'count'").fetchone()[0]
                connection.execute("UPDATE settings SET value = ? WHERE name = 'count'", (int(value) + 1,))


def open_and_note(path, start, name):
    start.wait()
    with Store.open(path) as store, store.database.write() as connection:
        connection.execute("INSERT INTO settings VALUES (?, '1')", (name,))


def run_all(function, arguments):
    """Start one process for each tuple of arguments, let them go at the same time, and return their exit codes."""
    processes = [SPAWN.Process(target=function, args=one) for one in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def test_eight_processes_that_read_modify_and_write_lose_nothing(tmp_path):
    path = tmp_path / "ws"
    with Store.open(path) as store, store.database.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('count', '0')")
    start = SPAWN.Barrier(8)

    assert run_all(count_up, [(path, 200, start)] * 8) == [0] * 8

    with Store.open(path) as store:
        assert read_count(store) == "1600"


def test_eight_processes_can_open_a_new_workspace_at_once(tmp_path):
    path = tmp_path / "ws"
    start = SPAWN.Barrier(8)

    assert run_all(open_and_note, [(path, start, str(number)) for number in range(8)]) == [0] * 8

    with Store.open(path) as store:
        assert len(store.database.read("SELECT * FROM settings")) == 8
        assert store.database.read("PRAGMA integrity_check")[0][0] == "ok"


def test_threads_that_write_at_once_lose_nothing(store):
    with store.database.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('count', '0')")

    def count_up_here():
        for _ in range(50):
            with store.database.write() as connection:
                value = connection.execute("SELECT value FROM settings").fetchone()[0]
                connection.execute("UPDATE settings SET value = ?", (int(value) + 1,))

    threads = [threading.Thread(target=count_up_here) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert read_count(store) == "200"


def test_connections_of_threads_that_ended_are_closed(store):
    for _ in range(20):
        thread = threading.Thread(target=store.database.read, args=("SELECT 1",))
        thread.start()
        thread.join()

    assert len(store.database._connections) <= 2


def test_nothing_of_a_body_that_raises_is_stored(store):
    with pytest.raises(ValueError, match="halfway"), store.database.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('a', '1')")
        raise ValueError("halfway")

    assert store.database.read("SELECT * FROM settings") == []
    with store.database.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('a', '1')")


def test_a_write_inside_a_write_is_refused_and_changes_nothing(store):
    with pytest.raises(RuntimeError, match="inside a write transaction already"), store.database.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('a', '1')")
        with store.database.write():
            pass

    assert store.database.read("SELECT * FROM settings") == []


def test_a_reader_sees_committed_rows_only_and_does_not_wait(store):
    with Store.open(store.path) as reader, store.database.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('a', '1')")

        assert reader.database.read("SELECT * FROM settings") == []

    assert len(store.database.read("SELECT * FROM settings")) == 1


def test_a_writer_that_waits_too_long_is_told_who_writes(store):
    other = Database(store.database.path, busy_timeout_s=0.05)

    with (
        store.database.write(),
        pytest.raises(WorkspaceBusyError, match="being written by another process"),
        other.write(),
    ):
        pass

    other.close()


def test_a_full_disk_is_named_and_leaves_the_database_whole(store):
    connection = store.database.connection()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    with (
        pytest.raises(WorkspaceError, match=r"the disk is full: the database .* free some space"),
        store.database.write() as writing,
    ):
        writing.execute("INSERT INTO settings VALUES ('big', ?)", ("x" * 100_000,))

    connection.execute("PRAGMA max_page_count = 1000000")
    with store.database.write() as writing:
        writing.execute("INSERT INTO settings VALUES ('big', ?)", ("x" * 100_000,))
    assert store.database.read("PRAGMA integrity_check")[0][0] == "ok"


def test_a_mistake_in_a_statement_is_not_blamed_on_the_workspace(store):
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        store.database.read("SELECT * FROM runns")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("SQLITE_IOERR_WRITE", "the disk reports an input/output error: the database"),
        ("SQLITE_READONLY_DIRECTORY", "cannot be written; check the permissions"),
        ("SQLITE_CANTOPEN", "cannot be opened; check the permissions"),
        ("SQLITE_CORRUPT_INDEX", "is damaged; run `pipelite doctor`"),
    ],
)
def test_failures_of_the_file_say_what_to_do(store, name, message):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = name

    assert message in str(explain(error, store.database.path))


def test_every_connection_is_set_up_alike(store):
    values = {
        name: store.database.read(f"PRAGMA {name}")[0][0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "wal_autocheckpoint")
    }

    assert values == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
        "wal_autocheckpoint": 0,
    }


def test_a_large_log_is_copied_into_the_database(store, monkeypatch):
    monkeypatch.setattr(database_module, "CHECKPOINT_BYTES", 200_000)
    log = store.path / "pipelite.db-wal"
    for number in range(40):
        with store.database.write() as connection:
            connection.execute("INSERT INTO settings VALUES (?, ?)", (str(number), "x" * 20_000))

    assert log.stat().st_size < 500_000
    assert (store.path / "pipelite.db").stat().st_size > 400_000


def test_the_log_is_small_again_after_it_was_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(database_module, "CHECKPOINT_BYTES", 200_000)
    with Store.open(tmp_path / ".pipelite") as store:
        for number in range(40):
            with store.database.write() as connection:
                connection.execute("INSERT INTO settings VALUES (?, ?)", (str(number), "x" * 20_000))
        with store.database.write() as connection:
            connection.execute("DELETE FROM settings WHERE name = '1'")

        # Else each later write would find it large, and copy it again.
        assert (store.path / "pipelite.db-wal").stat().st_size < 200_000


def test_the_log_starts_anew_though_readers_never_rest_all_at_once(store, monkeypatch):
    monkeypatch.setattr(database_module, "CHECKPOINT_BYTES", 200_000)
    monkeypatch.setattr(database_module, "EMPTY_BYTES", 400_000)
    is_over, turns = threading.Event(), [threading.Event(), threading.Event()]

    def read(own, other):
        # Each begins to read before the other one ends.
        connection = store.database.connection()
        while not is_over.is_set():
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM settings").fetchall()
            other.set()
            own.wait(1)
            own.clear()
            connection.execute("COMMIT")
        other.set()

    readers = [threading.Thread(target=read, args=pair) for pair in (turns, turns[::-1])]
    for reader in readers:
        reader.start()
    largest = 0
    for number in range(200):
        with store.database.write() as connection:
            connection.execute("INSERT INTO settings VALUES (?, ?)", (str(number), "x" * 20_000))
        largest = max(largest, (store.path / "pipelite.db-wal").stat().st_size)
    is_over.set()
    for reader in readers:
        reader.join()

    assert largest < 1_000_000


def test_who_reads_for_long_makes_others_wait_once(store, monkeypatch):
    monkeypatch.setattr(database_module, "CHECKPOINT_BYTES", 200_000)
    monkeypatch.setattr(database_module, "EMPTY_BYTES", 400_000)
    monkeypatch.setattr(database_module, "EMPTY_WAIT_S", 0.3)
    waits = []
    empty_log = store.database._empty_log
    monkeypatch.setattr(
        store.database, "_empty_log", lambda connection: waits.append(empty_log(connection)) or waits[-1]
    )
    reader = connect(store.database.path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM settings").fetchall()

    for number in range(40):
        with store.database.write() as connection:
            connection.execute("INSERT INTO settings VALUES (?, ?)", (str(number), "x" * 20_000))

    assert waits == [False, False]
    reader.execute("COMMIT")
    reader.close()
    with store.database.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('last', ?)", ("x" * 1_000_000,))
    assert waits[2:] == [True]
    assert (store.path / "pipelite.db-wal").stat().st_size == 0


def test_only_one_process_at_a_time_copies_the_log(store, monkeypatch):
    monkeypatch.setattr(database_module, "CHECKPOINT_BYTES", 0)
    before = (store.path / "pipelite.db").read_bytes()
    other = Database(store.database.path)

    assert other._checkpoint_lock.acquire(exclusive=True)
    with store.database.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('a', '1')")
    assert (store.path / "pipelite.db").read_bytes() == before

    other.close()
    other._checkpoint_lock.release()
    with store.database.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('b', '1')")
    assert (store.path / "pipelite.db").read_bytes() != before


FORKS = """
import os, sys
from pipelite.store import Store

store = Store.open(sys.argv[1])
with store.database.write() as connection:
    connection.execute("INSERT INTO settings VALUES ('parent', '1')")
owner = store.owner.name
child = os.fork()
if child == 0:
    with store.database.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('child', '1')")
    os._exit(0 if store.owner.name != owner else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert store.owner.name == owner
print(*[row["name"] for row in store.database.read("SELECT name FROM settings ORDER BY name")])
"""


def test_a_forked_child_uses_connections_and_locks_of_its_own(tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", FORKS, str(tmp_path / "ws")], capture_output=True, text=True, check=False
    )

    assert (found.stdout.split(), found.stderr) == (["child", "parent"], "")


def test_a_connection_survives_that_others_open_and_close_the_workspace(store):
    for _ in range(3):
        Store.open(store.path).close()

    with store.database.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('a', '1')")
    raw = connect(store.database.path)
    assert raw.execute("SELECT count(*) FROM settings").fetchone()[0] == 1
    raw.close()
