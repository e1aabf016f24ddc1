"""What a schedule means, found out the slow way: a look at every minute of a stretch of time.

Takes nothing from the library: fields of cron expressions are read here, and what a wall time stands for is asked of
`zoneinfo` minute by minute.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def read_field(text, low, high):
    values = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = (low, "", high) if span == "*" else span.partition("-")
        last = last or (high if step else first)
        values |= set(range(int(first), int(last) + 1, int(step or 1)))
    return values


class Cron:
    def __init__(self, expression):
        fields = expression.split()
        sets = [read_field(text, *span) for text, span in zip(fields, RANGES, strict=True)]
        self.minutes, self.hours, self.days, self.months, week_days = sets
        self.week_days = {day % 7 for day in week_days}
        # As in every cron: of two that are given one is enough.
        self.is_either = not fields[2].startswith("*") and not fields[4].startswith("*")

    def means(self, wall):
        if wall.minute not in self.minutes or wall.hour not in self.hours or wall.month not in self.months:
            return False
        day, week_day = wall.day in self.days, wall.isoweekday() % 7 in self.week_days
        return day or week_day if self.is_either else day and week_day


class Minutes:
    """Every minute of a stretch of time in a zone, looked at once for many expressions."""

    def __init__(self, zone, since, until):
        zone = ZoneInfo(zone)
        #: Instant, its wall, which pass it is of how many.
        self.real = []
        #: Wall that does not exist, and the instant that it would be had the clocks not been changed.
        self.lost = []
        moment = since
        while moment <= until:
            local = moment.astimezone(zone)
            comes_twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
            self.real.append((moment, local.replace(tzinfo=None, fold=0), local.fold, comes_twice))
            moment += MINUTE
        wall = (since - timedelta(days=2)).replace(tzinfo=None)
        while wall <= (until + timedelta(days=2)).replace(tzinfo=None):
            meant = wall.replace(tzinfo=zone).astimezone(UTC)
            if meant.astimezone(zone).replace(tzinfo=None, fold=0) != wall and since <= meant <= until:
                self.lost.append((wall, meant))
            wall += MINUTE

    def slots(self, means, gap, fold):
        found = {
            moment
            for moment, wall, number, comes_twice in self.real
            if not (comes_twice and fold == "first" and number == 1)
            and not (comes_twice and fold == "last" and number == 0)
            and means(wall)
        }
        if gap == "shift":
            found |= {meant for wall, meant in self.lost if means(wall)}
        return sorted(found)


def find_changes(zone, year):
    """Days of a year in which the clocks of a zone are changed."""
    zone = ZoneInfo(zone)
    days = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=number) for number in range(366)]
    return [
        day
        for day in days
        if day.astimezone(zone).utcoffset() != (day + timedelta(days=1)).astimezone(zone).utcoffset()
    ]
