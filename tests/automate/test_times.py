"""When a schedule is due, also in the nights when clocks are changed."""

import os
import zoneinfo
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest
from oracle import Cron, Minutes, find_changes

from pipelite.automate.times import (
    DST_FOLDS,
    DST_GAPS,
    Recurrence,
    check_jitter,
    get_delay,
    iter_slots,
    look_back,
    make_timing,
    next_slot,
    to_wall,
)
from pipelite.errors import ScheduleError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)

ZONES = (
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Havana",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Jerusalem",
    "Asia/Kolkata",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Chisinau",
    "Europe/Dublin",
    "Pacific/Chatham",
    "Pacific/Easter",
)
YEARS = range(2025, 2031)
#: A year each with all tests; all zones in all years with the chaos of full size.
ZONES_AND_YEARS = (
    [(zone, year) for zone in sorted(zoneinfo.available_timezones()) for year in YEARS if find_changes(zone, year)]
    if os.environ.get("PIPELITE_CHAOS") == "full"
    else [(zone, YEARS[number % len(YEARS)]) for number, zone in enumerate(ZONES)]
)
EXPRESSIONS = (
    "30 2 * * *",
    "0 0 * * *",
    "15 0,1,2,3 * * *",
    "0 * * * *",
    "*/7 * * * *",
    "*/15 1-3 * * *",
    "0 */2 * * *",
    "59 23 * * 0,6",
    "45 1 * 3,4,9,10,11 *",
    "30 2,3 1-7 * 7",
    "5-50/15 0-23/3 * * *",
    "0 12 29 2 *",
)


def cron(expression, zone="Europe/Berlin", **options):
    return make_timing(cron=expression, timezone=zone, now=NOW, **options)


def walls(timing, after, count):
    return [f"{to_wall(timing, slot):%m-%d %H:%M%z}" for slot in islice(iter_slots(timing, after), count)]


@pytest.mark.parametrize(("zone", "year"), ZONES_AND_YEARS)
def test_cron_is_what_a_look_at_every_minute_says(zone, year):
    for day in find_changes(zone, year) or [NOW]:
        since, until = day - DAY / 4, day + DAY * 5 / 4
        minutes = Minutes(zone, since, until)
        for expression in EXPRESSIONS:
            means = Cron(expression).means
            for gap in DST_GAPS:
                for fold in DST_FOLDS:
                    timing = cron(expression, zone, dst_gap=gap, dst_fold=fold)
                    found = list(iter_slots(timing, since - timedelta(minutes=1), until))
                    assert found == minutes.slots(means, gap, fold), (expression, gap, fold, day)


@pytest.mark.parametrize(("zone", "day"), [("Pacific/Apia", datetime(2011, 12, 30, tzinfo=UTC))])
def test_a_day_that_a_zone_leaves_out_is_shifted_as_a_whole(zone, day):
    minutes = Minutes(zone, day - DAY, day + 2 * DAY)
    for expression in EXPRESSIONS:
        for gap in DST_GAPS:
            timing = cron(expression, zone, dst_gap=gap, dst_fold="first")
            found = list(iter_slots(timing, day - DAY - timedelta(minutes=1), day + 2 * DAY))
            assert found == minutes.slots(Cron(expression).means, gap, "first"), (expression, gap)


@pytest.mark.parametrize("zone", ZONES)
def test_a_fixed_time_comes_once_a_day_whatever_the_night(zone):
    timing = cron("30 2 * * *", zone)
    for year, days in ((2027, 365), (2028, 366)):
        start = to_wall(timing, datetime(year, 1, 1, tzinfo=UTC)).replace(month=1, day=1, year=year, hour=0, minute=0)
        found = list(iter_slots(timing, start, start.replace(year=year + 1)))
        assert len(found) == days
        assert len({to_wall(timing, slot).date() for slot in found}) == days


def test_by_default_fixed_times_are_shifted_and_come_first_and_paces_are_kept():
    spring, autumn = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)
    fixed, hourly = cron("30 2 * * *"), cron("30 * * * *")

    assert walls(fixed, spring, 2) == ["03-29 03:30+0200", "03-30 02:30+0200"]
    assert walls(fixed, autumn, 2) == ["10-25 02:30+0200", "10-26 02:30+0100"]
    for night in (spring, autumn):
        found = list(islice(iter_slots(hourly, night), 24))
        assert {later - slot for slot, later in pairwise(found)} == {timedelta(hours=1)}


def test_intervals_are_real_ones_and_counted_from_the_start():
    start = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    for timing in (
        make_timing(every=3600, start=start, timezone="Europe/Berlin", now=NOW),
        make_timing(recurrence=Recurrence("Minute", 60), start=start, timezone="Europe/Berlin", now=NOW),
        make_timing(recurrence=Recurrence("Hour"), start=start, timezone="Europe/Berlin", now=NOW),
    ):
        assert walls(timing, NOW, 3) == ["03-29 01:30+0100", "03-29 03:30+0200", "03-29 04:30+0200"]
        assert next_slot(timing, start + timedelta(days=365, seconds=1)) == start + timedelta(days=365, hours=1)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("interval", [1, 3])
def test_recurrences_are_what_a_look_at_every_minute_says(zone, interval):
    start = datetime(2026, 2, 3, 2, 30)
    day_of = {
        "Day": lambda wall: (wall.date() - start.date()).days % interval == 0,
        "Week": lambda wall: (
            wall.weekday() in (5, 6) and ((wall.date() - start.date()).days + start.weekday()) // 7 % interval == 0
        ),
        "Month": lambda wall: wall.day == start.day and (wall.month - start.month) % interval == 0,
    }
    for day in find_changes(zone, 2026):
        since, until = day - 5 * DAY, day + 5 * DAY
        minutes = Minutes(zone, since, until)
        for frequency, is_day in day_of.items():
            options = {} if frequency == "Month" else {"hours": [1, 2, 14], "minutes": [0, 30]}
            if frequency == "Week":
                options["week_days"] = ["Saturday", "Sunday"]
            timing = make_timing(
                recurrence=Recurrence(frequency, interval, **options), start=start, timezone=zone, now=NOW
            )
            times = {(hour, minute) for hour in (1, 2, 14) for minute in (0, 30)} if options else {(2, 30)}
            expected = minutes.slots(
                lambda wall, is_day=is_day, times=times: (
                    wall >= start and is_day(wall) and (wall.hour, wall.minute) in times
                ),
                "shift",
                "first",
            )
            assert list(iter_slots(timing, since - timedelta(minutes=1), until)) == expected, (frequency, day)


def test_a_month_without_the_day_is_left_out():
    timing = make_timing(recurrence=Recurrence("Month"), start=datetime(2026, 1, 31, 9), timezone="UTC", now=NOW)

    assert walls(timing, NOW, 4) == ["01-31 09:00+0000", "03-31 09:00+0000", "05-31 09:00+0000", "07-31 09:00+0000"]


def test_no_slot_lies_before_the_start_or_after_the_end():
    timing = cron("0 12 * * *", start=datetime(2026, 5, 1, 12), end=datetime(2026, 5, 3, 12))

    assert walls(timing, NOW, 9) == ["05-01 12:00+0200", "05-02 12:00+0200", "05-03 12:00+0200"]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("0 0 31 2 *", "would never be due"),
        ("0 0 30,31 2 *", "would never be due"),
        ("R * * * *", "drawn at random"),
        ("R(0-30) 3 * * *", "drawn at random"),
        ("0 H * * *", "drawn at random"),
        ("61 * * * *", "out of range"),
        ("* * * *", "five fields are expected"),
        ("* * * * * *", "five fields are expected"),
        ("@reboot", "five fields are expected"),
        ("", "five fields are expected"),
        ("a b c d e", "is wrong"),
        ("*/0 * * * *", "is wrong"),
    ],
)
def test_what_would_never_be_due_or_cannot_be_read_is_refused(expression, message):
    with pytest.raises(ScheduleError, match=message):
        cron(expression)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "exactly|give one of"),
        ({"cron": "@daily", "every": 60}, "give one of"),
        ({"every": 0}, "whole seconds"),
        ({"every": 1.5}, "whole seconds"),
        ({"every": True}, "whole seconds"),
        ({"every": 10**30}, "whole seconds"),
        ({"every": float("nan")}, "whole seconds"),
        ({"every": timedelta(milliseconds=1)}, "whole seconds"),
        ({"cron": "@daily", "timezone": "Mars/Phobos"}, "no time zone 'Mars/Phobos'"),
        ({"cron": "@daily", "timezone": "../etc/passwd"}, "no time zone"),
        ({"cron": "@daily", "dst_gap": "jump"}, "'shift', 'skip' is expected"),
        ({"cron": "@daily", "dst_fold": "third"}, "'first', 'last', 'both' is expected"),
        ({"every": 60, "end": datetime(2025, 1, 1)}, "would never be due"),
        ({"every": 60, "start": datetime(1, 1, 1), "timezone": "Asia/Tokyo"}, "out of range"),
    ],
)
def test_what_is_wrong_with_a_timing_is_told(wrong, message):
    with pytest.raises(ScheduleError, match=message):
        make_timing(**wrong, now=NOW)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("Hourly",), "one of Minute, Hour, Day, Week, Month"),
        (("Day", 0), "interval is 0"),
        (("Day", 1.0), "interval is 1.0"),
        (("Day", 1, {"week_days": ["Monday"]}), "week_days are for the frequency Week"),
        (("Hour", 1, {"minutes": [0]}), "minutes are for the frequency Day or Week"),
        (("Week", 1, {"week_days": ["Mon"]}), "week_days has 'Mon'"),
        (("Day", 1, {"hours": [24]}), "hours has 24"),
    ],
)
def test_what_is_wrong_with_a_recurrence_is_told(wrong, message):
    options = wrong[2] if len(wrong) > 2 else {}
    with pytest.raises(ScheduleError, match=message):
        Recurrence(*wrong[:2], **options)


def test_a_long_past_is_looked_back_at_without_a_walk_through_all_of_it():
    timing = make_timing(every=1, start=NOW, now=NOW)
    now = NOW + timedelta(days=3650)

    past = look_back(timing, NOW, now, most=3)

    assert past.slots == tuple(now - timedelta(seconds=number) for number in (2, 1, 0))
    assert past.earlier == (NOW + timedelta(seconds=1), now - timedelta(seconds=3))
    assert look_back(timing, now - timedelta(seconds=2), now, most=3).earlier is None


def test_jitter_is_the_same_for_all_who_ask_and_keeps_slots_in_order():
    timing = make_timing(every=60, now=NOW)
    slots = list(islice(iter_slots(timing, NOW), 200))

    delays = [get_delay("name", slot, 30.0).total_seconds() for slot in slots]

    assert delays == [get_delay("name", slot, 30.0).total_seconds() for slot in slots]
    assert len(set(delays)) > 190
    assert 0 <= min(delays) < 3 < 27 < max(delays) <= 30
    with pytest.raises(ScheduleError, match="is not shorter than the time between two slots"):
        check_jitter(timing, 60)
