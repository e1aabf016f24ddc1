"""R2: eight processes write one workspace at once, and four read it.

That eight open one of an older schema at once, and one of them migrates it, is in tests/store/test_migrations.py.
"""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import time
from pathlib import Path

from limits import allowed

from pipelite.errors import PipeliteError
from pipelite.records import Status
from pipelite.store import NONE_REFUSED, RunWriter, Store, Wish, create_run, get_run, get_step_runs, now_text
from pipelite.store.schema import STEP_RUN_COLUMNS, step_run_id

N_PROCESSES = 8
N_READERS = 4
N_TRANSACTIONS = {"small": 500, "full": 10_000}
N_METRICS = 50


def write_many(folder: Path, seed: int, n_transactions: int, gate, results) -> None:
    """Open the workspace when all others do, and write to it in every way."""
    draw = random.Random(seed)
    gate.wait()
    times, problems = [], []
    began = time.monotonic()
    with Store.open(folder) as store:
        opened_s = time.monotonic() - began
        run = create_run(store, pipeline="writers", owner=store.owner.name)
        for number in range(n_transactions):
            kind = draw.randrange(4)
            began = time.monotonic()
            try:
                if kind == 3:
                    claim_and_release(store, run, number)
                write_once(store, run, number, with_metrics=kind == 0)
                times.append(time.monotonic() - began)
                look(store, run, number, at_all=kind == 2)
            except (PipeliteError, sqlite3.Error) as exc:
                problems.append(str(exc))
        with store.database.write() as connection:
            connection.execute("UPDATE runs SET status = 'completed', owner = NULL WHERE id = ?", (run.id,))
    results.put((opened_s, times, problems))


def write_once(store: Store, run, number: int, *, with_metrics: bool) -> None:
    """One transaction: a new row, a counter that is read and written, and sometimes a batch of metrics."""
    with store.database.write() as connection:
        row = dict.fromkeys(STEP_RUN_COLUMNS) | {
            "id": step_run_id(run.number, number),
            "run_id": run.id,
            "position": number,
            "name": f"step-{number}",
            "step": "m.step",
            "status": Status.COMPLETED.value,
            "inputs": "{}",
            "after": "[]",
            "form": "value",
            "attempts": 1,
            "reads": "{}",
        }
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO step_runs VALUES ({marks})", tuple(row.values()))
        [value] = connection.execute("SELECT value FROM settings WHERE name = 'counter'").fetchone() or [None]
        connection.execute(
            "INSERT INTO settings VALUES ('counter', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (str(int(value or 0) + 1),),
        )
        if with_metrics:
            connection.executemany(
                "INSERT INTO metrics (step_run_id, name, kind, step, value, logged_at) VALUES (?, 'm', 'scalar', ?, '1', ?)",
                [(row["id"], part, now_text()) for part in range(N_METRICS)],
            )


def claim_and_release(store: Store, run, number: int) -> None:
    """What a coordinator does before it sends a step; only one of all processes can have the key."""
    writer = RunWriter(store, run.id, store.owner.name)
    wish = Wish(f"key-{number % 5}", step_run_id(run.number, number), "m.step")
    refusals = writer.claim([wish])
    if refusals is NONE_REFUSED:
        with store.database.write() as connection:
            gone = connection.execute(
                "DELETE FROM claims WHERE key = ? AND step_run_id = ?", (wish.key, wish.step_run_id)
            )
            assert gone.rowcount == 1
    else:
        assert set(refusals.held) == {wish.key}


def read_all(folder: Path, gate, is_over, results) -> None:
    """Look at everything again and again while the others write: what is seen is whole, and only grows."""
    gate.wait()
    times, problems, seen = [], [], (0, 0)
    with Store.open(folder) as store:
        # On a busy machine all may be over before it has looked once.
        while not is_over.is_set() or not (times or problems):
            began = time.monotonic()
            try:
                [row] = store.database.read(
                    "SELECT (SELECT count(*) FROM step_runs) AS steps, (SELECT count(*) FROM metrics) AS metrics, "
                    "(SELECT value FROM settings WHERE name = 'counter') AS counter"
                )
            except (PipeliteError, sqlite3.Error) as exc:
                problems.append(str(exc))
                continue
            times.append(time.monotonic() - began)
            if row["metrics"] % N_METRICS or int(row["counter"] or 0) != row["steps"]:
                problems.append(f"half of a transaction was seen: {tuple(row)}")
            if (row["steps"], row["metrics"]) < seen:
                problems.append(f"{tuple(row)} was seen after {seen}")
            seen = row["steps"], row["metrics"]
            # Not to take the processor from those that are measured.
            time.sleep(0.02)
    results.put((times, problems))


def look(store: Store, run, number: int, *, at_all: bool) -> None:
    """What was written is there; to read all of it takes its time."""
    assert get_run(store, run.id).status is Status.RUNNING
    if at_all and number % 50 == 0:
        assert len(get_step_runs(store, run.id)) == number + 1


def test_eight_processes_write_at_once_and_nothing_is_lost_or_refused(workspace, size, seed, figures):
    spawn = multiprocessing.get_context("spawn")
    gate, results = spawn.Barrier(N_PROCESSES + N_READERS), spawn.Queue()
    is_over, seen = spawn.Event(), spawn.Queue()
    n_transactions = N_TRANSACTIONS[size]
    processes = [
        spawn.Process(target=write_many, args=(workspace, seed + number, n_transactions, gate, results))
        for number in range(N_PROCESSES)
    ]

    readers = [spawn.Process(target=read_all, args=(workspace, gate, is_over, seen)) for _ in range(N_READERS)]

    for process in (*processes, *readers):
        process.start()
    outcomes = [results.get(timeout=600) for _ in processes]
    is_over.set()
    looks = [seen.get(timeout=60) for _ in readers]
    for process in (*processes, *readers):
        process.join()

    assert [process.exitcode for process in (*processes, *readers)] == [0] * (N_PROCESSES + N_READERS)
    assert [problem for _, problems in looks for problem in problems] == []
    assert all(times for times, _ in looks)
    assert [problem for _, _, problems in outcomes for problem in problems] == []
    wanted = N_PROCESSES * n_transactions
    with Store.open(workspace) as store:
        read = store.database.read
        assert read("SELECT count(*) FROM step_runs")[0][0] == wanted
        assert read("SELECT count(*) FROM claims")[0][0] == 0
        assert read("SELECT value FROM settings WHERE name = 'counter'")[0][0] == str(wanted)
        metrics = read("SELECT count(*), count(DISTINCT step_run_id) FROM metrics")[0]
        assert metrics[0] == N_METRICS * metrics[1]
        assert read("PRAGMA integrity_check")[0][0] == "ok"
        assert store.database.path.with_name("pipelite.db-wal").stat().st_size <= 64 * 2**20
    times = sorted(took_s for _, times, _ in outcomes for took_s in times)
    # With the small size, whatever else runs decides.
    assert times[-1] <= allowed({"small": 20.0, "full": 2.0}[size])
    assert times[len(times) * 99 // 100] <= allowed({"small": 2.0, "full": 0.1}[size])
    figures["transactions"] = wanted
    figures["looks of four readers"] = sum(len(times) for times, _ in looks)
    figures["slowest first opening"] = f"{max(opened_s for opened_s, _, _ in outcomes):.2f} s"
    figures["99 % within"] = f"{1000 * times[len(times) * 99 // 100]:.0f} ms"
    figures["worst"] = f"{1000 * times[-1]:.0f} ms"
