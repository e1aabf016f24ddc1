"""Wall time and UTC: when clocks are changed, and which instants a wall time stands for.

`zoneinfo` answers for one moment; here are the moments at which its answers change. Times without a zone are UTC where
they are called instants, and what clocks on the wall show where they are called walls.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import attrs

from pipelite.errors import ScheduleError

_SECOND = timedelta(seconds=1)
#: Two changes of a zone that are closer than this and undo each other would not be seen; there are none.
_STEP = timedelta(hours=12)
#: No clock was ever changed by more than a day.
LONGEST_CHANGE = timedelta(days=1)


@attrs.frozen(kw_only=True)
class Change:
    """A moment at which the clocks of a zone are changed."""

    #: Instant.
    at: datetime
    #: What is added to UTC before it, and from it on.
    before: timedelta
    after: timedelta

    @property
    def is_gap(self) -> bool:
        """Whether clocks go forward: the walls from `at + before` up to `at + after` do not exist."""
        return self.after > self.before

    @property
    def is_fold(self) -> bool:
        """Whether clocks go back: the walls from `at + after` up to `at + before` come twice."""
        return self.after < self.before


def get_zone(name: str) -> zoneinfo.ZoneInfo:
    """A time zone by its name in the IANA database.

    Raises
    ------
    ScheduleError
        If there is none.
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        # Slim images of systems have no time zones at all.
        hint = "" if zoneinfo.available_timezones() else "; this machine knows no time zones: run: pip install tzdata"
        raise ScheduleError(f'there is no time zone {name!r}; write it as in "Europe/Berlin" or "UTC"{hint}') from None


def get_offset(zone: str, instant: datetime) -> timedelta:
    """What the clocks of a zone add to UTC at an instant."""
    found = instant.replace(tzinfo=UTC).astimezone(get_zone(zone)).utcoffset()
    assert found is not None
    return found


def iter_changes(zone: str, after: datetime, until: datetime) -> Iterator[Change]:
    """Changes in (after, until], in order."""
    for year in range(after.year, until.year + 1):
        for change in _changes_of_year(zone, year):
            if after < change.at <= until:
                yield change


@lru_cache(maxsize=4096)
def _changes_of_year(zone: str, year: int) -> tuple[Change, ...]:
    found = []
    # A change at the very beginning belongs to its year.
    moment = datetime(year, 1, 1) - _SECOND  # noqa: DTZ001
    end = datetime(year, 12, 31, 23, 59, 59)  # noqa: DTZ001
    offset = get_offset(zone, moment)
    while moment < end:
        later = min(moment + _STEP, end)
        if get_offset(zone, later) != offset:
            at = _bisect(zone, moment, later, offset)
            found.append(Change(at=at, before=offset, after=get_offset(zone, at)))
            later = at
            offset = found[-1].after
        moment = later
    return tuple(found)


def _bisect(zone: str, before: datetime, after: datetime, offset: timedelta) -> datetime:
    while after - before > _SECOND:
        middle = before + timedelta(seconds=(after - before) // _SECOND // 2)
        if get_offset(zone, middle) == offset:
            before = middle
        else:
            after = middle
    return after


def forget_zones() -> None:
    """Have the rules of time zones read anew: they may have been updated on this machine."""
    zoneinfo.ZoneInfo.clear_cache()
    _changes_of_year.cache_clear()
