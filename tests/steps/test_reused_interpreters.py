"""Steps of one environment share a process, and notice nothing of each other."""

from __future__ import annotations

import importlib
import os
import sys

import pytest
from processes import wait_until_gone
from steps_in_environments import dies, fills, follows, leaves, stays

from pipelite import pipeline, step
from pipelite.errors import StepFailed
from pipelite.steps import Environment

#: Met by the Python that runs the tests, but not by the process.
VARIABLES = Environment(variables={"A": "b"})


@step
def plain(previous: list) -> list:
    return [*previous, 0]


@pytest.fixture
def one_slot(monkeypatch):
    """All steps of a run in one worker."""
    from pipelite.execute.slots import close_local_target

    close_local_target()
    monkeypatch.setenv("PIPELITE_SLOTS", "1")
    yield
    close_local_target()


def test_steps_of_one_environment_share_a_process(one_slot):
    there, elsewhere = (
        follows.with_options(environment=each) for each in (VARIABLES, Environment(variables={"A": "c"}))
    )

    @pipeline
    def flow():
        return elsewhere(there(plain(there(there([])))))

    run = flow.run()

    first, second, _, third, fourth = run.outputs["result"]
    assert first == second == third != fourth
    assert first != os.getpid()
    assert [run.steps[name].logs for name in ("follows", "follows-2", "follows-3")] == [
        "step 0 is here\n",
        "step 1 is here\n",
        "step 3 is here\n",
    ]


def test_another_run_finds_the_code_as_it_is_then(one_slot, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    results = []
    for text in ("first", "second one"):
        (tmp_path / "edited_steps.py").write_text(
            f"from pipelite import step\n@step(cache=False)\ndef speaks():\n    return {text!r}\n"
        )
        importlib.invalidate_caches()
        sys.modules.pop("edited_steps", None)
        speaks = importlib.import_module("edited_steps").speaks

        @pipeline
        def flow(speaks=speaks):
            return speaks.with_options(environment=VARIABLES)()

        results.append(flow.run().outputs["result"])

    assert results == ["first", "second one"]


def test_the_death_of_a_process_is_that_of_its_own_step(one_slot):
    there = follows.with_options(environment=VARIABLES)

    @pipeline(keep_going=True)
    def flow():
        first = there([])
        dies.with_options(environment=VARIABLES)().after(first)
        return there(first)

    run = flow.submit()
    with pytest.raises(StepFailed, match="SIGKILL"):
        run.wait()

    assert {name: str(each.status) for name, each in run.steps.items()} == {
        "follows": "completed",
        "dies": "failed",
        "follows-2": "completed",
    }


def test_a_timeout_leaves_the_steps_after_it_alone(one_slot, tmp_path):
    there = follows.with_options(environment=VARIABLES)

    @pipeline(keep_going=True)
    def flow():
        first = there([])
        stays.with_options(environment=VARIABLES, timeout=1)(str(tmp_path / "pids"))
        return there(there(first))

    run = flow.submit()
    with pytest.raises(StepFailed, match="timeout of 1 s"):
        run.wait()

    assert run.steps["follows-3"].status == "completed"
    wait_until_gone(tmp_path / "pids")


def test_what_a_step_leaves_running_in_an_environment_is_ended(one_slot, tmp_path):
    @pipeline
    def flow():
        left = leaves.with_options(environment=VARIABLES)(str(tmp_path / "pids"))
        return {"left": left, "after": follows.with_options(environment=VARIABLES)([]).after(left)}

    run = flow.run()

    wait_until_gone(tmp_path / "pids")
    assert "pipelite: step 'leaves' left a process running; ended: sleep 600" in run.steps["leaves"].logs
    # What had to be killed may have been of use to the process that started it.
    assert run.outputs["after"] != [run.outputs["left"]]


def test_each_step_has_the_memory_figure_of_its_own(one_slot):
    there = fills.with_options(environment=VARIABLES)

    @pipeline
    def flow():
        large = there(200_000_000)
        there(1).after(large)

    run = flow.run()

    large, small = (run.steps[name].peak_memory_bytes for name in ("fills", "fills-2"))
    assert large > 200_000_000 > small > 0
