"""Steps that copy data, steps of Databricks, and the one of a service that is gone."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import textwrap
from pathlib import Path

import pytest

from pipelite.azureml.core import Experiment, Workspace
from pipelite.azureml.core.databricks import JarLibrary, PyPiLibrary
from pipelite.azureml.core.datastore import Datastore
from pipelite.azureml.data.data_reference import DataReference
from pipelite.azureml.exceptions import NotOnOneBoxError
from pipelite.azureml.pipeline.core import Pipeline, PipelineData, PipelineParameter
from pipelite.azureml.pipeline.steps import AdlaStep, DatabricksStep, DataTransferStep, PythonScriptStep
from pipelite.azureml.script_steps import script_step
from pipelite.azureml.transfer_steps import transfer_step
from pipelite.errors import CommandError, DefinitionError, StepFailed
from steps.jobs_api import TOKEN, JobsApi

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

spark = pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None or shutil.which("java") is None, reason="needs pyspark and Java"
)

SHOW = """
    import os, sys
    for path in sys.argv[1:]:
        if os.path.isdir(path):
            print("folder", sorted(os.listdir(path)))
        else:
            print("file", os.path.basename(path), open(path).read())
"""


CLEAN = """
    import argparse
    from pyspark.sql import SparkSession

    parser = argparse.ArgumentParser()
    for name in ("--month", "-rows", "-clean", "--AZUREML_ROOT_RUN_ID"):
        parser.add_argument(name)
    given, _ = parser.parse_known_args()
    SparkSession.builder.getOrCreate()
    with open(given.clean, "w") as file:
        print(given.month, open(given.rows).read(), given.AZUREML_ROOT_RUN_ID, file=file)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a workspace for all tests of the module."""
    folder = tmp_path_factory.mktemp("transfers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIPELITE_WORKSPACE", str(folder / ".pipelite"))
        patch.setenv("PIPELITE_PROGRESS", "quiet")
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def ws(place: Path) -> Workspace:
    """With a datastore `lake` of some files, and `copies`."""
    ws = Workspace("sub", "group", "shop")
    for path, text in {"raw/a.csv": "1", "raw/deep/b.csv": "2", "single/one.csv": "3", "single2/one.csv": "4"}.items():
        (place / "lake" / path).parent.mkdir(parents=True, exist_ok=True)
        (place / "lake" / path).write_text(text)
    (place / "copies/there").mkdir(parents=True)
    (place / "steps").mkdir()
    (place / "steps/show.py").write_text(textwrap.dedent(SHOW))
    for name in ("lake", "copies"):
        ws.native.datastores.register(name, place / name)
    return ws


def at(ws: Workspace, store: str, path: str) -> DataReference:
    return DataReference(Datastore(ws, store), path_on_datastore=path)


@pytest.fixture(scope="module")
def copied(ws: Workspace):
    """A pipeline of copies, and of a script that looks at them, run twice."""

    def make() -> Pipeline:
        copies = {
            "folder": DataTransferStep("folder", at(ws, "lake", "raw"), at(ws, "copies", "raw")),
            "file as it is called": DataTransferStep(
                "file as it is called", at(ws, "lake", "single/one.csv"), at(ws, "copies", "renamed"), None, "file"
            ),
            "file into what is there": DataTransferStep(
                "file into what is there", at(ws, "lake", "single/one.csv"), at(ws, "copies", "there")
            ),
            "file into a folder": DataTransferStep(
                "file into a folder",
                at(ws, "lake", "single/one.csv"),
                at(ws, "copies", "new.csv"),
                destination_reference_type="directory",
            ),
        }
        again = DataTransferStep("a copy of a copy", copies["folder"].get_output(), at(ws, "copies", "third"))
        outputs = [each.get_output() for each in (*copies.values(), again)]
        show = PythonScriptStep(
            name="show", script_name="show.py", source_directory="steps", arguments=outputs, inputs=outputs
        )
        return Pipeline(ws, [show])

    run = Experiment(ws, "copies").submit(make())
    run.wait_for_completion(show_output=False)
    second = Experiment(ws, "copies").submit(make())
    second.wait_for_completion(show_output=False)
    return run, second


def test_files_and_folders_are_copied_to_where_the_types_say(copied, place):
    found = {str(path.relative_to(place / "copies")) for path in (place / "copies").rglob("*") if path.is_file()}

    assert found == {
        *("raw/a.csv", "raw/deep/b.csv", "third/a.csv", "third/deep/b.csv"),
        *("renamed", "there/one.csv", "new.csv/one.csv"),
    }


def test_later_steps_read_the_copies(copied):
    run, _ = copied
    (show,) = run.find_step_run("show")

    lines = show.get_stdout_log().splitlines()
    assert [line for line in lines if line.startswith(("folder", "file"))] == [
        "folder ['a.csv', 'deep']",
        "file renamed 3",
        "file one.csv 3",
        "file one.csv 3",
        "folder ['a.csv', 'deep']",
    ]


def test_copies_are_reused_while_source_and_target_are_the_same(copied):
    _, second = copied

    assert {step.name: "azureml.reusedrunid" in step.properties for step in second.get_steps()} == {
        **dict.fromkeys(("folder", "file as it is called", "file into what is there", "file into a folder"), True),
        "a copy of a copy": True,
        "show": True,
    }


def test_types_that_do_not_go_together_fail_the_step_with_a_reason(ws):
    wrong = DataTransferStep("wrong", at(ws, "lake", "single2"), at(ws, "copies", "x.csv"), None, "file")
    onto = DataTransferStep("onto", at(ws, "lake", "raw"), at(ws, "copies", "x.csv"), None, None, "file")

    run = Pipeline(ws, [wrong, onto]).native.with_options(keep_going=True)
    with pytest.raises(StepFailed):
        run.run()

    (last,) = ws.native.runs(limit=1)
    assert "is a directory, and source_type is 'file'" in last.steps["wrong"].error
    assert "give a directory as the target" in last.steps["onto"].error


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source_reference_type": "folder"}, "'file' or 'directory' is expected"),
        ({"source_data_reference": None}, "source_data_reference is missing"),
        ({"destination_data_reference": PipelineData("x")}, "has to be a DataReference"),
    ],
)
def test_a_copy_that_cannot_be_is_refused_when_it_is_made(ws, given, message):
    right = {"source_data_reference": at(ws, "lake", "raw"), "destination_data_reference": at(ws, "copies", "raw")}

    with pytest.raises(ValueError, match=message):
        DataTransferStep("copy", **{**right, **given})


def test_a_copy_is_a_step_of_ordinary_pipelines_too(ws, place):
    copy = transfer_step(("copies", "direct"), output="copy")

    assert copy(source=Path("lake/raw")).files == ["a.csv", "deep/b.csv"]
    assert (place / "copies/direct/deep/b.csv").read_text() == "2"
    with pytest.raises(DefinitionError, match="source_type='folder' is wrong"):
        transfer_step(("copies", "direct"), source_type="folder")


def test_a_u_sql_script_is_refused_with_what_to_do(ws):
    with pytest.raises(NotOnOneBoxError, match=r"step 'sum': .*U-SQL.*pipelite\.steps\.sql"):
        AdlaStep(script_name="sum.usql", name="sum", compute_target="adla")


class TestDatabricks:
    """What runs on the Spark of this machine, and what is a job of a workspace."""

    @pytest.fixture
    def api(self, monkeypatch):
        api = JobsApi()
        monkeypatch.setenv("DATABRICKS_HOST", api.host)
        monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)
        yield api
        api.close()

    def test_a_notebook_of_a_workspace_is_a_job_there_with_its_parameters(self, ws, api):
        api.plan("/Users/ann/train", result="done")
        month = PipelineParameter("month", "may")
        train = DatabricksStep(
            "train",
            existing_cluster_id="0923-164208-meows279",
            notebook_path="/Users/ann/train",
            notebook_params={"month": month, "rate": "0.1"},
            pypi_libraries=[PyPiLibrary("xgboost==2.1.0")],
            timeout_seconds=600,
        )

        run = Experiment(ws, "jobs").submit(Pipeline(ws, [train]), pipeline_parameters={"month": "june"})

        assert run.wait_for_completion(show_output=False) == "Finished"
        ((task,),) = (each["tasks"] for each in api.submitted)
        assert task["existing_cluster_id"] == "0923-164208-meows279"
        assert task["notebook_task"]["base_parameters"] == {"month": "june", "rate": "0.1"}
        assert task["libraries"] == [{"pypi": {"package": "xgboost==2.1.0"}}]

    def test_scripts_and_classes_of_a_workspace_run_on_a_new_cluster(self, ws):
        python = DatabricksStep(
            "clean", num_workers=2, python_script_path="dbfs:/clean.py", python_script_params=["--least", 3]
        )
        java = DatabricksStep(
            "fit",
            min_workers=1,
            max_workers=4,
            spark_version="14.3.x-scala2.12",
            instance_pool_id="pool-1",
            main_class_name="org.shop.Fit",
            jar_params=["x"],
            jar_libraries=[JarLibrary("dbfs:/fit.jar")],
        )

        code = Pipeline(ws, [python, java]).code

        assert '    cluster={\n        "spark_version": "15.4.x-scala2.12",\n' in code
        assert '        "node_type_id": "Standard_D3_v2",\n' in code
        assert '    arguments=["--least", "3"],\n' in code
        assert '        "autoscale": {"min_workers": 1, "max_workers": 4},\n' in code
        assert '    libraries=[{"jar": "dbfs:/fit.jar"}],\n' in code
        assert Pipeline(ws, [python]).validate() == []

    def test_data_of_this_machine_are_refused_where_a_cluster_would_need_them(self, ws):
        place = {"existing_cluster_id": "c", "notebook_path": "/Users/ann/train"}

        with pytest.raises(NotOnOneBoxError, match=r"input '\w+' on this machine; bring it to a datastore"):
            DatabricksStep("train", inputs=[at(ws, "lake", "raw")], **place)
        with pytest.raises(NotOnOneBoxError, match="the output 'model' on this machine"):
            DatabricksStep("train", outputs=[PipelineData("model")], **place)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({}, "takes exactly one of"),
            ({"notebook_path": "/a", "main_class_name": "b"}, "takes exactly one of"),
            ({"python_script_name": "a.py"}, "needs source_directory"),
            ({"notebook_path": "train"}, "is no path of a workspace"),
            ({"notebook_path": "/a", "num_workers": 1}, "excludes the settings of a new cluster"),
            ({"notebook_path": "/a", "existing_cluster_id": None, "min_workers": 1}, "min_workers and max_workers"),
        ],
    )
    def test_what_v1_refused_is_refused(self, given, message):
        with pytest.raises(ValueError, match=message):
            DatabricksStep("train", **{"existing_cluster_id": "c", **given})

    def test_an_empty_id_is_that_of_no_cluster(self, ws):
        step = DatabricksStep("train", existing_cluster_id="", num_workers=1, notebook_path="/Users/ann/train")
        assert Pipeline(ws, [step]).validate() == []

    @pytest.mark.may_be_missing
    @spark
    def test_a_script_from_here_runs_on_the_spark_of_this_machine(self, ws, place):
        (place / "steps/clean.py").write_text(textwrap.dedent(CLEAN))
        rows = DataReference(Datastore(ws, "lake"), data_reference_name="rows", path_on_datastore="raw/a.csv")
        clean = PipelineData("clean")
        DatabricksStep(
            "clean",
            num_workers=1,
            python_script_name="clean.py",
            source_directory="steps",
            python_script_params=["--month", PipelineParameter("month", "may")],
            inputs=[rows],
            outputs=[clean],
        )
        show = PythonScriptStep(
            name="show", script_name="show.py", source_directory="steps", arguments=[clean], inputs=[clean]
        )

        run = Experiment(ws, "spark").submit(Pipeline(ws, [show]))
        run.wait_for_completion(show_output=False)

        assert "file clean may 1 " + run.id in run.find_step_run("show")[0].get_stdout_log()

    def test_a_script_from_here_is_written_as_a_step_with_paths_behind_names(self, ws, place):
        (place / "steps/clean.py").write_text("")
        rows = DataReference(Datastore(ws, "lake"), data_reference_name="rows", path_on_datastore="raw/a.csv")
        step = DatabricksStep(
            "clean",
            num_workers=1,
            python_script_name="clean.py",
            source_directory="steps",
            python_script_params=["--month", "may"],
            inputs=[rows],
            outputs=[PipelineData("clean")],
        )

        code = Pipeline(ws, [step]).code

        assert 'arguments=["--month", "may", "-rows", Input("rows"), "-clean", Output("clean")],' in code
        assert '    spark="local[*]",\n' in code
        with pytest.raises(NotOnOneBoxError, match="jar_libraries= are for a cluster"):
            DatabricksStep(
                "clean",
                num_workers=1,
                python_script_name="clean.py",
                source_directory="steps",
                jar_libraries=[JarLibrary("x.jar")],
            )

    def test_without_spark_the_step_says_what_to_install(self, ws, place, monkeypatch, tmp_path):
        (place / "steps/clean.py").write_text("")
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("SPARK_HOME", raising=False)
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

        with pytest.raises(CommandError, match="there is no spark-submit"):
            script_step("clean.py", source_directory="steps", spark="local[2]")()
