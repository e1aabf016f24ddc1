"""Datasets are inputs of scripts, programs and notebooks: as paths, and as themselves inside of the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelite import Dataset, Workspace, current_run, pipeline, step
from pipelite.errors import CommandError, DefinitionError, StepFailed
from pipelite.steps import Environment, Input, Output, notebook, script, shell

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

#: Writes the sum of a column of what it is given as a path, and of the dataset itself.
TOTAL = """
    import sys
    from pathlib import Path

    from pipelite import current_run

    rides = current_run().input_datasets["rides"]
    path = Path(sys.argv[1])
    print(path.name)
    Path(sys.argv[2]).write_text(str(rides.to_pandas()["count"].sum()))
"""


@step
def read(path: Path) -> int:
    return int(Path(path).read_text())


@pytest.fixture(autouse=True)
def source(write) -> Path:
    write("rides/monday.csv", "zone,count\na,1\nb,20\n")
    write("rides/tuesday.csv", "zone,count\na,300\n")
    return write("src/total.py", TOTAL).parent


def rides() -> Dataset:
    return Dataset.from_delimited_files("rides/*.csv")


def run_total(data, **options):
    total = script("total.py", source_directory="src", arguments=[Input("rides"), Output("total")], **options)

    @pipeline
    def flow(data: Dataset):
        return {"total": read(total(data))}

    return flow.run(data=data)


class TestScripts:
    def test_a_script_is_given_the_files_as_a_path_and_finds_the_dataset_itself(self):
        run = run_total(rides())

        assert run.outputs["total"] == 321
        assert run_total(Dataset.from_delimited_files("rides/monday.csv")).steps["total"].logs == "monday.csv\n"

    def test_it_is_reused_until_the_content_changes(self, write):
        run_total(rides())

        (Path("rides").rename("elsewhere"))
        assert run_total(Dataset.from_delimited_files("elsewhere/*.csv")).steps["total"].reused
        write("elsewhere/tuesday.csv", "zone,count\na,301\n")
        assert run_total(Dataset.from_delimited_files("elsewhere/*.csv")).outputs["total"] == 322

    def test_rows_that_were_chosen_are_one_parquet_file(self, write):
        write(
            "src/total.py",
            """
            import sys
            import pandas as pd
            from pathlib import Path

            frame = pd.read_parquet(sys.argv[1])
            print(Path(sys.argv[1]).name, *frame.columns)
            Path(sys.argv[2]).write_text(str(frame["count"].sum()))
            """,
        )

        run = run_total(rides().filter("zone == 'a'").keep_columns("count"))

        assert run.outputs["total"] == 301
        assert run.steps["total"].logs == "rides.parquet count\n"

    def test_a_dataset_may_stand_among_the_arguments_and_in_a_list(self):
        count = shell(["sh", "-c", 'cat "$@" | wc -l', "sh", [rides().take(1), Dataset.from_files("rides/monday.csv")]])

        @pipeline
        def flow():
            count.with_options(cache=True)()

        assert int(flow.run().steps["sh"].logs) > 0

    def test_one_without_an_argument_is_found_by_its_name(self, write):
        write(
            "src/show.py",
            """
            from pipelite import current_run
            from pipelite.errors import NotFoundError

            given = current_run().input_datasets
            print(*given, given["rides"].to_arrow().num_rows)
            try:
                given["ride"]
            except NotFoundError as exc:
                print(exc)
            """,
        )
        show = script("show.py", source_directory="src", datasets=[Input("rides")], cache=True)

        @pipeline
        def flow(data: Dataset):
            show(rides=data)

        first, message = flow.run(data=rides().take(2)).steps["show"].logs.splitlines()
        assert first == "rides 2"
        assert message.startswith("the step was given no dataset 'ride'; it was given: rides.")
        assert not flow.run(data=rides().take(1)).steps["show"].reused

    def test_it_reads_just_the_bytes_that_were_looked_at(self, write):
        write(
            "src/total.py",
            """
            import sys
            from pathlib import Path
            from pipelite import current_run

            Path(sys.argv[1]).write_text("zone,count\\na,7\\n")
            current_run().input_datasets["rides"].to_pandas()
            """,
        )

        with pytest.raises(StepFailed, match=r"tuesday.csv' was changed after the run had looked at it"):
            run_total(Dataset.from_delimited_files("rides/tuesday.csv"))

    def test_outside_of_a_pipeline_it_is_given_the_dataset_too(self):
        total = script("total.py", source_directory="src", arguments=[Input("rides"), Output("total")])

        assert total(rides()).read_text() == "321"

    def test_a_workspace_by_another_name_is_found(self, tmp_path, monkeypatch, write):
        monkeypatch.setenv("PIPELITE_WORKSPACE", "kept")
        rides().register("rides")
        write(
            "src/total.py",
            """
            import sys
            from pathlib import Path
            from pipelite import Dataset

            Path(sys.argv[2]).write_text(str(Dataset.get("rides").to_pandas()["count"].sum()))
            """,
        )

        assert run_total(rides()).outputs["total"] == 321

    def test_what_a_script_opens_by_name_is_recorded_and_a_newer_version_computes_again(self, write):
        rides().register("rides")
        write(
            "src/by_name.py",
            """
            from pipelite import Dataset

            print(Dataset.get("rides").to_pandas()["count"].sum())
            """,
        )
        by_name = script("by_name.py", source_directory="src", cache=True)

        @pipeline
        def flow():
            by_name()

        assert flow.run().steps["by_name"].logs == "321\n"
        assert flow.run().steps["by_name"].reused
        rides().filter("zone == 'b'").register("rides")
        run = flow.run()
        assert run.steps["by_name"].logs == "20\n"
        assert "the dataset 'rides', which it read, has changed" in run.steps["by_name"].record.reason
        assert [use.dataset for use in Workspace().datasets.uses("rides")][:1] == ["rides:2"]

    def test_a_version_knows_the_run_of_a_script_and_an_output_what_it_was_made_from(self):
        data = rides().register("rides")
        total = script(
            "total.py", source_directory="src", arguments=[Input("rides"), Output("total", file_name="total.csv")]
        )

        @pipeline(register_outputs={"total": "total"})
        def flow(data: Dataset):
            return {"total": total(data)}

        run = flow.run(data=data)

        datasets = Workspace().datasets
        assert [(use.run_id, use.step_run) for use in datasets.uses("rides", 1)] == [(run.id, "total")]
        assert [use.dataset for use in datasets.made_from(datasets.record("total"))] == ["rides:1"]

    def test_an_output_that_is_a_dataset_is_one_for_the_script_too(self):
        total = script("total.py", source_directory="src", arguments=[Input("rides"), Output("total")])

        @step
        def choose(data):
            return data.filter("zone == 'a'")

        @pipeline
        def flow(data: Dataset):
            return read(total(choose(data)))

        assert flow.run(data=rides()).outputs["result"] == 301
        assert flow.run(data=rides()).steps["total"].reused

    def test_in_an_environment_without_pandas_its_files_are_there(self, write):
        write(
            "src/total.py",
            """
            import sys
            from pathlib import Path
            from pipelite import current_run

            try:
                import pandas
            except ImportError:
                folder = current_run().input_datasets["rides"].as_path()
                Path(sys.argv[2]).write_text(str(len(list(folder.iterdir()))))
            """,
        )
        Workspace().environments.mode = "build"

        assert run_total(rides(), environment=Environment()).outputs["total"] == 2

    @pytest.mark.parametrize("compute", ["threads", "inline"])
    def test_on_other_targets_too(self, compute):
        assert run_total(rides(), compute=compute).outputs["total"] == 321

    def test_a_value_that_is_no_dataset_is_refused_where_one_is_wanted(self):
        total = script("total.py", source_directory="src", datasets=[Input("rides")])

        with pytest.raises(CommandError, match="input 'rides' is among the datasets, and is a value of type 'int'"):
            total(7)

    @pytest.mark.parametrize("datasets", ["rides", [Output("rides")], ["rides"]])
    def test_only_inputs_are_named_datasets(self, datasets):
        with pytest.raises(DefinitionError, match=r"it takes a list of Input, such as \[Input\(\"rides\"\)\]"):
            script("total.py", source_directory="src", datasets=datasets)


def test_a_program_is_given_a_folder_of_several_files():
    join = shell(["sh", "-c", 'cat "$1"/*.csv', "sh", Input("rides")], stdout=Output("all"))

    @pipeline
    def flow(data: Dataset):
        return join(data)

    found = flow.run(data=rides()).outputs["result"]
    assert found.read_text() == "zone,count\na,1\nb,20\nzone,count\na,300\n"


def test_a_notebook_has_the_dataset_as_a_variable(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cells = ["from pipelite.steps import glue", "glue('total', int(data.to_pandas()['count'].sum()) + len(more.files))"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(book, tmp_path / "report.ipynb")

    @pipeline
    def flow(data: Dataset):
        report = notebook("report.ipynb", parameters={"data": Input("rides"), "more": rides()})
        return report(data)["scraps"]

    assert flow.run(data=rides().take(2)).outputs["result"] == {"total": 23}
    assert flow.run(data=rides().take(2)).steps["report"].reused
    assert flow.run(data=rides().take(1)).outputs["result"] == {"total": 3}


def test_outside_of_such_a_process_there_are_none():
    assert dict(current_run().input_datasets) == {}
