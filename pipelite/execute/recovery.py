"""What workers logged, and an owner that is gone had no time to store: read from their spools when somebody notices."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelite.clock import CLOCK
from pipelite.execute.recording import artifact_row, from_epoch, metric_row
from pipelite.execute.spool import SpoolReader, read_mark
from pipelite.records import Status
from pipelite.store import (
    STEP_RUN_COLUMNS,
    LeftRun,
    Recovered,
    Store,
    clear_dead_owners,
    close_dead_runs,
    find_dead_runs,
    is_locked,
    now_text,
    recover_ended_run,
    remove_tree,
    step_run_id,
)

_ATTEMPTS, _LOG_FILE = STEP_RUN_COLUMNS.index("attempts"), STEP_RUN_COLUMNS.index("log_file")

#: Workers notice within a moment that their owner is gone, and leave; none is waited for longer than this.
WAIT_S = 0.8
_WAIT_POLL_S = 0.005


def recover_dead_runs(store: Store) -> list[str]:
    """Mark the runs whose owner is gone as interrupted, keep all that they logged, and return their ids.

    With nothing to do it costs one query and a look into two folders.
    """
    dead = [row["id"] for row in find_dead_runs(store)]
    left = os.listdir(store.path / "spool")
    if not dead and not left:
        clear_dead_owners(store.path)
        return []
    for run_id in dead:
        _wait_for_workers(store.path / "spool" / run_id)
    closed = close_dead_runs(store, recover=lambda run: _recover(store, run))
    for run_id in closed:
        _remove(store.path / "spool" / run_id)
    for run_id in _ended(store, [name for name in left if name not in closed]):
        # Its owner ended it without time for this: the disk was full, or it was killed at the very end.
        if recover_ended_run(store, run_id, lambda run: _recover(store, run)):
            _remove(store.path / "spool" / run_id)
    clear_dead_owners(store.path)
    return closed


def _ended(store: Store, names: list[str]) -> Iterator[str]:
    """Which of some spool folders are of runs that are not going on; those of no run at all are removed."""
    if not names:
        return
    rows = store.database.read(
        "SELECT id, status FROM runs WHERE id IN (SELECT value FROM json_each(?))", [json.dumps(names)]
    )
    found = {row["id"]: Status(row["status"]) for row in rows}
    for name in names:
        if name not in found:
            _remove(store.path / "spool" / name)
        elif found[name] not in (Status.QUEUED, Status.RUNNING, Status.CANCELING):
            yield name


def _wait_for_workers(folder: Path) -> None:
    """Wait until no worker can append to its spool any more: each holds a lock on its own."""
    until = CLOCK.monotonic() + WAIT_S
    for path in folder.glob("*.jsonl"):
        while is_locked(path) and CLOCK.monotonic() < until:
            CLOCK.sleep(_WAIT_POLL_S)


def _recover(store: Store, run: LeftRun) -> Recovered:
    """What the spools and marks of a run hold beyond what is stored."""
    metrics: list[tuple[Any, ...]] = []
    artifacts: list[tuple[Any, ...]] = []
    started: dict[int, tuple[Any, ...]] = {}
    tags: dict[str, str] = {}
    offsets = dict(run.spools)
    for path in sorted((store.path / "spool" / run.id).glob("*.jsonl")):
        name = f"{run.id}/{path.name}"
        reader = SpoolReader(path, offsets.get(name, 0))
        log_file = f"{run.id}/{path.stem}.log"
        for record in reader.read():
            position, kind = record["position"], record["kind"]
            if kind == "printed":
                started[position] = _started(
                    run, position, record["of"], record["attempt"], None, (log_file, record["start"], record["end"])
                )
                continue
            # The row that a metric belongs to has to be there first.
            started.setdefault(position, _started(run, position, record["of"], 1, record["at"]))
            if kind == "tag":
                tags[record["name"]] = record["value"]
                continue
            if kind in ("image", "file"):
                artifacts.append(artifact_row(record))
            metrics.append(metric_row(record, step_run_id(run.number, position)))
        offsets[name] = reader.offset
        mark = read_mark(path.with_suffix(".mark"))
        if mark is not None and not _is_known(started.get(mark.position), mark.attempt):
            size = _size_of(store.path / "logs" / log_file)
            started[mark.position] = _started(
                run,
                mark.position,
                mark.name,
                mark.attempt,
                from_epoch(mark.started_at),
                (log_file, mark.log_start, size),
            )
    return Recovered(
        step_runs=tuple(started.values()),
        metrics=tuple(metrics),
        artifacts=tuple(artifacts),
        tags=tags,
        spools=offsets,
    )


def _started(
    run: LeftRun,
    position: int,
    name: str,
    attempt: int,
    started_at: str | None,
    log: tuple[str | None, int | None, int | None] = (None, None, None),
) -> tuple[Any, ...]:
    """The row, in the order of STEP_RUN_COLUMNS, of a step that was started and of whose end nothing is known."""
    return (
        step_run_id(run.number, position),
        run.id,
        position,
        name,
        "",
        Status.INTERRUPTED.value,
        None,
        None,
        "{}",
        "[]",
        None,
        None,
        "value",
        None,
        None,
        attempt,
        started_at,
        now_text(),
        None,
        None,
        None,
        None,
        "{}",
        *log,
    )


def _is_known(row: tuple[Any, ...] | None, attempt: int) -> bool:
    """Whether a row tells where the output of an attempt is."""
    return row is not None and row[_LOG_FILE] is not None and row[_ATTEMPTS] >= attempt


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _remove(folder: Path) -> None:
    # Another process may be at the same.
    try:
        remove_tree(folder)
    except FileNotFoundError:
        return
