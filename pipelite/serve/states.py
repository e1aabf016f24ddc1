"""Answers about the server itself: whether it works, how much it does, what can be asked."""

from __future__ import annotations

from flask import Response

from pipelite import automate
from pipelite.serve.calls import Call, answer, forbidden
from pipelite.serve.counters import gauges


def show_health(call: Call) -> Response:
    """Whether the database can be read, and runs are taken."""
    call.service.check_taking()
    call.service.store.database.read("SELECT 1 FROM runs LIMIT 1")
    return answer({"Status": "ok"})


def show_metrics(call: Call) -> Response:
    """The text format of Prometheus."""
    service = call.service
    if call.token is None or call.token.pipelines is not None:
        raise forbidden("/metrics counts the runs of all pipelines, and this token is limited to some")
    counts = dict(map(tuple, service.store.database.read("SELECT status, count(*) FROM runs GROUP BY status")))
    statuses = {status: float(counts.get(status, 0)) for status in _OF_RUNS}
    lines = [
        *gauges("pipelite_runs", "Runs in the workspace by status.", statuses, "status"),
        *gauges("pipelite_queue_length", "Runs that wait.", {"": automate.count_waiting(service.store)}),
        *gauges("pipelite_runners", "Runner processes by what they do.", _count_runners(call), "state"),
        *service.counters.lines(),
    ]
    return Response("\n".join([*lines, ""]), content_type="text/plain; version=0.0.4; charset=utf-8")


_OF_RUNS = ("queued", "running", "completed", "failed", "canceling", "canceled", "interrupted")


def _count_runners(call: Call) -> dict[str, int]:
    dispatcher = call.service.dispatcher
    runners = [] if dispatcher is None else dispatcher.runners()
    busy = sum(run_id is not None for _, _, run_id in runners)
    return {"busy": busy, "idle": len(runners) - busy}


def show_document(call: Call) -> Response:
    """The OpenAPI document."""
    # The table of routes names this function.
    from pipelite.serve.openapi import make_document

    store = call.service.store
    endpoints = [each for each in automate.list_endpoints(store) if call.sees(each.name)]
    versions = [automate.find_version(store, each.default_id) for each in endpoints]
    return answer(make_document(versions))
