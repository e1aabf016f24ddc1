"""When a step is reused, by v1's rules, and what of a failed run is kept."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from azureml_scripts import write_file

from pipelite.azureml.core import Dataset, Experiment, Run, ScriptRunConfig, Workspace
from pipelite.azureml.data.data_reference import DataReference
from pipelite.azureml.data.datapath import DataPath, DataPathComputeBinding
from pipelite.azureml.exceptions import ActivityFailedException
from pipelite.azureml.identities import set_rule
from pipelite.azureml.pipeline.core import Pipeline, PipelineData, PipelineParameter, PipelineRun
from pipelite.azureml.pipeline.steps import CommandStep, PythonScriptStep
from pipelite.azureml.train.estimator import Estimator


@pytest.fixture(scope="module")
def ws(place: Path) -> Workspace:
    (place / "empty").mkdir()
    return Workspace("sub", "group", "shop")


def command(name: str, text: str | list[str], **settings) -> CommandStep:
    return CommandStep(command=text, name=name, **{"source_directory": "empty", **settings})


def reusable(pipeline: Pipeline, *, regenerate: bool = False, **parameters) -> set[str]:
    """The steps that would be reused."""
    native = pipeline.native.with_options(regenerate_outputs=regenerate)
    return {each.name for each in native.plan(**pipeline.values(parameters)) if each.action == "reuse"}


def finished(pipeline: Pipeline, **settings) -> PipelineRun:
    run = pipeline.submit("reuse", **settings)
    assert run.wait_for_completion(show_output=False) == "Finished"
    return run


@pytest.fixture(scope="module")
def make_chain(ws, place) -> Callable[..., Pipeline]:
    def make_chain(version: str | None = None, text: str = "one") -> Pipeline:
        rate = PipelineParameter("rate", 0.5)
        first, always = PipelineData("first"), PipelineData("always")
        return Pipeline(
            ws,
            [
                command("first", f"echo {text} > {first}", outputs=[first], version=version),
                command("second", f"cat {first}; echo $AML_PARAMETER_rate", inputs=[first], params={"rate": rate}),
                command("aside", "echo nothing is written"),
                command("always", f"echo again > {always}", outputs=[always], allow_reuse=False),
                command("after", f"cat {always}", inputs=[always]),
            ],
        )

    return make_chain


@pytest.fixture(scope="module")
def runs(make_chain) -> list[PipelineRun]:
    return [finished(make_chain()), finished(make_chain())]


def test_a_step_is_reused_also_one_that_writes_nothing(runs, make_chain):
    assert reusable(make_chain()) == {"first", "second", "aside"}
    assert {each.name: bool(each.properties) for each in runs[1].get_steps()} == {
        "first": True,
        "second": True,
        "aside": True,
        "always": False,
        "after": False,
    }


def test_a_reused_step_says_where_it_comes_from_and_has_the_logs_of_then(runs):
    (step,) = runs[1].find_step_run("aside")
    assert step.get_status() == "Finished"
    assert step.properties == {
        "azureml.reusedrunid": f"{runs[0].id}/aside",
        "azureml.reusednodeid": "aside",
        "azureml.reusedpipeline": runs[0].id,
    }
    assert step.get_stdout_log() == "nothing is written\n"


def test_at_submission_it_is_said_which_steps_are_reused(runs, make_chain, capsys):
    finished(make_chain())
    said = capsys.readouterr().out
    assert "Created step first (This step is eligible to reuse a previous run's output)" in said
    assert "Created step always (This step will run and generate new outputs)" in said


def test_a_changed_parameter_runs_just_the_steps_that_use_it(runs, make_chain):
    assert reusable(make_chain(), rate=0.25) == {"first", "aside"}


def test_a_changed_step_or_version_runs_anew_with_what_reads_it(runs, make_chain):
    for other in (make_chain(version="2"), make_chain(text="two")):
        assert reusable(other) == {"aside"}


def test_all_outputs_can_be_made_anew_and_then_serve(runs, make_chain):
    assert reusable(make_chain(), regenerate=True) == set()
    run = finished(make_chain(), regenerate_outputs=True)
    assert not any(each.properties for each in run.get_steps())
    later = finished(make_chain())
    (step,) = later.find_step_run("aside")
    assert step.properties["azureml.reusedpipeline"] == run.id


def test_another_experiment_and_another_pipeline_are_no_hindrance(runs, ws):
    run = Pipeline(ws, [command("another name", "echo nothing is written")]).submit("another")
    run.wait_for_completion(show_output=False)
    assert run.find_step_run("another name")[0].properties["azureml.reusednodeid"] == "aside"


def test_an_edit_counts_in_the_folder_of_the_step_and_not_what_is_ignored(ws, place):
    for name in ("one", "two"):
        write_file(place / f"{name}/go.sh", "echo go\n")
    write_file(place / "one/.amlignore", "*.md\n")

    def made() -> Pipeline:
        return Pipeline(
            ws, [command(name, f"sh go.sh {name}", source_directory=str(place / name)) for name in ("one", "two")]
        )

    finished(made())
    write_file(place / "one/notes.md", "ignored")
    assert reusable(made()) == {"one", "two"}
    write_file(place / "one/more.txt", "counts")
    assert reusable(made()) == {"two"}


@pytest.fixture
def make_data(ws, place) -> Callable[[], Pipeline]:
    store = ws.get_default_datastore()

    def put(text: str) -> None:
        write_file(place / "data/a.csv", text)
        store.upload_files([str(place / "data/a.csv")], target_path="data", overwrite=True, show_progress=False)

    def make_data(rule: str, text: str) -> Pipeline:
        set_rule(ws.store, rule)
        put(text)
        if "rides" not in ws.datasets:
            Dataset.Tabular.from_delimited_files((store, "data/*.csv")).register(ws, "rides")
        reference = DataReference(store, "ref", "data")
        rows = ws.datasets["rides"].as_named_input("rows")
        script = """
            from azureml.core import Run

            run = Run.get_context()
            print(run.input_datasets["rows"].to_pandas_dataframe())
            run.log("rows", 1)
            open("outputs/kept.txt", "w").close()
        """
        write_file(place / "rows/rows.py", script)
        return Pipeline(
            ws,
            [
                command("ref", ["cat", f"{reference}/a.csv"], inputs=[reference]),
                PythonScriptStep("rows.py", name="rows", source_directory=str(place / "rows"), arguments=[rows]),
            ],
        )

    yield make_data
    set_rule(ws.store, "content")


def test_changed_bytes_count_unless_the_workspace_keeps_to_v1s_rule(make_data):
    finished(make_data("content", "x\n1\n"))
    again = finished(make_data("content", "x\n1\n")).find_step_run("rows")[0]
    assert "azureml.reusedrunid" in again.properties
    assert (again.get_metrics(), again.get_file_names()) == ({"rows": 1}, ["outputs/kept.txt"])
    assert "0  1" in again.get_stdout_log()
    assert reusable(make_data("content", "x\n2\n")) == set()
    run = finished(make_data("definition", "x\n2\n"))
    assert run.find_step_run("ref")[0].get_stdout_log() == "x\n2\n"
    assert "0  2" in run.find_step_run("rows")[0].get_stdout_log()
    assert reusable(make_data("definition", "x\n3\n")) == {"ref", "rows"}
    with pytest.raises(ValueError, match="'content', 'definition'"):
        set_rule(Workspace().store, "bytes")


@pytest.fixture(scope="module")
def make_failing(ws) -> Callable[[], Pipeline]:
    def make_failing() -> Pipeline:
        good, bad = PipelineData("good"), PipelineData("bad")
        steps = [
            command("good", f"echo 1 > {good}", outputs=[good]),
            command("bad", f"echo it broke >&2; exit 3 # {bad}", outputs=[bad], inputs=[good]),
            command("reads bad", f"cat {bad}", inputs=[bad]),
            command("other", f"cat {good}", inputs=[good]),
        ]
        last = command("last", "echo last")
        last.run_after(steps[3])
        return Pipeline(ws, [*steps, last])

    return make_failing


@pytest.fixture(scope="module")
def failing_run(make_failing) -> PipelineRun:
    run = make_failing().submit("failing", continue_on_step_failure=True)
    with pytest.raises(ActivityFailedException, match=r"(?s)step 'bad' failed.*it broke"):
        run.wait_for_completion(show_output=False)
    return run


def test_the_others_go_on_and_the_run_fails_all_the_same(failing_run):
    assert {each.name: each.get_status() for each in failing_run.get_steps()} == {
        "good": "Finished",
        "bad": "Failed",
        "reads bad": "Canceled",
        "other": "Finished",
        "last": "Finished",
    }
    assert failing_run.get_status() == failing_run.get_details()["status"] == "Failed"
    assert "it broke" in failing_run.get_details()["error"]["error"]["message"]


def test_it_can_be_waited_for_without_an_exception(failing_run, capsys):
    assert failing_run.wait_for_completion(raise_on_error=False) == "Failed"
    assert "StepRun(bad) Status: Failed" in capsys.readouterr().out
    with pytest.raises(ActivityFailedException):
        failing_run.find_step_run("bad")[0].wait_for_completion(show_output=False)


def test_its_finished_steps_serve_later_runs(failing_run, make_failing):
    assert reusable(make_failing()) == {"good", "other", "last"}


def test_a_run_that_is_not_told_to_go_on_stops(make_failing, ws):
    bad = command("bad", "exit 3")
    later = command("never", "echo never")
    later.run_after(bad)
    run = Experiment(ws, "stopping").submit(Pipeline(ws, [later, bad]))
    assert run.wait_for_completion(show_output=False, raise_on_error=False) == "Failed"
    assert run.find_step_run("never")[0].get_status() == "Canceled"


@pytest.fixture(scope="module")
def script_run(ws, place) -> Run:
    script = """
        import os, sys
        from azureml.core import Run

        Run.get_context().log("accuracy", float(sys.argv[1]))
        with open("outputs/model.txt", "w") as file:
            file.write("a model")
    """
    write_file(place / "alone/train.py", script)
    config = ScriptRunConfig(str(place / "alone"), script="train.py", arguments=[0.75], compute_target="cpu")
    return Experiment(ws, "alone").submit(config, tags={"kind": "first"})


def test_it_is_a_plain_run_that_completes(script_run, tmp_path):
    assert script_run.wait_for_completion(show_output=True)["status"] == "Completed"
    assert script_run.get_status() == script_run.status == "Completed"
    assert script_run.get_metrics() == {"accuracy": 0.75}
    assert script_run.get_file_names() == ["outputs/model.txt"]
    script_run.download_file("outputs/model.txt", str(tmp_path))
    assert (tmp_path / "model.txt").read_text() == "a model"
    assert (script_run.type, script_run.tags, list(script_run.get_children())) == (
        "azureml.scriptrun",
        {"kind": "first"},
        [],
    )


def test_it_is_listed_as_what_it_is(script_run, ws):
    (listed,) = Experiment(ws, "alone").get_runs()
    assert (type(listed), listed.id) == (Run, script_run.id)
    assert [type(each) for each in Experiment(ws, "alone").get_runs(type="azureml.scriptrun")] == [Run]
    assert type(Run.get(ws, script_run.id)) is Run


def test_the_newest_is_the_first_and_an_estimator_is_a_script(script_run, ws, place):
    estimator = Estimator(str(place / "alone"), compute_target="cpu", entry_script="train.py", script_params={0.5: ""})
    later = Experiment(ws, "alone").submit(estimator)
    assert later.wait_for_completion()["status"] == "Completed"
    assert [each.id for each in Experiment(ws, "alone").get_runs()] == [later.id, script_run.id]
    assert later.get_metrics("accuracy") == {"accuracy": 0.5}


def test_one_that_fails_raises(ws):
    config = ScriptRunConfig(".", command="exit 1")
    failing = Experiment(ws, "alone-failing").submit(config)
    with pytest.raises(ActivityFailedException):
        failing.wait_for_completion()
    assert failing.wait_for_completion(raise_on_error=False)["status"] == "Failed"


def test_a_run_is_waited_for_so_long_and_canceled(ws):
    run = Pipeline(ws, [command("long", "exec sleep 60")]).submit("canceling")
    with pytest.raises(TimeoutError, match="has not ended within"):
        run.wait_for_completion(show_output=False, timeout_seconds=0.01)
    assert run.get_status() in ("NotStarted", "Running")
    run.cancel()
    assert run.wait_for_completion(show_output=False) == "Canceled"
    assert run.get_details()["status"] == "Canceled"


def test_python_in_a_command_is_that_of_the_step(ws):
    run = finished(Pipeline(ws, [command("where", "python -c 'import sys, azureml.core; print(sys.executable)'")]))
    assert run.find_step_run("where")[0].get_stdout_log().strip() == sys.executable


def test_a_run_publishes_the_pipeline_it_was_made_of(ws):
    run = finished(Pipeline(ws, [command("go", "echo go $AML_PARAMETER_p", params={"p": PipelineParameter("p", "a")})]))
    published = next(Experiment(ws, "reuse").get_runs()).publish_pipeline("shown", "what it does", "1.0")
    assert (published.name, published.description, published.version, published.status) == (
        "shown",
        "what it does",
        "1.0",
        "Active",
    )
    with pytest.raises(TypeError):
        run.publish_pipeline("shown")


def test_a_path_to_where_nothing_lies_is_an_empty_folder_until_something_does(ws, place):
    write_file(
        place / "listing/listing.py",
        """
        import os
        import sys

        from azureml.core import Run

        Run.get_context().log_list("files", [len(os.listdir(path)) for path in sys.argv[1:]])
        """,
    )
    store = ws.get_default_datastore()

    def listing() -> Pipeline:
        reference = DataReference(store, "reference", "arrives/reference")
        path = PipelineParameter("path", DataPath(store, "arrives/path"))
        binding = DataPathComputeBinding()
        step = PythonScriptStep(
            "listing.py",
            name="listing",
            source_directory="listing",
            arguments=[reference, (path, binding)],
            inputs=[reference, (path, binding)],
        )
        return Pipeline(ws, [step])

    assert finished(listing()).get_metrics() == {"files": [0, 0]}
    assert reusable(listing()) == {"listing"}
    assert reusable(listing(), path=DataPath(store, "arrives/elsewhere")) == {"listing"}

    write_file(place / ".pipelite/data/arrives/path/a.csv", "1")
    write_file(place / ".pipelite/data/arrives/path/b.csv", "2")
    assert finished(listing()).get_metrics() == {"files": [0, 2]}
    write_file(place / ".pipelite/data/arrives/reference/a.csv", "1")
    assert reusable(listing()) == set()
    assert finished(listing()).get_metrics() == {"files": [1, 2]}
