"""What becomes of the runs of an owner that is gone."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

from pipelite.store.claims import remove_void_claims
from pipelite.store.owners import is_alive, owner_path
from pipelite.store.rows import now_text
from pipelite.store.schema import OPEN_RUNS, STEP_RUNS_PER_RUN
from pipelite.store.statements import INSERT_METRIC
from pipelite.store.workspace import Store

_GONE = "the process that ran it ended before the run did"


def find_dead_runs(store: Store) -> list[sqlite3.Row]:
    """Return id, number and owner of the runs whose owner is gone."""
    rows = store.database.read(f"SELECT id, number, owner FROM runs WHERE {OPEN_RUNS} AND owner IS NOT NULL")
    if not rows:
        return []
    dead = {owner for owner in {row["owner"] for row in rows} if not is_alive(store.path, owner)}
    return [row for row in rows if row["owner"] in dead]


def close_dead_runs(
    store: Store, *, recover_metrics: Callable[[str], Iterable[tuple[Any, ...]]] | None = None
) -> list[str]:
    """Mark the runs whose owner is gone as interrupted, and return their ids.

    Parameters
    ----------
    recover_metrics : callable, optional
        Gives the rows (see METRIC_COLUMNS) that a run logged and its owner had no time to store.
    """
    dead = find_dead_runs(store)
    if not dead:
        return []
    logged = {run["id"]: list(recover_metrics(run["id"])) if recover_metrics else [] for run in dead}
    with store.database.write() as connection:
        closed = [run["id"] for run in dead if _close(connection, run, logged[run["id"]])]
        remove_void_claims(connection)
    for owner in {run["owner"] for run in dead}:
        owner_path(store.path, owner).unlink(missing_ok=True)
    return closed


def _close(connection: sqlite3.Connection, run: sqlite3.Row, logged: list[tuple[Any, ...]]) -> bool:
    # Without an owner in the row, one that was wrongly taken for dead is stopped at its next write.
    changed = connection.execute(
        f"UPDATE runs SET status = 'interrupted', owner = NULL, error = ? WHERE id = ? AND owner = ? AND {OPEN_RUNS}",
        (_GONE, run["id"], run["owner"]),
    ).rowcount
    if not changed:
        return False
    first = run["number"] * STEP_RUNS_PER_RUN
    connection.execute(
        "UPDATE step_runs SET status = 'interrupted', ended_at = ? WHERE id BETWEEN ? AND ? AND status = 'running'",
        (now_text(), first, first + STEP_RUNS_PER_RUN - 1),
    )
    connection.executemany(INSERT_METRIC, logged)
    return True
