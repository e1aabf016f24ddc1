"""A run goes on under a new owner, and keeps what was done under the earlier one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import attrs

from pipelite.errors import NotFoundError, ResumeError
from pipelite.records import RunRecord, Status
from pipelite.store.rows import now_text, run_from_row, to_json
from pipelite.store.schema import STEP_RUNS_PER_RUN
from pipelite.store.workspace import Store

#: States that `take_over` leads out of.
RESUMABLE = frozenset({Status.INTERRUPTED, Status.FAILED, Status.CANCELED})

#: Step runs that are done, and stay so.
_DONE = "status IN ('completed', 'reused')"

#: Positions of steps that failed or were stopped, and whose expander was told so and went on.
_BUILT_ON = (
    "SELECT json_extract(value, '$[0]') FROM growth "
    "WHERE run_id = ? AND kind = 'ended' AND json_extract(value, '$[1]') IN ('failed', 'canceled')"
)

_REPLACED = "the run was resumed with other code, inputs or results, and this step run is no part of it any more"


class EarlierStepRun(NamedTuple):
    """What a run that is continued holds of one step."""

    name: str
    key: str | None
    status: str
    #: As the store keeps them; None of a step that is not done.
    outputs: str | None
    form: str
    attempts: int
    duration_s: float | None


def check_resumable(record: RunRecord) -> None:
    """Make sure that a run has ended in a way from which it can go on.

    Raises
    ------
    ResumeError
        If it is running, waits to be run, or is complete.
    """
    if record.status in RESUMABLE:
        return
    if record.status is Status.COMPLETED:
        raise ResumeError(
            f"run {record.id} is completed: there is nothing left to do; `pipelite runs rerun {record.id}` runs it again",
            run_id=record.id,
        )
    raise ResumeError(
        f"run {record.id} is {record.status.value}, so it cannot be resumed; `pipelite runs wait {record.id}` waits for "
        "its end",
        run_id=record.id,
    )


def take_over(store: Store, run_id: str, owner: str, *, found: Status) -> RunRecord:
    """Make `owner` the owner of a run that has ended early; returns it as it was before.

    Of several who try at the same time exactly one gets it. `found` is the state in which it was when it was decided to
    go on with it: one that was canceled since stays so.

    Raises
    ------
    ResumeError
        If the run is not one that can be resumed, or not any more.
    """
    with store.database.write() as connection:
        row = connection.execute("SELECT * FROM runs WHERE id = ?", (run_id,)).fetchone()
        if row is None:
            raise NotFoundError(f"there is no run {run_id!r}; `pipelite runs list` shows what there is")
        record = run_from_row(row)
        check_resumable(record)
        if record.status is Status.CANCELED and found is not Status.CANCELED:
            raise ResumeError(
                f"run {run_id} was canceled just now; resume it again to go on all the same", run_id=run_id
            )
        connection.execute(
            "UPDATE runs SET status = 'running', owner = ?, spools = '{}', cancel_requested = 0, error = NULL, "
            "ended_at = NULL, duration_s = NULL, options = json_remove(options, '$.waits') WHERE id = ?",
            (owner, run_id),
        )
        first = record.number * STEP_RUNS_PER_RUN
        connection.execute(
            "UPDATE step_runs SET status = 'pending', ended_at = NULL, duration_s = NULL, error = NULL "
            f"WHERE id BETWEEN ? AND ? AND NOT ({_DONE}) AND position NOT IN ({_BUILT_ON})",
            (first, first + STEP_RUNS_PER_RUN - 1, run_id),
        )
    return attrs.evolve(record, status=Status.RUNNING, owner=owner, error=None)


def take_queued(
    store: Store, run_id: str, owner: str, *, parameters: Mapping[str, Any], parameters_pickle: bytes | None
) -> RunRecord:
    """Make `owner` the owner of a run that waits in the queue, and give it its parameters as they came out.

    Of several who try at the same time exactly one gets it.

    Raises
    ------
    ResumeError
        If it is not waiting, or not any more.
    """
    with store.database.write() as connection:
        row = connection.execute(
            "UPDATE runs SET status = 'running', owner = ?, started_at = ?, parameters = ?, parameters_pickle = ? "
            "WHERE id = ? AND status = 'queued' AND owner IS NULL RETURNING *",
            (owner, now_text(), to_json(dict(parameters)), parameters_pickle, run_id),
        ).fetchone()
    if row is None:
        raise ResumeError(f"run {run_id} does not wait in the queue any more", run_id=run_id)
    return run_from_row(row)


def get_earlier_step_runs(store: Store, number: int) -> dict[int, EarlierStepRun]:
    """Return what a run holds of its steps, by their position."""
    first = number * STEP_RUNS_PER_RUN
    rows = store.database.read(
        "SELECT step_runs.position, step_runs.name, step_runs.key, step_runs.status, "
        "coalesce(origin.outputs, step_runs.outputs), coalesce(origin.form, step_runs.form), step_runs.attempts, "
        "coalesce(origin.duration_s, step_runs.duration_s) "
        "FROM step_runs LEFT JOIN step_runs AS origin ON origin.id = step_runs.computed_by "
        "WHERE step_runs.id BETWEEN ? AND ?",
        (first, first + STEP_RUNS_PER_RUN - 1),
    )
    return {row[0]: EarlierStepRun(*row[1:]) for row in rows}


def set_aside(connection: sqlite3.Connection, step_run_ids: Iterable[int]) -> None:
    """Move step runs out of the way: others take their place in the graph, or they have none in it any more.

    Others may have reused them, and results refer to them: what they computed, logged and printed has to stay as it is.
    They get positions from the end, and a name that says which they were.
    """
    # Rows that refer to them follow by hand; they are looked at when the transaction ends.
    connection.execute("PRAGMA defer_foreign_keys = ON")
    new: int | None = None
    for old in step_run_ids:
        if connection.execute("SELECT id FROM step_runs WHERE id = ?", (old,)).fetchone() is None:
            continue
        # All are of one run.
        new = _free_from_end(connection, old // STEP_RUNS_PER_RUN) if new is None else new - 1
        connection.execute(
            "UPDATE step_runs SET id = :new, position = :new % :all, name = name || '~' || (:all - :new % :all), "
            f"reason = :reason, status = iif({_DONE}, status, 'canceled') WHERE id = :old",
            {"new": new, "old": old, "all": STEP_RUNS_PER_RUN, "reason": _REPLACED},
        )
        for table, column in (("step_runs", "computed_by"), ("results", "step_run_id"), ("metrics", "step_run_id")):
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (new, old))


def _free_from_end(connection: sqlite3.Connection, number: int) -> int:
    last = (number + 1) * STEP_RUNS_PER_RUN - 1
    lowest = last + 1
    for (taken,) in connection.execute(
        "SELECT id FROM step_runs WHERE id BETWEEN ? AND ? ORDER BY id DESC", (number * STEP_RUNS_PER_RUN, last)
    ):
        if taken != lowest - 1:
            break
        lowest = taken
    return lowest - 1
