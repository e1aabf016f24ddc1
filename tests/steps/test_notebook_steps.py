"""A notebook runs in a kernel of its own, with parameters, and what it showed is kept."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelite import Workspace, pipeline, step
from pipelite.errors import CommandError, DefinitionError, StepFailed
from pipelite.steps import Environment, Input, Output, notebook

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("nbconvert")
pytest.importorskip("ipykernel")

Make = Callable[..., Path]

DEFAULTS = "rate = 0.5\ntable = None"
REPORT = """
from pipelite import current_run
from pipelite.steps import glue

text = table.read_text()
print("read", len(text))
current_run().log("rate", rate)
glue("length", len(text))
glue("names", ["a", "b"])
out.write_text(text.upper())
text
"""


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a notebook of cells; the first has the tag `parameters` if it is given."""

    def make(*cells: str, defaults: str | None = None, name: str = "src/report.ipynb") -> Path:
        book = nbformat.v4.new_notebook()
        if defaults is not None:
            book.cells.append(nbformat.v4.new_code_cell(defaults, metadata={"tags": ["parameters"]}))
        book.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(book, path)
        return path

    return make


@step
def read(path: Path) -> str:
    return path.read_text()


def run_report(rate: float = 0.1):
    report = notebook(
        "report.ipynb",
        source_directory="src",
        parameters={"table": Input("table"), "rate": rate, "out": Output("upper", file_name="upper.txt")},
    )

    @pipeline
    def flow(table: Path):
        made = report(table)
        return {"upper": read(made["upper"]), "scraps": made["scraps"], "html": made["html"], "book": made["notebook"]}

    return flow.run(table="table.txt")


def test_a_notebook_is_given_parameters_and_gives_files_scraps_and_itself(make, write):
    write("table.txt", "some text")
    make(REPORT, defaults=DEFAULTS)

    run = run_report()

    assert run.outputs["upper"] == "SOME TEXT"
    assert run.outputs["scraps"] == {"length": 9, "names": ["a", "b"]}
    assert run.metrics["rate"] == 0.1
    # A kernel's messaging library may have a last word of its own.
    assert run.steps["report"].logs.startswith("read 9\n")
    executed = nbformat.read(run.outputs["book"], as_version=4)
    assert [cell.execution_count for cell in executed.cells] == [1, 2, 3]
    assert executed.cells[1].metadata.tags == ["injected-parameters"]
    assert "some text" in run.outputs["html"].read_text()
    assert run.outputs["html"].name == "report.html"


def test_a_notebook_is_reused_until_it_or_a_parameter_changes(make, write):
    write("table.txt", "some text")
    make(REPORT, defaults=DEFAULTS)
    run_report()

    assert run_report().steps["report"].reused
    assert not run_report(rate=0.2).steps["report"].reused
    make(REPORT + "# changed", defaults=DEFAULTS)
    assert not run_report().steps["report"].reused


def test_parameters_are_plain_values_of_any_nesting(make):
    make("from pipelite.steps import glue\nglue('seen', [given, str(where.name), missing, repr(far)])")
    show = notebook(
        "src/report.ipynb",
        parameters={"given": {"a": [1, True, "x'y"]}, "where": Path("src"), "missing": None, "far": float("inf")},
    )

    @pipeline
    def flow():
        return show()["scraps"]

    assert flow.run().outputs["result"]["seen"] == [{"a": [1, True, "x'y"]}, "src", None, "inf"]


def test_a_cell_that_raises_fails_the_step_with_its_traceback_and_the_notebook_so_far_is_kept(make):
    make("print('begun')", "1 / 0", "print('never')")
    bad = notebook("src/report.ipynb")

    @pipeline
    def flow():
        bad()

    with pytest.raises(StepFailed) as failed:
        flow.run()

    cause = failed.value.__cause__
    assert isinstance(cause, CommandError)
    assert "ZeroDivisionError: division by zero" in str(cause).split("\n\n")[0] + str(cause)
    assert "\x1b" not in str(cause)
    kept = Workspace().runs()[0].steps["report"].metrics["report.ipynb"]
    executed = nbformat.read(Workspace().path / "artifacts" / kept["path"], as_version=4)
    assert executed.cells[0].outputs[0].text == "begun\n"
    assert executed.cells[1].outputs[0].ename == "ZeroDivisionError"


def test_a_kernel_that_dies_fails_the_step(make):
    make("import os; os._exit(1)")
    bad = notebook("src/report.ipynb")

    @pipeline
    def flow():
        bad()

    with pytest.raises(StepFailed, match=r"the kernel of report.ipynb died"):
        flow.run()


def test_a_timeout_ends_the_kernel(make, tmp_path):
    from processes import wait_until_gone

    make("import os, time; open(pids, 'w').write(str(os.getpid())); time.sleep(600)")
    stays = notebook("src/report.ipynb", parameters={"pids": str(tmp_path / "pids")}, timeout=8)

    @pipeline
    def flow():
        stays()

    with pytest.raises(StepFailed, match="timeout of 8 s"):
        flow.run()

    wait_until_gone(tmp_path / "pids")


def test_a_notebook_runs_with_the_variables_of_its_environment(make):
    make("import os, sys\nfrom pipelite.steps import glue\nglue('seen', [os.environ['MODE'], sys.executable])")
    show = notebook("src/report.ipynb", environment=Environment(variables={"MODE": "fast"}))

    @pipeline
    def flow():
        return show()["scraps"]

    assert flow.run().outputs["result"]["seen"] == ["fast", sys.executable]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"x": {1, 2}}, "parameter 'x' is or holds a value of type 'set'"),
        ({"out": Output("out")}, "wrote nothing to its output 'out'"),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_it(make, parameters, message):
    make("pass")
    show = notebook("src/report.ipynb", parameters=parameters)

    @pipeline
    def flow():
        show()

    with pytest.raises(StepFailed, match=message):
        flow.run()


def test_a_file_that_is_no_notebook_is_an_error_that_says_so(write):
    write("src/report.ipynb", "no notebook")
    show = notebook("src/report.ipynb")

    @pipeline
    def flow():
        show()

    with pytest.raises(StepFailed, match=r"report\.ipynb is no notebook that can be read"):
        flow.run()


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: notebook("a.ipynb", parameters=["x"]), r"parameters=\['x'\] is wrong; it takes a dict"),
        (lambda: notebook("a.ipynb", parameters={"a b": 1}), "'a b' cannot be a parameter"),
        (lambda: notebook("a.ipynb", parameters={"x": Output("html")}), "'html' is the name of two outputs"),
        (lambda: notebook("../a.ipynb", source_directory="src"), "the file has to lie in the source directory 'src'"),
    ],
)
def test_mistakes_are_found_where_they_are_written(make_it, message):
    with pytest.raises(DefinitionError, match=message):
        make_it()
