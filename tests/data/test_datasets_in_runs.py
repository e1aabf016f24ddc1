"""Datasets as parameters and arguments, read inside of steps, and made of outputs; what became of which."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pipelite import Dataset, Workspace, pipeline, step
from pipelite.errors import DatasetError, DefinitionError, NotFoundError, ParameterError, StepFailed


@step
def total(data):
    return int(data.to_pandas()["count"].sum())


@step
def total_by_name(name):
    return int(Dataset.get(name).to_pandas()["count"].sum())


@step
def total_by_path(path):
    return int(Dataset.from_delimited_files(f"{path}/**/*.csv").to_pandas()["count"].sum())


@step
def lines_of(data):
    return len((data.as_path()).read_text().splitlines())


@step
def frame_of(data):
    return data.to_pandas()


@step
def file_of(frame):
    from pipelite import current_run

    path = current_run().scratch / "table.csv"
    frame.to_csv(path, index=False)
    return path


@pipeline
def sums(data: Dataset):
    training, testing = data.random_split(0.5)
    return {"all": total(data), "training": total(training), "testing": total(testing)}


@pipeline
def sum_of(data: Dataset = "bikes"):
    return total(data)


@pipeline(register_outputs={"frame": "bikes-frame", "file": "bikes-file"})
def clean(data: Dataset):
    frame = frame_of(data)
    return {"frame": frame, "file": file_of(frame)}


def statuses(run):
    return {name: each.status for name, each in run.steps.items()}


@pytest.fixture
def data(bikes):
    return Dataset.from_delimited_files("bikes/**/*.csv")


class TestAsAnInput:
    def test_steps_get_a_dataset_that_is_counted_by_content(self, data, write):
        first = sums.run(data=data)

        assert first.outputs["all"] == 72
        assert first.outputs["training"] + first.outputs["testing"] == 72
        assert set(statuses(sums.run(data=data)).values()) == {"reused"}
        path = write("bikes/region=north/2026-01-01.csv", "hour,count\n0,100\n")
        again = sums.run(data=data)
        assert set(statuses(again).values()) == {"completed"}
        assert again.outputs["all"] == 72 - 6 + 100
        assert path.exists()

    def test_the_same_files_in_another_folder_are_the_same(self, data, tmp_path):
        sums.run(data=data)
        (tmp_path / "bikes").rename(tmp_path / "elsewhere")

        run = sums.run(data=Dataset.from_delimited_files("elsewhere/**/*.csv"))
        assert set(statuses(run).values()) == {"reused"}

    def test_it_may_lie_in_a_list_and_among_elements(self, data):
        @pipeline
        def mapped():
            return total.map([data.take(1), data.filter("hour == 3")])

        assert mapped.run().outputs["result"] == [0, 36]

    @pytest.mark.parametrize("compute", ["threads", "inline"])
    def test_on_other_targets_too(self, data, compute):
        assert sums.with_options(compute=compute).run(data=data).outputs["all"] == 72

    def test_its_path_can_be_read(self, data):
        @pipeline
        def lines():
            return lines_of(Dataset.from_files("bikes/region=north/2026-01-01.csv"))

        assert lines.run().outputs["result"] == 5

    def test_one_without_files_ends_a_run_before_it_starts(self):
        with pytest.raises(DatasetError, match=r"step 'total', argument 'data': .* no file matches"):
            sum_of.run(data=Dataset.from_delimited_files("nothing/*.csv"))
        assert Workspace().runs() == []

    def test_one_on_an_unknown_datastore_names_step_and_argument(self):
        with pytest.raises(NotFoundError, match="step 'total', argument 'data': there is no datastore 'lake'"):
            sum_of.run(data=Dataset.from_delimited_files(("lake", "*.csv")))

    def test_a_file_that_changes_while_the_step_runs_makes_the_result_not_reusable(self, data, tmp_path):
        target = tmp_path / "bikes/region=north/2026-01-01.csv"

        @step
        def meddle(data):
            count = int(data.to_pandas()["count"].sum())
            target.write_text("hour,count\n0,100\n")
            return count

        @pipeline
        def meddling():
            return meddle(data)

        run = meddling.run()
        assert run.outputs["result"] == 72
        assert "changed while the step ran" in run.steps["meddle"].record.reason
        assert meddling.run().outputs["result"] == 166


class TestAsAParameter:
    def test_it_is_given_as_text_by_name_or_with_a_version(self, data, write):
        data.register("bikes")
        write("bikes/region=north/2026-01-04.csv", "hour,count\n0,1000\n")
        data.take(1).register("bikes")

        assert sum_of.run().outputs["result"] == 0
        assert sum_of.run(data="bikes:1").outputs["result"] == 1072
        run = sum_of.run(data=Dataset.get("bikes", 1))
        assert str(run.parameters["data"]) == "bikes:1"
        assert run.steps["total"].reused

    def test_files_are_given_as_text_by_their_place(self, write, tmp_path):
        @step
        def read(data):
            return [path.read_text() for path in sorted(data.as_path().iterdir())]

        @pipeline
        def reading(data: Dataset):
            return read(data)

        write("lake/in/one.txt", "1")
        write("lake/in/two.txt", "2")
        Workspace().datastores.register("lake", tmp_path / "lake")

        for given in ("lake/in", f"{tmp_path}/lake/in", ["lake/in/one.txt", "lake/in/two.txt"]):
            assert reading.run(data=given).outputs["result"] == ["1", "2"]
        with pytest.raises(ParameterError, match="leads out of the root"):
            reading.run(data="lake/../in")

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (
                "bikes:7",
                r"takes a dataset, or NAME or NAME:VERSION .*dataset 'bikes' has no version 7; the latest is 1",
            ),
            ("bike", "there is no dataset 'bike'; there are: bikes"),
            ("bikes:x", "not of the form NAME or NAME:VERSION"),
            (7, "takes a dataset"),
        ],
    )
    def test_a_wrong_one_is_named(self, data, given, message):
        data.register("bikes")

        with pytest.raises(ParameterError, match=message):
            sum_of.run(data=given)

    def test_a_default_is_looked_up_when_the_run_starts(self, data):
        with pytest.raises(ParameterError, match="there is no dataset 'bikes'"):
            sum_of.run()
        data.register("bikes")
        assert sum_of.run().outputs["result"] == 72

    def test_a_run_is_repeated_with_the_data_as_they_are_then(self, data, write, tmp_path):
        write("flow.py", FLOW)
        script = [sys.executable, "flow.py"]
        subprocess.run(script, check=True, cwd=tmp_path, capture_output=True)
        write("bikes/region=north/2026-01-01.csv", "hour,count\n0,100\n")

        again = Workspace().runs()[0].rerun()
        assert again.outputs["result"] == 166


FLOW = """
from pipelite import Dataset, pipeline, step

@step
def total(data):
    return int(data.to_pandas()["count"].sum())

@pipeline
def flow(data: Dataset):
    return total(data)

if __name__ == "__main__":
    flow.run(data=Dataset.from_delimited_files("bikes/**/*.csv"))
"""


class TestReadInsideOfAStep:
    @pytest.mark.parametrize("compute", ["local", "threads"])
    def test_what_is_got_by_name_is_recorded_and_a_change_computes_again(self, data, write, compute):
        @pipeline(compute=compute)
        def by_name():
            return total_by_name("bikes")

        data.register("bikes")
        assert by_name.run().outputs["result"] == 72
        assert by_name.run().steps["total_by_name"].reused
        write("bikes/region=north/2026-01-01.csv", "hour,count\n0,100\n")
        run = by_name.run()
        assert run.outputs["result"] == 166
        assert "the dataset 'bikes', which it read, has changed" in run.steps["total_by_name"].record.reason

    def test_a_newer_version_computes_again_and_one_with_equal_data_does_not(self, data):
        @pipeline
        def by_name():
            return total_by_name("bikes")

        data.register("bikes")
        assert by_name.run().outputs["result"] == 72
        data.register("bikes", "the same, described")
        assert by_name.run().steps["total_by_name"].reused
        data.filter("hour == 3").register("bikes")
        assert by_name.run().outputs["result"] == 36

    def test_one_without_a_name_is_recorded_too(self, data, write):
        @pipeline
        def by_path():
            return total_by_path("bikes")

        assert by_path.run().outputs["result"] == 72
        assert by_path.run().steps["total_by_path"].reused
        write("bikes/region=north/2026-01-04.csv", "hour,count\n0,1000\n")
        assert by_path.run().outputs["result"] == 1072

    def test_a_file_in_the_local_datastore_is_recorded(self, workspace):
        @step
        def read(path):
            return Path(path).read_text()

        @pipeline
        def reading():
            return read(str(workspace / "data/a.txt"))

        (workspace / "data").mkdir(parents=True)
        (workspace / "data/a.txt").write_text("one")
        assert reading.run().outputs["result"] == "one"
        (workspace / "data/a.txt").write_text("two")
        assert reading.run().outputs["result"] == "two"

    def test_one_that_is_gone_is_told_by_the_step(self):
        @pipeline
        def by_name():
            return total_by_name("bikes")

        with pytest.raises(StepFailed, match="there is no dataset 'bikes'"):
            by_name.run()


class TestOutputsAndLineage:
    def test_outputs_become_datasets_when_the_run_completes(self, data):
        run = clean.run(data=data.register("bikes"))

        frame, file = Dataset.get("bikes-frame"), Dataset.get("bikes-file")
        pd.testing.assert_frame_equal(frame.to_pandas(), data.to_pandas())
        pd.testing.assert_frame_equal(file.to_pandas(), data.to_pandas())
        assert sum_of.run(data="bikes-file").outputs["result"] == 72
        record = Workspace().datasets.record("bikes-file")
        assert (record.run_id, record.step_run, record.output) == (run.id, "file_of", "file")
        clean.run(data=data)
        assert Dataset.get("bikes-frame").version == 1

    def test_an_output_can_be_registered_later(self, data):
        run = clean.with_options(register_outputs={}).run(data=data)

        assert list(Workspace().datasets) == []
        registered = run.output("frame").register("frame", "as it was", {"who": "me"})
        assert (registered.name, registered.version) == ("frame", 1)
        assert registered.take(2).to_pandas().shape == (2, 2)

    def test_an_output_of_another_kind_is_refused(self, data):
        run = sum_of.run(data=data)

        with pytest.raises(DatasetError, match="is no dataset; have the step return a DataFrame"):
            run.output("result").register("total")

    def test_a_completed_run_whose_output_is_no_dataset_says_so(self, data):
        with pytest.raises(
            DatasetError, match=r"run .* completed, but its output 'result' did not become the dataset 'x'"
        ):
            sum_of.with_options(register_outputs={"result": "x"}).run(data=data)
        assert Workspace().runs()[0].status == "completed"

    def test_to_register_an_output_that_there_is_not_is_refused_before_the_run(self, data):
        with pytest.raises(DefinitionError, match="is to register its output 'x', but returns frame, file"):
            clean.with_options(register_outputs={"x": "bikes"}).run(data=data)

    def test_a_version_knows_which_runs_used_it(self, data):
        data.register("bikes")
        first = sum_of.run()
        second = sum_of.run()

        @pipeline
        def by_name():
            return total_by_name("bikes")

        third, fourth = by_name.run(), by_name.run()
        uses = Workspace().datasets.uses("bikes", 1)
        assert [(use.run_id, use.step_run, use.dataset) for use in uses] == [
            (fourth.id, "total_by_name", "bikes:1"),
            (third.id, "total_by_name", "bikes:1"),
            (second.id, "total", "bikes:1"),
            (first.id, "total", "bikes:1"),
        ]
        assert Workspace().datasets.uses("bikes", 2) == []

    def test_an_output_knows_what_it_was_made_from(self, data, write):
        write("other/a.csv", "count\n1\n")
        Dataset.from_delimited_files("other/*.csv").register("other")

        @pipeline(register_outputs={"file": "clean"})
        def two(data: Dataset, other: Dataset):
            return {"file": file_of(frame_of(data)), "total": total(other)}

        two.run(data=data.register("bikes"), other="other")
        datasets = Workspace().datasets
        assert [(use.dataset, use.step_run) for use in datasets.made_from(datasets.record("clean"))] == [
            ("bikes:1", "frame_of")
        ]
        assert datasets.made_from(datasets.record("bikes")) == []


def test_a_run_without_datasets_imports_nothing_of_them(workspace):
    code = """
import sys
from pipelite import pipeline, step

@step
def one():
    return 1

@pipeline
def flow():
    return one()

if __name__ == "__main__":
    flow.run()
    print(*sys.modules)
"""
    Path("flow.py").write_text(code)
    done = subprocess.run([sys.executable, "flow.py"], capture_output=True, text=True, check=True)

    loaded = set(done.stdout.split())
    assert not {"pipelite.data", "fsspec", "pandas", "pyarrow"} & loaded
