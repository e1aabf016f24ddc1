"""The doctor: sees what is wrong, names the way out, and puts right what can be."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from pipelite.records import RESULT, Status
from pipelite.store import RunWriter, Store, create_run, encode_outputs, get_run, now_text, size_text, step_run_id
from pipelite.store.doctor import Level, _examine_sqlite, examine, iter_damaged, repair
from pipelite.store.schema import STEP_RUN_COLUMNS


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "ws") as opened:
        yield opened


def unhashable(value):
    """Identify a value by its text: enough for what is stored here."""
    return f"test:{value!r}"


def keep(store, value, key):
    """Store a value as the only output of a run of one step, as a run does."""
    ref = store.artifacts.put(value, output=RESULT, step="make", identify=unhashable)
    run = create_run(store, pipeline="train", owner=store.owner.name)
    row = {
        **dict.fromkeys(STEP_RUN_COLUMNS),
        "id": step_run_id(run.number, 0),
        "run_id": run.id,
        "position": 0,
        "name": "make",
        "step": "flow.make",
        "status": "completed",
        "key": key,
        "inputs": "{}",
        "after": "[]",
        "outputs": encode_outputs({RESULT: ref}),
        "form": "value",
        "attempts": 1,
        "reads": "{}",
    }
    artifact = (
        ref.digest,
        ref.kind,
        ref.path,
        ref.size_bytes,
        ref.mtime_ns,
        ref.file_digest,
        ref.type_name,
        now_text(),
    )
    RunWriter(store, run.id, store.owner.name).commit(
        step_runs=[tuple(row.values())],
        results=[(key, "", row["id"])],
        artifacts=[artifact],
        status=Status.COMPLETED,
    )
    return ref


def finding(store, name, **options):
    return next(found for found in examine(store, **options) if found.name == name)


def overwrite(path, content):
    """Change bytes, and leave size and time as they are: what a bad disk does."""
    status = path.stat()
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_sound_workspace_has_no_findings_but_an_old_sqlite(store):
    keep(store, {1, 2, 3}, "a")

    findings = examine(store, deep=True)

    assert [found.name for found in findings if found.level is not Level.OK and found.name != "sqlite"] == []
    assert {found.name for found in findings} >= {"database", "links", "schema", "artifacts", "sizes", "versions"}
    assert "blake3" in finding(store, "versions").message
    assert "artifacts " in finding(store, "sizes").message


@pytest.mark.parametrize(
    ("version", "level"), [((3, 40, 1), Level.WARNING), ((3, 51, 2), Level.WARNING), ((3, 51, 3), Level.OK)]
)
def test_an_sqlite_that_can_damage_files_is_a_warning(version, level):
    assert _examine_sqlite(version).level is level


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 KB"),
        (999_960, "1.0 MB"),
        (1_234_000_000, "1.2 GB"),
        (5_000_000_000_000, "5.0 TB"),
    ],
)
def test_sizes_are_given_in_the_unit_that_suits(n_bytes, text):
    assert size_text(n_bytes) == text


def test_a_missing_artifact_is_found_and_what_needs_it_is_computed_again(store):
    ref = keep(store, {1, 2, 3}, "a")
    keep(store, {4, 5, 6}, "b")
    store.artifacts.path(ref).unlink()

    found = finding(store, "artifacts")
    assert (found.level, ref.path in found.message) == (Level.ERROR, True)
    [done] = repair(store)

    assert done == "1 damaged artifacts removed; 1 results will be computed again"
    assert set(store.find_results(["a", "b"])) == {"b"}
    assert finding(store, "artifacts").level is Level.OK
    assert repair(store) == []


def test_changed_bytes_of_the_same_size_and_time_are_found_by_the_deep_look_only(store):
    ref = keep(store, {1, 2, 3}, "a")
    path = store.artifacts.path(ref)
    overwrite(path, b"x" * ref.size_bytes)

    assert list(iter_damaged(store)) == []
    assert [damaged.path for damaged in iter_damaged(store, deep=True)] == [ref.path]

    repair(store, deep=True)

    assert store.find_results(["a"]) == {}
    assert not path.exists()
    again = keep(store, {1, 2, 3}, "a")
    assert store.artifacts.load(again) == {1, 2, 3}


def test_stale_temporary_files_are_removed_and_fresh_ones_are_not(store):
    stale, fresh, folder = (store.path / "tmp" / name for name in ("stale", "fresh", "folder"))
    stale.write_text("left behind")
    fresh.write_text("being written")
    folder.mkdir()
    (folder / "file").write_text("left behind")
    for path in (stale, folder):
        os.utime(path, (time.time() - 7200, time.time() - 7200))

    assert finding(store, "files").level is Level.WARNING
    assert repair(store) == ["2 stale files removed"]

    assert [path.name for path in (store.path / "tmp").iterdir()] == ["fresh"]
    assert finding(store, "files").level is Level.OK


OWNS = """
import sys
from pipelite.store import Store, create_run

store = Store.open(sys.argv[1])
print(create_run(store, pipeline="train", owner=store.owner.name).id, flush=True)
sys.stdin.read()
"""


def test_a_run_whose_process_was_killed_is_found_and_marked(store):
    process = subprocess.Popen(
        [sys.executable, "-c", OWNS, str(store.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    run_id = process.stdout.readline().strip()
    assert finding(store, "owners").level is Level.OK
    process.send_signal(signal.SIGKILL)
    process.communicate()

    found = finding(store, "owners")
    assert (found.level, run_id in found.message) == (Level.WARNING, True)
    assert repair(store) == [f"runs marked as interrupted: {run_id}"]

    assert get_run(store, run_id).status is Status.INTERRUPTED


def test_old_locks_of_owners_that_are_gone_are_removed_and_of_living_ones_are_not(store):
    living = store.path / "owners" / f"{store.owner.name}.lock"
    gone, old, young = (store.path / "owners" / name for name in ("gone.lock", "old.new", "young.new"))
    for path in (gone, old, young):
        path.write_text("{}")
    for path in (old, living):
        os.utime(path, (time.time() - 600, time.time() - 600))

    assert repair(store) == ["2 stale files removed"]

    assert set((store.path / "owners").iterdir()) == {living, young}


def test_a_missing_log_is_a_warning(store):
    keep(store, {1}, "a")
    with store.database.write() as connection:
        connection.execute("UPDATE step_runs SET log_file = 'gone/worker.log'")

    found = finding(store, "logs")

    assert (found.level, "1 of 1 files are missing" in found.message) == (Level.WARNING, True)


def test_rows_that_refer_to_missing_ones_are_an_error(store):
    with closing(sqlite3.connect(store.database.path)) as other:
        other.execute("PRAGMA foreign_keys = OFF")
        other.execute("INSERT INTO metrics VALUES (1, 99, 'a', 'scalar', NULL, '1', 'now')")
        other.commit()

    found = finding(store, "links")

    assert (found.level, "1 rows of metrics" in found.message) == (Level.ERROR, True)


def test_a_damaged_database_is_an_error(store):
    for number in range(200):
        keep_setting(store, str(number))
    store.database.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    root = store.database.read("SELECT rootpage FROM sqlite_schema WHERE name = 'settings'")[0][0]
    page_size = store.database.read("PRAGMA page_size")[0][0]
    with store.database.path.open("r+b") as file:
        file.seek((root - 1) * page_size)
        file.write(b"\xff" * 200)

    with Store.open(store.path) as again:
        found = finding(again, "database")

    assert (found.level, "restore a backup" in found.message) == (Level.ERROR, True)


def keep_setting(store, name):
    with store.database.write() as connection:
        connection.execute("INSERT INTO settings VALUES (?, ?)", (name, "x" * 500))
