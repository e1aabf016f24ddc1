"""Notebooks run as they are: `python -m pipelite.azureml notebook.ipynb`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelite import Workspace
from pipelite.azureml.exceptions import UserErrorException
from pipelite.azureml.notebooks import read_cells, run_cells

TRAIN = """\
%%writefile $folder/{script}
from azureml.core import Run
Run.get_context().log("rate", 0.5)
"""


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Write a notebook of some cells; the test runs beside it."""
    monkeypatch.chdir(tmp_path)

    def write(*cells: str | list[str]) -> str:
        path = tmp_path / "book.ipynb"
        found: list[dict[str, object]] = [{"cell_type": "markdown", "source": "# Not code", "metadata": {}}]
        found += [{"cell_type": "code", "source": cell, "metadata": {}, "outputs": []} for cell in cells]
        path.write_text(json.dumps({"cells": found, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))
        return str(path)

    return write


def test_a_notebook_that_writes_its_scripts_runs_its_pipeline_from_any_folder(book, tmp_path):
    notebook = book(
        "%matplotlib inline\n%pip install azureml-sdk\nimport azureml.core\nfrom azureml.core import Workspace, Experiment",
        "import os\nfolder, script = 'steps', 'train.py'\nos.makedirs(folder, exist_ok=True)",
        TRAIN,
        "from azureml.pipeline.core import Pipeline\nfrom azureml.pipeline.steps import PythonScriptStep\n"
        "ws = Workspace.create(name='shop')\n!az login\n"
        "step = PythonScriptStep(name='train', script_name=script, source_directory=folder)",
        ["from azureml.widgets import RunDetails\n", "run = Experiment(ws, 'book').submit(Pipeline(ws, [step]))"],
        "%%time\nRunDetails(run).show()\nrun.wait_for_completion()",
        "next(run.get_steps()).get_metrics()",
    )
    (tmp_path / "elsewhere").mkdir()

    done = subprocess.run(
        [sys.executable, "-m", "pipelite.azureml", notebook],
        cwd=tmp_path / "elsewhere",
        env={**os.environ, "PIPELITE_WORKSPACE": str(tmp_path / ".pipelite"), "PIPELITE_PROGRESS": "quiet"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert "'Finished'\n{'rate': 0.5}\n" in done.stdout
    assert "Writing steps/train.py\n" in done.stdout
    assert "book.ipynb, cell 1: not run: %pip install azureml-sdk\n" in done.stderr
    assert "book.ipynb, cell 4: not run: !az login\n" in done.stderr
    assert (tmp_path / "steps/train.py").read_text() == TRAIN.partition("\n")[2]
    (run,) = Workspace(tmp_path / ".pipelite").runs()
    assert run.status == "completed"


def test_cells_share_their_names_and_show_the_value_of_their_last_line(book, capsys):
    run_cells(book("x = 2", "x + 1", "x + 2;", "None", "display(x, 'two')", "if x:\n    y = 5\ny"), {})

    assert capsys.readouterr().out == "3\n2\ntwo\n5\n"


def test_magics_are_left_out_where_a_statement_may_begin_and_nowhere_else(book, capsys):
    code = (
        "text = '''\n%time this is text\n!and this\n'''\n"
        "total = (7\n% 4)\n"
        "for each in [1]:\n    %time total += each\n    !ls \\\n      -l\n"
        "files = !ls\n"
        "total?\n"
        "?total\n"
        "%load_ext autoreload\n"
        "text, total"
    )

    (cell,) = read_cells(book(code))
    run_cells(book(code), {})

    assert cell.skipped == ("!ls \\ -l", "files = !ls", "total?", "?total", "%load_ext autoreload")
    assert cell.code.count("\n") == code.count("\n")
    assert capsys.readouterr().out == "('\\n%time this is text\\n!and this\\n', 4)\n"


def test_a_notebook_goes_to_another_folder_and_imports_what_is_there(book, tmp_path):
    (tmp_path / "project/notebooks").mkdir(parents=True)
    (tmp_path / "project/beside.py").write_text("WORD = 'found'\n")
    notebook = book(
        "name = 'project'\n%cd $name/notebooks",
        "if name:\n    %cd -q ..\nimport os\nprint(os.path.basename(os.getcwd()))",
        "import beside\nbeside.WORD",
    )

    done = subprocess.run(
        [sys.executable, "-m", "pipelite.azureml", notebook], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.stdout, done.stderr) == ("project\n'found'\n", "")


def test_a_cell_of_another_language_is_left_out_and_one_that_is_timed_is_not(book, capsys):
    run_cells(book("%%bash\nexit 1", "%%time\n\nx = 3", "%%capture\nx"), {})

    printed = capsys.readouterr()
    assert printed.out == "3\n"
    assert printed.err == "book.ipynb, cell 1: not run: %%bash\n"


def test_a_cell_that_is_indented_as_a_whole_runs(book, capsys):
    run_cells(book("\n    x = 3\n    if x:\n        x += 1\n\n    x", "  %%time\n  x"), {})

    assert capsys.readouterr().out == "4\n4\n"


def test_what_the_sdk_had_loaded_is_there_for_scripts_that_rely_on_it(book):
    notebook = book(
        "import urllib, azureml.core", "urllib.request.Request, azureml.data.__version__, azureml.exceptions"
    )

    done = subprocess.run(
        [sys.executable, "-m", "pipelite.azureml", notebook], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_a_file_is_written_where_variables_say_and_appended_to(book, tmp_path):
    run_cells(book("name = 'a'", "%%writefile {name + 'b'}.txt\none $name", "%%writefile -a ab.txt\ntwo\n"), {})

    assert (tmp_path / "ab.txt").read_text() == "one $name\ntwo\n"


@pytest.mark.parametrize(
    ("cell", "line"),
    [("a = 1\n\nraise KeyError('x')", 3), ("a = 1\nf(", 2), ("%%writefile no/such/folder.txt\nx", None)],
)
def test_an_error_names_its_cell_and_line(book, cell, line):
    notebook = book("x = 1", cell)

    done = subprocess.run(
        [sys.executable, "-m", "pipelite.azureml", notebook], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert f"This was in cell 2 of {notebook}." in done.stderr
    if line:
        assert f'File "book.ipynb, cell 2", line {line}' in done.stderr


def test_the_lines_of_a_cell_stand_in_its_traceback(book):
    with pytest.raises(ZeroDivisionError) as caught:
        run_cells(book("def divide(x):\n    return 1 / x", "divide(0)"), {})

    assert caught.value.__notes__ == [f"This was in cell 2 of {os.path.abspath('book.ipynb')}."]
    assert str(caught.traceback[-1].statement).strip() == "return 1 / x"


def test_what_is_no_notebook_is_refused(tmp_path):
    for text in ("no json", "{}", '{"worksheets": []}'):
        Path(tmp_path / "bad.ipynb").write_text(text)
        with pytest.raises(UserErrorException, match=r"bad\.ipynb' is no notebook of format 4"):
            read_cells(str(tmp_path / "bad.ipynb"))
