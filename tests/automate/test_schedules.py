"""Schedules: what they do with slots that are due, late, or in the way of each other, and what they say about it."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from pipelite import Recurrence, Schedule, Workspace
from pipelite.automate import Ticker
from pipelite.errors import ParameterError, PublishError, ScheduleError, UnknownNameError

pytestmark = pytest.mark.filterwarnings("ignore:run .* waits in the queue")

MINUTE = timedelta(minutes=1)


@pytest.fixture
def endpoint(flow):
    """The endpoint of a pipeline that adds up."""
    flow().train.publish("Adding", version="1.0")
    return Workspace().endpoints["Adding"]


@pytest.fixture
def tick(clock):
    """Turns the clock, and decides what is due then; gives the outcomes that are new, the earliest first."""
    seen = set()

    def turn(schedule, **span):
        clock.turn(**span)
        Ticker(Workspace().store).tick()
        new = [
            slot for slot in reversed(schedule.history(limit=None)) if (slot.at, slot.until, slot.outcome) not in seen
        ]
        seen.update((slot.at, slot.until, slot.outcome) for slot in new)
        return [slot.outcome for slot in new]

    return turn


def run_of(slot):
    return Workspace().run(slot.run_id)


def end_runs():
    for run in Workspace().runs(status="queued"):
        run.cancel()


def test_a_slot_has_one_run_with_its_parameters_and_says_so(endpoint, clock, tick):
    schedule = Schedule.create("nightly", endpoint, {"n": 7}, cron="30 2 * * *", timezone="Europe/Berlin")

    assert schedule.next(2)[0].isoformat() == "2026-03-03T02:30:00+01:00"
    assert tick(schedule, hours=12) == []
    assert tick(schedule, hours=1.5) == ["fired"]
    assert tick(schedule, seconds=1) == []

    [slot] = schedule.history()
    assert (slot.at, slot.local.hour, slot.fold) == (clock.at - timedelta(seconds=1), 2, 0)
    [run] = Workspace().runs()
    assert (run.id, run.status, run.parameters["n"]) == (slot.run_id, "queued", 7)
    assert run.tags == {"schedule": "nightly", "slot": "2026-03-03T01:30:00+00:00"}


def test_an_endpoint_is_followed_and_a_version_is_kept(flow, endpoint, tick):
    by_name = Schedule.create("by name", "Adding", every=60, overlap="allow")
    by_version = Schedule.create("by version", Workspace().published["Adding"], every=60, overlap="allow")
    Path("helpers.py").write_text("def twice(x):\n    return 3 * x\n")
    flow().train.publish("Adding", version="2.0", default=True)

    tick(by_name, minutes=1)

    called = [run_of(each.history()[0]).record.options["published"]["version"] for each in (by_name, by_version)]
    assert called == ["2.0", "1.0"]


@pytest.mark.parametrize(
    ("catch_up", "outcomes"),
    [
        ("none", ["missed", "missed", "missed"]),
        ("latest", ["missed", "missed", "fired"]),
        ("all", ["fired", "fired", "fired"]),
    ],
)
def test_what_was_missed_is_caught_up_with_as_asked(endpoint, tick, catch_up, outcomes):
    schedule = Schedule.create("hourly", endpoint, every=3600, catch_up=catch_up, overlap="allow")

    assert tick(schedule, hours=3, minutes=10) == outcomes

    assert schedule.history()[0].reason == "nothing served the workspace, or the machine slept, for 0:10:00 from then"
    assert tick(schedule, minutes=50) == ["fired"]


def test_of_a_slot_in_time_and_missed_ones_before_the_one_in_time_is_the_latest(endpoint, tick):
    schedule = Schedule.create("hourly", endpoint, every=3600, catch_up="latest", overlap="allow")

    assert tick(schedule, hours=3, seconds=5) == ["missed", "missed", "fired"]


def test_no_more_than_a_hundred_are_caught_up_with_and_the_rest_is_noted_as_a_whole(endpoint, tick):
    schedule = Schedule.create("minutely", endpoint, every=60, catch_up="all", overlap="allow")

    outcomes = tick(schedule, days=3650)

    assert outcomes == ["missed"] + ["fired"] * 100
    first, whole = schedule.history(limit=None)[-2:]
    assert first.at - whole.until == MINUTE
    assert "100 later ones were missed too" in whole.reason


@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
def test_a_clock_that_is_set_back_makes_nothing_twice_and_leaves_nothing_out(endpoint, clock, tick, catch_up):
    schedule = Schedule.create("minutely", endpoint, every=60, catch_up=catch_up, overlap="allow")
    start = clock.at
    tick(schedule, minutes=1)

    for jump in (timedelta(hours=1), timedelta(days=1), timedelta(days=3650), datetime(1970, 1, 2, tzinfo=UTC) - start):
        tick(schedule, seconds=jump.total_seconds())
        tick(schedule, seconds=-jump.total_seconds())
    for _ in range(120):
        tick(schedule, minutes=1)

    fired = [slot.at for slot in schedule.history(limit=None) if slot.outcome == "fired"]
    assert len(fired) == len(set(fired)) == len(Workspace().runs(limit=None))
    wanted = [start + number * MINUTE for number in range(1, 122)]
    assert sorted(slot for slot in fired if slot <= clock.at) == wanted


def test_slots_that_were_noted_as_missed_by_a_clock_that_was_ahead_have_their_runs(endpoint, tick):
    schedule = Schedule.create("hourly", endpoint, every=3600, overlap="allow")
    assert tick(schedule, hours=5, minutes=30) == ["missed"] * 5

    assert tick(schedule, hours=-5) == []

    assert tick(schedule, minutes=30) == ["fired"]
    assert tick(schedule, hours=1) == ["fired"]


def test_an_earlier_run_that_goes_on_is_a_reason_to_skip(endpoint, tick):
    schedule = Schedule.create("minutely", endpoint, every=60)
    assert tick(schedule, minutes=1) == ["fired"]
    first = schedule.history()[0].run_id

    assert tick(schedule, minutes=1) == ["skipped"]

    assert schedule.history()[0].reason == f"run {first} had not ended"
    end_runs()
    assert tick(schedule, minutes=1) == ["fired"]


def test_an_earlier_run_is_canceled_for_the_next_one(endpoint, tick):
    schedule = Schedule.create("minutely", endpoint, every=60, overlap="cancel")
    tick(schedule, minutes=1)

    assert tick(schedule, minutes=1) == ["fired"]

    assert [run_of(slot).status for slot in schedule.history()] == ["queued", "canceled"]


@pytest.mark.parametrize(("overlap", "at_once"), [("queue", 1), ("allow", 2)])
def test_runs_of_a_schedule_go_one_after_the_other_or_side_by_side(flow, clock, tick, serve, overlap, at_once):
    flow().lasting.publish("Lasting")
    schedule = Schedule.create(
        "minutely", "Lasting", {"tag": "s", "count": 1, "seconds": 1.0}, every=60, overlap=overlap
    )
    for _ in range(2):
        assert tick(schedule, minutes=1) == ["fired"]
    serve(total=2)

    runs = [run_of(slot).wait(60) for slot in reversed(schedule.history())]

    is_apart = all(later.started_at >= run.ended_at for run, later in pairwise(runs))
    assert is_apart == (at_once == 1)


def test_nothing_fires_while_it_is_paused_or_for_that_time_afterwards(endpoint, clock, tick):
    schedule = Schedule.create("hourly", endpoint, every=3600, catch_up="all", overlap="allow")
    schedule.pause()
    assert tick(schedule, hours=3) == []

    schedule.resume()

    assert tick(schedule) == ["missed"]
    [slot] = schedule.history()
    assert (slot.until - slot.at, slot.reason) == (timedelta(hours=2), "the schedule was paused")
    assert tick(schedule, hours=1) == ["fired"]


def test_a_change_fires_nothing_for_the_past(endpoint, clock, tick):
    schedule = Schedule.create("daily", endpoint, cron="0 18 * * *", catch_up="all", timezone="UTC")
    clock.turn(hours=3)

    schedule.update(cron="0 13 * * *", timezone="Europe/Berlin")

    assert tick(schedule) == ["changed"]
    assert [str(slot) for slot in schedule.next()] == ["2026-03-03 13:00:00+01:00"]
    clock.turn(days=1)
    schedule.update(timezone="America/New_York")
    schedule.update(overlap="queue", timezone="America/New_York")
    assert tick(schedule) == ["missed", "changed"]
    assert [slot.reason for slot in schedule.history()] == [
        "cron 0 13 * * * (Europe/Berlin) became cron 0 13 * * * (America/New_York)",
        "the schedule was changed before it was decided",
        "cron 0 18 * * * (UTC) became cron 0 13 * * * (Europe/Berlin)",
    ]
    assert schedule.record.timing.cron == "0 13 * * *"


def test_another_kind_of_schedule_is_not_counted_from_where_the_first_one_was(endpoint, clock):
    schedule = Schedule.create("often", endpoint, every=3600, overlap="allow")
    clock.turn(minutes=30)

    schedule.update(cron="0 * * * *")
    assert len(schedule.backfill(datetime(2026, 3, 2, 8), datetime(2026, 3, 2, 11))) == 4
    schedule.update(every=3600)
    assert [slot.minute for slot in schedule.next(2)] == [30, 30]
    schedule.update(every=7200)
    assert [slot.hour for slot in schedule.next(2)] == [14, 16]


def test_a_change_that_cannot_be_leaves_it_as_it_was(endpoint):
    schedule = Schedule.create("daily", endpoint, cron="0 18 * * *")
    before = schedule.record

    for wrong, error in (
        ({"cron": "0 0 31 2 *"}, ScheduleError),
        ({"overlap": "never"}, ScheduleError),
        ({"jitter": 86400}, ScheduleError),
        ({"parameters": {"m": 1}}, ParameterError),
    ):
        with pytest.raises(error):
            schedule.update(**wrong)

    assert schedule.record == before


def test_a_version_that_takes_no_calls_or_other_parameters_is_a_reason_in_the_history(flow, endpoint, tick):
    schedule = Schedule.create("minutely", endpoint, {"n": 7}, every=60)
    endpoint.default.disable()
    assert tick(schedule, minutes=1) == ["failed"]
    assert schedule.history()[0].reason == "Adding 1.0 is disabled, and cannot be called"
    with pytest.raises(PublishError, match="is disabled"):
        schedule.run_now()

    text = Path("flow.py").read_text()
    Path("flow.py").write_text(
        text.replace("def train(n: int = 4", "def train(m: int = 4").replace("load(n)", "load(m)")
    )
    flow().train.publish("Adding", version="2.0", default=True)

    assert tick(schedule, minutes=1) == ["failed"]
    assert "has no parameter 'n'" in schedule.history()[0].reason


def test_a_run_by_hand_is_in_the_history_and_takes_no_slot(endpoint, tick):
    schedule = Schedule.create("minutely", endpoint, {"n": 2}, every=60, overlap="allow")

    run = schedule.run_now()

    assert (run.parameters["n"], schedule.history()[0].reason) == (2, "asked for by hand")
    assert tick(schedule, minutes=1) == ["fired", "fired"]


def test_backfill_makes_the_runs_that_were_not_made(endpoint, clock, tick):
    schedule = Schedule.create("hourly", endpoint, cron="0 * * * *", overlap="allow")
    tick(schedule, hours=2)
    assert [slot.outcome for slot in schedule.history()] == ["fired", "missed"]

    runs = schedule.backfill(datetime(2026, 3, 2, 10), datetime(2026, 3, 2, 14))

    assert [run.tags["slot"][11:13] for run in runs] == ["10", "11", "12", "13"]
    assert [slot.reason for slot in schedule.history()] == [None] + ["backfill"] * 4
    assert schedule.backfill(datetime(2026, 3, 2, 10), datetime(2026, 3, 2, 14)) == []
    with pytest.raises(ScheduleError, match="in the future"):
        schedule.backfill(clock.at, clock.at + MINUTE)
    with pytest.raises(ScheduleError, match="more than 1000 slots"):
        schedule.backfill(datetime(2025, 1, 1), clock.at)


def test_backfill_of_slots_that_were_noted_as_a_whole_leaves_the_rest_noted(endpoint, clock, tick):
    schedule = Schedule.create("minutely", endpoint, every=60, overlap="allow")
    start = clock.at
    tick(schedule, hours=5)
    whole = schedule.history(limit=None)[-1]

    schedule.backfill(start + MINUTE, start + MINUTE)

    assert (schedule.history(limit=None)[-2].at, schedule.history(limit=None)[-2].until) == (
        whole.at + MINUTE,
        whole.until,
    )
    schedule.backfill(start + 2 * MINUTE, whole.until)
    assert [slot.until for slot in schedule.history(limit=None) if slot.until] == []


def test_jitter_comes_after_the_slot_and_the_slot_keeps_its_time(endpoint, clock, tick):
    schedule = Schedule.create("hourly", endpoint, every=3600, jitter=timedelta(minutes=50), overlap="allow")
    record = schedule.record
    assert record.next_at < record.due_at < record.next_at + timedelta(minutes=50)

    assert tick(schedule, seconds=(record.due_at - clock.at).total_seconds() - 1) == []
    assert tick(schedule, seconds=1) == ["fired"]
    assert schedule.history()[0].at == record.next_at


def test_an_end_is_the_end(endpoint, clock, tick):
    schedule = Schedule.create("minutely", endpoint, every=60, end=clock.at + 2 * MINUTE, overlap="allow")

    assert [tick(schedule, minutes=1) for _ in range(3)] == [["fired"], ["fired"], []]
    assert schedule.next(5) == []


def test_recurrences_are_schedules_too(endpoint, tick):
    weekly = Recurrence("Week", 1, week_days=["Monday"], hours=[13], minutes=[30])
    schedule = Schedule.create("weekly", endpoint, recurrence=weekly)

    assert tick(schedule, hours=1, minutes=30) == ["fired"]
    assert schedule.next()[0].isoformat() == "2026-03-09T13:30:00+00:00"
    assert schedule.record.timing.recurrence == weekly


def test_what_cannot_be_a_schedule_is_refused_before_there_is_one(flow, endpoint):
    for wrong, error, message in (
        ({"name": "a/b"}, ScheduleError, "cannot be called 'a/b'"),
        ({"cron": "0 0 31 2 *"}, ScheduleError, "would never be due"),
        ({"catch_up": "some"}, ScheduleError, "catch_up is 'some'"),
        ({"jitter": -1}, ScheduleError, "jitter is -1"),
        ({"parameters": {"n": "many"}}, ParameterError, "takes a whole number"),
        ({"pipeline": "Subtracting"}, UnknownNameError, "no endpoint 'Subtracting'"),
        ({"pipeline": flow().train}, ScheduleError, "publish the pipeline"),
    ):
        given = {"name": "daily", "pipeline": endpoint, "cron": "@daily"} | wrong
        with pytest.raises(error, match=message):
            Schedule.create(**given)
    assert list(Workspace().schedules) == []
    Schedule.create("daily", endpoint, cron="@daily")
    with pytest.raises(ScheduleError, match="there is a schedule 'daily' already"):
        Schedule.create("daily", endpoint, cron="@daily")


def test_the_workspace_has_them_by_name_until_they_are_removed(endpoint, tick):
    schedule = Schedule.create("minutely", endpoint, every=60)
    Schedule.create("daily", endpoint, cron="@daily")
    assert list(Workspace().schedules) == ["daily", "minutely"]
    assert "daily" in Workspace().schedules
    tick(schedule, minutes=1)

    schedule.remove()

    assert list(Workspace().schedules) == ["daily"]
    assert len(Workspace().runs()) == 1
    with pytest.raises(UnknownNameError, match="no schedule 'minutely'"):
        Workspace().schedules["minutely"]


def test_a_serving_process_makes_the_run_of_a_schedule_that_another_process_makes(endpoint, serve):
    serve()
    ticker = Ticker(Workspace().store)
    ticker.start()
    try:
        subprocess.run(
            [
                sys.executable,
                "-c",
                "from pipelite import Schedule; Schedule.create('each second', 'Adding', {'n': 3}, every=1)",
            ],
            check=True,
        )
        schedule = Workspace().schedules["each second"]
        while not schedule.history():
            assert ticker.is_alive
        assert run_of(schedule.history()[0]).wait(60).outputs["total"] == 6
    finally:
        ticker.stop()


def test_the_time_of_a_slot_is_given_to_the_parameter_that_is_named(flow, clock, tick):
    flow().lasting.publish("Lasting")
    schedule = Schedule.create(
        "daily", "Lasting", {"count": 1}, cron="30 2 * * *", timezone="Europe/Berlin", slot_parameter="tag"
    )

    assert tick(schedule, hours=14) == ["missed"]
    schedule.update(parameters={"count": 2})
    assert tick(schedule, hours=23.5) == ["fired"]
    schedule.backfill(datetime(2026, 3, 2), datetime(2026, 3, 3, 12))

    given = {run.tags["slot"][:10]: (run.parameters["tag"], run.parameters["count"]) for run in Workspace().runs()}
    assert given == {f"2026-03-{day:02}": (f"2026-03-{day:02}T02:30:00+01:00", 2) for day in (2, 3, 4)}
    clock.turn(seconds=5)
    assert schedule.run_now().parameters["tag"] == "2026-03-04T02:30:05+01:00"


def test_the_parameter_of_the_slot_takes_text_and_no_other_value(flow, endpoint):
    flow().lasting.publish("Lasting")
    for name, given, wrong, error, message in (
        ("Adding", {}, "n", ParameterError, "'n' takes a whole number"),
        ("Adding", {}, "day", ParameterError, "no parameter 'day'"),
        ("Lasting", {"tag": "x"}, "tag", ScheduleError, "'tag' has a value"),
    ):
        with pytest.raises(error, match=message):
            Schedule.create("daily", name, given, cron="@daily", slot_parameter=wrong)
    with pytest.raises(ParameterError, match="tag"):
        Schedule.create("daily", "Lasting", cron="@daily")
    assert list(Workspace().schedules) == []


def test_history_is_kept_for_as_long_as_asked_and_its_last_rows_however_old(endpoint, clock, tick):
    schedule = Schedule.create("half-hourly", endpoint, every=1800, overlap="allow", history_days=3)

    for _ in range(6 * 48):
        tick(schedule, minutes=30)

    slots = schedule.history(limit=None)
    # Once a day what is older goes, at the first slot of the day.
    assert slots[-1].at == datetime(2026, 3, 5, tzinfo=UTC)
    assert len(Workspace().runs(limit=None)) == 6 * 48
    rare = Schedule.create("daily", endpoint, every=86400, overlap="allow", history_days=1)
    for _ in range(9):
        tick(rare, days=1)
    assert len(rare.history()) == 9


def test_what_is_not_in_the_history_any_more_has_no_second_run(endpoint, clock, tick):
    schedule = Schedule.create("hourly", endpoint, every=3600, overlap="allow", history_days=1)
    start = clock.at
    for _ in range(8 * 24):
        tick(schedule, hours=1)
    assert len(schedule.history(limit=None)) < 8 * 24

    # The one at which it was made had none.
    assert [run.tags["slot"] for run in schedule.backfill(start, clock.at)] == [start.isoformat()]
    # Set back to what is forgotten, once seen by a tick and once by a change before there was one.
    tick(schedule, days=-3)
    clock.turn(days=-4)
    schedule.update(description="changed by a clock that is behind")
    for _ in range(8 * 24):
        tick(schedule, hours=1)

    slots = [run.tags["slot"] for run in Workspace().runs(limit=None)]
    assert len(slots) == len(set(slots)) == 9 * 24 + 1
