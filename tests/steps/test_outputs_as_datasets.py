"""What any kind of step writes becomes a dataset when the run completes, whether or not the pipeline returns it."""

from __future__ import annotations

import pytest

from pipelite import Dataset, Workspace, pipeline, step
from pipelite.errors import DatasetError, DefinitionError, NotFoundError
from pipelite.steps import Input, Output, notebook, script, shell, sql

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

COPY = """
    import sys
    from pathlib import Path

    Path(sys.argv[2]).write_bytes(Path(sys.argv[1]).read_bytes())
"""


@pytest.fixture
def rides(write) -> Dataset:
    return Dataset.from_delimited_files(write("rides.csv", "zone,count\na,1\nb,20\n")).register("rides")


def registered_by(run, **names: str) -> Dataset:
    """The dataset that a run registered; it has the rows of `rides`, and knows that it was made from them."""
    ((name, output),) = names.items()
    datasets = Workspace().datasets
    record = datasets.record(name)
    assert (record.run_id, f"{record.step_run}/{output}") == (run.id, record.output)
    assert [use.dataset for use in datasets.made_from(record)] == ["rides:1"]
    assert Dataset.get(name).to_pandas().to_dict("list") == {"zone": ["a", "b"], "count": [1, 20]}
    return Dataset.get(name)


def test_what_a_script_writes(rides, write):
    source = write("src/copy.py", COPY).parent
    copy = script(
        "copy.py", source_directory=source, arguments=[Input("rides"), Output("clean", file_name="clean.csv")]
    )

    @pipeline(register_outputs={"copy/clean": "clean"})
    def flow(rides: Dataset):
        copy(rides)

    run = flow.run(rides=rides)

    assert registered_by(run, clean="clean").files == ["clean.csv"]
    again = flow.run(rides=rides)
    assert again.steps["copy"].reused
    assert Dataset.get("clean").version == 1


def test_a_folder_of_files_of_rows_that_a_program_writes(rides):
    cut = shell(
        ["sh", "-c", 'gzip -c "$1" > "$2/part.csv.gz"', "sh", Input("rides"), Output("parts", is_folder=True)],
        name="cut",
    )

    @pipeline
    def inner(rides):
        return cut(rides)

    @pipeline(register_outputs={"inner/cut/parts": "parts"})
    def flow(rides: Dataset):
        inner(rides)

    assert registered_by(flow.run(rides=rides), parts="parts").files == ["part.csv.gz"]


@pytest.mark.parametrize("result", ["dataframe", "arrow", "parquet"])
def test_what_a_query_gives(rides, result):
    pytest.importorskip("duckdb")
    ask = sql("SELECT * FROM rides", tables={"rides": Input("rides")}, result=result)

    @pipeline(register_outputs={"sql/result": "asked"})
    def flow(rides: Dataset):
        ask(rides)

    registered_by(flow.run(rides=rides), asked="result")


def test_what_a_notebook_writes(rides, tmp_path):
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cell = nbformat.v4.new_code_cell("rides.to_pandas().to_json(out, orient='records', lines=True)")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "report.ipynb")
    report = notebook(
        "report.ipynb", parameters={"rides": Input("rides"), "out": Output("rows", file_name="rows.jsonl")}
    )

    @pipeline(register_outputs={"report/rows": "rows", "report/html": "page"})
    def flow(rides: Dataset):
        report(rides)

    registered_by(flow.run(rides=rides), rows="rows")
    assert Dataset.get("page").as_path().read_text().startswith("<!DOCTYPE html>")


def test_what_a_function_gives_and_is_not_returned(rides):
    @step
    def load(rides):
        return rides.to_pandas()

    @step
    def count(frame):
        return len(frame)

    @pipeline(register_outputs={"load/result": "loaded"})
    def flow(rides: Dataset):
        return count(load(rides))

    run = flow.run(rides=rides)

    registered_by(run, loaded="result")
    assert run.output("load/result").load().shape == (2, 2)


def test_an_output_is_registered_later_under_its_step(rides, write):
    out = shell(["cat", Input("rides")], stdout=Output("copied", file_name="copied.csv"))

    @pipeline
    def flow(rides: Dataset):
        out(rides)

    run = flow.run(rides=rides)

    run.output("cat/copied").register("copied")
    registered_by(run, copied="copied")
    with pytest.raises(NotFoundError, match="step 'cat' has no output 'copies'; it has: copied"):
        run.output("cat/copies")
    with pytest.raises(NotFoundError, match="no step 'dog'"):
        run.output("dog/copied")


@pytest.mark.parametrize("name", ["cat", "copied", "cat/result", "dog/copied"])
def test_an_output_that_there_will_not_be_is_refused_before_the_run(rides, name):
    out = shell(["cat", Input("rides")], stdout=Output("copied"))

    @pipeline(register_outputs={name: "copied"})
    def flow(rides: Dataset):
        out(rides)

    with pytest.raises(
        DefinitionError, match=f"its output '{name}', but returns nothing; those of its steps are cat/copied"
    ):
        flow.run(rides=rides)
    assert Workspace().runs() == []


def test_what_is_no_data_is_told_when_the_run_has_completed(rides):
    @step
    def count(rides):
        return len(rides.files)

    @pipeline(register_outputs={"count/result": "count"})
    def flow(rides: Dataset):
        count(rides)

    with pytest.raises(DatasetError, match=r"completed, but its output 'count/result' did not become .* is no dataset"):
        flow.run(rides=rides)
