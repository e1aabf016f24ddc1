"""`pipelite azureml check`: what of a script would run here, found without executing it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelite.azureml.checking import Report, check

GOOD = """
    import os
    from azureml.core import Experiment, Workspace
    from azureml.core.compute import AmlCompute, ComputeTarget
    from azureml.pipeline.core import Pipeline, PipelineParameter
    from azureml.pipeline.steps import PythonScriptStep

    raise RuntimeError("this script is not executed")

    folder = "steps"
    ws = Workspace.from_config()
    cluster = ComputeTarget(ws, "cluster")
    cluster.vm_size
    train = PythonScriptStep(script_name="train.py", name="train", source_directory=os.path.join(".", folder))
    run = Experiment(ws, "e").submit(Pipeline(ws, steps=[train]))
    run.wait_for_completion(show_output=True)
"""


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """Check a script, beside files by name."""
    monkeypatch.chdir(tmp_path)

    def run(main: str, **files: str) -> Report:
        for name, text in {"main": main, **files}.items():
            path = Path(f"{name.replace('__', '/')}.py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text).lstrip("\n"))
        return check("main.py")

    return run


def found(report: Report) -> list[tuple[str, str]]:
    return [(str(each.place), each.name) for each in report.problems]


def test_a_script_that_would_run_is_shown_with_its_names_and_steps(checked):
    report = checked(GOOD, steps__train="from azureml.core import Run\nRun.get_context().log('a', 1)\n")

    assert report.would_run, report.problems
    assert [(str(each.place), each.name, each.message) for each in report.steps] == [
        ("main.py:13", "PythonScriptStep", "train")
    ]
    names = {each.name: str(each.place) for each in report.names}
    assert names["azureml.core.Workspace.from_config"] == "main.py:10"
    assert names["azureml.core.Run.get_context"] == "steps/train.py:2"
    assert report.unknown == []
    assert report.to_text().endswith("main.py would run")


def test_the_script_of_a_step_is_seen_from_the_working_directory_as_v1_saw_it(checked):
    step = """
        from azureml.core import Run
        from azureml.pipeline.steps import PythonScriptStep
        PythonScriptStep(script_name="train.py", source_directory="./steps")
        Run.get(None, "a").get_outputs()
    """
    checked("", steps__train="from azureml.core import nothing", pipelines__build=step)
    report = check("pipelines/build.py")

    assert (found(report), report.unknown) == ([("steps/train.py:1", "azureml.core.nothing")], [])


def test_names_that_are_not_here_are_found_on_modules_classes_and_objects(checked):
    report = checked("""
        import azureml.core
        from azureml.core import Workspace, Datastore, Webservices
        from azureml._restclient.models import ErrorResponse
        from azureml.contrib.mir import Thing
        ws = Workspace.from_config()
        ws.get_default_datastore()
        ws.become_bigger()
        azureml.core.Dataset.Tabular.from_dreams("x")

        def later(ws):
            ws.unknown_here()
    """)

    assert found(report) == [
        ("main.py:2", "azureml.core.Webservices"),
        ("main.py:3", "azureml._restclient.models"),
        ("main.py:4", "azureml.contrib.mir"),
        ("main.py:7", "azureml.core.Workspace.become_bigger"),
        ("main.py:8", "azureml.core.Dataset.Tabular.from_dreams"),
    ]


def test_arguments_that_do_not_exist_are_found(checked):
    report = checked("""
        from azureml.pipeline.steps import DataTransferStep, PythonScriptStep
        PythonScriptStep(script_name="main.py", target="cluster")
        DataTransferStep(name="copy", colour="blue")
    """)

    assert found(report) == [("main.py:3", "azureml.pipeline.steps.DataTransferStep")]
    assert "colour" in report.problems[0].message


def test_what_only_azure_could_do_is_found_with_what_to_do_instead(checked):
    report = checked("""
        from azureml.core import Datastore, Workspace, Experiment
        from azureml.pipeline.steps import AdlaStep, RScriptStep
        from azureml.train.automl import AutoMLConfig
        ws = Workspace.from_config()
        Datastore.register_azure_sql_database(ws, "db", "server", "base")
        AdlaStep(script_name="query.usql", name="query")
        RScriptStep(script_name="fit.R")
        config = AutoMLConfig(task="regression")
        Experiment(ws, "e").submit(config)
    """)

    by_name = {each.name: each.message for each in report.problems}
    assert "Dataset.from_sql" in by_name["azureml.core.Datastore.register_azure_sql_database"]
    assert by_name["azureml.pipeline.steps.AdlaStep"].startswith("Azure Data Lake Analytics was retired")
    assert by_name["azureml.pipeline.steps.RScriptStep"].startswith(
        "RScriptStep cannot be run here; run it by a CommandStep"
    )
    assert by_name["azureml.train.automl.AutoMLConfig"].startswith("AutoMLConfig cannot be submitted yet")


def test_steps_and_modules_that_are_not_there_yet_are_found(checked):
    report = checked("""
        import azureml.opendatasets, azureml.contrib.notebook
        from azureml.pipeline.steps import AutoMLStep, HyperDriveStep, ParallelRunStep
        from azureml.train.automl.run import AutoMLRun
        from azureml.telemetry import set_diagnostics_collection
        AutoMLStep(name="search", automl_config=config)
        HyperDriveStep(name="tune", hyperdrive_config=config)
        ParallelRunStep(name="batch", parallel_run_config=config, inputs=[rides], output=scores)
    """)

    assert [(str(each.place), each.message) for each in report.problems[2:]] == [
        ("main.py:3", "there is no such module here; it comes with AutoMLStep, in a later version"),
        ("main.py:5", "AutoMLStep cannot be run here; it comes in a later version"),
        ("main.py:6", "HyperDriveStep cannot be run here; it comes in a later version"),
        ("main.py:7", "ParallelRunStep cannot be run here; it comes in a later version"),
    ]
    public, previews = report.problems[:2]
    assert (public.name, previews.name) == ("azureml.opendatasets", "azureml.contrib.notebook")
    assert "put the files that you need on a datastore" in public.message
    assert "pipelite.steps.notebook" in previews.message
    assert [each.name for each in report.steps] == ["AutoMLStep", "HyperDriveStep", "ParallelRunStep"]


def test_removed_names_are_found_in_the_script_and_in_those_of_its_steps(checked):
    report = checked(
        """
        import numpy as np
        from azureml.core import ScriptRunConfig
        np.float(1), np.float64(1)
        ScriptRunConfig("steps", script="old.py")
        ScriptRunConfig(source_directory="steps", script="gone.py")
        ScriptRunConfig(source_directory="steps", script=input())
        """,
        steps__old="""
        import numpy
        from sklearn.externals import joblib
        from sklearn.preprocessing import Imputer
        frame = frame.append(other)
        names = []
        names.append(1)
        frame.ix[0]
        for name, column in frame.iteritems():
            numpy.int
        """,
    )

    assert found(report) == [
        ("main.py:3", "numpy.float"),
        ("steps/old.py:2", "sklearn.externals"),
        ("steps/old.py:3", "sklearn.preprocessing.Imputer"),
        ("steps/old.py:4", ".append"),
        ("steps/old.py:7", ".ix"),
        ("steps/old.py:8", ".iteritems"),
        ("steps/old.py:9", "numpy.int"),
    ]
    assert report.problems[0].message.startswith("NumPy removed np.float in 1.24: write float instead")
    assert [(str(each.place), each.name) for each in report.unknown] == [
        ("main.py:6", "azureml.core.ScriptRunConfig"),
        ("main.py:5", "steps/gone.py"),
    ]


def test_a_file_that_is_no_python_is_a_problem_with_its_line(checked):
    report = checked("arguments = [1]),\n")

    assert found(report) == [("main.py:1", "syntax")]


def test_a_notebook_is_looked_through_with_the_files_that_its_cells_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = [
        "%pip install azureml-sdk\nfrom azureml.pipeline.steps import AdlaStep, PythonScriptStep\nfolder = 'steps'",
        "%%writefile $folder/train.py\nimport numpy as np\nnp.float(3)\n",
        "!ls\nPythonScriptStep(script_name='train.py', source_directory=folder)\n\nAdlaStep(script_name='a.usql')",
    ]
    write_notebook(tmp_path / "book.ipynb", cells)

    report = check("book.ipynb")

    assert found(report) == [
        ("book.ipynb, cell 3:4", "azureml.pipeline.steps.AdlaStep"),
        ("book.ipynb, cell 2:3", "numpy.float"),
    ]


def write_notebook(path: Path, cells: list[str]) -> None:
    found = [{"cell_type": "code", "source": cell, "metadata": {}, "outputs": []} for cell in cells]
    path.write_text(json.dumps({"cells": found, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))


def test_the_command_prints_lines_or_json_and_exits_with_1_if_something_would_not_run(checked, tmp_path):
    checked(GOOD, steps__train="import numpy as np\nnp.float\n")

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipelite", "azureml", "check", "main.py", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ})

    shown = call()
    read = call("--json")
    (tmp_path / "steps/train.py").write_text("")
    good = call()

    assert (shown.returncode, read.returncode, good.returncode) == (1, 1, 0), shown.stderr + read.stderr + good.stderr
    assert "would not run:\n  steps/train.py:2: numpy.float: NumPy removed np.float" in shown.stdout
    assert shown.stdout.endswith("main.py would not run as it is\n")
    (problem,) = json.loads(read.stdout)["problems"]
    assert (problem["file"], problem["line"], problem["name"]) == ("steps/train.py", 2, "numpy.float")
    assert good.stdout.endswith("main.py would run\n")
