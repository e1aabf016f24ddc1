"""Decides what is due, when it is due; any number of processes may do so on one workspace.

There is no leader. Whatever is decided, is so in one write transaction, after a look at the clock and at the schedule as it
is then: a process that slept, was stopped, or comes second finds that nothing is left to be decided.
"""

from __future__ import annotations

import sqlite3
import threading
import traceback
from datetime import datetime, timedelta
from typing import Any

from pipelite.automate.schedules import (
    FAILED,
    MISSED,
    ScheduleRecord,
    SlotRecord,
    decide,
    find_due,
    find_next_due,
    forget,
    list_schedules,
    load_schedules,
    move_on,
    note,
    turn_back,
)
from pipelite.automate.times import get_delay, look_back, next_slot
from pipelite.automate.trouble import Listener, Trouble
from pipelite.automate.zones import forget_zones
from pipelite.clock import CLOCK, Clock
from pipelite.errors import StorageError, WorkspaceBusyError
from pipelite.store import Store, get_version

#: A slot that is decided so long after it was due has been missed, and catch-up says what becomes of it.
GRACE = timedelta(seconds=30)
#: The most missed slots that are noted, or caught up with, one by one; what came before is noted as a whole.
MOST_CAUGHT_UP = 100
#: Schedules that are decided in one transaction: others write in between.
_BATCH = 50
#: A transaction that took longer was stopped in the middle: what it meant to do may be late by now.
_STALE = timedelta(seconds=5)
#: Seconds between two looks at whether the workspace has changed. Also a clock that was set, or a machine that slept, is
#: found so: waiting goes by a clock of its own, which neither moves.
POLL_S = 0.5


class _Stopped(Exception):
    """This process did not run for a while."""


class Ticker:
    """The part of a serving process that sees to schedules; `start` begins, `stop` ends it."""

    def __init__(
        self, store: Store, clock: Clock = CLOCK, *, tell: Listener | None = None, trouble: Trouble | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._tell = tell or (lambda event, details: None)
        self._trouble = trouble or Trouble(self._tell)
        self._bell = threading.Event()
        self._is_ending = False
        self._wants_reload = True
        self._thread = threading.Thread(target=self._serve, name="pipelite-ticker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Decide nothing more."""
        self._is_ending = True
        self._bell.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether it sees to schedules."""
        return self._thread.is_alive()

    def reload(self) -> None:
        """Read the rules of time zones anew, and find out again when schedules are due; from any thread."""
        self._wants_reload = True
        self._bell.set()

    def _serve(self) -> None:
        connection = self._store.database.connection()
        version, due, seen_at = -1, None, self._clock.now()
        while not self._is_ending:
            try:
                if self._wants_reload:
                    self._wants_reload = False
                    version = -1
                    self._look_ahead()
                now = self._clock.now()
                seen = get_version(connection)
                # Also a clock that went back is to be noticed.
                if seen != version or (due is not None and now >= due) or now < seen_at:
                    version = seen
                    self.tick()
                    due = find_next_due(self._store)
                    self._trouble.passed(self)
                seen_at = now = self._clock.now()
            except (StorageError, WorkspaceBusyError, sqlite3.Error) as exc:
                # A full disk, or a workspace that another keeps busy, passes; what is due is decided then.
                self._trouble.met(self, exc)
                version, due, seen_at = -1, None, self._clock.now()
                self._wants_reload = True
            left = POLL_S if due is None else (due - now).total_seconds()
            self._clock.wait(self._bell, min(POLL_S, max(left, 0.0)))
            self._bell.clear()

    def tick(self) -> None:
        """Decide all that is due now."""
        patience = _STALE
        while not self._is_ending and (names := find_due(self._store, self._clock.now(), most=_BATCH)):
            try:
                found = self._decide_all(names, patience)
            except _Stopped:
                # On a machine that is as slow as that, it gets there in the end.
                patience *= 2
                continue
            for slot in found:
                self._tell(slot.outcome, _describe(slot))

    def _decide_all(self, names: list[str], patience: timedelta) -> list[SlotRecord]:
        found = []
        with self._store.as_default(), self._store.database.write() as connection:
            now = self._clock.now()
            for record in load_schedules(connection, names):
                found += self._decide(connection, record, now)
            if self._clock.now() - now > patience:
                raise _Stopped
        return found

    def _decide(self, connection: sqlite3.Connection, record: ScheduleRecord, now: datetime) -> list[SlotRecord]:
        connection.execute("SAVEPOINT schedule")
        try:
            found = decide_due(connection, record, now)
        except sqlite3.Error:
            raise
        except Exception:
            # One schedule that cannot be decided must not keep the others from it.
            connection.execute("ROLLBACK TO schedule")
            at = record.next_at or now
            failed = note(connection, record, at, now, FAILED, traceback.format_exc())
            move_on(connection, record, next_slot(record.timing, max(at, now)), now)
            found = [failed] if failed is not None else []
        connection.execute("RELEASE schedule")
        return found

    def _look_ahead(self) -> None:
        """Find out anew when each schedule is due: the rules of its time zone may be others than when that was noted."""
        forget_zones()
        now = self._clock.now()
        for name in [record.name for record in list_schedules(self._store) if _is_outdated(record, now)]:
            with self._store.database.write() as connection:
                now = self._clock.now()
                for record in load_schedules(connection, [name]):
                    if _is_outdated(record, now):
                        move_on(connection, record, next_slot(record.timing, now), now)


def _is_outdated(record: ScheduleRecord, now: datetime) -> bool:
    """Whether the next slot is another than was noted; one that has passed is decided as it was noted."""
    is_to_come = record.next_at is None or record.next_at > now
    return (
        is_to_come
        and record.decided_at <= now
        and now >= record.changed_at
        and next_slot(record.timing, now) != record.next_at
    )


def decide_due(connection: sqlite3.Connection, record: ScheduleRecord, now: datetime) -> list[SlotRecord]:
    """Decide the slots of one schedule that are due, as part of a transaction; gives what was decided."""
    if record.decided_at > now:
        turn_back(connection, record, now)
        return []
    if record.is_paused or record.due_at is None or record.due_at > now:
        return []
    assert record.next_at is not None
    past = look_back(record.timing, record.next_at - timedelta(seconds=1), now, most=MOST_CAUGHT_UP)
    due = {slot: slot + get_delay(record.name, slot, record.jitter_s) for slot in past.slots}
    # Jitter is shorter than the time between two slots, so only the last one can still be to come.
    slots = [slot for slot in past.slots if due[slot] <= now]
    late = [slot for slot in slots if now - due[slot] > GRACE]
    in_time = slots[len(late) :]
    caught_up = _choose(record.catch_up, late, in_time)
    found = []
    if past.earlier is not None:
        first, last = past.earlier
        reason = f"{_why_late(now - last)}, and {MOST_CAUGHT_UP} later ones were missed too"
        found.append(note(connection, record, first, now, MISSED, reason, until=last if last > first else None))
    for slot in late:
        reason = _why_late(now - due[slot])
        if slot in caught_up:
            found.append(decide(connection, record, slot, now, reason=reason))
        else:
            found.append(note(connection, record, slot, now, MISSED, reason))
    found += [decide(connection, record, slot, now) for slot in in_time]
    if record.decided_at.date() < now.date():
        # Once a day.
        forget(connection, record, now)
    # There is none if the rules of its time zone have been changed since its slot was noted.
    move_on(connection, record, next_slot(record.timing, slots[-1] if slots else now), now)
    return [each for each in found if each is not None]


def _choose(catch_up: str, late: list[datetime], in_time: list[datetime]) -> set[datetime]:
    if catch_up == "all":
        return set(late)
    # What is in time is the latest there is.
    return set(late[-1:]) if catch_up == "latest" and not in_time else set()


def _why_late(late: timedelta) -> str:
    return f"nothing served the workspace, or the machine slept, for {timedelta(seconds=int(late.total_seconds()))} from then"


def _describe(slot: SlotRecord) -> dict[str, Any]:
    details = {"schedule": slot.schedule, "slot": slot.local.isoformat(), "run": slot.run_id, "reason": slot.reason}
    return {name: value for name, value in details.items() if value is not None}
