"""Runs as their owner would have recorded them, without running anything."""

from __future__ import annotations

import json

import pytest

from pipelite.records import RESULT, ArtifactRef, CodeFingerprint, Status
from pipelite.store import (
    STEP_RUN_COLUMNS,
    RunWriter,
    Store,
    create_run,
    encode_outputs,
    get_run,
    now_text,
    step_run_id,
)

FIVE = ArtifactRef(digest="int:5", kind="json", inline="5", type_name="int")


class Records:
    """Writes runs into a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def run(self, *step_runs, codes=(), pipeline="train", status=Status.COMPLETED, metrics=(), error=None, **fields):
        """Store an ended run with step runs made by `step`, and return its record."""
        run = create_run(self.store, pipeline=pipeline, owner=self.store.owner.name, **fields)
        writer = RunWriter(self.store, run.id, self.store.owner.name)
        rows = [self.row(run, position, **each) for position, each in enumerate(step_runs)]
        logged = [(step_run_id(run.number, place), *metric) for place, metric in metrics]
        writer.commit(step_runs=rows, codes=codes, status=status, metrics=logged, error=error, duration_s=1.5)
        return get_run(self.store, run.id)

    def row(self, run, position, **fields):
        row = {
            **dict.fromkeys(STEP_RUN_COLUMNS),
            "id": step_run_id(run.number, position),
            "run_id": run.id,
            "position": position,
            "step": "flow.step",
            "status": "completed",
            "environment": "python 3.11",
            "form": "value",
            "attempts": 1,
            "started_at": now_text(),
            "duration_s": 0.5,
            "reads": "{}",
            **fields,
        }
        assert set(row) == set(STEP_RUN_COLUMNS)
        return tuple(row[column] for column in STEP_RUN_COLUMNS)

    def step(self, name="fit", *, key="k1", inputs=None, after=(), outputs=None, **fields):
        """What `run` takes: one step run."""
        stored = {RESULT: FIVE} if outputs is None else outputs
        return {
            "name": name,
            "key": key,
            "inputs": json.dumps(inputs or {}),
            "after": json.dumps(list(after)),
            "outputs": encode_outputs(stored) if stored else None,
            **fields,
        }

    @staticmethod
    def code(digest, not_tracked=(), **parts):
        """Of the names of parts, the first underscore stands for the blank behind "function" or "package"."""
        named = {name.replace("_", " ", 1): identity for name, identity in parts.items()}
        return CodeFingerprint(digest=digest, parts=named, not_tracked=tuple(not_tracked))


@pytest.fixture
def store(workspace):
    with Store.open() as opened:
        yield opened


@pytest.fixture
def records(store):
    return Records(store)
