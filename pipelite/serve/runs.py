"""Answers about runs, and ends, repeats and continues them."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import Any
from urllib.parse import quote

from flask import Response

from pipelite import automate
from pipelite.api.metrics import Metrics
from pipelite.api.workspace import close_dead_runs
from pipelite.errors import NotFoundError
from pipelite.records import ArtifactRef, RunRecord, StepRunRecord
from pipelite.serve.calls import Call, answer, forbidden
from pipelite.serve.refusals import Refusal, invalid, not_found
from pipelite.store import (
    Store,
    check_resumable,
    get_metrics,
    get_run,
    get_step_runs,
    request_cancel,
)

_ID = re.compile(r"\d{8}-\d{6}-[a-z2-7]{6}\Z", re.ASCII)
_CURSOR = re.compile(r"[1-9]\d{0,17}\Z", re.ASCII)

_SUMMARY = (
    "id, number, pipeline, experiment, status, tags, created_at, started_at, ended_at, duration_s, error, "
    "json_extract(options, '$.published') AS published"
)


def list_runs(call: Call) -> Response:
    """Runs that match all filters, the newest first."""
    query, limit = call.query, call.query.get("limit", 50)
    conditions: list[str] = []
    values: list[Any] = []

    def add(condition: str, *given: Any) -> None:
        conditions.append(condition)
        values.extend(given)

    if "status" in query:
        add("status = ?", query["status"])
    if "experiment" in query:
        add("experiment = ?", query["experiment"])
    if "pipeline" in query:
        add("(pipeline = ? OR json_extract(options, '$.published.name') = ?)", query["pipeline"], query["pipeline"])
    if "cursor" in query:
        if not _CURSOR.match(query["cursor"]):
            raise invalid("cursor is what NextCursor of the page before was", parameter="cursor")
        add("number < ?", int(query["cursor"]))
    if call.token is not None and call.token.pipelines is not None:
        add(
            "json_extract(options, '$.published.name') IN (SELECT value FROM json_each(?))",
            json.dumps(call.token.pipelines),
        )
    where = " AND ".join(conditions) or "1"
    rows = call.service.store.database.read(
        f"SELECT {_SUMMARY} FROM runs WHERE {where} ORDER BY number DESC LIMIT ?", [*values, limit + 1]
    )
    more = str(rows[limit - 1]["number"]) if len(rows) > limit else None
    return answer({"Runs": [_summarize(row) for row in rows[:limit]], "NextCursor": more})


def _summarize(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "Id": row["id"],
        "Status": row["status"],
        "Pipeline": row["pipeline"],
        "Published": _published(json.loads(row["published"]) if row["published"] else None),
        "ExperimentName": row["experiment"],
        "Tags": json.loads(row["tags"]),
        "Error": row["error"],
        "CreatedAt": row["created_at"],
        "StartedAt": row["started_at"],
        "EndedAt": row["ended_at"],
        "DurationSeconds": row["duration_s"],
    }


def _published(found: dict[str, str] | None) -> dict[str, str] | None:
    return None if found is None else {"Id": found["id"], "Name": found["name"], "Version": found["version"]}


def show_run(call: Call) -> Response:
    """Everything about a run."""
    store = call.service.store
    run = find_run(call)
    if "wait" in call.query:
        call.service.wait_for_end(run.id, call.query["wait"])
        run = get_run(store, run.id)
    return answer(describe_run(store, run))


def find_run(call: Call) -> RunRecord:
    """The run that an address names, by its whole id, if it is the client's business.

    Raises
    ------
    Refusal
        If there is none.
    """
    run_id = call.parts["id"]
    missing = not_found(f"there is no run {run_id!r}")
    if not _ID.match(run_id):
        raise missing
    try:
        run = get_run(call.service.store, run_id)
    except NotFoundError:
        raise missing from None
    if run.id != run_id or not call.sees(published_name(run)):
        raise missing
    return run


def published_name(run: RunRecord) -> str | None:
    """Under which name what it is a run of was published, if it was."""
    found = run.options.get("published")
    return None if found is None else str(found["name"])


def describe_run(store: Store, run: RunRecord) -> dict[str, Any]:
    """A run as clients read it."""
    steps = {step.name: step for step in get_step_runs(store, run.id)}
    metrics = Metrics([metric for metric in get_metrics(store, run.id) if metric.kind == "scalar"])
    return {
        "Id": run.id,
        "Status": run.status.value,
        "Pipeline": run.pipeline,
        "Published": _published(run.options.get("published")),
        "ExperimentName": run.experiment,
        "Description": run.description,
        "Parameters": dict(run.parameters),
        "Metrics": dict(metrics),
        "Outputs": {name: _describe_output(run, name, place, steps) for name, place in run.outputs.items()},
        "Steps": {step.name: _describe_step(run, step) for step in steps.values()},
        "Error": run.error,
        "Tags": dict(run.tags),
        "RerunOf": run.rerun_of,
        "CreatedAt": run.created_at,
        "StartedAt": run.started_at,
        "EndedAt": run.ended_at,
        "DurationSeconds": run.duration_s,
    }


def _describe_output(
    run: RunRecord, name: str, place: dict[str, Any], steps: dict[str, StepRunRecord]
) -> dict[str, Any]:
    ref = single_ref(place, steps)
    described: dict[str, Any] = {"Url": f"/runs/{run.id}/outputs/{quote(name, safe='')}"}
    if ref is not None:
        size = len(ref.inline.encode()) if ref.inline is not None else ref.size_bytes
        described |= {"Kind": ref.kind, "SizeBytes": size, "Digest": ref.digest}
        if ref.kind == "json" and ref.inline is not None:
            described["Value"] = json.loads(ref.inline)
    return described


def single_ref(place: dict[str, Any], steps: dict[str, StepRunRecord]) -> ArtifactRef | None:
    """The stored output that an output of a run is; None if it is put together, part of one, or not there."""
    step = steps.get(place.get("step", ""))
    if step is None or place.get("path"):
        return None
    if place["output"] is None and step.form != "value":
        return None
    return step.outputs.get(place["output"] or "result")


def _describe_step(run: RunRecord, step: StepRunRecord) -> dict[str, Any]:
    return {
        "Status": step.status.value,
        "Reused": step.computed_by is not None,
        "Attempts": step.attempts,
        "Error": step.error,
        "StartedAt": step.started_at,
        "EndedAt": step.ended_at,
        "DurationSeconds": step.duration_s,
        "Logs": f"/runs/{run.id}/steps/{quote(step.name, safe='')}/logs",
    }


def cancel_run(call: Call) -> Response:
    """Have a run ended; one that has ended stays as it is."""
    run = _find_to_change(call)
    # Nobody would hear the request to a process that is gone.
    close_dead_runs(call.service.store)
    request_cancel(call.service.store, run.id)
    call.service.wake()
    return _answer_state(call, run.id)


def rerun(call: Call) -> Response:
    """Put a new run of the same version with the same parameters into the queue."""
    call.service.check_taking()
    store = call.service.store
    run = _find_to_change(call)
    _check_published(run)
    version = automate.find_version(store, run.options["published"]["id"])
    record, _ = automate.submit(
        store,
        version,
        automate.get_assignments(store, run.id),
        experiment=run.experiment,
        tags=run.tags,
        requested_by=None if call.token is None else f"token {call.token.id}",
        rerun_of=run.id,
    )
    call.service.wake()
    return _answer_state(call, record.id)


def resume(call: Call) -> Response:
    """Put a run that ended early back into the queue; it goes on where it was."""
    call.service.check_taking()
    store = call.service.store
    run = _find_to_change(call)
    _check_published(run)
    check_resumable(run)
    automate.requeue(store, run.id)
    call.service.wake()
    return _answer_state(call, run.id)


def _find_to_change(call: Call) -> RunRecord:
    run = find_run(call)
    if published_name(run) is None and call.token is not None and not call.token.may("admin"):
        raise forbidden(f"run {run.id} is not of a published pipeline; only a token with the scope admin may touch it")
    return run


def _check_published(run: RunRecord) -> None:
    if published_name(run) is None:
        raise Refusal(
            409,
            "Conflict",
            f"run {run.id} is not of a published pipeline, so nothing here can execute it; use `pipelite runs` on the machine",
        )


def _answer_state(call: Call, run_id: str) -> Response:
    run = get_run(call.service.store, run_id)
    return answer({"Id": run.id, "Status": run.status.value}, 202, {"Location": f"/runs/{run.id}"})
