"""Schedules in the style of Azure ML: by the clock, and one run for each object that is new or changed."""

from __future__ import annotations

import time
import warnings
from datetime import UTC, datetime, timedelta

import pytest
from azureml_scripts import write_file

from pipelite.automate import Ticker
from pipelite.automate.watching import Watcher
from pipelite.azureml import _notices
from pipelite.azureml.core import Workspace
from pipelite.azureml.data.datapath import DataPath, DataPathComputeBinding
from pipelite.azureml.exceptions import UserErrorException
from pipelite.azureml.pipeline.core import (
    Pipeline,
    PipelineEndpoint,
    PipelineParameter,
    PipelineRun,
    PublishedPipeline,
    Schedule,
    ScheduleRecurrence,
    TimeZone,
)
from pipelite.azureml.pipeline.steps import PythonScriptStep
from pipelite.clock import CLOCK
from serve.sites import Site, wait_until

#: How much faster than the machine's the clock of a watcher goes: a minute is a second and a half.
FASTER = 40

pytestmark = pytest.mark.filterwarnings("ignore:run .* waits in the queue")


class Shop:
    """A workspace with published pipelines, and an endpoint that leads to one of them."""

    def __init__(self, folder):
        self.folder = folder
        self.ws = Workspace("sub", "group", "shop")
        self.store = self.ws.get_default_datastore()
        write_file(folder / "scripts" / "tell.py", "import sys; print('told', open(sys.argv[2]).read(), sys.argv[1])")
        write_file(folder / "none.txt", "nothing")
        self.store.upload_files([str(folder / "none.txt")], target_path="data", show_progress=False)
        data = PipelineParameter("data", DataPath(self.store, "data/none.txt"))
        pair = (data, DataPathComputeBinding(mode="mount"))
        rate = PipelineParameter("rate", 0.5)
        step = PythonScriptStep(
            "tell.py", "tell", [rate, pair], inputs=[pair], source_directory=str(folder / "scripts")
        )
        pipeline = Pipeline(self.ws, [step])
        self.first, self.second = (pipeline.publish("Tell", "Tells", version) for version in ("1", "2"))
        self.endpoint = PipelineEndpoint.publish(self.ws, "Tell", "Leads to one of them", self.first)
        self.endpoint.add(self.second)

    def schedule(self, name, recurrence=None, **options):
        return Schedule.create(self.ws, name, self.first.id, "by-itself", recurrence, **options)


@pytest.fixture(scope="module")
def shop(place):
    return Shop(place)


def test_what_is_published_and_scheduled_may_have_any_name_of_v1s(shop):
    names = ["Train & tell: (v2)", "Train / tell: [v2]", "_Ähre 5%"]
    step = PythonScriptStep("none.py", source_directory=str(write_file(shop.folder / "none/none.py", "").parent))
    pipeline = Pipeline(shop.ws, [step])
    published = [pipeline.publish(name, version="v 1/2") for name in names]
    made = [PublishedPipeline.get(shop.ws, each.id) for each in published]
    assert [(each.name, each.version) for each in made] == [(name, "v 1/2") for name in names]
    endpoints = [
        PipelineEndpoint.publish(shop.ws, name, "Leads to it", each) for name, each in zip(names, made, strict=True)
    ]
    assert [PipelineEndpoint.get(shop.ws, name=name).id for name in names] == [each.id for each in endpoints]
    schedules = [
        Schedule.create(
            shop.ws, name, each.id, "by-itself", ScheduleRecurrence("Month", 1, start_time="2050-01-01T00:00:00")
        )
        for name, each in zip(names, made, strict=True)
    ]
    assert [Schedule.get(shop.ws, each.id).name for each in schedules] == names
    for each in schedules:
        each.disable()


class TurnedClock:
    """Stands until it is turned."""

    def __init__(self):
        self.at = datetime(2026, 3, 2, 12, tzinfo=UTC)

    def turn(self, **span):
        """Let so much time pass; whoever sees to schedules sees to them."""
        self.at += timedelta(**span)
        Ticker(Workspace().store, CLOCK).tick()


@pytest.fixture
def clock(monkeypatch):
    """It shows the noon of a Monday."""
    turned = TurnedClock()
    monkeypatch.setattr(CLOCK, "now", lambda: turned.at)
    return turned


def slots(schedule, n):
    """Its next slots, as text without the zone."""
    return [f"{slot:%a %d %H:%M}" for slot in schedule.native.next(n)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"frequency": "Fortnight"}, "frequency='Fortnight'"),
        ({"interval": 0}, "interval=0"),
        ({"interval": 1.5}, "interval=1.5"),
        ({"interval": "1"}, "interval='1'"),
        ({"time_zone": "UTC"}, "time_zone='UTC'"),
        ({"start_time": datetime(2026, 3, 3, tzinfo=UTC)}, "start_time has a zone"),
        ({"start_time": "2026-03-03"}, "start_time='2026-03-03'"),
        ({"start_time": "2026-03-03T25:00:00"}, "hour must be in"),
        ({"frequency": "Hour", "hours": [1]}, "for Day and Week"),
        ({"frequency": "Month", "time_of_day": "10:00"}, "for Day and Week"),
        ({"week_days": ["Monday"]}, "week_days are for Week"),
        ({"frequency": "Week", "week_days": ["Mon"]}, "'Mon' is no day"),
        ({"hours": [24]}, "24"),
        ({"minutes": [60]}, "60"),
        ({"time_of_day": "24:00"}, "hh:mm"),
        ({"time_of_day": "10:00", "hours": [10]}, "time_of_day, or hours"),
    ],
)
def test_what_is_wrong_with_a_recurrence_is_said_when_a_schedule_is_made_of_it(shop, given, said):
    recurrence = ScheduleRecurrence(**{"frequency": "Day", "interval": 1, **given})

    with pytest.raises(ValueError, match=said):
        shop.schedule("wrong", recurrence)

    assert [each.name for each in Schedule.list(shop.ws, active_only=False) if each.name == "wrong"] == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"frequency": "Minute", "interval": 45}, ["Tue 03 09:30", "Tue 03 10:15", "Tue 03 11:00"]),
        ({"frequency": "Day", "interval": 2}, ["Tue 03 09:30", "Thu 05 09:30", "Sat 07 09:30"]),
        ({"frequency": "Month", "interval": 1}, ["Tue 03 09:30", "Fri 03 09:30", "Sun 03 09:30"]),
        (
            {"frequency": "Day", "interval": 1, "hours": [8, 20], "minutes": [0, 15]},
            ["Tue 03 20:00", "Tue 03 20:15", "Wed 04 08:00"],
        ),
        (
            {"frequency": "Week", "interval": 1, "week_days": ["Tuesday", "Friday"], "time_of_day": "07:45"},
            ["Fri 06 07:45", "Tue 10 07:45", "Fri 13 07:45"],
        ),
    ],
)
def test_a_recurrence_is_counted_from_its_start(shop, clock, given, expected):
    schedule = shop.schedule("counted", ScheduleRecurrence(**given, start_time="2026-03-03T09:30:00"))

    assert slots(schedule, 3) == expected
    assert schedule.get_last_pipeline_run() is None


def test_the_first_run_starts_at_once_if_there_is_no_start(shop, clock):
    schedule = shop.schedule("at once", ScheduleRecurrence("Hour", 6), pipeline_parameters={"rate": "0.25"})
    first = schedule.get_last_pipeline_run()
    clock.turn(hours=6)

    runs = schedule.get_pipeline_runs()
    assert [each.id for each in runs[1:]] == [first.id]
    assert isinstance(first, PipelineRun)
    assert (first.experiment.name, first._native.record.parameters["rate"]) == ("by-itself", 0.25)
    # As there, one that has not ended is no reason to leave out the next.
    assert (first.get_status(), len(runs)) == ("NotStarted", 2)


def test_a_start_in_the_past_is_counted_from_and_has_no_run(shop, clock):
    recurrence = ScheduleRecurrence("Day", 3, start_time=datetime(2026, 2, 27, 6))

    schedule = shop.schedule("past", recurrence)

    assert (slots(schedule, 2), schedule.get_pipeline_runs()) == (["Thu 05 06:00", "Sun 08 06:00"], [])


def test_time_zones_go_by_the_names_of_windows(shop, clock):
    recurrence = ScheduleRecurrence(
        "Week", 1, "2026-03-03T00:00:00", TimeZone.PacificStandardTime, week_days=["Sunday"], time_of_day="09:00"
    )

    schedule = shop.schedule("west", recurrence)

    # Between the two, clocks there are put forward.
    assert [f"{slot:%d %H:%M %Z}" for slot in schedule.native.next(2)] == ["08 09:00 PDT", "15 09:00 PDT"]
    assert (schedule.recurrence.time_zone, schedule.recurrence.week_days) == (TimeZone.PacificStandardTime, ["Sunday"])


@pytest.mark.parametrize("written", ["Hourly", "hour", "Hours"])
def test_a_spelling_that_was_refused_is_taken_with_one_warning_that_names_the_right_one(
    shop, clock, monkeypatch, written
):
    monkeypatch.setattr(_notices, "_said", set())
    recurrence = ScheduleRecurrence(written, 2, start_time="2026-03-02T13:00:00")

    with pytest.warns(UserWarning, match="'Hour'") as said:
        schedule = shop.schedule("hourly", recurrence)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shop.schedule("hourly", recurrence)

    assert (len(said), slots(schedule, 2)) == (1, ["Mon 02 13:00", "Mon 02 15:00"])


def test_names_of_schedules_are_not_unique_and_may_have_any_letters(shop, clock):
    made = [shop.schedule("each day / all", ScheduleRecurrence("Day", 1, "2026-03-03T00:00:00")) for _ in range(2)]

    assert [each.name for each in made] == ["each day / all"] * 2
    assert [Schedule.get(shop.ws, each.id).id for each in made] == [each.id for each in made]
    assert made[0].id != made[1].id
    with pytest.raises(UserErrorException, match="no schedule"):
        Schedule.get(shop.ws, "each day / all")


def test_schedules_are_listed_by_what_they_are_of(shop, clock):
    recurrence = ScheduleRecurrence("Day", 1, "2026-03-03T00:00:00")
    of_pipeline = Schedule.create(shop.ws, "one", shop.second.id, "by-itself", recurrence)
    of_endpoint = Schedule.create_for_pipeline_endpoint(shop.ws, "two", shop.endpoint.id, "by-itself", recurrence)
    of_pipeline.disable()

    def listed(**given):
        return {each.id for each in Schedule.list(shop.ws, **given)} & {of_pipeline.id, of_endpoint.id}

    assert (of_pipeline.pipeline_id, of_pipeline.pipeline_endpoint_id) == (shop.second.id, None)
    assert (of_endpoint.pipeline_id, of_endpoint.pipeline_endpoint_id) == (None, shop.endpoint.id)
    assert listed() == {of_endpoint.id}
    assert listed(active_only=False) == {of_pipeline.id, of_endpoint.id}
    assert listed(pipeline_id=shop.second.id) == {of_pipeline.id}
    assert listed(pipeline_endpoint_id=shop.endpoint.id) == {of_endpoint.id}
    assert [each.id for each in Schedule.get_schedules_for_pipeline_id(shop.ws, shop.second.id)] == [of_pipeline.id]
    (followed,) = Schedule.get_schedules_for_pipeline_endpoint_id(shop.ws, pipeline_endpoint_id=shop.endpoint.id)
    assert followed.id == of_endpoint.id


def test_one_of_an_endpoint_runs_what_is_the_default_then_and_nothing_while_it_is_disabled(shop, clock):
    recurrence = ScheduleRecurrence("Hour", 1, "2026-03-02T13:00:00")
    schedule = Schedule.create_for_pipeline_endpoint(shop.ws, "follows", shop.endpoint.id, "by-itself", recurrence)
    clock.turn(hours=1)
    shop.endpoint.set_default_version("1")
    shop.endpoint.set_name("Told")
    clock.turn(hours=1)
    shop.endpoint.disable()
    clock.turn(hours=1)
    shop.endpoint.enable()
    shop.endpoint.set_default_version("0")
    shop.endpoint.set_name("Tell")

    ran = [each._native.record.options["published"]["id"] for each in schedule.get_pipeline_runs()]
    assert ran == [shop.second.id, shop.first.id]
    assert schedule.native.history()[0].outcome == "failed"


def test_a_schedule_is_changed_disabled_and_enabled(shop, clock):
    schedule = shop.schedule("before", ScheduleRecurrence("Day", 1, "2026-03-03T06:00:00"), description="daily")

    schedule.update(
        name="after",
        description="hourly",
        recurrence=ScheduleRecurrence("Hour", 1, "2026-03-02T12:30:00"),
        pipeline_parameters={"rate": "2.5"},
    )
    clock.turn(minutes=30)
    schedule.disable()
    disabled = schedule.status
    clock.turn(hours=3)
    schedule.enable()
    clock.turn(hours=1)

    assert (schedule.name, schedule.description, disabled, schedule.status) == ("after", "hourly", "Disabled", "Active")
    assert schedule.recurrence.frequency == "Hour"
    runs = schedule.get_pipeline_runs()
    assert [each._native.record.parameters["rate"] for each in runs] == [2.5, 2.5]
    schedule.update(status="Disabled")
    assert Schedule.get(shop.ws, schedule.id).status == "Disabled"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"recurrence": ScheduleRecurrence("Day", 1), "path_on_datastore": "in"}, "excludes"),
        ({"recurrence": ScheduleRecurrence("Day", 1), "data_path_parameter_name": "data"}, "excludes"),
        ({"recurrence": ScheduleRecurrence("Day", 1), "datastore": "workspaceblobstore"}, "excludes"),
        ({}, "needs a recurrence or a datastore"),
        ({"datastore": "workspacefilestore"}, "blobs"),
        ({"datastore": "workspaceblobstore", "polling_interval": 0}, "polling_interval=0"),
        ({"datastore": "workspaceblobstore", "polling_interval": 0.5}, "polling_interval=0.5"),
        ({"datastore": "workspaceblobstore", "data_path_parameter_name": "date"}, "date"),
        ({"datastore": "workspaceblobstore", "path_on_datastore": "../in"}, "leads out"),
        ({"datastore": "workspaceblobstore", "pipeline_parameters": {"rate": "high"}}, "takes a number"),
        ({"recurrence": ScheduleRecurrence("Day", 1), "continue_on_step_failure": True}, "publish it with"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(shop, options, said):
    if "datastore" in options:
        options = {**options, "datastore": shop.ws.datastores[options["datastore"]]}

    with pytest.raises(ValueError, match=said):
        shop.schedule("impossible", **options)


class TestChangesOfData:
    @pytest.fixture
    def folder(self, shop, request):
        """A folder on the datastore, by its name and by its place, with a file and a sub-folder."""
        name = f"in/{request.node.name}"
        place = shop.ws.native.path / "data" / name
        write_file(place / "old.txt", "old")
        write_file(place / "below" / "old.txt", "old")
        return name, place

    @pytest.fixture
    def watch(self, monkeypatch):
        """Starts what sees to them, in a time that goes faster."""
        started = []

        def start():
            # What is asked for in minutes is not waited for so long.
            real = time.monotonic
            monkeypatch.setattr(CLOCK, "monotonic", lambda: real() * FASTER)
            started.append(Watcher(Workspace().store))
            started[-1].start()

        yield start
        for each in started:
            each.stop()

    def watched(self, shop, folder, **options):
        return shop.schedule(
            "arrivals",
            datastore=shop.store,
            path_on_datastore=folder,
            polling_interval=1,
            data_path_parameter_name="data",
            **options,
        )

    def paths(self, schedule):
        """What the runs were given, the oldest first."""
        return [each._native.record.parameters["data"] for each in reversed(schedule.get_pipeline_runs())]

    def test_each_object_that_is_new_or_changed_has_a_run_that_is_given_it(self, shop, folder, watch):
        name, place = folder
        schedule = self.watched(shop, name, pipeline_parameters={"rate": "0.125"})
        watch()
        for each in ("one.txt", "two.txt", "below/three.txt"):
            write_file(place / each, each)
        wait_until(lambda: len(self.paths(schedule)) >= 2)
        write_file(place / "old.txt", "newer")
        (place / "one.txt").unlink()
        wait_until(lambda: len(self.paths(schedule)) >= 3)

        # Neither what was there at first, nor what lies below, nor what is gone.
        assert [each.removeprefix(f"{place}/") for each in self.paths(schedule)] == ["one.txt", "two.txt", "old.txt"]
        last = schedule.get_last_pipeline_run()
        assert (last.experiment.name, last._native.record.parameters["rate"]) == ("by-itself", 0.125)

    def test_it_tells_what_it_was_made_with(self, shop, folder):
        schedule = self.watched(shop, folder[0])
        found = Schedule.get(shop.ws, schedule.id)

        assert (found.datastore_name, found.path_on_datastore) == ("workspaceblobstore", folder[0])
        assert (found.polling_interval, found.data_path_parameter_name, found.recurrence) == (1, "data", None)
        assert (found.pipeline_id, found.status) == (shop.first.id, "Active")
        assert found.id in {each.id for each in Schedule.list(shop.ws, pipeline_id=shop.first.id)}

    def test_it_looks_at_another_folder_when_it_is_changed_and_nowhere_when_it_is_disabled(self, shop, folder, watch):
        name, place = folder
        schedule = self.watched(shop, name, description="first")
        write_file(place / "other" / "old.txt", "old")
        schedule.update(path_on_datastore=f"{name}/other", polling_interval=2, description="second")
        schedule.disable()
        write_file(place / "other" / "meanwhile.txt", "missed")
        schedule.enable()
        watch()
        write_file(place / "new.txt", "elsewhere")
        write_file(place / "other" / "new.txt", "here")
        wait_until(lambda: self.paths(schedule))

        assert self.paths(schedule) == [str(place / "other" / "new.txt")]
        assert (schedule.polling_interval, schedule.description) == (2, "second")
        with pytest.raises(ValueError, match="polling_interval"):
            schedule.update(polling_interval=-1)
        assert (schedule.polling_interval, schedule.native.record.source.interval) == (2, 120)

    def test_one_kind_does_not_become_the_other(self, shop, folder):
        schedule = self.watched(shop, folder[0])
        other = shop.schedule("clock", ScheduleRecurrence("Day", 1, "2036-03-03T00:00:00"))

        with pytest.raises(ValueError, match="on changes of data"):
            schedule.update(recurrence=ScheduleRecurrence("Day", 1))
        with pytest.raises(ValueError, match="has a recurrence"):
            other.update(path_on_datastore="in")

    def test_a_process_that_executes_the_runs_gives_the_script_the_object(self, shop, folder):
        name, place = folder
        schedule = Schedule.create_for_pipeline_endpoint(
            shop.ws,
            "arrivals",
            shop.endpoint.id,
            "arrived",
            datastore=shop.store,
            path_on_datastore=name,
            data_path_parameter_name="data",
        )
        # A look that is due now stands for the one after five minutes.
        write_file(place / "arrived.txt", "tea")
        site = Site(shop.folder)
        site.start()
        try:
            wait_until(lambda: schedule.get_last_pipeline_run() is not None)
            run = schedule.get_last_pipeline_run()
            assert run.wait_for_completion(show_output=False) == "Finished"
        finally:
            site.stop()
        assert run.find_step_run("tell")[0].get_stdout_log().strip() == "told tea 0.5"
