"""When a schedule is due: the next slot after an instant, as a pure function of the schedule's timing.

croniter and dateutil know walls only, times as clocks on the wall show them; which instants these are on the nights when
clocks are changed is decided here.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import attrs

from pipelite.automate.zones import LONGEST_CHANGE, get_offset, get_zone, iter_changes
from pipelite.errors import ScheduleError
from pipelite.fingerprint import digest

FREQUENCIES = ("Minute", "Hour", "Day", "Week", "Month")
WEEK_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
#: What to do with a wall time that does not exist, or comes twice, in the night of a change of clocks.
DST_GAPS = ("shift", "skip")
DST_FOLDS = ("first", "last", "both")

#: Seconds of the longest interval: a thousand years.
LONGEST_S = 366 * 86400 * 1000

_SECOND = timedelta(seconds=1)
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
#: croniter draws these anew, or from a hash, whenever it reads them.
_DRAWN = re.compile(r"(?<![A-Za-z])[RrHh](?![A-Za-z])")


# The types of attributes are those that these take.
def _to_names(given: Iterable[str]) -> tuple[str, ...]:
    return tuple(given)


def _to_numbers(given: Iterable[int]) -> tuple[int, ...]:
    return tuple(given)


@attrs.frozen
class Recurrence:
    """Every so many minutes, hours, days, weeks or months.

    Parameters
    ----------
    frequency : "Minute", "Hour", "Day", "Week" or "Month"
    interval : int
        How many of them; from the schedule's start.
    week_days : names of days in English, only for "Week"; by default that of the start
    hours, minutes : numbers, only for "Day" and "Week": every pair is a slot; by default those of the start

    Raises
    ------
    ScheduleError
        Naming what is wrong.
    """

    frequency: str
    interval: int = 1
    week_days: tuple[str, ...] = attrs.field(default=(), converter=_to_names, kw_only=True)
    hours: tuple[int, ...] = attrs.field(default=(), converter=_to_numbers, kw_only=True)
    minutes: tuple[int, ...] = attrs.field(default=(), converter=_to_numbers, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.frequency not in FREQUENCIES:
            raise ScheduleError(f"frequency is {self.frequency!r}; one of {', '.join(FREQUENCIES)} is expected")
        if type(self.interval) is not int or not 1 <= self.interval <= 100_000:
            raise ScheduleError(f"interval is {self.interval!r}; a whole number from 1 is expected")
        for name, allowed, takes in (
            ("week_days", WEEK_DAYS, ("Week",)),
            ("hours", range(24), ("Day", "Week")),
            ("minutes", range(60), ("Day", "Week")),
        ):
            given = getattr(self, name)
            if given and self.frequency not in takes:
                raise ScheduleError(f"{name} are for the frequency {' or '.join(takes)}, not for {self.frequency}")
            for each in given:
                if each not in allowed or isinstance(each, bool):
                    shown = ", ".join(WEEK_DAYS) if name == "week_days" else f"0 to {len(allowed) - 1}"
                    raise ScheduleError(f"{name} has {each!r}; of {shown} any are expected")


@attrs.frozen(kw_only=True)
class Timing:
    """When a schedule is due: by exactly one of a cron expression, an interval and a recurrence."""

    #: Five fields: minute, hour, day of the month, month, day of the week.
    cron: str | None = None
    #: Real seconds, whatever clocks are changed to.
    every_s: int | None = None
    recurrence: Recurrence | None = None
    #: Name in the IANA database; of the walls that `cron` and `recurrence` mean.
    timezone: str
    #: UTC. What intervals are counted from; no slot lies before it.
    start: datetime
    #: UTC. No slot lies after it.
    end: datetime | None = None
    dst_gap: str
    dst_fold: str

    def describe(self) -> str:
        """In a few words."""
        if self.cron is not None:
            return f"cron {self.cron} ({self.timezone})"
        if self.every_s is not None:
            return f"every {timedelta(seconds=self.every_s)}"
        assert self.recurrence is not None
        which = self.recurrence
        days = f" on {', '.join(which.week_days)}" if which.week_days else ""
        return f"every {which.interval} {which.frequency.lower()}{'s' if which.interval > 1 else ''}{days} ({self.timezone})"


def make_timing(
    *,
    cron: str | None = None,
    every: float | timedelta | None = None,
    recurrence: Recurrence | None = None,
    timezone: str = "UTC",
    start: datetime | None = None,
    end: datetime | None = None,
    dst_gap: str | None = None,
    dst_fold: str | None = None,
    now: datetime,
) -> Timing:
    """Check what a schedule is asked for.

    Parameters
    ----------
    every
        Seconds, or a timedelta; whole seconds.
    start, end
        Without a zone they are walls in `timezone`. Intervals and recurrences are counted from the start, by default the
        present; a cron expression needs none.
    dst_gap, dst_fold
        By default fixed times come once a day ("shift", "first"), and what comes every so many minutes or hours keeps
        its pace ("skip", "both").

    Raises
    ------
    ScheduleError
        Naming what is wrong, also if there would never be a slot.
    """
    if sum(each is not None for each in (cron, every, recurrence)) != 1:
        raise ScheduleError("give one of cron=, every= and recurrence=")
    get_zone(timezone)
    is_paced = cron is None or _is_paced(_read_cron(cron))
    for name, given, allowed in (("dst_gap", dst_gap, DST_GAPS), ("dst_fold", dst_fold, DST_FOLDS)):
        if given is not None and given not in allowed:
            raise ScheduleError(f"{name} is {given!r}; one of {', '.join(map(repr, allowed))} is expected")
    if recurrence is not None and recurrence.frequency not in ("Minute", "Hour"):
        is_paced = False
    timing = Timing(
        cron=cron,
        every_s=None if every is None else _whole_seconds(every),
        recurrence=recurrence,
        timezone=timezone,
        start=to_utc(start or (now if cron is None else _EVER), timezone),
        end=None if end is None else to_utc(end, timezone),
        dst_gap=dst_gap or ("skip" if is_paced else "shift"),
        dst_fold=dst_fold or ("both" if is_paced else "first"),
    )
    if next_slot(timing, now) is None:
        until = "" if timing.end is None else f" until its end at {timing.end.isoformat()}"
        raise ScheduleError(f"the schedule would never be due: {timing.describe()} means no time{until}")
    return timing


def to_utc(moment: datetime, timezone: str) -> datetime:
    """A moment as UTC, in whole seconds; without a zone it is what clocks in `timezone` show."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=get_zone(timezone))
    if not 1970 <= moment.year < 9999:
        raise ScheduleError(f"{moment.isoformat()} is out of range; years from 1970 to 9998 are expected")
    return moment.astimezone(UTC).replace(microsecond=0)


def _whole_seconds(every: float | timedelta) -> int:
    seconds = every.total_seconds() if isinstance(every, timedelta) else every
    if type(seconds) not in (int, float) or seconds != seconds // 1 or not 1 <= seconds <= LONGEST_S:
        raise ScheduleError(f"every is {every!r}; whole seconds from 1, or a timedelta, are expected")
    return int(seconds)


def _read_cron(expression: str) -> str:
    """The five fields of an expression."""
    from croniter import croniter

    text = _ALIASES.get(expression.strip().lower(), expression.strip())
    wrong = f"the cron expression {expression!r} is wrong: "
    if len(text.split()) != 5:
        raise ScheduleError(
            f"{wrong}five fields are expected, minute, hour, day of the month, month and day of the week, or one of "
            f"{', '.join(_ALIASES)}; use every= for seconds"
        )
    if _DRAWN.search(text):
        raise ScheduleError(f"{wrong}R and H are drawn at random; write the numbers, and spread runs by jitter=")
    try:
        croniter(text)
    except (ValueError, KeyError, AttributeError) as exc:
        raise ScheduleError(f"{wrong}{exc}") from None
    return text


def _is_paced(fields: str) -> bool:
    """Whether it means every so many minutes or hours rather than fixed times of the day."""
    return any(sign in field for field in fields.split()[:2] for sign in "*/")


def next_slot(timing: Timing, after: datetime) -> datetime | None:
    """The first slot strictly after an instant, UTC; None if there is none any more."""
    after = max(after.astimezone(UTC).replace(microsecond=0), timing.start - _SECOND)
    try:
        found = _next_instant(timing, after.replace(tzinfo=None))
    except OverflowError:
        # The calendar ends with the year 9999.
        return None
    if found is None:
        return None
    slot = found.replace(tzinfo=UTC)
    return None if timing.end is not None and slot > timing.end else slot


def _next_instant(timing: Timing, after: datetime) -> datetime | None:
    period = _period(timing)
    if period is not None:
        start = timing.start.replace(tzinfo=None)
        return start + max(0, (after - start) // period + 1) * period
    if timing.cron is not None:
        return _next_by_walls(_cron_rule(timing.cron), timing, after)
    return _next_by_walls(_recurrence_rule(timing), timing, after)


def _period(timing: Timing) -> timedelta | None:
    if timing.every_s is not None:
        return timedelta(seconds=timing.every_s)
    if timing.recurrence is not None and timing.recurrence.frequency in ("Minute", "Hour"):
        unit = timedelta(minutes=1) if timing.recurrence.frequency == "Minute" else timedelta(hours=1)
        return timing.recurrence.interval * unit
    return None


#: The first wall strictly after one, of those that are meant.
WallRule = Callable[[datetime], datetime | None]


def _next_by_walls(rule: WallRule, timing: Timing, after: datetime) -> datetime | None:
    """The first instant strictly after one whose wall is meant.

    Goes from change of clocks to change of clocks: between two, walls and instants differ by a constant.
    """
    zone = timing.timezone
    # `after` is in the stretch that follows; later ones are looked at from their beginning on, which counts too.
    moment = after + _SECOND
    while True:
        entered = max(iter_changes(zone, moment - LONGEST_CHANGE, moment), key=lambda each: each.at, default=None)
        offset = get_offset(zone, moment)
        wall = rule(moment + offset - _SECOND)
        if wall is not None and entered is not None and entered.is_fold and timing.dst_fold == "first":
            again_until = entered.at + entered.before
            if wall < again_until:
                wall = rule(again_until - _SECOND)
        leaving = None
        found = []
        if wall is not None:
            leaving = next(iter_changes(zone, moment, wall - offset + LONGEST_CHANGE), None)
            comes_again = (
                leaving is not None
                and leaving.is_fold
                and timing.dst_fold == "last"
                and wall >= leaving.at + leaving.after
            )
            if (leaving is None or wall - offset < leaving.at) and not comes_again:
                found.append(wall - offset)
        if entered is not None and entered.is_gap and timing.dst_gap == "shift":
            # What the clocks left out comes as much later as they were put forward.
            lost = rule(moment + entered.before - _SECOND)
            if lost is not None and lost < entered.at + entered.after:
                found.append(lost - entered.before)
        if found:
            return min(found)
        if leaving is None:
            return None
        moment = leaving.at


_reading = threading.Lock()


@lru_cache(maxsize=4096)
def _cron_rule(expression: str) -> WallRule:
    from croniter import CroniterBadDateError, croniter

    reader = croniter(_read_cron(expression), datetime(2000, 1, 1))  # noqa: DTZ001

    def find(after: datetime) -> datetime | None:
        # A reader remembers where it is.
        with _reading:
            try:
                found: datetime = reader.get_next(datetime, start_time=after)
            except CroniterBadDateError:
                return None
        return found

    return find


def _recurrence_rule(timing: Timing) -> WallRule:
    from dateutil import rrule

    which = timing.recurrence
    assert which is not None
    start = timing.start.astimezone(get_zone(timing.timezone)).replace(tzinfo=None)
    is_given = bool(which.hours or which.minutes)
    options: dict[str, Any] = {
        "interval": which.interval,
        "byhour": which.hours or start.hour,
        "byminute": which.minutes or (0 if is_given else start.minute),
        "bysecond": 0 if is_given else start.second,
    }
    if which.frequency == "Week":
        options["byweekday"] = [WEEK_DAYS.index(day) for day in which.week_days] or start.weekday()
    if which.frequency == "Month":
        options["bymonthday"] = start.day
    kind: Any = {"Day": rrule.DAILY, "Week": rrule.WEEKLY, "Month": rrule.MONTHLY}[which.frequency]

    def find(after: datetime) -> datetime | None:
        # A rule counts from its beginning each time: it gets one shortly before.
        after = max(after, start - _SECOND)
        return rrule.rrule(kind, dtstart=_shortly_before(which, start, after), **options).after(after)

    return find


def _shortly_before(which: Recurrence, start: datetime, after: datetime) -> datetime:
    """A date that is whole intervals after the start and not after a wall."""
    if which.frequency == "Month":
        months = (after.year - start.year) * 12 + after.month - start.month
        months -= months % which.interval
        year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
        return datetime(year, month + 1, 1)  # noqa: DTZ001
    days = which.interval * (7 if which.frequency == "Week" else 1)
    first = start.replace(hour=0, minute=0, second=0)
    if which.frequency == "Week":
        first -= timedelta(days=first.weekday())
    return first + (after - first) // timedelta(days=days) * timedelta(days=days)


def iter_slots(timing: Timing, after: datetime, until: datetime | None = None) -> Iterator[datetime]:
    """The slots in (after, until], in order."""
    slot = next_slot(timing, after)
    while slot is not None and (until is None or slot <= until):
        yield slot
        slot = next_slot(timing, slot)


@attrs.frozen(kw_only=True)
class Past:
    """The slots of a stretch of time: the last ones one by one, and what came before as a whole."""

    #: In order.
    slots: tuple[datetime, ...]
    #: The first and the last of those before, if there are any.
    earlier: tuple[datetime, datetime] | None = None


def look_back(timing: Timing, after: datetime, until: datetime, *, most: int) -> Past:
    """The slots in (after, until], the last `most` of them one by one.

    Does not walk through all of them: of a clock that is set forward by ten years there may be millions.
    """
    reach = timedelta(minutes=1)
    while True:
        begin = max(after, until - reach)
        found = list(iter_slots(timing, begin, until))
        if len(found) > most:
            first = next_slot(timing, after)
            assert first is not None
            return Past(slots=tuple(found[-most:]), earlier=(first, found[-most - 1]))
        if begin == after:
            return Past(slots=tuple(found))
        reach *= 4


def get_delay(name: str, slot: datetime, jitter_s: float) -> timedelta:
    """How much later than its slot a schedule is due; whoever asks gets the same."""
    if not jitter_s:
        return timedelta(0)
    drawn = int(digest("jitter", name.encode(), slot.isoformat().encode())[:8], 16) / 0xFFFFFFFF
    return timedelta(seconds=round(drawn * jitter_s, 3))


def check_jitter(timing: Timing, jitter_s: float) -> None:
    """Make sure that slots stay in order.

    Raises
    ------
    ScheduleError
        If the jitter is not shorter than the time between two slots.
    """
    if isinstance(jitter_s, bool) or not 0 <= jitter_s < float("inf"):
        raise ScheduleError(f"jitter is {jitter_s!r}; seconds from 0, or a timedelta, are expected")
    if not jitter_s:
        return
    last = None
    for number, slot in enumerate(iter_slots(timing, timing.start - _SECOND)):
        if last is not None and (slot - last).total_seconds() <= jitter_s:
            raise ScheduleError(
                f"a jitter of {jitter_s:g} s is not shorter than the time between two slots, {last} and {slot}"
            )
        last = slot
        if number > 100:
            return


def to_wall(timing: Timing, slot: datetime) -> datetime:
    """What clocks in the schedule's zone show at a slot; its `fold` is 1 in the second pass of an hour that comes twice."""
    return slot.astimezone(get_zone(timing.timezone))
