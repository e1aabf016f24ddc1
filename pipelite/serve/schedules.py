"""Answers about schedules, and changes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import Any
from urllib.parse import quote

from flask import Response

from pipelite import automate
from pipelite.automate import Recurrence, ScheduleRecord, SlotRecord
from pipelite.clock import CLOCK
from pipelite.errors import NotFoundError
from pipelite.serve.bodies import read_as
from pipelite.serve.calls import Call, answer
from pipelite.serve.published import MOST_LETTERS, find_version, take_assignments
from pipelite.serve.refusals import Refusal, invalid, not_found
from pipelite.store import get_run

#: Times and rows in an answer.
MOST_NEXT, MOST_ROWS = 100, 1000

_TEXT = {"type": "string", "minLength": 1, "maxLength": MOST_LETTERS}
_MOMENT = {
    "type": "string",
    "minLength": 10,
    "maxLength": 40,
    "description": "ISO 8601, as in 2026-03-01T09:30; without an offset it is in the schedule's TimeZone.",
}
_NUMBERS = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 59}, "maxItems": 60}
_RECURRENCE = {
    "type": "object",
    "properties": {
        "Frequency": {"type": "string", "enum": list(automate.FREQUENCIES)},
        "Interval": {"type": "integer", "minimum": 1, "maximum": 100_000, "default": 1},
        "WeekDays": {
            "type": "array",
            "items": {"type": "string", "enum": list(automate.WEEK_DAYS)},
            "maxItems": len(automate.WEEK_DAYS),
        },
        "Hours": {**_NUMBERS, "items": {"type": "integer", "minimum": 0, "maximum": 23}},
        "Minutes": _NUMBERS,
    },
    "required": ["Frequency"],
    "additionalProperties": False,
}

#: What can be changed of a schedule: the name in a body, that of the rooms below, and what is taken.
_FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "ParameterAssignments": ("parameters", {"type": "object"}),
    "Cron": ("cron", _TEXT),
    "EverySeconds": ("every", {"type": "integer", "minimum": 1, "maximum": automate.LONGEST_S}),
    "Recurrence": ("recurrence", _RECURRENCE),
    "TimeZone": ("timezone", {**_TEXT, "default": "UTC"}),
    "Start": ("start", _MOMENT),
    "End": ("end", _MOMENT),
    "JitterSeconds": ("jitter_s", {"type": "number", "minimum": 0}),
    "CatchUp": ("catch_up", {"type": "string", "enum": list(automate.CATCH_UPS)}),
    "Overlap": ("overlap", {"type": "string", "enum": list(automate.OVERLAPS)}),
    "SlotParameter": ("slot_parameter", _TEXT),
    "HistoryDays": (
        "history_days",
        {"type": "integer", "minimum": 1, "maximum": automate.MOST_HISTORY_DAYS, "default": automate.HISTORY_DAYS},
    ),
    "DstGap": ("dst_gap", {"type": "string", "enum": list(automate.DST_GAPS)}),
    "DstFold": ("dst_fold", {"type": "string", "enum": list(automate.DST_FOLDS)}),
    "ExperimentName": ("experiment", _TEXT),
    "Description": ("description", {"type": "string", "maxLength": 10_000}),
}
_WHEN = ("cron", "every", "recurrence", "timezone", "start", "end", "dst_gap", "dst_fold")

CHANGE: dict[str, Any] = {
    "type": "object",
    "properties": {name: schema for name, (_, schema) in _FIELDS.items()},
    "additionalProperties": False,
}
CREATE: dict[str, Any] = {
    **CHANGE,
    "properties": {
        "Name": _TEXT,
        "Pipeline": {**_TEXT, "description": "The name of an endpoint, which is followed, or the id of a version."},
        "Version": {**_TEXT, "description": "Keep to this version, whatever the endpoint leads to."},
        **CHANGE["properties"],
    },
    "required": ["Name", "Pipeline"],
}
BACKFILL: dict[str, Any] = {
    "type": "object",
    "properties": {"From": _MOMENT, "To": _MOMENT},
    "required": ["From", "To"],
    "additionalProperties": False,
}


def list_schedules(call: Call) -> Response:
    """All schedules."""
    names = _names_of_versions(call)
    found = automate.list_schedules(call.service.store)
    return answer({"Schedules": [_describe(each, names) for each in found if call.sees(_called(each, names))]})


def create_schedule(call: Call) -> Response:
    """Keep a new schedule."""
    body = read_as(CREATE, call.request)
    store = call.service.store
    called, version = body["Pipeline"], body.get("Version")
    published = find_version(call, called, version)
    if any(each.name == body["Name"] for each in automate.list_schedules(store)):
        raise Refusal(409, "Conflict", f"there is a schedule {body['Name']!r} already", parameter="Name")
    given = _given(body)
    now = CLOCK.now()
    given["parameters"] = take_assignments(call, published, given.get("parameters", {}))
    timing = automate.make_timing(**{name: given.pop(name) for name in _WHEN if name in given}, now=now)
    automate.add_schedule(
        store,
        body["Name"],
        published,
        timing=timing,
        endpoint=called if version is None and called == published.name else None,
        now=now,
        **given,
    )
    made = _find(call, body["Name"])
    return answer(_describe(made, _names_of_versions(call)), 201, {"Location": _url(made)})


def show_schedule(call: Call) -> Response:
    """One schedule."""
    return answer(_describe(_find(call), _names_of_versions(call)))


def change_schedule(call: Call) -> Response:
    """Change a schedule; what is not given stays as it is."""
    body = read_as(CHANGE, call.request)
    record = _find(call)
    changes = _given(body)
    if "parameters" in changes:
        version = automate.find_version(call.service.store, record.published_id or record.endpoint or "")
        changes["parameters"] = take_assignments(call, version, changes["parameters"])
    automate.change_schedule(call.service.store, record.name, now=CLOCK.now(), **changes)
    return show_schedule(call)


def remove_schedule(call: Call) -> Response:
    """Forget a schedule and its history."""
    automate.remove_schedule(call.service.store, _find(call).name)
    return Response(status=204)


def pause_schedule(call: Call) -> Response:
    """Have a schedule make no runs until it is resumed."""
    automate.pause(call.service.store, _find(call).name, now=CLOCK.now())
    return show_schedule(call)


def resume_schedule(call: Call) -> Response:
    """Have a schedule go on with its next slot."""
    automate.resume(call.service.store, _find(call).name, now=CLOCK.now())
    return show_schedule(call)


def list_next(call: Call) -> Response:
    """When a schedule is due next."""
    timing = _find(call).timing
    slots = islice(automate.iter_slots(timing, CLOCK.now()), call.query.get("limit", 5))
    return answer({"Next": [automate.to_wall(timing, slot) for slot in slots]})


def list_history(call: Call) -> Response:
    """What became of the slots of a schedule."""
    slots = automate.list_slots(call.service.store, _find(call).name, limit=call.query.get("limit", 50))
    return answer({"Slots": [_describe_slot(each) for each in slots]})


def run_schedule(call: Call) -> Response:
    """Put a run into the queue, besides those of its slots."""
    call.service.check_taking()
    made = automate.run_now(call.service.store, _find(call).name, now=CLOCK.now())
    call.service.wake()
    assert made.run_id is not None
    queued = _queued(call, made.run_id)
    return answer(queued, 202, {"Location": f"/runs/{made.run_id}"})


def backfill_schedule(call: Call) -> Response:
    """Put runs into the queue for slots that have had none."""
    call.service.check_taking()
    body = read_as(BACKFILL, call.request)
    record = _find(call)
    since, until = (automate.to_utc(_moment(body[name], name), record.timing.timezone) for name in ("From", "To"))
    made = automate.backfill(call.service.store, record.name, since, until, now=CLOCK.now())
    call.service.wake()
    return answer({"Runs": [_queued(call, slot.run_id) for slot in made if slot.run_id is not None]}, 202)


def _given(body: Mapping[str, Any]) -> dict[str, Any]:
    """What was said of a schedule, by the names that the rooms below have for it."""
    given = {_FIELDS[name][0]: value for name, value in body.items() if name in _FIELDS}
    for name in ("start", "end"):
        if name in given:
            given[name] = _moment(given[name], name.capitalize())
    if "recurrence" in given:
        which = given["recurrence"]
        given["recurrence"] = Recurrence(
            which["Frequency"],
            which.get("Interval", 1),
            week_days=which.get("WeekDays", ()),
            hours=which.get("Hours", ()),
            minutes=which.get("Minutes", ()),
        )
    return given


def _moment(text: str, name: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"{name} is {text!r}, and no time of ISO 8601 such as 2026-03-01T09:30", parameter=name) from None


def _find(call: Call, name: str | None = None) -> ScheduleRecord:
    name = call.parts["name"] if name is None else name
    missing = not_found(f"there is no schedule {name!r}")
    try:
        record = automate.find_schedule(call.service.store, name)
    except NotFoundError:
        raise missing from None
    if not call.sees(_called(record, _names_of_versions(call))):
        raise missing
    return record


def _names_of_versions(call: Call) -> dict[str, tuple[str, str]]:
    return {each.id: (each.name, each.version) for each in automate.list_versions(call.service.store)}


def _called(record: ScheduleRecord, names: Mapping[str, tuple[str, str]]) -> str | None:
    """The published name."""
    return record.endpoint or names[record.published_id or ""][0]


def _describe(record: ScheduleRecord, names: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    timing = record.timing
    which = timing.recurrence
    upcoming = None if record.is_paused or record.next_at is None else automate.to_wall(timing, record.next_at)
    return {
        "Name": record.name,
        "Description": record.description,
        "Pipeline": _called(record, names),
        "Version": None if record.published_id is None else names[record.published_id][1],
        "ParameterAssignments": dict(record.parameters),
        "ExperimentName": record.experiment,
        "Due": timing.describe(),
        "Cron": timing.cron,
        "EverySeconds": timing.every_s,
        "Recurrence": None
        if which is None
        else {
            "Frequency": which.frequency,
            "Interval": which.interval,
            "WeekDays": which.week_days,
            "Hours": which.hours,
            "Minutes": which.minutes,
        },
        "TimeZone": timing.timezone,
        "Start": timing.start,
        "End": timing.end,
        "JitterSeconds": record.jitter_s,
        "CatchUp": record.catch_up,
        "Overlap": record.overlap,
        "SlotParameter": record.slot_parameter,
        "HistoryDays": record.history_days,
        "DstGap": timing.dst_gap,
        "DstFold": timing.dst_fold,
        "Paused": record.is_paused,
        "NextAt": upcoming,
        "CreatedAt": record.created_at,
        "Url": _url(record),
    }


def _url(record: ScheduleRecord) -> str:
    return f"/schedules/{quote(record.name)}"


def _describe_slot(slot: SlotRecord) -> dict[str, Any]:
    return {
        "At": slot.at,
        "Local": slot.local,
        "Fold": slot.fold,
        "Until": slot.until,
        "Outcome": slot.outcome,
        "Reason": slot.reason,
        "RunId": slot.run_id,
        "DecidedAt": slot.decided_at,
    }


def _queued(call: Call, run_id: str) -> dict[str, Any]:
    return {"Id": run_id, "Status": get_run(call.service.store, run_id).status.value}
