"""Answers about triggers, and takes calls of their secret URLs."""

from __future__ import annotations

import math
from typing import Any

from flask import Response

from pipelite import automate
from pipelite.automate import FileChange, Firing, NewVersion, RunEnd, TriggerRecord
from pipelite.clock import CLOCK
from pipelite.errors import DatastoreError, NotFoundError
from pipelite.records import Status
from pipelite.serve.calls import Call, answer
from pipelite.serve.published import read_key
from pipelite.serve.refusals import Refusal, not_found

#: Bytes of the body of a call, which nobody looks at.
MOST_CALL_BYTES = 64 << 10
#: Firings that are shown of one trigger.
_SHOWN = 50


def fire(call: Call) -> Response:
    """Put a run of the trigger with this secret into the queue."""
    service = call.service
    service.check_taking()
    secret = call.parts["trigger"]
    address = call.request.remote_addr or ""
    wait_s = service.throttle.wait_s(address, secret)
    if wait_s > 0:
        headers = {"Retry-After": str(math.ceil(wait_s))}
        raise Refusal(429, "TooManyRequests", "too many wrong secrets came from this address", headers=headers)
    if len(call.request.get_data()) > MOST_CALL_BYTES:
        raise Refusal(413, "RequestEntityTooLarge", f"the body has more than {MOST_CALL_BYTES} bytes; it is not needed")
    firing = automate.fire_called(service.store, secret, key=read_key(call), now=CLOCK.now())
    if firing is None:
        service.throttle.note_failure(address, secret)
        # The secret may be one that has a mistake in it: it is not repeated.
        raise not_found("there is no trigger with this URL")
    service.throttle.note_success(secret)
    if firing.run_id is None:
        # Who can only call it need not know more.
        raise Refusal(409, "Conflict", f"there is no run, and the history of trigger {firing.trigger!r} says why")
    service.wake()
    return answer({"Id": firing.run_id, "Status": Status.QUEUED}, 202)


def list_triggers(call: Call) -> Response:
    """All triggers."""
    found = [each for each in automate.list_triggers(call.service.store) if _sees(call, each)]
    return answer({"Triggers": [_describe(call, each) for each in found]})


def show_trigger(call: Call) -> Response:
    """One, with what happened last."""
    record = _find(call)
    firings = automate.list_firings(call.service.store, record.name, limit=_SHOWN)
    return answer({**_describe(call, record), "History": [_describe_firing(each) for each in firings]})


def pause_trigger(call: Call) -> Response:
    """Have it make no runs."""
    name = _find(call).name
    automate.pause_trigger(call.service.store, name, now=CLOCK.now())
    return answer(_describe(call, _find(call)))


def resume_trigger(call: Call) -> Response:
    """Have it go on."""
    name = _find(call).name
    try:
        automate.resume_trigger(call.service.store, name, now=CLOCK.now())
    except DatastoreError as exc:
        raise Refusal(409, "Conflict", str(exc)) from exc
    return answer(_describe(call, _find(call)))


def _find(call: Call) -> TriggerRecord:
    name = call.parts["trigger"]
    missing = not_found(f"there is no trigger {name!r}")
    try:
        record = automate.find_trigger(call.service.store, name)
    except NotFoundError:
        raise missing from None
    if not _sees(call, record):
        raise missing
    return record


def _sees(call: Call, record: TriggerRecord) -> bool:
    return call.sees(_called(call, record).name)


def _called(call: Call, record: TriggerRecord) -> automate.PublishedVersion:
    return automate.find_version(call.service.store, record.published_id or record.endpoint or "")


def _describe(call: Call, record: TriggerRecord) -> dict[str, Any]:
    version, source = _called(call, record), record.source
    on: dict[str, Any] = {"Kind": record.kind}
    if isinstance(source, FileChange):
        on |= {"Path": source.path.path, "Datastore": source.path.datastore, "PerFile": source.per_file}
        on |= {"IntervalSeconds": source.interval, "SettleSeconds": source.settle}
    elif isinstance(source, RunEnd):
        on |= {"Pipeline": source.pipeline, "States": list(source.states)}
    elif isinstance(source, NewVersion):
        on |= {"Dataset": source.dataset}
    return {
        "Name": record.name,
        "Description": record.description,
        "Pipeline": version.name,
        "Version": None if record.published_id is None else version.version,
        "ExperimentName": record.experiment,
        "ParameterAssignments": dict(record.parameters),
        "CauseParameter": record.cause_parameter,
        "On": on,
        "Paused": record.is_paused,
        "Problem": record.problem,
        "CreatedAt": record.created_at,
    }


def _describe_firing(firing: Firing) -> dict[str, Any]:
    return {
        "At": firing.at,
        "Cause": dict(firing.cause),
        "Outcome": firing.outcome,
        "Reason": firing.reason,
        "RunId": firing.run_id,
    }
