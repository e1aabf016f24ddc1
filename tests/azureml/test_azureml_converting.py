"""`pipelite azureml convert`: a v1 script as an ordinary pipeline that runs on its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pipelite import Workspace
from pipelite.azureml.layout import WIDTH, lay_out

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

MAIN = """
    from azureml.core import Dataset, Experiment, Workspace
    from azureml.core.runconfig import RunConfiguration
    from azureml.data import OutputFileDatasetConfig
    from azureml.data.data_reference import DataReference
    from azureml.pipeline.core import Pipeline, PipelineData, PipelineParameter
    from azureml.pipeline.steps import PythonScriptStep
    from azureml.widgets import RunDetails

    ws = Workspace.create(name="shop")
    store = ws.get_default_datastore()
    store.upload_files(["sales.csv"], target_path="raw", overwrite=True, show_progress=False)
    if "sales" not in ws.datasets:
        Dataset.Tabular.from_delimited_files((store, "raw/sales.csv")).register(ws, "sales")
    raw = DataReference(store, data_reference_name="raw", path_on_datastore="raw")
    clean = OutputFileDatasetConfig("clean")
    report = PipelineData("report", datastore=store, pipeline_output_name="report")
    least = PipelineParameter(name="least", default_value=2)
    settings = RunConfiguration()
    settings.environment_variables["CURRENCY"] = 'the "euro"'

    prepare = PythonScriptStep(
        name="Prepare sales",
        script_name="prepare.py",
        source_directory="steps",
        arguments=["--sales", ws.datasets["sales"].as_named_input("sales"), "--least", least, "--out", clean],
        runconfig=settings,
    )
    tell = PythonScriptStep(
        name="tell",
        script_name="tell.py",
        source_directory="steps",
        arguments=["--clean", clean.as_input("clean"), "--raw", raw, "--report", report],
        inputs=[raw],
        outputs=[report],
    )
    tidy = PythonScriptStep(name="tidy", script_name="tidy.py", source_directory="steps")
    tidy.run_after(tell)

    pipeline = Pipeline(ws, [tidy, tell], description="What was sold")
    run = Experiment(ws, "sales-report").submit(pipeline, pipeline_parameters={"least": 3})
    RunDetails(run).show()
    print("the run is", run.wait_for_completion(show_output=False))
    published = run.publish_pipeline(name="sales", description="What was sold", version="1.0")
    for step in run.get_children():
        print(step.name)
    print(run.get_metrics(recursive=True))
    raise SystemExit("not reached by a conversion")
"""
PREPARE = """
    import argparse, os
    from azureml.core import Run

    parser = argparse.ArgumentParser()
    for name in ("--sales", "--least", "--out"):
        parser.add_argument(name)
    given = parser.parse_args()
    frame = Run.get_context().input_datasets["sales"].to_pandas_dataframe()
    print("in", os.environ["CURRENCY"])
    frame[frame["sold"] >= int(given.least)].to_csv(os.path.join(given.out, "clean.csv"), index=False)
"""
TELL = """
    import argparse, os

    parser = argparse.ArgumentParser()
    for name in ("--clean", "--raw", "--report"):
        parser.add_argument(name)
    given = parser.parse_args()
    os.makedirs(given.report)
    with open(os.path.join(given.clean, "clean.csv")) as file:
        lines = file.read().split()
    with open(os.path.join(given.report, "report.txt"), "w") as file:
        file.write(f"{len(lines) - 1} rows of {len(open(os.path.join(given.raw, 'sales.csv')).readlines()) - 1}")
"""
TWO = """
    from azureml.core import Experiment, ScriptRunConfig, Workspace
    from azureml.pipeline.core import Pipeline, PipelineDraft, PipelineEndpoint, PipelineParameter, Schedule, ScheduleRecurrence
    from azureml.pipeline.steps import PythonScriptStep

    ws = Workspace.create(name="shop")
    rate = PipelineParameter("rate", 0.5)
    train = PythonScriptStep(name="train", script_name="tidy.py", source_directory="steps", arguments=["--rate", rate])
    score = PythonScriptStep(name="score", script_name="tidy.py", source_directory="steps")
    score.run_after(train)
    print("drafts", Pipeline(ws, [score]).validate())
    first = Pipeline(ws, [train])
    first.submit("train", pipeline_parameters={"rate": 0.25}, continue_on_step_failure=True)
    with Experiment(ws, "notes").start_logging() as notes:
        notes.log("rate", 0.5)
    second = Pipeline(ws, [score])
    PipelineDraft.create(ws, name="Score now", pipeline=second, experiment_name="drafts").submit_run().wait_for_completion()
    endpoint = PipelineEndpoint.publish(ws, name="Score now", description="", pipeline=second)
    nightly = ScheduleRecurrence("Day", 1)
    Schedule.create(ws, "nightly", pipeline_id=endpoint.id, experiment_name="e", recurrence=nightly)
    first.submit("train", pipeline_parameters={"rate": 0.25}, continue_on_step_failure=True)
    alone = Experiment(ws, "alone").submit(ScriptRunConfig("steps", "tidy.py", arguments=["--rate", 1]))
    Experiment(ws, "again").submit(endpoint)
"""


X = "x" * 45


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PIPELITE_WORKSPACE": str(folder / ".pipelite"), "PIPELITE_PROGRESS": "quiet"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a script was run, then converted, and what it was converted to was run twice."""
    folder = tmp_path_factory.mktemp("convert")
    for name, text in {"main.py": MAIN, "two.py": TWO, "steps/prepare.py": PREPARE, "steps/tell.py": TELL}.items():
        write(folder / name, text)
    write(folder / "steps/tidy.py", "print('tidy')\n")
    (folder / "sales.csv").write_text("day,sold\nmon,1\ntue,3\nwed,5\n")
    (folder / "other").mkdir()
    return folder


@pytest.fixture(scope="module")
def ran(folder: Path) -> str:
    done = call(folder, "-m", "pipelite.azureml", "main.py")
    assert "the run is Finished" in done.stdout, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def converted(folder: Path, ran: str) -> subprocess.CompletedProcess[str]:
    done = call(folder, "-m", "pipelite", "azureml", "convert", "main.py", "--output", "converted.py")
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def text(folder: Path, converted: subprocess.CompletedProcess[str]) -> str:
    return (folder / "converted.py").read_text()


def test_what_is_written_runs_on_its_own_and_reuses_what_the_script_computed(folder, converted):
    assert converted.stdout == "converted.py:sales_report\n"

    done = call(folder, "converted.py")
    by_name = call(folder, "-m", "pipelite", "run", "converted.py:sales_report", "-p", "least=5")

    assert (done.returncode, by_name.returncode) == (0, 0), done.stderr + by_name.stderr
    changed, again, first = Workspace(folder / ".pipelite").runs()
    assert {name: step.reused for name, step in again.steps.items()} == dict.fromkeys(first.steps, True)
    assert again.experiment == first.experiment == "sales-report"
    assert (again.outputs["report"] / "report.txt").read_text() == "2 rows of 3"
    assert again.output("report").digest == first.output("report").digest
    assert (changed.outputs["report"] / "report.txt").read_text() == "1 rows of 3"


def test_the_script_is_followed_up_to_where_it_needs_a_run(converted):
    assert "the run is Finished" in converted.stderr
    assert re.search(r"followed up to main.py:\d+: 'get_metrics' of what a run gives", converted.stderr)


def test_what_is_written_reads_well(text, folder):
    assert '@pipeline(name="sales-report")\ndef sales_report(least: int = 2):\n' in text
    assert text.startswith(
        '"""What was sold"""\n\nfrom pathlib import Path\n\nfrom pipelite import Dataset, pipeline\n'
    )
    assert 'source_directory=HERE / "steps",' in text
    assert 'raw=HERE / ".pipelite/data/raw"' in text
    assert 'variables={"CURRENCY": \'the "euro"\'},' in text
    assert "    tidy_out = tidy()\n    tidy_out.after(tell_out)\n" in text
    assert 'if __name__ == "__main__":\n    sales_report.run(least=3)\n' in text
    assert str(folder) not in text


def test_what_is_written_is_formatted(text, folder):
    ruff = Path(sys.executable).with_name("ruff")
    for width in ("88", "120"):
        command = [ruff, "format", "--isolated", "--line-length", width, "--diff", folder / "converted.py"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout + done.stderr
    assert max(map(len, text.splitlines())) <= WIDTH


def test_a_script_with_several_pipelines_becomes_one_module_and_none_of_them_is_run(folder, tmp_path):
    workspace = Workspace(tmp_path / ".pipelite")

    done = call(folder, "-m", "pipelite", "azureml", "convert", "two.py", "--workspace", str(workspace.path))

    assert done.returncode == 0, done.stderr
    assert "drafts []" in done.stderr
    assert "followed up to" not in done.stderr
    assert (list(workspace.runs()), list(workspace.published), list(workspace.schedules)) == ([], [], [])
    assert "def train(rate: float = 0.5):\n    train_step(rate=rate)\n" in done.stdout
    assert "def score_now(rate: float = 0.5):\n    train_step_out = train_step(rate=rate)\n" in done.stdout
    assert "def alone():\n    tidy()\n" in done.stdout
    # The step that two have is there once, and so is what is submitted twice.
    assert done.stdout.count("script_step(\n") == 3
    assert done.stdout.count("    train.with_options(keep_going=True).run(rate=0.25)\n") == 1
    assert done.stdout.endswith("    alone.run()\n")
    module: dict[str, object] = {"__name__": "two_converted", "__file__": str(folder / "two_converted.py")}
    write(folder / "two_converted.py", done.stdout)
    exec(compile(done.stdout, str(folder / "two_converted.py"), "exec"), module)
    assert [node.name for node in module["score_now"].trace().nodes] == ["train", "score"]


def test_a_script_that_fails_for_want_of_a_run_is_converted_up_to_there(folder):
    write(folder / "wanting.py", TWO.partition("    with ")[0] + "    ws.models['made-by-the-run']\n")

    done = call(folder, "-m", "pipelite", "azureml", "convert", "wanting.py", "--output", "other/wanting.py")

    assert (done.returncode, done.stdout) == (0, "other/wanting.py:train\n"), done.stderr
    assert re.search(r"followed up to wanting.py:\d+: KeyError: 'made-by-the-run'; it may need", done.stderr)
    # Paths are seen from where the module lies.
    assert 'source_directory=HERE / "../steps",' in (folder / "other/wanting.py").read_text()


def test_a_module_for_another_place_altogether_has_absolute_paths(folder, tmp_path):
    call(folder, "-m", "pipelite", "azureml", "convert", "two.py", "--output", str(tmp_path / "two.py"))

    text = (tmp_path / "two.py").read_text()
    assert f'source_directory="{folder}/steps",' in text
    assert "HERE" not in text


def test_a_script_without_a_pipeline_or_with_an_error_says_so(folder):
    write(folder / "none.py", "print('nothing')\n")
    write(folder / "wrong.py", "import azureml.core\n\nazureml.core.Workspce\n")

    none, wrong = (call(folder, "-m", "pipelite", "azureml", "convert", name) for name in ("none.py", "wrong.py"))

    assert (none.returncode, wrong.returncode) == (2, 2)
    assert "none.py makes no pipeline" in none.stderr
    assert wrong.stderr.startswith("Error: wrong.py cannot be converted:\nTraceback (most recent call last):\n")
    assert 'File "wrong.py", line 3' in wrong.stderr
    assert "pipelite/cli" not in wrong.stderr


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("f('a', 1)", 'f("a", 1)'),
        ("f('say \"a\"', 'it\\'s')", 'f(\'say "a"\', "it\'s")'),
        ("{'a': ('b',), 'c': [HERE / 'd']}", '{"a": ("b",), "c": [HERE / "d"]}'),
        ("Dataset.get('a', 1).take(3)[0]", 'Dataset.get("a", 1).take(3)[0]'),
        (
            f"f(['{X}', '{X}'], *more, name=None, **rest)",
            f'f(\n    [\n        "{X}",\n        "{X}",\n    ],\n    *more,\n    name=None,\n    **rest,\n)',
        ),
    ],
)
def test_expressions_are_laid_out_with_double_quotes_and_one_element_a_line(code, expected):
    assert lay_out(code) == expected
