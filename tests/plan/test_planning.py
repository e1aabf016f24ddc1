"""A dry run says what a run would do, and does nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipelite import Workspace, pipeline, step


@step
def start():
    return 2


@step
def square(x, power=2):
    return x**power


@step
def last(x):
    return -x


@pipeline
def flow(power: int = 2):
    return last(square(start(), power))


@pytest.fixture(autouse=True)
def quiet(workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIPELITE_PROGRESS", "quiet")


def actions(planned):
    return [(each.name, each.action, each.depends_on) for each in planned]


def test_before_the_first_run_everything_depends_on_the_first_step():
    assert actions(flow.plan()) == [
        ("start", "compute", None),
        ("square", "unknown", "start"),
        ("last", "unknown", "square"),
    ]
    assert Workspace().runs() == []


def test_after_a_run_everything_would_be_reused():
    flow.run()

    assert [action for _, action, _ in actions(flow.plan())] == ["reuse", "reuse", "reuse"]


def test_a_changed_parameter_shows_what_would_be_computed():
    flow.run()

    assert actions(flow.plan(power=3)) == [
        ("start", "reuse", None),
        ("square", "compute", None),
        ("last", "unknown", "square"),
    ]


@step
def start_slowly():
    Path("begun").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return 2


@pipeline
def slow_flow():
    return last(start_slowly())


def test_what_another_run_is_at_would_be_waited_for():
    run = slow_flow.submit()
    while not Path("begun").exists():
        time.sleep(0.01)

    planned = slow_flow.plan()
    regenerating = slow_flow.with_options(regenerate_outputs=True).plan()
    Path("go").touch()

    assert actions(planned) == [("start_slowly", "wait", None), ("last", "unknown", "start_slowly")]
    assert planned[0].reason == f"run {run.id} is at it, in step 'start_slowly'"
    assert regenerating[0].action == "compute"
    run.wait()
    assert [action for _, action, _ in actions(slow_flow.plan())] == ["reuse", "reuse"]


def test_a_reason_is_given_where_there_is_more_to_say():
    flow.run()

    planned = flow.with_options(regenerate_outputs=True).plan()

    assert planned[0].reason == "regenerate_outputs is set"
