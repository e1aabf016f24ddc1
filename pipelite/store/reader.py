"""Reading runs, step runs, metrics and code."""

from __future__ import annotations

import json
import zlib
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from pipelite.errors import NotFoundError
from pipelite.records import ArtifactRef, CodeFingerprint, GrowthRecord, MetricRecord, RunRecord, Status, StepRunRecord
from pipelite.store.rows import decode_outputs, metric_from_row, run_from_row, step_run_from_row, to_text
from pipelite.store.schema import STEP_RUN_COLUMNS, STEP_RUNS_PER_RUN
from pipelite.store.workspace import Store

_OF_ORIGIN = {"outputs": "coalesce(origin.outputs, step_runs.outputs)", "form": "coalesce(origin.form, step_runs.form)"}
_STEP_RUNS = (
    "SELECT "
    + ", ".join(f'{_OF_ORIGIN.get(column, f"""step_runs."{column}" """)} AS "{column}"' for column in STEP_RUN_COLUMNS)
    + " FROM step_runs LEFT JOIN step_runs AS origin ON origin.id = step_runs.computed_by"
)
_OUTPUTS = (
    f"SELECT step_runs.name, {_OF_ORIGIN['outputs']}, {_OF_ORIGIN['form']} "
    "FROM step_runs LEFT JOIN step_runs AS origin ON origin.id = step_runs.computed_by"
)


def get_run(store: Store, name: str | None = None) -> RunRecord:
    """Return a run by its id, or by the beginning or end of it; the newest for None and "last".

    Raises
    ------
    NotFoundError
        If there is none, or several; the message lists some.
    """
    if name is None or name == "last":
        rows = store.database.read("SELECT * FROM runs ORDER BY number DESC LIMIT 1")
        if not rows:
            raise NotFoundError(f"the workspace {store.path} has no runs yet")
        return run_from_row(rows[0])
    rows = store.database.read("SELECT * FROM runs WHERE id = ?", (name,))
    if not rows:
        rows = store.database.read(
            "SELECT * FROM runs WHERE substr(id, 1, :length) = :name OR substr(id, -:length) = :name "
            "ORDER BY number DESC LIMIT 6",
            {"name": name, "length": max(len(name), 1)},
        )
    if len(rows) == 1:
        return run_from_row(rows[0])
    if rows:
        ids = ", ".join(row["id"] for row in rows[:5]) + (", ..." if len(rows) > 5 else "")
        raise NotFoundError(f"{name!r} may be several runs: {ids}; give more of the id")
    raise NotFoundError(f"there is no run {name!r}; {_near_runs(store, name)}")


def _near_runs(store: Store, name: str) -> str:
    ids = [row["id"] for row in store.database.read("SELECT id FROM runs ORDER BY number DESC LIMIT 1000")]
    if not ids:
        return f"the workspace {store.path} has no runs yet"
    near = _near(name, ids)
    return f"did you mean {', '.join(near)}?" if near else f"the newest is {ids[0]}"


def _near(name: str, names: Iterable[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(name, list(names), n=3)


def list_runs(
    store: Store,
    *,
    pipeline: str | None = None,
    experiment: str | None = None,
    status: Status | None = None,
    since: datetime | None = None,
    limit: int | None = 50,
) -> list[RunRecord]:
    """Return runs, newest first; those that match everything that is given."""
    conditions = {
        "pipeline = :pipeline": pipeline,
        "experiment = :experiment": experiment,
        "status = :status": None if status is None else status.value,
        "created_at >= :since": to_text(since),
    }
    chosen = [condition for condition, value in conditions.items() if value is not None]
    where = f" WHERE {' AND '.join(chosen)}" if chosen else ""
    values = {condition.partition(":")[2]: value for condition, value in conditions.items()}
    rows = store.database.read(
        f"SELECT * FROM runs{where} ORDER BY number DESC LIMIT :limit",
        {**values, "limit": -1 if limit is None else limit},
    )
    return [run_from_row(row) for row in rows]


def get_parameters_pickle(store: Store, run_id: str) -> bytes | None:
    """Return the pickled parameter values of a run; None if it has none."""
    rows = store.database.read("SELECT parameters_pickle FROM runs WHERE id = ?", (run_id,))
    return rows[0][0] if rows else None


def get_run_sources(store: Store, run_id: str) -> dict[str, str]:
    """Return the own source files of a run: relative path to digest."""
    rows = store.database.read("SELECT sources FROM runs WHERE id = ?", (run_id,))
    return dict(json.loads(rows[0][0])) if rows else {}


def is_cancel_requested(store: Store, run_id: str) -> bool:
    """Whether someone asked for the run to be canceled."""
    rows = store.database.read("SELECT cancel_requested FROM runs WHERE id = ?", (run_id,))
    return bool(rows and rows[0][0])


def get_step_runs(store: Store, run_id: str) -> list[StepRunRecord]:
    """Return the step runs of a run in the order of its graph; a reused one with the outputs it reuses."""
    bounds = _step_run_ids(store, run_id)
    rows = store.database.read(f"{_STEP_RUNS} WHERE step_runs.id BETWEEN ? AND ? ORDER BY step_runs.id", bounds)
    step_runs = [step_run_from_row(row) for row in rows]
    return _in_graph_order(step_runs, get_growth(store, run_id))


def _in_graph_order(step_runs: list[StepRunRecord], growth: list[GrowthRecord]) -> list[StepRunRecord]:
    """Those that an expander added later stand where it stands."""
    blocks = sorted((each.value["first"], each.position) for each in growth if each.kind == "made")
    if not blocks:
        return step_runs
    starts = [first for first, _ in blocks]
    places: dict[int, tuple[int, ...]] = {}

    def place_of(position: int) -> tuple[int, ...]:
        block = bisect_right(starts, position) - 1
        if block < 0:
            return (position,)
        expander = blocks[block][1]
        if expander not in places:
            places[expander] = place_of(expander)
        return (*places[expander], position)

    return sorted(step_runs, key=lambda each: place_of(each.position))


def get_growth(store: Store, run_id: str) -> list[GrowthRecord]:
    """Return what the expanders of a run did and were told, in order."""
    rows = store.database.read("SELECT position, kind, value FROM growth WHERE run_id = ? ORDER BY id", (run_id,))
    return [GrowthRecord(position=row[0], kind=row[1], value=json.loads(row[2])) for row in rows]


def count_logged(store: Store, number: int) -> dict[int, int]:
    """Return how many numbers and texts the steps of a run logged under their own step run, by their position."""
    first = number * STEP_RUNS_PER_RUN
    rows = store.database.read(
        "SELECT step_run_id - ?, count(*) FROM metrics WHERE step_run_id BETWEEN ? AND ? AND kind = 'scalar' "
        "GROUP BY step_run_id",
        (first, first, first + STEP_RUNS_PER_RUN - 1),
    )
    return dict(map(tuple, rows))


def get_logged(store: Store, step_run_id: int) -> list[tuple[str, Any, int | None]]:
    """Return name, value and step number of the numbers and texts that a step run shows, in the order of logging."""
    rows = store.database.read(
        "SELECT metrics.name, metrics.value, metrics.step FROM step_runs "
        "JOIN metrics ON metrics.step_run_id = coalesce(step_runs.computed_by, step_runs.id) "
        "WHERE step_runs.id = ? AND metrics.kind = 'scalar' ORDER BY metrics.id",
        (step_run_id,),
    )
    return [(row[0], json.loads(row[1]), row[2]) for row in rows]


def get_step_run(store: Store, run_id: str, name: str) -> StepRunRecord:
    """Return one step run by the name of its node.

    Raises
    ------
    NotFoundError
        If the run has no such step; the message names similar ones.
    """
    bounds = _step_run_ids(store, run_id)
    rows = store.database.read(
        f"{_STEP_RUNS} WHERE step_runs.id BETWEEN ? AND ? AND step_runs.name = ?", (*bounds, name)
    )
    if rows:
        return step_run_from_row(rows[0])
    names = [
        row["name"]
        for row in store.database.read("SELECT name FROM step_runs WHERE id BETWEEN ? AND ? ORDER BY id", bounds)
    ]
    known = _near(name, names) or names[:5]
    hint = f"it has {', '.join(known)}" if known else "it has no steps yet"
    raise NotFoundError(f"run {run_id} has no step {name!r}; {hint}")


def get_stored_outputs(
    store: Store, run_id: str, names: Collection[str]
) -> dict[str, tuple[dict[str, ArtifactRef], str]]:
    """Return outputs by name, and the form they were returned in, of some steps of a run.

    Raises
    ------
    NotFoundError
        If the run has no such step.
    """
    bounds = _step_run_ids(store, run_id)
    # One look at all rows of the run: names have no index.
    rows = store.database.read(f"{_OUTPUTS} WHERE step_runs.id BETWEEN ? AND ?", bounds)
    found = {name: (decode_outputs(outputs), form) for name, outputs, form in rows if name in names}
    for name in names:
        if name not in found:
            record = get_step_run(store, run_id, name)
            found[name] = dict(record.outputs), record.form
    return found


def get_origin(store: Store, step_run: StepRunRecord) -> StepRunRecord:
    """Return the step run that computed what this one reused; itself if it reused nothing."""
    return step_run if step_run.computed_by is None else get_step_run_by_id(store, step_run.computed_by)


def get_step_run_by_id(store: Store, step_run_id: int) -> StepRunRecord:
    """Return a step run by its number, as `computed_by` and results name it."""
    rows = store.database.read(f"{_STEP_RUNS} WHERE step_runs.id = ?", (step_run_id,))
    if not rows:
        raise NotFoundError(f"step run {step_run_id} is no longer stored")
    return step_run_from_row(rows[0])


def get_previous_step_run(store: Store, step_run: StepRunRecord) -> StepRunRecord | None:
    """Return the last step run of the same name in earlier runs of the same pipeline, if it got as far as a key."""
    return get_previous_step_runs(store, step_run.run_id, [step_run.name]).get(step_run.name)


def get_previous_step_runs(
    store: Store, run_id: str, names: Iterable[str], *, n_runs: int = 50
) -> dict[str, StepRunRecord]:
    """Return the last step runs of some names in earlier runs of the same pipeline, of those that got as far as a key.

    Parameters
    ----------
    n_runs : int
        How many earlier runs are looked at; most names are met in the first.
    """
    wanted = set(names)
    earlier = store.database.read(
        "SELECT runs.number FROM runs JOIN runs AS this ON this.id = ? "
        "WHERE runs.pipeline = this.pipeline AND runs.number < this.number ORDER BY runs.number DESC LIMIT ?",
        (run_id, n_runs),
    )
    found: dict[str, StepRunRecord] = {}
    for row in earlier:
        if not wanted:
            break
        for step_run in _with_key(store, row["number"], wanted):
            found[step_run.name] = step_run
            wanted.discard(step_run.name)
    return found


def _with_key(store: Store, number: int, names: set[str]) -> list[StepRunRecord]:
    first = number * STEP_RUNS_PER_RUN
    sql = f"{_STEP_RUNS} WHERE step_runs.id BETWEEN ? AND ? AND step_runs.key IS NOT NULL"
    bounds: tuple[Any, ...] = (first, first + STEP_RUNS_PER_RUN - 1)
    if len(names) == 1:
        rows = store.database.read(f"{sql} AND step_runs.name = ?", (*bounds, *names))
    else:
        rows = [row for row in store.database.read(sql, bounds) if row["name"] in names]
    return [step_run_from_row(row) for row in rows]


def get_metrics(store: Store, run_id: str) -> list[MetricRecord]:
    """Return what the steps of a run logged, in the order of logging; of a reused one what its origin logged."""
    rows = store.database.read(
        "SELECT step_runs.name AS step_run, metrics.name, metrics.kind, metrics.step, metrics.value, metrics.logged_at "
        "FROM step_runs JOIN metrics ON metrics.step_run_id = coalesce(step_runs.computed_by, step_runs.id) "
        "WHERE step_runs.id BETWEEN ? AND ? ORDER BY metrics.id, step_runs.id",
        _step_run_ids(store, run_id),
    )
    return [metric_from_row(row) for row in rows]


def get_code(store: Store, digest: str) -> CodeFingerprint:
    """Return what a step's code was made of."""
    rows = store.database.read("SELECT * FROM code WHERE digest = ?", (digest,))
    if not rows:
        raise NotFoundError(f"no code with the digest {digest} is stored")
    row = rows[0]
    return CodeFingerprint(
        digest=digest,
        parts=json.loads(row["parts"]),
        not_tracked=tuple(json.loads(row["not_tracked"])),
        sources=json.loads(row["sources"]),
    )


def get_source(store: Store, digest: str) -> bytes:
    """Return the text of an own source file as it was when a run used it."""
    rows = store.database.read("SELECT content FROM sources WHERE digest = ?", (digest,))
    if not rows:
        raise NotFoundError(f"no source file with the digest {digest} is stored")
    return zlib.decompress(rows[0]["content"])


def find_known(store: Store, table: str, digests: Sequence[str]) -> set[str]:
    """Return which digests of "code" or "sources" are stored already."""
    if table not in ("code", "sources"):
        raise ValueError(f"{table!r} is neither 'code' nor 'sources'")
    rows = store.database.read(
        f"SELECT digest FROM {table} WHERE digest IN (SELECT value FROM json_each(?))", (json.dumps(list(digests)),)
    )
    return {row["digest"] for row in rows}


def _step_run_ids(store: Store, run_id: str) -> tuple[int, int]:
    """First and last id that step runs of a run can have."""
    rows = store.database.read("SELECT number FROM runs WHERE id = ?", (run_id,))
    if not rows:
        raise NotFoundError(f"there is no run {run_id!r}; `pipelite runs list` shows what there is")
    first = rows[0]["number"] * STEP_RUNS_PER_RUN
    return first, first + STEP_RUNS_PER_RUN - 1
