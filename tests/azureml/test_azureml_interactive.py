"""A run of a script or notebook itself: `Experiment.start_logging`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipelite.azureml.core import Experiment, Run, ScriptRunConfig, Workspace

TWICE = """
    from azureml.core import Experiment, Workspace

    experiment = Experiment(Workspace.create("shop"), "left")
    experiment.start_logging().log("rate", 1)
    experiment.start_logging().log("rate", 2)
"""


@pytest.fixture(scope="module")
def ended(place):
    """A run that was logged to and completed, and what was seen on the way."""
    experiment = Experiment(Workspace("sub", "group", "shop"), "trial")
    run = experiment.start_logging(snapshot_directory=None)
    seen = {"while": run.get_status()}
    run.log("rate", 0.5)
    run.log("rate", 0.75)
    run.log_list("all", (each * 2 for each in range(3)))
    run.log_row("wave", angle=1, sine=0.8)
    Path("model.txt").write_text("a model")
    run.upload_file("outputs/model.txt", "model.txt")
    run.tag("quality", "good")
    seen["metrics"] = run.get_metrics()
    seen["one"] = run.get_metrics(name="rate")
    for number in range(2):
        with run.child_run() as child:
            child.log("number", number)
    seen["children"] = [child.get_metrics() for child in run.get_children()]
    run.complete()
    run.complete()
    return run, seen


def test_it_runs_until_it_is_completed(ended):
    run, seen = ended
    assert seen["while"] == "Running"
    assert run.get_status() == run.get_details()["status"] == "Completed"
    assert run.get_details()["runId"] == run.id


def test_what_it_logs_is_known_at_once_and_afterwards(ended):
    run, seen = ended
    assert seen["metrics"] == {"rate": [0.5, 0.75], "all": [0, 2, 4], "wave": {"angle": 1, "sine": 0.8}}
    assert seen["one"] == {"rate": [0.5, 0.75]}
    assert seen["children"] == [{"number": 0}, {"number": 1}]
    again = Run(run.experiment, run.id)
    assert again.get_metrics() == {**seen["metrics"], "child_1/number": 0, "child_2/number": 1}
    assert again.get_tags() == {"quality": "good"}
    assert run.id in [each.id for each in run.experiment.get_runs(tags={"quality": "good"})]


def test_files_that_it_uploads_are_kept_and_found_by_any_spelling(ended, place):
    run, _ = ended
    assert run.get_file_names() == ["outputs/model.txt"]
    run.download_file("./outputs/model.txt", "back.txt")
    assert (place / "back.txt").read_text() == "a model"
    assert run.register_model("trial", "./outputs/").version == 1


def test_it_is_a_run_like_all_others(ended):
    run, _ = ended
    native = run.experiment.workspace.native.run(run.id)
    assert (native.status, native.experiment, list(native.steps)) == ("completed", "trial", ["interactive"])
    assert "Completed" in repr(run)
    assert run.get_details_with_logs()["logFiles"] == {"interactive/70_driver_log.txt": ""}


def test_a_block_that_raises_fails_its_run_and_the_error_goes_on(ws):
    with pytest.raises(ZeroDivisionError), Experiment(ws, "trial").start_logging() as run:
        run.log("rate", 1 / 0)
    assert run.get_status() == "Failed"
    assert "ZeroDivisionError: division by zero" in run.get_details()["error"]["error"]["message"]


def test_it_can_be_failed_and_canceled(ws):
    experiment = Experiment(ws, "trial")
    run = experiment.start_logging()
    run.fail("too cold")
    assert run.get_status() == "Failed"
    assert "too cold" in run.get_details()["error"]["error"]["message"]
    run = experiment.start_logging()
    run.cancel()
    assert run.get_status() == "Canceled"


def test_what_was_submitted_ends_by_itself_and_knows_its_environment(ws, write):
    write("scripts/child.py", "from azureml.core import Run\nRun.get_context().log('rate', 3)\n")
    with Experiment(ws, "trial").start_logging() as run:
        child = run.submit_child(ScriptRunConfig("scripts", script="child.py"))
    with pytest.raises(NotImplementedError, match="ends by itself; cancel"):
        child.fail()
    child.wait_for_completion()
    assert child.get_tags() == {"parent_run_id": run.id}
    assert child.get_metrics() == {"rate": 3}
    assert child.get_environment().name == "project_environment"
    with pytest.raises(Exception, match="not submitted with an environment"):
        run.get_environment()


def test_runs_that_a_script_leaves_open_are_completed_at_its_end(ws, write, tmp_path):
    write("twice.py", TWICE)
    command = [sys.executable, "-m", "pipelite.azureml", "twice.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    runs = list(Experiment(ws, "left").get_runs())
    assert [(each.get_status(), each.get_metrics()) for each in runs] == [
        ("Completed", {"rate": 2}),
        ("Completed", {"rate": 1}),
    ]
