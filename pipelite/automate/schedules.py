"""Schedules and their slots, as the workspace keeps them.

A slot is an instant at which a schedule is due; it is decided once, whoever decides it: the row that says what became of it
is written in the transaction that puts its run into the queue.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from pipelite.automate.queue import check_call, insert_request
from pipelite.automate.times import (
    Recurrence,
    Timing,
    check_jitter,
    get_delay,
    iter_slots,
    look_back,
    make_timing,
    next_slot,
    to_wall,
)
from pipelite.automate.versions import PublishedVersion, find_called
from pipelite.errors import PipeliteError, PublishError, ScheduleError, UnknownNameError
from pipelite.records import FINAL
from pipelite.store import Store, mark_canceled, to_json, to_text

#: What to do with slots for which nothing was there in time: none of them, the latest, or all has a run.
CATCH_UPS = ("none", "latest", "all")
#: What to do with a slot while a run of an earlier one has not ended: no run, a run that waits, a run beside it, or a run
#: that the earlier one makes room for.
OVERLAPS = ("skip", "queue", "allow", "cancel")
#: The most slots that one backfill makes runs for.
MOST_BACKFILLED = 1000
#: Days that history is kept for, if nothing else is asked for; the last rows stay, however old they are.
HISTORY_DAYS, MOST_HISTORY_DAYS = 90, 36_500
KEPT_ROWS = 100

FIRED, MISSED, SKIPPED, FAILED, CHANGED = "fired", "missed", "skipped", "failed", "changed"

_NAME = re.compile(r"[^\W_][\w. -]{0,127}\Z")
_SECOND = timedelta(seconds=1)
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
#: Attributes of schedules that are times.
_TIMES = ("next_at", "due_at", "decided_at", "changed_at", "created_at", "forgotten_until")
_FINAL = ", ".join(f"'{status.value}'" for status in FINAL)


@attrs.frozen(kw_only=True)
class ScheduleRecord:
    """A schedule, as stored."""

    name: str
    description: str | None
    #: The version that is called; or else the endpoint, whatever it leads to then.
    published_id: str | None
    endpoint: str | None
    experiment: str | None
    #: Values of parameters by name, as JSON has them.
    parameters: Mapping[str, Any]
    timing: Timing
    jitter_s: float
    catch_up: str
    overlap: str
    #: Name of the parameter that is given the slot's local time as ISO text.
    slot_parameter: str | None
    history_days: int
    is_paused: bool
    #: UTC. The next slot to be decided, and when that is: its jitter later.
    next_at: datetime | None
    due_at: datetime | None
    #: UTC. What the clock showed at the last decision or change.
    decided_at: datetime
    #: UTC. When it was made, changed or resumed: no earlier slot is decided any more.
    changed_at: datetime
    created_at: datetime
    #: UTC. Slots up to it may have had runs that are not in the history any more.
    forgotten_until: datetime | None


@attrs.frozen(kw_only=True)
class SlotRecord:
    """What became of one slot; with `until`, of all slots from `at` to that one. Or that from `at` on it had other times."""

    schedule: str
    #: UTC.
    at: datetime
    #: With the offset of the schedule's zone; `fold` is 1 in the second pass of an hour that comes twice.
    local: datetime
    fold: int
    until: datetime | None
    #: fired, missed, skipped or failed; changed where it is no slot.
    outcome: str
    reason: str | None
    run_id: str | None
    #: UTC.
    decided_at: datetime


def add_schedule(
    store: Store,
    name: str,
    version: PublishedVersion,
    parameters: Mapping[str, Any],
    timing: Timing,
    *,
    endpoint: str | None,
    jitter_s: float = 0.0,
    catch_up: str = CATCH_UPS[0],
    overlap: str = OVERLAPS[0],
    slot_parameter: str | None = None,
    history_days: int = HISTORY_DAYS,
    experiment: str | None = None,
    description: str | None = None,
    now: datetime,
) -> ScheduleRecord:
    """Keep a new schedule, whose first slot comes after now.

    Parameters
    ----------
    endpoint : str, optional
        Name of the one that leads to the version now; each run is of the version that it leads to then.

    Raises
    ------
    ScheduleError
        If there is one of that name, or it cannot be made so.
    ParameterError
        If a parameter is unknown, missing or of the wrong type.
    """
    if not _NAME.match(name):
        raise ScheduleError(
            f"a schedule cannot be called {name!r}; letters, digits, spaces and _ . - are taken, 128 at most"
        )
    record = ScheduleRecord(
        name=name,
        description=description,
        published_id=version.id if endpoint is None else None,
        endpoint=endpoint,
        experiment=experiment,
        parameters=parameters,
        timing=timing,
        jitter_s=float(jitter_s),
        catch_up=catch_up,
        overlap=overlap,
        slot_parameter=slot_parameter,
        history_days=history_days,
        is_paused=False,
        next_at=None,
        due_at=None,
        decided_at=now,
        changed_at=now,
        created_at=now,
        forgotten_until=None,
    )
    _check_policies(record)
    with store.as_default():
        check_call(version, fill(record, now))
    with store.database.write() as connection:
        if _find(connection, name) is not None:
            raise ScheduleError(f"there is a schedule {name!r} already; change it, or remove it first")
        row = _to_row(record)
        marks = ", ".join(f":{column}" for column in row)
        connection.execute(f"INSERT INTO schedules ({', '.join(row)}) VALUES ({marks})", row)
        return move_on(connection, record, next_slot(timing, now), now)


def _check_policies(record: ScheduleRecord) -> None:
    for name, given, allowed in (("catch_up", record.catch_up, CATCH_UPS), ("overlap", record.overlap, OVERLAPS)):
        if given not in allowed:
            raise ScheduleError(f"{name} is {given!r}; one of {', '.join(map(repr, allowed))} is expected")
    if type(record.history_days) is not int or not 1 <= record.history_days <= MOST_HISTORY_DAYS:
        raise ScheduleError(
            f"history_days is {record.history_days!r}; a whole number from 1 to {MOST_HISTORY_DAYS} is expected"
        )
    if record.slot_parameter in record.parameters:
        raise ScheduleError(
            f"parameter {record.slot_parameter!r} has a value, and is also the one that is given the time of the slot; leave "
            "one of both out"
        )
    check_jitter(record.timing, record.jitter_s)


def fill(record: ScheduleRecord, slot: datetime) -> dict[str, Any]:
    """The values that the run of a slot is given."""
    if record.slot_parameter is None:
        return dict(record.parameters)
    return {**record.parameters, record.slot_parameter: to_wall(record.timing, slot).isoformat(timespec="seconds")}


def change_schedule(store: Store, name: str, *, now: datetime, **changes: Any) -> ScheduleRecord:
    """Change when a schedule is due, or its policies; nothing fires for the past.

    Parameters
    ----------
    changes
        What `make_timing` takes, and `jitter_s`, `catch_up`, `overlap`, `parameters`, `slot_parameter`, `history_days`,
        `experiment`, `description`.
        With another `cron`, `every` or `recurrence` the rules for changes of clocks are the default ones of that, unless
        given.

    Raises
    ------
    ScheduleError
        If it cannot be so.
    ParameterError
        If a parameter is unknown, missing or of the wrong type.
    """
    rest = {key: changes.pop(key) for key in list(changes) if key in _PLAIN}
    with store.as_default(), store.database.write() as connection:
        record = _get(connection, name)
        timing = _changed_timing(record.timing, changes, now) if changes else record.timing
        changed = attrs.evolve(record, timing=timing, changed_at=now, **rest)
        _check_policies(changed)
        check_call(_called(connection, changed), fill(changed, now))
        reason = "the schedule was paused" if record.is_paused else "the schedule was changed before it was decided"
        pass_by(connection, record, now, reason)
        before, after = record.timing.describe(), timing.describe()
        if after != before:
            note(connection, changed, now, now, CHANGED, f"{before} became {after}")
        row = _to_row(changed)
        connection.execute(
            f"UPDATE schedules SET {', '.join(f'{column} = :{column}' for column in row)} WHERE name = :name", row
        )
        return move_on(connection, changed, next_slot(timing, now), now)


_PLAIN = (
    "jitter_s",
    "catch_up",
    "overlap",
    "parameters",
    "slot_parameter",
    "history_days",
    "experiment",
    "description",
)


def _changed_timing(timing: Timing, changes: Mapping[str, Any], now: datetime) -> Timing:
    kept = {
        "cron": timing.cron,
        "every": timing.every_s,
        "recurrence": timing.recurrence,
        "dst_gap": timing.dst_gap,
        "dst_fold": timing.dst_fold,
    }
    rest = {"timezone": timing.timezone, "start": timing.start, "end": timing.end}
    if any(changes.get(kind) is not None for kind in ("cron", "every", "recurrence")):
        kept = {}
        # What was counted from the moment at which it was made is not to be the start of a cron expression, nor the
        # beginning of time what others are counted from.
        if timing.start <= now and (timing.cron is None) != (changes.get("cron") is None):
            del rest["start"]
    return make_timing(**{**rest, **kept, **changes}, now=now)


def pause(store: Store, name: str, *, now: datetime) -> None:
    """Have a schedule make no runs until it is resumed."""
    with store.database.write() as connection:
        _get(connection, name)
        connection.execute("UPDATE schedules SET is_paused = 1, decided_at = ? WHERE name = ?", (to_text(now), name))


def resume(store: Store, name: str, *, now: datetime) -> None:
    """Have a paused schedule go on with its next slot; those that passed meanwhile are noted as missed."""
    with store.database.write() as connection:
        record = _get(connection, name)
        if record.is_paused:
            pass_by(connection, record, now, "the schedule was paused")
            connection.execute(
                "UPDATE schedules SET is_paused = 0, changed_at = ? WHERE name = ?", (to_text(now), name)
            )
            move_on(connection, record, next_slot(record.timing, now), now)


def remove_schedule(store: Store, name: str) -> None:
    """Forget a schedule and its history; its runs stay."""
    with store.database.write() as connection:
        _get(connection, name)
        connection.execute("DELETE FROM schedules WHERE name = ?", (name,))


def run_now(store: Store, name: str, *, now: datetime) -> SlotRecord:
    """Put a run into the queue as for a slot at this moment, whatever the schedule says.

    Raises
    ------
    PublishError
        If the version cannot be called.
    """
    with store.database.write() as connection:
        found = decide(connection, _get(connection, name), now, now, reason="asked for by hand", asked=True)
    return _fired(found, name)


def backfill(store: Store, name: str, since: datetime, until: datetime, *, now: datetime) -> list[SlotRecord]:
    """Make runs for the slots in [since, until] that have had none, also before the schedule was made.

    Raises
    ------
    ScheduleError
        If there are more than 1,000, or `until` lies in the future.
    PublishError
        If the version cannot be called.
    """
    if until > now:
        raise ScheduleError(f"{until.isoformat()} is in the future; its slots come by themselves")
    with store.database.write() as connection:
        record = _get(connection, name)
        slots = []
        for slot in iter_slots(record.timing, since - _SECOND, until):
            slots.append(slot)
            if len(slots) > MOST_BACKFILLED:
                raise ScheduleError(
                    f"there are more than {MOST_BACKFILLED} slots from {since.isoformat()} to {until.isoformat()}; "
                    "take a shorter time"
                )
        if record.forgotten_until is not None and since <= record.forgotten_until:
            fired = _find_fired(connection, name)
            slots = [slot for slot in slots if slot not in fired]
        made = [decide(connection, record, slot, now, reason="backfill", asked=True) for slot in slots]
        return [_fired(each, name) for each in made if each is not None]


def _fired(found: SlotRecord | None, name: str) -> SlotRecord:
    """What was asked for by somebody is told at once if it cannot be."""
    if found is None:
        raise ScheduleError(f"schedule {name!r} has had a run at this very moment")
    if found.outcome == FAILED:
        raise PublishError(found.reason or "the version cannot be called")
    return found


def decide(
    connection: sqlite3.Connection,
    record: ScheduleRecord,
    slot: datetime,
    now: datetime,
    *,
    reason: str | None = None,
    asked: bool = False,
) -> SlotRecord | None:
    """Put the run of a slot into the queue, or note why there is none; as part of a transaction.

    Parameters
    ----------
    reason
        Why there is a run although the slot is not due now.
    asked
        Whether somebody asks for the run: then overlap is no matter, and a slot that had none gets one.

    Returns
    -------
    SlotRecord, or None if the slot was decided before
    """
    if not _is_free(connection, record, slot, again=asked):
        return None
    # Others may have piled up without end where they matter to nobody.
    matters = not asked and record.overlap in ("skip", "cancel")
    others = _unfinished(connection, record.name) if matters else []
    if others and record.overlap == "skip":
        return note(connection, record, slot, now, SKIPPED, f"run {others[0]} had not ended")
    assignments = fill(record, slot)
    try:
        version = _called(connection, record)
        check_call(version, assignments)
    except PipeliteError as exc:
        return note(connection, record, slot, now, FAILED, str(exc))
    for other in others:
        mark_canceled(connection, other)
    run = insert_request(
        connection,
        version,
        assignments,
        experiment=record.experiment,
        tags={"schedule": record.name, "slot": slot.isoformat()},
        schedule=record.name,
        requested_by=f"schedule {record.name}",
    )
    return note(connection, record, slot, now, FIRED, reason, run_id=run.id)


def note(
    connection: sqlite3.Connection,
    record: ScheduleRecord,
    slot: datetime,
    now: datetime,
    outcome: str,
    reason: str | None,
    *,
    run_id: str | None = None,
    until: datetime | None = None,
) -> SlotRecord | None:
    """Note what became of a slot, or of all up to another one; None if that is known already."""
    wall = to_wall(record.timing, slot)
    found = SlotRecord(
        schedule=record.name,
        at=slot,
        local=wall,
        fold=wall.fold,
        until=until,
        outcome=outcome,
        reason=reason,
        run_id=run_id,
        decided_at=now,
    )
    is_new = connection.execute(
        "INSERT INTO slots (schedule, at, local, fold, until, outcome, reason, run_id, decided_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            record.name,
            to_text(slot),
            wall.isoformat(),
            wall.fold,
            to_text(until),
            outcome,
            reason,
            run_id,
            to_text(now),
        ),
    ).rowcount
    return found if is_new else None


def pass_by(connection: sqlite3.Connection, record: ScheduleRecord, now: datetime, reason: str) -> None:
    """Note the slots up to now that were not decided as missed, in one row."""
    if record.next_at is None or record.next_at > now:
        return
    past = look_back(record.timing, record.next_at - _SECOND, now, most=1)
    if past.slots:
        first = past.earlier[0] if past.earlier else past.slots[0]
        note(connection, record, first, now, MISSED, reason, until=past.slots[-1] if past.earlier else None)


def move_on(
    connection: sqlite3.Connection, record: ScheduleRecord, next_at: datetime | None, now: datetime
) -> ScheduleRecord:
    """Say which slot is to be decided next."""
    if next_at is not None and record.forgotten_until is not None and next_at <= record.forgotten_until:
        record = _remember(connection, record, next_at, now)
    due_at = None if next_at is None else next_at + get_delay(record.name, next_at, record.jitter_s)
    connection.execute(
        "UPDATE schedules SET next_at = ?, due_at = ?, decided_at = ? WHERE name = ?",
        (to_text(next_at), to_text(due_at), to_text(now), record.name),
    )
    return attrs.evolve(record, next_at=next_at, due_at=due_at, decided_at=now)


def turn_back(connection: sqlite3.Connection, record: ScheduleRecord, now: datetime) -> None:
    """Go by a clock that has been set back: slots after now that were missed by the one before are open again."""
    values = {"name": record.name, "now": to_text(now)}
    connection.execute("DELETE FROM slots WHERE schedule = :name AND at > :now AND outcome = 'missed'", values)
    connection.execute("UPDATE slots SET until = :now WHERE schedule = :name AND until > :now", values)
    move_on(connection, record, next_slot(record.timing, max(now, record.changed_at)), now)


def forget(connection: sqlite3.Connection, record: ScheduleRecord, now: datetime) -> None:
    """Remove from the history what is older than asked for; what may have had a run is known to be that."""
    values = {
        "name": record.name,
        "before": to_text(now - timedelta(days=min(record.history_days, (now - _EVER).days))),
        "kept": KEPT_ROWS - 1,
    }
    # Backfilled ones are as old as the backfill.
    rows = connection.execute(
        "DELETE FROM slots WHERE schedule = :name AND at < :before AND decided_at < :before "
        "AND at < (SELECT at FROM slots WHERE schedule = :name ORDER BY at DESC LIMIT 1 OFFSET :kept) "
        "RETURNING coalesce(until, at) AS last",
        values,
    ).fetchall()
    if rows:
        last = max(row["last"] for row in rows)
        connection.execute(
            "UPDATE schedules SET forgotten_until = max(coalesce(forgotten_until, ''), ?) WHERE name = ?",
            (last, record.name),
        )


def _find_fired(connection: sqlite3.Connection, name: str) -> dict[datetime, str]:
    """All slots that had runs, whether they are in the history or not, and the runs."""
    rows = connection.execute(
        "SELECT runs.id, runs.tags ->> 'slot' AS slot FROM requests JOIN runs ON runs.id = requests.run_id "
        "WHERE requests.schedule = ?",
        (name,),
    )
    return {datetime.fromisoformat(row["slot"]): row["id"] for row in rows}


def _remember(connection: sqlite3.Connection, record: ScheduleRecord, since: datetime, now: datetime) -> ScheduleRecord:
    """Note again which slots had runs, from one on: clocks were set back behind what has been forgotten."""
    for slot, run_id in _find_fired(connection, record.name).items():
        if slot >= since:
            note(connection, record, slot, now, FIRED, "by a clock that was ahead", run_id=run_id)
    until = since - _SECOND
    connection.execute("UPDATE schedules SET forgotten_until = ? WHERE name = ?", (to_text(until), record.name))
    return attrs.evolve(record, forgotten_until=until)


def _is_free(connection: sqlite3.Connection, record: ScheduleRecord, slot: datetime, *, again: bool) -> bool:
    """Whether a slot can have a run; what was noted of it alone, or of it and later ones, makes room if it can."""
    place = record.name, to_text(slot)
    row = connection.execute("SELECT outcome, until FROM slots WHERE schedule = ? AND at = ?", place).fetchone()
    if row is None:
        return True
    if row["outcome"] == FIRED or not (again or row["until"]):
        return False
    following = next_slot(record.timing, slot)
    if row["until"] is not None and following is not None and to_text(following) <= row["until"]:
        connection.execute("UPDATE slots SET at = ? WHERE schedule = ? AND at = ?", (to_text(following), *place))
    else:
        connection.execute("DELETE FROM slots WHERE schedule = ? AND at = ?", place)
    return True


def _unfinished(connection: sqlite3.Connection, name: str) -> list[str]:
    rows = connection.execute(
        "SELECT runs.id FROM requests JOIN runs ON runs.id = requests.run_id "
        f"WHERE requests.schedule = ? AND requests.state <> 'done' AND runs.status NOT IN ({_FINAL}) ORDER BY runs.number",
        (name,),
    )
    return [row["id"] for row in rows]


def _called(connection: sqlite3.Connection, record: ScheduleRecord) -> PublishedVersion:
    found = find_called(connection, record.published_id, record.endpoint)
    if found is None:
        raise PublishError(f"what schedule {record.name!r} calls is not published any more")
    return found


def find_schedule(store: Store, name: str) -> ScheduleRecord:
    """A schedule by its name.

    Raises
    ------
    UnknownNameError
        If there is none.
    """
    return _get(store.database.connection(), name)


def list_schedules(store: Store) -> list[ScheduleRecord]:
    """All schedules by name."""
    return [_from_row(row) for row in store.database.read("SELECT * FROM schedules ORDER BY name")]


def list_slots(store: Store, name: str, *, limit: int | None = 50) -> list[SlotRecord]:
    """What became of the slots of a schedule, the latest first.

    Raises
    ------
    UnknownNameError
        If there is no such schedule.
    """
    find_schedule(store, name)
    rows = store.database.read(
        "SELECT * FROM slots WHERE schedule = ? ORDER BY at DESC LIMIT ?", (name, -1 if limit is None else limit)
    )
    return [
        SlotRecord(
            schedule=row["schedule"],
            at=datetime.fromisoformat(row["at"]),
            local=datetime.fromisoformat(row["local"]),
            fold=row["fold"],
            until=_to_time(row["until"]),
            outcome=row["outcome"],
            reason=row["reason"],
            run_id=row["run_id"],
            decided_at=datetime.fromisoformat(row["decided_at"]),
        )
        for row in rows
    ]


def find_due(store: Store, now: datetime, *, most: int) -> list[str]:
    """Names of schedules that have something to be decided, the longest due first."""
    rows = store.database.read(
        "SELECT name FROM schedules WHERE is_paused = 0 AND due_at <= :now "
        "UNION ALL SELECT name FROM schedules WHERE decided_at > :now LIMIT :most",
        {"now": to_text(now), "most": most},
    )
    return list(dict.fromkeys(row["name"] for row in rows))


def find_next_due(store: Store) -> datetime | None:
    """When the first schedule is due; None if none ever is."""
    return _to_time(store.database.read("SELECT min(due_at) FROM schedules WHERE is_paused = 0")[0][0])


def load_schedules(connection: sqlite3.Connection, names: Iterable[str]) -> list[ScheduleRecord]:
    """Schedules as they are within a transaction; those that are gone are left out."""
    found = [_find(connection, name) for name in names]
    return [record for record in found if record is not None]


def _get(connection: sqlite3.Connection, name: str) -> ScheduleRecord:
    found = _find(connection, name)
    if found is None:
        raise UnknownNameError(f"there is no schedule {name!r}; `pipelite schedules list` shows what there is")
    return found


def _find(connection: sqlite3.Connection, name: str) -> ScheduleRecord | None:
    row = connection.execute("SELECT * FROM schedules WHERE name = ?", (name,)).fetchone()
    return None if row is None else _from_row(row)


def _to_row(record: ScheduleRecord) -> dict[str, Any]:
    row = attrs.asdict(record, recurse=False)
    timing = attrs.asdict(record.timing)
    times = {name: to_text(timing[name]) for name in ("start", "end")}
    row["timing"] = to_json({**timing, **times})
    row["parameters"] = to_json(dict(record.parameters))
    row["is_paused"] = int(record.is_paused)
    return row | {name: to_text(row[name]) for name in _TIMES}


def _from_row(row: sqlite3.Row) -> ScheduleRecord:
    timing = json.loads(row["timing"])
    if timing["recurrence"] is not None:
        timing["recurrence"] = Recurrence(**timing["recurrence"])
    times = {name: _to_time(timing[name]) for name in ("start", "end")}
    return ScheduleRecord(
        **{
            **dict(row),
            "parameters": json.loads(row["parameters"]),
            "timing": Timing(**{**timing, **times}),
            "is_paused": bool(row["is_paused"]),
            **{name: _to_time(row[name]) for name in _TIMES},
        }
    )


def _to_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
