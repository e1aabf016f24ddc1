"""examples/azureml: each program is run as its reader would run it, in a copy of its folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelite import Workspace
from pipelite.automate import Dispatcher
from pipelite.azureml.core import Workspace as AzureWorkspace
from pipelite.azureml.pipeline.core import PipelineEndpoint, Schedule
from serve.sites import Site, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples" / "azureml"


def run_program(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of an example that was copied here."""
    done = subprocess.run(
        [sys.executable, "-m", "pipelite.azureml", *command],
        env={**os.environ, "PIPELITE_PROGRESS": "quiet"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def run_example(workspace, tmp_path):
    """Runs an example; gives what it printed, and what it was warned of at lines of its own."""
    for package in ("pandas", "pyarrow", "sklearn"):
        pytest.importorskip(package, reason=f"{package} is not installed")

    def run(name: str) -> tuple[str, list[str]]:
        shutil.copytree(EXAMPLES / name, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        done = run_program(next(tmp_path.glob("pipeline.*")).name)
        assert {run.status for run in Workspace().runs()} <= {"completed", "queued"}
        return done.stdout, re.findall(r"^pipeline\.py:\d+: UserWarning: (.*)", done.stderr, re.MULTILINE)

    return run


@pytest.fixture
def served(workspace):
    """Serves the workspace when it is called."""
    pytest.importorskip("flask")
    site = Site(workspace.parent)
    yield site.start
    site.stop()


def computed(run) -> set[str]:
    return {name for name, step in run.steps.items() if not step.reused}


def execute_queue_for(experiment: str):
    """Serve the workspace until the run of an experiment has ended."""
    workspace = Workspace()
    dispatcher = Dispatcher(workspace.store)
    dispatcher.start()
    try:
        return workspace.runs(experiment=experiment)[0].wait(120)
    finally:
        dispatcher.stop(grace_s=1)


def test_two_steps_pass_data_on_are_reused_regenerated_published_and_called_with_another_parameter(run_example):
    printed, warnings = run_example("seed_000")

    assert warnings == [
        "module azureml.pipeline.step is taken as azureml.pipeline.steps, which is how SDK v1 spells it; it refused the other"
    ]
    first, again, regenerated, called = reversed(Workspace().runs(experiment="my_pipe_exp"))
    assert computed(first) == computed(regenerated) == {"prepare", "train"}
    assert computed(again) == set()
    assert computed(called) == {"train"}
    assert first.metrics["hours"] == 12
    assert (first.metrics["cups less each hour"], called.metrics["cups less each hour"]) == (3.964, 3.961)
    assert (first.metrics["reg_rate"], called.metrics["reg_rate"]) == (0.0, 0.1)
    pipeline = Workspace().endpoints["train_pipe_reg"].default
    assert f"endpoint: {pipeline.endpoint.partition('/pipelines/')[0]}/PipelineRuns/PipelineSubmit/" in printed


def test_steps_that_read_nothing_of_each_other_are_one_pipeline_that_is_published_and_scheduled(run_example):
    printed, _ = run_example("seed_001")

    run = Workspace().runs(experiment="seed-kinds")[-1]
    assert run.metrics["lines"] == 200
    assert run.metrics["in doubt"] == 10
    assert run.metrics["seeds"] == 190
    assert run.metrics["accuracy"] > 0.9
    assert "ended: Finished" in printed
    assert (Workspace().path / "data" / "archive" / "seeds.csv").read_bytes() == Path("seeds.csv").read_bytes()
    schedule = Workspace().schedules["every week"]
    assert {(each.strftime("%A"), each.hour, each.minute) for each in schedule.next(3)} == {("Monday", 6, 30)}


def test_what_a_search_wrote_is_downloaded_and_used_what_the_sdk_refused_is_warned_of_and_a_schedule_runs(run_example):
    printed, warnings = run_example("seed_002")

    assert [text.partition(",")[0] for text in warnings] == [
        "target= of PythonScriptStep is taken as compute_target=",
        "frequency='Hourly' is taken as frequency='Hour'",
        "node_count=5 above max_nodes=4 is taken as node_count=4",
    ]
    run = Workspace().runs(experiment="automlstep-regression")[0]
    errors = [error for _, error in run.metric_series("automl_module/normalized_root_mean_squared_error")]
    assert len(errors) == 3
    assert min(errors) < 0.06
    assert "('polynomialfeatures', PolynomialFeatures())" in printed
    assert "taken for busy" in printed
    assert [path.name for path in Path("azureml").rglob("*_data")] == ["metrics_data", "model_data"]
    assert "Bike sharing Train" in Workspace().published
    endpoint = PipelineEndpoint.get(AzureWorkspace(), name="Bike sharing")
    assert endpoint.get_default_version() == "0"

    # The schedule's first run starts at once, as soon as something serves the workspace.
    scheduled = execute_queue_for("Recurring_Pipeline_name")
    assert scheduled.parameters == {"avg_rate": 0.5}
    assert scheduled.metrics["average"] == 127.5


def test_one_script_prepares_for_two_pipelines_that_share_a_registered_model(run_example):
    # The packages that its environment names are those of that time.
    Workspace().environments.mode = "off"

    printed, _ = run_example("seed_003")

    assert "creating new compute target" in printed
    assert "model: lake-level:1 {'error': '0.0" in printed
    training = Workspace().runs(experiment="lake-training")[0]
    scoring = Workspace().runs(experiment="lake-scoring")[0]
    assert computed(training) == {"process_data_step", "train_step"}
    assert computed(scoring) == {"process_data_step", "predict_step"}
    assert training.metrics["error in metres"] < 0.03
    (levels,) = Path("azureml").rglob("levels.csv")
    assert [line.partition(",")[0] for line in levels.read_text().splitlines()] == [str(day) for day in range(200, 230)]


def test_a_notebook_passes_a_folder_on_controls_reuse_publishes_takes_a_parameter_and_is_scheduled(run_example):
    printed, _ = run_example("seed_004")

    first, again, regenerated, called = reversed(Workspace().runs(experiment="training-pipeline"))
    assert computed(first) == computed(regenerated) == {"prepare data", "train model"}
    assert computed(again) == set()
    # One step never lets itself be reused, and the other is called with another value.
    assert computed(called) == {"prepare data", "train model"}
    assert called.parameters == {"reg_rate": 0.1}
    assert called.metrics["reg_rate"] == 0.1
    assert first.metrics["grams for each degree"] == pytest.approx(30, abs=1)
    assert "/PipelineRuns/PipelineSubmit/" in printed
    published = Workspace().published.versions("training_pipeline")
    assert {"1.0", "2.0"} <= {each.version for each in published}
    assert Workspace().schedules["Daily Training"].record.experiment == "Training_Pipeline"


def test_each_new_file_starts_a_run_of_a_published_pipeline_that_is_given_it(run_example, served):
    printed, warnings = run_example("new_files")
    assert (printed, warnings) == ("schedule 'New readings' is Active, and looks into 'readings' every minute\n", [])
    run_program("send.py", "monday", "3.5", "12", "8.5")
    Path(".pipelite/data/readings/tuesday.csv").write_text("hour,degrees\n6,1\n12,2\n")

    served()
    (schedule,) = Schedule.list(AzureWorkspace())
    wait_until(lambda: len(schedule.get_pipeline_runs()) == 2)
    runs = schedule.get_pipeline_runs()

    assert [run.wait_for_completion(show_output=False) for run in runs] == ["Finished"] * 2
    found = sorted((run.get_metrics()["readings"], run.get_metrics()["average"]) for run in runs)
    assert found == [(2, 1.5), (3, 8.0)]


def test_a_request_at_v1s_url_with_its_header_starts_a_run_of_a_published_pipeline(run_example, served):
    served()
    # Its address is that of the server that serves it now.
    run_example("request")

    said = run_program("call.py").stdout.splitlines()

    run = Workspace().runs(experiment="orders")[0]
    assert said == [f"Submitted pipeline run: {run.id}", "ended: Finished", "{'cups': 21, 'grams of sugar': 10.5}"]
