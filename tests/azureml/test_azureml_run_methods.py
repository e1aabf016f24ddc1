"""What can be asked of a run after it was started, by whoever holds its id."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from azureml_scripts import write_file

from pipelite.azureml.core import Experiment, Run, ScriptRunConfig, Workspace
from pipelite.azureml.exceptions import NotOnOneBoxError, UserErrorException
from pipelite.azureml.pipeline.core import (
    Pipeline,
    PipelineEndpoint,
    PipelineRun,
    Schedule,
    ScheduleRecurrence,
    StepRun,
)
from pipelite.azureml.pipeline.steps import CommandStep

_LOG = "azureml-logs/70_driver_log.txt"


@pytest.fixture(scope="module")
def ws(place):
    write_file(place / "code/hello.py", "print('hello from the script')\n")
    return Workspace("sub", "group", "shop")


@pytest.fixture(scope="module")
def experiment(ws):
    return Experiment(ws, "asking")


@pytest.fixture(scope="module")
def script_run(experiment):
    run = experiment.submit(ScriptRunConfig("code", script="hello.py"))
    run.wait_for_completion()
    return run


@pytest.fixture(scope="module")
def pipeline_run(experiment, ws):
    steps = [CommandStep(f"echo {name}", name=name, source_directory="code") for name in ("one", "two")]
    steps.append(CommandStep("exit 3", name="bad", source_directory="code"))
    run = Pipeline(ws, steps, description="Says a number").submit("asking", continue_on_step_failure=True)
    run.wait_for_completion(show_output=False, raise_on_error=False)
    return run


def test_the_id_of_a_step_leads_to_the_run_of_the_step(experiment, pipeline_run):
    step = Run(experiment, f"{pipeline_run.id}/two")
    graph = pipeline_run.get_graph()
    same = StepRun(experiment, step.id, pipeline_run.id, graph.node_name_dict["two"][0].node_id)
    for each in (step, same, Run.get(experiment.workspace, step.id), Run(experiment=experiment, run_id=step.id)):
        assert type(each) is StepRun
        assert (each.name, each.parent.id, each.get_status()) == ("two", pipeline_run.id, "Finished")
        assert each.get_stdout_log() == "two\n"
    assert list(step.get_children()) == []


def test_a_run_says_how_it_is_in_more_words(pipeline_run, script_run):
    assert pipeline_run.get_detailed_status()["status"] == "Failed"
    assert "step 'bad' failed" in pipeline_run.get_detailed_status()["details"]
    assert "step 'bad' failed" in pipeline_run.find_step_run("bad")[0].get_detailed_status()["details"]
    assert script_run.get_detailed_status() == {"status": "Completed", "details": ""}
    assert pipeline_run.description == "Says a number"


def test_logs_are_given_and_written(pipeline_run, script_run, tmp_path):
    assert script_run.get_details_with_logs()["logFiles"] == {_LOG: "hello from the script\n"}
    assert pipeline_run.get_details_with_logs()["logFiles"][f"two/{_LOG}"] == "two\n"
    written = script_run.get_all_logs(destination=tmp_path)
    assert written == [str(tmp_path / _LOG)]
    assert Path(written[0]).read_text() == "hello from the script\n"
    written = pipeline_run.get_all_logs(str(tmp_path))
    assert sorted(str(Path(each).relative_to(tmp_path)) for each in written) == [
        f"bad/{_LOG}",
        f"one/{_LOG}",
        f"two/{_LOG}",
    ]


def test_the_copy_of_a_source_directory_comes_back_as_a_zip_file(experiment, script_run, tmp_path):
    file = script_run.restore_snapshot(path=str(tmp_path / "snapshots"))
    assert Path(file).parent == tmp_path / "snapshots"
    with zipfile.ZipFile(file) as found:
        assert found.read("hello.py") == b"print('hello from the script')\n"
    (step,) = (Run(experiment, f"{script_run.id}/{name}") for name in script_run._native.steps)
    assert step.get_snapshot_id() == script_run.get_snapshot_id()
    with experiment.start_logging(snapshot_directory="code") as logged:
        pass
    with zipfile.ZipFile(logged.restore_snapshot(path=str(tmp_path))) as found:
        assert "hello.py" in found.namelist()
    with pytest.raises(UserErrorException, match="no copy of a source directory with the id 'none'"):
        script_run.restore_snapshot("none")
    with experiment.start_logging() as without:
        pass
    with pytest.raises(UserErrorException, match="has 0 copies"):
        without.get_snapshot_id()


def test_a_run_that_is_not_this_process_is_not_told_anything(script_run, pipeline_run):
    for call in (
        lambda run: run.log("x", 1),
        lambda run: run.upload_file("x", "x"),
        lambda run: run.log_row("x", y=1),
    ):
        with pytest.raises(NotOnOneBoxError, match=rf"run {script_run.id} is not that of this process.*start_logging"):
            call(script_run)
        with pytest.raises(NotOnOneBoxError, match="only what it runs can log to it"):
            call(pipeline_run)
    for call in (script_run.complete, script_run.fail):
        with pytest.raises(NotImplementedError, match=r"ends by itself; cancel\(\) ends it now"):
            call()
    for run in (pipeline_run, pipeline_run.find_step_run("one")[0]):
        for call in (run.complete, run.fail, run.child_run):
            with pytest.raises(NotImplementedError):
                call()


def test_metrics_of_all_below_come_by_the_ids_of_runs(experiment, ws):
    write_file(Path("code/log.py"), "from azureml.core import Run\nRun.get_context().log('x', 2)\n")
    steps = [CommandStep("python log.py", name="logs", source_directory="code"), CommandStep("echo", name="silent")]
    run = Pipeline(ws, steps, default_source_directory="code").submit("asking")
    run.wait_for_completion(show_output=False)
    assert run.get_metrics(recursive=True) == {f"{run.id}/logs": {"x": 2}}
    assert run.get_metrics() == {"x": 2}
    assert run.id in {each.id for each in Run.list(experiment)}
    assert [each.name for each in run.get_children(tags="none")] == []


def test_schedules_and_endpoints_are_found_in_the_ways_of_v1(ws, pipeline_run):
    published = pipeline_run.publish_pipeline(name="Numbers", description="", version="1")
    endpoint = PipelineEndpoint.publish(ws, "Numbers", "", published)
    later = ScheduleRecurrence("Day", 1, start_time="2040-01-01T00:00:00")
    made = Schedule.create_for_pipeline_endpoint(ws, "daily", endpoint.id, "asking", recurrence=later)
    assert [each.id for each in Schedule.get_schedules_for_pipeline_endpoint_id(ws, endpoint.id)] == [made.id]
    assert [each.id for each in PipelineEndpoint.get_all(ws)] == [endpoint.id]
    assert PipelineRun.get_pipeline_runs(ws, published.id) == []
