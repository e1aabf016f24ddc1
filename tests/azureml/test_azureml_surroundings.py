"""What the script of a step finds around it: one real pipeline, and what its scripts wrote down."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from azureml_scripts import write_file

from pipelite.azureml.core import Dataset, Datastore, Experiment, Model, Run, Workspace
from pipelite.azureml.core.runconfig import RunConfiguration
from pipelite.azureml.data import OutputFileDatasetConfig
from pipelite.azureml.data.data_reference import DataReference
from pipelite.azureml.data.datapath import DataPath, DataPathComputeBinding
from pipelite.azureml.data.dataset_consumption_config import DatasetConsumptionConfig
from pipelite.azureml.pipeline.core import Pipeline, PipelineData, PipelineParameter, PipelineRun, StepRun
from pipelite.azureml.pipeline.steps import CommandStep, PythonScriptStep
from pipelite.azureml.widgets import RunDetails

LOOK = """
    import json, os, sys
    import helper
    from azureml.core import Dataset, Model, Run

    run = Run.get_context()
    given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    frame = run.input_datasets["rides"].to_pandas_dataframe()
    by_id = Dataset.get_by_id(run.experiment.workspace, given["--rides"])
    seen = {
        "arguments": given,
        "variables": dict(os.environ),
        "there": {name: [os.path.isdir(path), os.path.isfile(path)] for name, path in given.items()},
        "inputs": {name: str(value) for name, value in run.input_datasets.items()},
        "outputs": dict(run.output_datasets),
        "rows": [len(frame), len(by_id.to_pandas_dataframe()), len(run.input_datasets["chosen"].to_pandas_dataframe())],
        "helper": helper.WORD,
        "folder": sorted(os.listdir(".")),
        "run": [run.id, run.name, run.type, run.number, run.experiment.name, run.parent.id, run.get_status()],
        "workspace": [run.experiment.workspace.name, run.experiment.workspace.resource_group],
        "same": Run.get_context() is run and Run.get_context(allow_offline=False) is run,
        "missing": "nothing" in run.input_datasets,
    }
    with open(given["--table"] + "/table.csv", "w") as file:
        file.write("a,b\\n1,2\\n3,4\\n")
    os.makedirs(given["--late"])
    with open(given["--late"] + "/part.csv", "w") as file:
        file.write("c\\n5\\n")
    with open("outputs/model.txt", "w") as file:
        file.write("a model")
    run.upload_file("outputs/again.txt", "outputs/model.txt")
    registered = run.register_model("by-run", "outputs/model.txt", tags={"area": "rides"})
    again = run.register_model("by-run", "outputs/again.txt")
    Model.register(run.experiment.workspace, "outputs", "by-model", properties={"score": 1})
    with open(Model.get_model_path("by-run", version=1)) as file:
        seen["model"] = [file.read(), registered.version, again.version, registered.run_id]
    run.tag("quality", "good")
    run.set_tags({"first": 1})
    run.add_properties({"rows": 2})
    seen["labels"] = [run.get_properties(), run.get_tags().get("colour"), run.tags["quality"]]
    with open(given["--seen"], "w") as file:
        json.dump(seen, file)
    run.parent.log("told to the parent", 7)
    run.complete()
    run.fail("it did not")
    run.cancel()
"""

LOG = """
    import io, sys
    from azureml.core.run import Run, _OfflineRun

    import beside
    from package.above import WORD

    run = Run.get_context()
    assert not isinstance(run, _OfflineRun)
    run.log("words", beside.WORD + " " + WORD)
    run.log("once", 0.5)
    # Many scripts tell the run of the pipeline the same.
    run.parent.log("once", 0.5)
    for value in (1, 1, 2):
        run.parent.log("twice", value)
        run.log("twice", value)
    run.log("text", "good")
    for value in (1, 2, 3):
        run.log("often", value)
    run.log_list("listed", [1, 2])
    run.log_row("row", x=1, y=2)
    for number in (1, 2):
        run.log_row("rows", x=number, y=number * 2)
    run.log_table("table", {"x": [1, 2], "y": [3, 4]})
    run.log_image("drawn", path="dot.png")
    run.log_confusion_matrix(
        "confusion",
        {"schema_type": "confusion_matrix", "schema_version": "1.0.0", "data": {"class_labels": ["a", "b"], "matrix": [[1, 0], [2, 3]]}},
    )
    for kind in ("accuracy_table", "residuals", "predictions"):
        getattr(run, "log_" + kind)(kind, {"schema_type": kind, "schema_version": "1.0.0", "data": {"x": [1]}})
    run.upload_file("notes/hello.txt", io.BytesIO(b"hello"))
    run.upload_folder("both", "both")
    with run.child_run("part") as child:
        child.log("loss", 0.25)
        child.complete()
    assert child.get_metrics() == {"loss": 0.25}
    assert run.get_metrics("rows") == {"rows": {"x": [1, 2], "y": [2, 4]}}
    assert "notes/hello.txt" in run.get_file_names()
    with open("logs/progress.txt", "w") as file:
        file.write("half")
    for wrong in (lambda: run.log("list", [1]), lambda: run.log_image("none"), lambda: run.submit_child(None)):
        try:
            wrong()
        except Exception as exc:
            print("refused:", exc)
    print("to stderr too", file=sys.stderr)
"""

READ = """
    import json, os, sys
    from azureml.core import Run

    run = Run.get_context()
    given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    rows = run.input_datasets["rows"].to_pandas_dataframe()
    parts = run.input_datasets["parts"].to_pandas_dataframe()
    seen = {
        "files": [sorted(os.listdir(given[name])) for name in ("--table", "--late", "--left")],
        "same path": run.input_datasets["clean"] == given["--table"],
        "rows": [rows.columns.tolist(), len(rows), parts.columns.tolist(), len(parts)],
        "ids": [len(given["--rows"]), given["--rows"] == given["--parts"]],
    }
    with open(given["--seen"], "w") as file:
        json.dump(seen, file)
"""


def make_pipeline(ws: Workspace, place: Path) -> Pipeline:
    store = ws.get_default_datastore()
    rides = Dataset.Tabular.from_delimited_files((store, "rides/*.csv")).register(ws, "rides")
    one_file = Dataset.File.from_files((store, "one/only.csv"))
    one_folder = Dataset.File.from_files((store, "one"))
    reference = DataReference(store, "raw", "one")
    chosen = PipelineParameter("chosen_data", rides)
    path = (PipelineParameter("path", DataPath(store, "one")), DataPathComputeBinding(mode="mount"))
    rate = PipelineParameter("rate", 0.5)
    table = OutputFileDatasetConfig("table", destination=(store, "kept/{run-id}/{output-name}"))
    late = PipelineData("late", datastore=store)
    left = PipelineData("left")
    seen = PipelineData("seen", pipeline_output_name="look_seen")
    read_seen = PipelineData("read_seen", pipeline_output_name="read_seen")
    named = rides.as_named_input("rides")
    config = RunConfiguration()
    config.environment_variables = {"OF_CONFIG": "yes"}
    config.environment.environment_variables = {"OF_ENVIRONMENT": "yes"}
    late_files = late.as_dataset()
    PythonScriptStep(
        "look.py",
        name="look around",
        source_directory="look",
        arguments=[
            "--text",
            "a b",
            "--number",
            3,
            "--float",
            0.25,
            "--rate",
            rate,
            "--flag",
            PipelineParameter("flag", True),
            "--rides",
            named,
            "--file",
            one_file.as_named_input("file").as_mount(),
            "--folder",
            one_folder.as_named_input("folder").as_download(),
            "--raw",
            reference,
            "--path",
            path,
            "--within",
            f"{reference}/only.csv",
            "--late",
            late,
            "--seen",
            seen,
            "--table",
            copy.deepcopy(table.as_upload(overwrite=True)).register_on_complete("table of rides"),
        ],
        inputs=[named, reference, path, DatasetConsumptionConfig("chosen", chosen)],
        outputs=[seen, late_files, left],
        params={"alpha": "1", "beta": rate},
        runconfig=config,
        compute_target=("some-cluster", "AmlCompute"),
    )
    rows = table.read_delimited_files().keep_columns(["a"]).as_input("rows")
    parts = late_files.parse_delimited_files().as_named_input("parts")
    read = PythonScriptStep(
        "read.py",
        name="read",
        source_directory="read",
        arguments=[
            "--table",
            table.as_input("clean"),
            "--late",
            late.as_mount("late_again"),
            "--left",
            left,
            "--rows",
            rows,
            "--parts",
            parts,
            "--seen",
            read_seen,
        ],
        inputs=[late.as_mount("late_again"), left, parts],
        outputs=[read_seen],
    )
    log = PythonScriptStep("scripts/log.py", name="log", source_directory="log", allow_reuse=False)
    said = OutputFileDatasetConfig("said")
    command = CommandStep(
        command=["echo", rate, "from", reference, ">", f"$AZUREML_DATAREFERENCE_{said.name}/said.txt"],
        name="say",
        inputs=[reference],
        outputs=[said],
    )
    # What `read` reads from is pulled in.
    return Pipeline(ws, [read, [log, command]], description='All "that" scripts see')


@pytest.fixture(scope="module")
def run(place) -> PipelineRun:
    write_file(place / "look/look.py", LOOK)
    write_file(place / "look/helper.py", "WORD = 'beside'\n")
    write_file(place / "read/read.py", READ)
    write_file(place / "log/scripts/log.py", LOG)
    write_file(place / "log/scripts/beside.py", "WORD = 'beside'\n")
    write_file(place / "log/package/above.py", "WORD = 'above'\n")
    (place / "log/dot.png").write_bytes(b"\x89PNG")
    write_file(place / "log/both/a.txt", "a")
    write_file(place / "log/both/below/b.txt", "b")
    ws = Workspace("sub", "group", "shop")
    store = ws.get_default_datastore()
    write_file(place / "data/rides.csv", "zone,count\na,1\nb,2\n")
    store.upload_files(["data/rides.csv"], target_path="rides")
    write_file(place / "data/only.csv", "x\n1\n")
    store.upload_files(["data/only.csv"], target_path="one")
    made = Experiment(ws, "seeing").submit(
        make_pipeline(ws, place), tags={"colour": "red"}, pipeline_parameters={"rate": 0.75}
    )
    assert made.wait_for_completion(show_output=True) == "Finished"
    return made


def json_of(run: PipelineRun, output: str, folder: Path) -> dict:
    port = run.get_pipeline_output(output)
    port.download(str(folder))
    return json.loads((folder / port.path_on_datastore).read_text())


@pytest.fixture(scope="module")
def seen(run, tmp_path_factory) -> SimpleNamespace:
    return SimpleNamespace(**json_of(run, "look_seen", tmp_path_factory.mktemp("seen")))


@pytest.fixture(scope="module")
def read(run, tmp_path_factory) -> dict:
    return json_of(run, "read_seen", tmp_path_factory.mktemp("read"))


def test_values_and_parameters_are_given_as_their_texts(seen):
    names = ("--text", "--number", "--float", "--rate", "--flag")
    assert [seen.arguments[name] for name in names] == ["a b", "3", "0.25", "0.75", "True"]


def test_a_dataset_given_directly_is_its_id_and_found_by_name(seen):
    assert len(seen.arguments["--rides"]) == 36
    assert seen.variables["rides"] == seen.arguments["--rides"]
    assert seen.rows == [2, 2, 2]
    assert seen.missing is False


def test_a_dataset_given_by_path_is_found_as_that_path(seen):
    assert seen.inputs["folder"] == seen.arguments["--folder"] == seen.variables["folder"]
    assert seen.inputs["file"] == seen.arguments["--file"]


def test_a_dataset_of_one_file_is_that_file_and_of_its_folder_the_folder(seen):
    assert seen.there["--file"] == [False, True]
    assert seen.arguments["--file"].endswith("/only.csv")
    assert seen.there["--folder"] == [True, False]


def test_a_data_reference_on_a_folder_with_one_file_is_a_folder(seen):
    assert seen.there["--raw"] == [True, False]
    assert seen.variables["AZUREML_DATAREFERENCE_raw"] == seen.arguments["--raw"]


def test_a_path_of_a_parameter_is_a_path(seen):
    assert seen.there["--path"] == [True, False]


def test_the_text_of_a_reference_is_replaced_within_an_argument(seen):
    assert seen.arguments["--within"] == seen.arguments["--raw"] + "/only.csv"
    assert seen.there["--within"] == [False, True]


def test_nothing_is_at_the_path_of_pipeline_data_and_a_folder_at_that_of_an_output_config(seen):
    assert seen.there["--late"] == seen.there["--seen"] == [False, False]
    assert seen.there["--table"] == [True, False]
    assert seen.outputs == {"table": seen.arguments["--table"]}
    assert seen.variables["AZUREML_DATASET_FILE_OUTPUTS"] == "table"
    assert seen.variables["AZUREML_DATAREFERENCE_late"] == seen.arguments["--late"]
    assert "late" not in seen.variables


def test_datasets_are_listed_in_a_variable(seen):
    listed = dict(each.split(":") for each in seen.variables["AZUREML_DATASET_ENVIRONMENT_VARS"].split(","))
    assert listed == {"rides": "direct", "chosen": "direct", "file": "mount", "folder": "mount"}


def test_parameters_and_params_are_variables(seen):
    names = ("rate", "flag", "alpha", "beta")
    assert [seen.variables[f"AML_PARAMETER_{name}"] for name in names] == ["0.75", "True", "1", "0.75"]
    assert (seen.variables["OF_CONFIG"], seen.variables["OF_ENVIRONMENT"]) == ("yes", "yes")


def test_the_script_runs_in_a_copy_of_its_folder(seen, place):
    assert seen.helper == "beside"
    assert set(seen.folder) - {"__pycache__"} == {"helper.py", "logs", "look.py", "outputs"}
    assert not (place / "look/outputs").exists()


def test_the_script_finds_its_run_its_experiment_and_its_workspace(seen, run):
    assert seen.run == [
        f"{run.id}/look around",
        "look around",
        "azureml.StepRun",
        run.number,
        "seeing",
        run.id,
        "Running",
    ]
    assert seen.workspace == ["shop", "group"]
    assert seen.same
    needed = (
        "RUN_ID",
        "ARM_SUBSCRIPTION",
        "ARM_RESOURCEGROUP",
        "ARM_WORKSPACE_NAME",
        "ARM_PROJECT_NAME",
        "SERVICE_ENDPOINT",
        "RUN_TOKEN",
    )
    assert [seen.variables[f"AZUREML_{name}"] for name in needed[:5]] == [
        f"{run.id}/look around",
        "sub",
        "group",
        "shop",
        "seeing",
    ]
    assert all(seen.variables[f"AZUREML_{name}"] for name in needed[5:])


def test_a_later_step_reads_folders_and_rows_of_what_an_earlier_one_wrote(read):
    assert read["files"] == [["table.csv"], ["part.csv"], []]
    assert read["same path"]
    assert read["rows"] == [["a"], 2, ["c"], 1]
    assert read["ids"] == [36, False]


def test_an_output_goes_to_its_destination_with_the_placeholders_filled_in(run):
    paths = [each.path for each in Datastore(run.experiment.workspace).native.list("kept")]
    assert paths == [f"kept/{run.id}/look around/table/table.csv"]


def test_an_output_is_registered_when_the_run_is_complete(run):
    assert Dataset.get_by_name(run.experiment.workspace, "table of rides").to_path() == ["/table.csv"]


def test_a_command_is_read_by_a_shell(run, tmp_path):
    port = run.find_step_run("say")[0].get_output_data("said")
    assert port.download(str(tmp_path)) == 1
    text = (tmp_path / port.path_on_datastore / "said.txt").read_text()
    assert text.startswith("0.75 from /")


def test_what_is_downloaded_lies_below_its_path_on_the_datastore(run, tmp_path):
    (step,) = run.find_step_run("look around")
    port = step.get_outputs()["late"].get_port_data_reference()
    assert port.path_on_datastore == port._path_on_datastore == f"azureml/{run.id}/look around/late"
    assert port.datastore_name == port.datastore.name == "workspaceblobstore"
    assert port.download(str(tmp_path)) == 1
    assert (tmp_path / port.path_on_datastore / "part.csv").exists()
    assert port.download(str(tmp_path)) == 0
    assert port.download(str(tmp_path), overwrite=True) == 1


def test_the_statuses_of_runs_and_steps_are_finished_and_those_of_details_completed(run):
    (step,) = run.find_step_run("read")
    assert run.get_status() == step.get_status() == "Finished"
    assert run.get_details()["status"] == step.get_details()["status"] == "Completed"
    assert Run(run.experiment, run.id).get_status() == "Completed"


def test_steps_are_given_one_by_one_and_found_as_a_list(run):
    assert isinstance(next(run.get_steps()), StepRun)
    assert {each.name for each in run.get_children()} == {"look around", "read", "log", "say"}
    assert [each.name for each in run.find_step_run("log")] == ["log"]
    # What reads comes before what it reads of: the last first.
    names = [each.name for each in run.get_steps()]
    assert names.index("read") < names.index("look around")
    assert run.find_step_run("none") == []


def test_the_datasets_that_a_step_was_given_are_among_its_details(run):
    (step,) = run.find_step_run("look around")
    given = {each["consumptionDetails"]["inputName"]: each for each in step.get_details()["inputDatasets"]}
    assert {name: each["consumptionDetails"]["mechanism"] for name, each in given.items()} == {
        "rides": "Direct",
        "chosen": "Direct",
        "file": "Mount",
        "folder": "Mount",
    }
    assert (given["rides"]["dataset"].name, given["rides"]["dataset"].version) == ("rides", 1)
    assert given["file"]["dataset"].to_path() == ["/only.csv"]
    again = given["folder"]["dataset"].register(run.experiment.workspace, "one folder")
    assert again.to_path() == ["/only.csv"]
    assert run.find_step_run("log")[0].get_details()["inputDatasets"] == []


def test_metrics_have_the_forms_of_v1(run):
    found = run.find_step_run("log")[0].get_metrics()
    assert {
        name: found[name]
        for name in ("words", "once", "twice", "text", "often", "listed", "row", "rows", "table", "part/loss")
    } == {
        "once": 0.5,
        "text": "good",
        "words": "beside above",
        "twice": [1, 1, 2],
        "often": [1, 2, 3],
        "listed": [1, 2],
        "row": {"x": 1, "y": 2},
        "rows": {"x": [1, 2], "y": [2, 4]},
        "table": {"x": [1, 2], "y": [3, 4]},
        "part/loss": 0.25,
    }
    assert {"drawn", "confusion", "accuracy_table", "residuals", "predictions"} < set(found)
    assert run.find_step_run("log")[0].get_metrics(name="once") == {"once": 0.5}


def test_the_metrics_of_a_run_are_those_of_its_steps_and_what_they_told_it(run):
    assert run.get_metrics("told to the parent") == {"told to the parent": 7}
    assert run.get_metrics()["once"] == 0.5


def test_files_that_were_uploaded_or_left_in_outputs_and_logs_are_kept(run, tmp_path):
    (step,) = run.find_step_run("log")
    kept = ["both/a.txt", "both/below/b.txt", "drawn", "logs/progress.txt", "notes/hello.txt"]
    assert step.get_file_names() == kept
    step.download_file("notes/hello.txt", str(tmp_path))
    assert (tmp_path / "hello.txt").read_bytes() == b"hello"
    step.download_files(prefix="both/", output_directory=str(tmp_path / "all"))
    assert (tmp_path / "all/both/below/b.txt").read_text() == "b"
    assert "outputs/model.txt" in run.get_file_names()


def test_what_is_logged_wrongly_is_refused_and_said_in_the_log(run):
    text = run.find_step_run("log")[0].get_stdout_log()
    assert text.count("refused:") == 3
    assert "log_list" in text
    assert "to stderr too" in text


def test_complete_and_fail_inside_a_job_do_nothing_and_cancel_only_warns(run):
    (step,) = run.find_step_run("look around")
    assert step.get_status() == "Finished"
    assert "does not cancel its own run" in step.get_stdout_log()


def test_a_run_that_ends_by_itself_cannot_be_ended(run):
    (step,) = run.find_step_run("log")
    for each in (run.complete, run.fail, run.child_run, step.complete, step.fail, step.child_run):
        with pytest.raises(NotImplementedError):
            each()


def test_tags_change_and_properties_do_not(run, seen):
    (step,) = run.find_step_run("look around")
    assert seen.labels == [{"rows": "2"}, "red", "good"]
    assert step.properties == {"rows": "2"}
    assert {"quality": "good", "first": "1", "colour": "red"}.items() <= run.tags.items()
    run.tag("later", "yes")
    run.remove_tags(["first"])
    assert {"later": "yes"}.items() <= run.get_tags().items()
    assert "first" not in run.tags
    run.add_properties({"once": 1})
    with pytest.raises(Exception, match="'once' already"):
        run.add_properties({"once": 2})
    assert run.get_properties() == {"once": "1"}


def test_models_that_a_script_registers_are_in_the_registry(run, seen):
    ws = run.experiment.workspace
    assert seen.model == ["a model", 1, 2, f"{run.id}/look around"]
    assert [(each.name, each.version) for each in Model.list(ws, name="by-run")] == [("by-run", 2), ("by-run", 1)]
    assert Model(ws, "by-model").properties == {"score": "1"}
    assert Model(ws, "by-run", version=1).tags == {"area": "rides"}


def test_a_finished_run_registers_a_file_that_it_kept(run):
    ws = run.experiment.workspace
    made = run.register_model("later-on", "outputs/model.txt", tags={"a": 1})
    assert Path(Model.get_model_path("later-on", _workspace=ws)).read_text() == "a model"
    assert made.run_id == run.id
    with pytest.raises(Exception, match="kept no file 'outputs/none'"):
        run.register_model("never", "outputs/none")


def test_runs_are_listed_the_newest_first_without_their_steps(run):
    ws = run.experiment.workspace
    assert [each.id for each in Experiment(ws, "seeing").get_runs()] == [run.id]
    assert next(Experiment(ws, "seeing").get_runs()).get_status() == "Finished"
    assert [each.id for each in Experiment(ws, "seeing").get_runs(tags={"colour": "red"})] == [run.id]
    assert list(Experiment(ws, "seeing").get_runs(tags="green")) == []
    assert len(list(Experiment(ws, "seeing").get_runs(include_children=True))) == 5
    assert list(Experiment(ws, "seeing").get_runs(type="azureml.scriptrun")) == []


def test_a_run_is_shown_in_a_plain_script(run, capsys):
    details = RunDetails(run)
    details.show(render_lib=None)
    found = details.get_widget_data()
    assert (found["run_id"], found["status"]) == (run.id, "Finished")
    assert run.id in capsys.readouterr().out
    assert run.id in run.get_portal_url()
    assert (run.type, run.parent) == ("azureml.PipelineRun", None)


def test_a_step_has_details_and_logs(run):
    (step,) = run.find_step_run("log")
    found = step.get_details_with_logs()
    assert found["startTimeUtc"] < found["endTimeUtc"]
    assert "to stderr too" in found["logFiles"]["azureml-logs/70_driver_log.txt"]
    assert step.get_job_log() == step.get_stdout_log()
    assert (step.parent.id, step.pipeline_run_id, step.type) == (run.id, run.id, "azureml.StepRun")


def test_a_run_is_found_again_by_its_id(run):
    ws = run.experiment.workspace
    assert PipelineRun.get(ws, run.id).get_status() == PipelineRun(run.experiment, run.id).get_status() == "Finished"
    assert Run.get(ws, f"{run.id}/log").name == "log"
    assert "seeing" in ws.experiments


def test_an_output_of_a_run_is_an_input_of_another_pipeline(run, place, capsys):
    write_file(place / "count/count.py", "import os, sys\nprint('files:', os.listdir(sys.argv[1]))\n")
    port = run.find_step_run("look around")[0].get_output_data("late")
    step = PythonScriptStep("count.py", source_directory="count", arguments=[port], inputs=[port])
    made = Pipeline(run.experiment.workspace, [step]).submit("counting")
    assert made.wait_for_completion(show_output=False) == "Finished"
    assert "files: ['part.csv']" in made.find_step_run("count.py")[0].get_stdout_log()
