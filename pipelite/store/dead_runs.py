"""What becomes of the runs of an owner that is gone, and of what their workers had logged by then."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from pipelite.store.claims import remove_void_claims
from pipelite.store.owners import clear_after, is_alive, read_failures
from pipelite.store.rows import now_text, to_json
from pipelite.store.schema import OPEN_RUNS, STEP_RUNS_PER_RUN
from pipelite.store.statements import INSERT_METRIC, INSERT_RECOVERED, UPSERT_ARTIFACT
from pipelite.store.workspace import Store

Row = tuple[Any, ...]

_GONE = "the process that ran it ended before the run did; `pipelite runs resume {id}` continues it"


@attrs.frozen(kw_only=True)
class LeftRun:
    """A run without a living owner, whose workers may have logged more than was stored."""

    id: str
    number: int
    #: Spool file to the bytes of it that are stored already.
    spools: Mapping[str, int]


@attrs.frozen(kw_only=True)
class Recovered:
    """What the spools of a run held beyond what was stored; rows in the orders of the schema's columns."""

    #: Of steps that had been started; they count only where no end of the step is stored.
    step_runs: tuple[Row, ...] = ()
    metrics: tuple[Row, ...] = ()
    artifacts: tuple[Row, ...] = ()
    tags: Mapping[str, str] = attrs.field(factory=dict)
    #: Spool file to the bytes of it that are stored from now on.
    spools: Mapping[str, int] = attrs.field(factory=dict)


#: Reads what a run left in its spools; called inside the transaction that stores it, so that nothing is stored twice.
Recover = Callable[[LeftRun], Recovered]


def find_dead_runs(store: Store) -> list[sqlite3.Row]:
    """Return id, number and owner of the runs whose owner is gone."""
    rows = store.database.read(f"SELECT id, number, owner FROM runs WHERE {OPEN_RUNS} AND owner IS NOT NULL")
    if not rows:
        return []
    dead = {owner for owner in {row["owner"] for row in rows} if not is_alive(store.path, owner)}
    return [row for row in rows if row["owner"] in dead]


def close_dead_runs(store: Store, *, recover: Recover | None = None) -> list[str]:
    """Mark the runs whose owner is gone as interrupted, and return their ids.

    Parameters
    ----------
    recover : callable, optional
        Gives what a run logged and its owner had no time to store.
    """
    dead = find_dead_runs(store)
    if not dead:
        return []
    # An owner that met a full disk may have had no other way to say so.
    failures: dict[str, str] = {}
    for owner in {run["owner"] for run in dead}:
        failures.update(read_failures(store.path, owner))
    with store.database.write() as connection:
        closed = [run["id"] for run in dead if _close(connection, run, failures.get(run["id"]), recover)]
        remove_void_claims(connection)
    for owner in {run["owner"] for run in dead}:
        clear_after(store.path, owner)
    return closed


def recover_ended_run(store: Store, run_id: str, recover: Recover) -> bool:
    """Store what a run logged that ended without time to store it; false if it is running."""
    with store.database.write() as connection:
        row = connection.execute(
            f"SELECT id, number, spools FROM runs WHERE id = ? AND NOT ({OPEN_RUNS})", (run_id,)
        ).fetchone()
        if row is not None:
            _store_recovered(connection, row, recover)
    return row is not None


def _close(connection: sqlite3.Connection, run: sqlite3.Row, failure: str | None, recover: Recover | None) -> bool:
    # Without an owner in the row, one that was wrongly taken for dead is stopped at its next write.
    row = connection.execute(
        "UPDATE runs SET status = ?, owner = NULL, error = ?, ended_at = ? "
        f"WHERE id = ? AND owner = ? AND {OPEN_RUNS} RETURNING id, number, spools",
        (
            "failed" if failure else "interrupted",
            failure or _GONE.format(id=run["id"]),
            now_text(),
            run["id"],
            run["owner"],
        ),
    ).fetchone()
    if row is None:
        return False
    if recover is not None:
        _store_recovered(connection, row, recover)
    first = run["number"] * STEP_RUNS_PER_RUN
    connection.execute(
        "UPDATE step_runs SET status = 'interrupted', ended_at = ? WHERE id BETWEEN ? AND ? AND status = 'running'",
        (now_text(), first, first + STEP_RUNS_PER_RUN - 1),
    )
    return True


def _store_recovered(connection: sqlite3.Connection, row: sqlite3.Row, recover: Recover) -> None:
    found = recover(LeftRun(id=row["id"], number=row["number"], spools=json.loads(row["spools"])))
    connection.executemany(INSERT_RECOVERED, found.step_runs)
    connection.executemany(UPSERT_ARTIFACT, found.artifacts)
    connection.executemany(INSERT_METRIC, found.metrics)
    connection.execute(
        "UPDATE runs SET spools = ?, tags = json_patch(tags, ?) WHERE id = ?",
        (to_json(dict(found.spools)), to_json(dict(found.tags)), row["id"]),
    )
