"""Schedules, as the user holds them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pipelite import automate
from pipelite.api.publishing import Endpoint, Endpoints, PublishedPipeline, to_assignments, warn_if_not_served
from pipelite.api.runs import Run
from pipelite.api.workspace import open_store
from pipelite.automate import Recurrence, ScheduleRecord, SlotRecord, iter_slots, make_timing
from pipelite.clock import CLOCK
from pipelite.errors import ScheduleError
from pipelite.store import Store


class Schedule:
    """When a published pipeline runs by itself; a server or daemon of its workspace sees to it."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self.name = name

    @classmethod
    def create(
        cls,
        name: str,
        pipeline: PublishedPipeline | Endpoint | str,
        parameters: Mapping[str, Any] | None = None,
        *,
        cron: str | None = None,
        every: float | timedelta | None = None,
        recurrence: Recurrence | None = None,
        timezone: str = "UTC",
        start: datetime | None = None,
        end: datetime | None = None,
        jitter: float | timedelta = 0,
        catch_up: str = "none",
        overlap: str = "skip",
        slot_parameter: str | None = None,
        history_days: int = automate.HISTORY_DAYS,
        dst_gap: str | None = None,
        dst_fold: str | None = None,
        experiment: str | None = None,
        description: str | None = None,
        workspace: str | os.PathLike[str] | None = None,
    ) -> Schedule:
        """Keep a schedule. Exactly one of `cron`, `every` and `recurrence` says when it is due.

        Parameters
        ----------
        pipeline
            A version, which stays the same, or an endpoint or its name: each run is of the version that it leads to then.
        cron : str, optional
            Five fields, minute, hour, day of the month, month and day of the week, or `@daily` and the like.
        every : float or timedelta, optional
            Real seconds between two slots, whatever becomes of clocks; counted from the start.
        recurrence : Recurrence, optional
        timezone : str
            Name of the zone whose wall time `cron` and `recurrence` mean, such as "Europe/Berlin".
        start, end : datetime, optional
            No slot lies before the start or after the end; without a zone they are in `timezone`.
        jitter : float or timedelta
            Seconds within which each run begins later than its slot, drawn by chance.
        catch_up : "none", "latest" or "all"
            Which of the slots have a run that passed while nothing served the workspace; "all" are 100 at most.
        overlap : "skip", "queue", "allow" or "cancel"
            What becomes of a slot while an earlier run goes on: it has no run, one that waits for the other, one beside
            the other, or one that the other is canceled for.
        slot_parameter : str, optional
            Name of a parameter that each run is given its time in: that of the slot in `timezone`, as ISO text such as
            "2026-03-02T02:30:00+01:00", also if the run is made later, by a backfill too.
        history_days : int
            How long the history is kept; the last 100 rows are, however old they are.
        dst_gap : "shift" or "skip", optional
            What becomes of a wall time that the clocks leave out when they go forward. By default fixed times are shifted,
            by as much as the clocks are put forward.
        dst_fold : "first", "last" or "both", optional
            Which counts of a wall time that comes twice when clocks go back. By default the first, and both for what comes
            every so many minutes or hours.

        Raises
        ------
        ScheduleError
            If it would never be due, or there is one of that name.
        ParameterError
            If a parameter is unknown, missing or of the wrong type.
        """
        store = open_store(workspace)
        now = CLOCK.now()
        if isinstance(pipeline, str):
            pipeline = Endpoints(store)[pipeline]
        if not isinstance(pipeline, (PublishedPipeline, Endpoint)):
            raise ScheduleError(
                f"schedule {name!r} was given a {type(pipeline).__name__}; publish the pipeline, and give what "
                "`publish` returns or the name of the endpoint"
            )
        version = (pipeline.default if isinstance(pipeline, Endpoint) else pipeline)._version
        automate.add_schedule(
            store,
            name,
            automate.find_version(store, version.id),
            to_assignments(store, version, parameters or {}, later=slot_parameter),
            make_timing(
                cron=cron,
                every=every,
                recurrence=recurrence,
                timezone=timezone,
                start=start,
                end=end,
                dst_gap=dst_gap,
                dst_fold=dst_fold,
                now=now,
            ),
            endpoint=pipeline.name if isinstance(pipeline, Endpoint) else None,
            jitter_s=_seconds(jitter),
            catch_up=catch_up,
            overlap=overlap,
            slot_parameter=slot_parameter,
            history_days=history_days,
            experiment=experiment,
            description=description,
            now=now,
        )
        return cls(store, name)

    @property
    def record(self) -> ScheduleRecord:
        """All that is stored of it."""
        return automate.find_schedule(self._store, self.name)

    @property
    def is_paused(self) -> bool:
        return self.record.is_paused

    def history(self, *, limit: int | None = 50) -> list[SlotRecord]:
        """What became of its slots, the latest first: which had a run, and why the others had none."""
        return automate.list_slots(self._store, self.name, limit=limit)

    def next(self, n: int = 1) -> list[datetime]:
        """Its next n slots, as times of its zone; whether it is paused is no matter."""
        timing = self.record.timing
        return [
            automate.to_wall(timing, slot) for slot, _ in zip(iter_slots(timing, CLOCK.now()), range(n), strict=False)
        ]

    def update(self, *, jitter: float | timedelta | None = None, **changes: Any) -> None:
        """Change what `create` takes, except the name and the pipeline; nothing fires for the past.

        Raises
        ------
        ScheduleError
            If it cannot be so; it stays as it was.
        """
        if jitter is not None:
            changes["jitter_s"] = _seconds(jitter)
        if "parameters" in changes:
            record = self.record
            version = automate.find_version(self._store, record.published_id or record.endpoint or "")
            slot_parameter = changes.get("slot_parameter", record.slot_parameter)
            changes["parameters"] = to_assignments(self._store, version, changes["parameters"], later=slot_parameter)
        automate.change_schedule(self._store, self.name, now=CLOCK.now(), **changes)

    def pause(self) -> None:
        """Have it make no runs until it is resumed."""
        automate.pause(self._store, self.name, now=CLOCK.now())

    def resume(self) -> None:
        """Have it go on with its next slot; those that passed meanwhile have no runs."""
        automate.resume(self._store, self.name, now=CLOCK.now())

    def run_now(self) -> Run:
        """Put a run into the queue, besides those of its slots."""
        run = self._run_of(automate.run_now(self._store, self.name, now=CLOCK.now()))
        warn_if_not_served(self._store, run.id)
        return run

    def backfill(self, since: datetime, until: datetime) -> list[Run]:
        """Put runs into the queue for its slots in [since, until] that have had none; times without a zone are of its own.

        Raises
        ------
        ScheduleError
            If there are more than 1,000, or `until` lies in the future.
        """
        timing = self.record.timing
        found = automate.backfill(
            self._store,
            self.name,
            automate.to_utc(since, timing.timezone),
            automate.to_utc(until, timing.timezone),
            now=CLOCK.now(),
        )
        runs = [self._run_of(slot) for slot in found]
        if runs:
            warn_if_not_served(self._store, runs[0].id)
        return runs

    def remove(self) -> None:
        """Forget it and its history; its runs stay."""
        automate.remove_schedule(self._store, self.name)

    def _run_of(self, slot: SlotRecord) -> Run:
        assert slot.run_id is not None
        return Run(self._store, slot.run_id)

    def __repr__(self) -> str:
        return f"<schedule {self.name!r}>"


class Schedules(Mapping[str, Schedule]):
    """The schedules of a workspace by name."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getitem__(self, name: str) -> Schedule:
        return Schedule(self._store, automate.find_schedule(self._store, name).name)

    def __iter__(self) -> Iterator[str]:
        return iter([record.name for record in automate.list_schedules(self._store)])

    def __len__(self) -> int:
        return len(automate.list_schedules(self._store))


def _seconds(span: float | timedelta) -> float:
    return span.total_seconds() if isinstance(span, timedelta) else span
