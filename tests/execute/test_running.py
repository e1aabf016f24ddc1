"""A run computes what is new, reuses what is not, and keeps a record of both."""

from __future__ import annotations

import gc
import os
import sys
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pipelite import Workspace, current_run, pipeline, step
from pipelite.errors import (
    FingerprintError,
    NotFoundError,
    ParameterError,
    SerializationError,
    StepFailed,
    UnhashableError,
)
from pipelite.execute import collect_sources


@step
def five() -> int:
    print("five is computed")
    return 5


@step
def add(x, y=1):
    current_run().log("sum", x + y)
    return x + y


@step(outputs=("low", "high"))
def halves(numbers):
    middle = len(numbers) // 2
    return numbers[:middle], numbers[middle:]


@step(outputs=("low", "high"))
def halves_as_dict(numbers):
    return {"high": numbers[1:], "low": numbers[:1]}


@step
def total(numbers):
    return sum(numbers)


@pipeline
def arithmetic(y: int = 1):
    return {"sum": add(five(), y)}


@pipeline
def split_and_sum(numbers: list):
    parts = halves(numbers)
    low, high = parts
    return {"low": total(low), "high": total(high), "whole": parts}


def test_a_second_run_reuses_everything(workspace):
    first = arithmetic.run()
    second = arithmetic.run()

    assert first.outputs["sum"] == second.outputs["sum"] == 6
    assert [step.status for step in first.steps.values()] == ["completed", "completed"]
    assert [step.status for step in second.steps.values()] == ["reused", "reused"]
    assert [step.attempts for step in second.steps.values()] == [0, 0]


def test_another_parameter_recomputes_only_what_takes_it(workspace):
    arithmetic.run(y=1)

    run = arithmetic.run(y=2)

    assert run.outputs["sum"] == 7
    assert {name: step.status for name, step in run.steps.items()} == {"five": "reused", "add": "completed"}


def test_a_reused_step_shows_logs_and_metrics_of_the_run_it_came_from(workspace):
    arithmetic.run()

    run = arithmetic.run()

    assert run.steps["five"].logs == "five is computed\n"
    assert run.metrics["sum"] == 6
    assert run.steps["add"].metrics["sum"] == 6


def test_where_an_input_came_from_does_not_matter(workspace):
    @pipeline
    def with_a_step():
        return add(five())

    @pipeline
    def with_a_constant():
        return add(5)

    with_a_step.run()

    assert with_a_constant.run().steps["add"].reused


def test_equal_nodes_of_one_run_are_computed_once(workspace):
    @pipeline
    def twice():
        return {"a": add(2, 2), "b": add(2, 2)}

    run = twice.run()

    assert sorted(step.status for step in run.steps.values()) == ["completed", "reused"]
    assert run.outputs["a"] == run.outputs["b"] == 4


def test_named_outputs_go_their_own_ways_and_come_together_again(workspace):
    run = split_and_sum.run(numbers=[1, 2, 3, 4])

    assert run.outputs["low"] == 3
    assert run.outputs["high"] == 7
    assert run.outputs["whole"] == ([1, 2], [3, 4])
    assert run.steps["halves"].outputs == {"low": [1, 2], "high": [3, 4]}


def test_named_outputs_may_be_returned_as_a_dict(workspace):
    @pipeline
    def flow():
        parts = halves_as_dict([7, 8, 9])
        return {"low": parts["low"], "whole": parts}

    run = flow.run()

    assert run.outputs["low"] == [7]
    assert run.outputs["whole"] == {"low": [7], "high": [8, 9]}


def test_a_part_of_an_output_counts_by_its_own_content(workspace):
    @step
    def record(noise):
        return {"kept": [1, 2], "noise": noise}

    @pipeline
    def flow(noise: int):
        return total(record(noise)["kept"])

    flow.run(noise=1)
    run = flow.run(noise=2)

    assert run.steps["record"].status == "completed"
    assert run.steps["total"].reused


def test_handles_inside_lists_and_dicts_are_filled_in(workspace):
    @step
    def describe(parts, names):
        return [parts, names]

    @pipeline
    def flow():
        a, b = add(1), add(2)
        return describe([a, {"b": b}], names=(a, "x"))

    assert flow.run().outputs["result"] == [[2, {"b": 3}], (2, "x")]


def test_a_map_runs_each_element_and_collects_a_list(workspace):
    @pipeline
    def flow():
        sums = add.map([1, 2, 3], y=10)
        return {"sums": sums, "total": total(sums)}

    run = flow.run()

    assert run.outputs["sums"] == [11, 12, 13]
    assert run.outputs["total"] == 36
    assert list(run.steps) == ["add[0]", "add[1]", "add[2]", "total"]
    assert run.metrics["add[1]/sum"] == 12


def test_a_pipeline_called_in_a_pipeline_is_part_of_it(workspace):
    @pipeline
    def outer():
        return {"twice": add(arithmetic(3)["sum"], 100)}

    run = outer.run()

    assert run.outputs["twice"] == 108
    assert list(run.steps) == ["arithmetic/five", "arithmetic/add", "add"]


def test_an_array_arrives_memory_mapped_and_read_only(workspace):
    @step
    def make():
        return np.ones((1000, 1000))

    @step
    def look(array):
        base = array
        while isinstance(base, np.ndarray) and base.base is not None:
            base = base.base
        return [type(array).__name__, type(base).__name__, bool(array.flags.writeable), float(array.sum())]

    @pipeline
    def flow():
        return look(make())

    assert flow.run().outputs["result"] == ["ndarray", "mmap", False, 1e6]


def test_a_path_parameter_counts_by_its_content(workspace, tmp_path):
    @step
    def read(path: Path):
        return path.read_text()

    @pipeline
    def flow(data: Path):
        return read(data)

    (tmp_path / "a").mkdir()
    (tmp_path / "data.txt").write_text("one")
    (tmp_path / "a" / "data.txt").write_text("one")
    flow.run(data="data.txt")

    moved = flow.run(data="a/data.txt")
    (tmp_path / "data.txt").write_text("two")
    changed = flow.run(data="data.txt")

    assert moved.steps["read"].reused
    assert changed.outputs["result"] == "two"


def test_a_missing_input_file_is_met_before_anything_runs(workspace):
    @pipeline
    def flow(data: Path):
        return total([five(), 1]), data

    @pipeline
    def reading(data: Path):
        return add(five(), data)

    with pytest.raises(FingerprintError, match=r"step 'add'.*'y'.*nowhere\.csv"):
        reading.run(data="nowhere.csv")
    assert Workspace().runs() == []


def test_a_returned_file_keeps_its_name_and_arrives_read_only(workspace):
    @step
    def write():
        path = current_run().scratch / "report.txt"
        path.write_text("done")
        return path

    @step
    def read(path):
        return [path.name, path.read_text(), os.access(path, os.W_OK) and os.geteuid() != 0]

    @pipeline
    def flow():
        report = write()
        return {"report": report, "seen": read(report)}

    run = flow.run()

    assert run.outputs["seen"] == ["report.txt", "done", False]
    assert run.outputs["report"].read_text() == "done"
    assert run.output("report").kind == "file"
    assert list((workspace / "tmp").iterdir()) == []


def test_a_folder_and_a_file_inside_of_it_may_both_be_returned(workspace):
    @step(outputs=("folder", "file"))
    def write():
        folder = current_run().scratch / "reports"
        folder.mkdir()
        (folder / "a.txt").write_text("a")
        return folder, folder / "a.txt"

    @pipeline
    def flow():
        folder, file = write()
        return {"folder": folder, "file": file}

    outputs = flow.run().outputs

    assert outputs["file"].read_text() == "a"
    assert (outputs["folder"] / "a.txt").read_text() == "a"


def test_a_file_that_a_step_opens_is_part_of_its_result(workspace, tmp_path):
    @step
    def read_setting():
        with open("setting.txt") as file:
            return file.read()

    @pipeline
    def flow():
        return read_setting()

    (tmp_path / "setting.txt").write_text("one")
    assert flow.run().outputs["result"] == "one"
    assert flow.run().steps["read_setting"].reused
    (tmp_path / "setting.txt").write_text("two")

    run = flow.run()

    assert run.outputs["result"] == "two"
    assert run.steps["read_setting"].record.reason == "the file 'setting.txt', which it read, has changed"
    (tmp_path / "setting.txt").write_text("one")
    assert flow.run().steps["read_setting"].reused


def test_a_file_that_was_looked_for_and_not_there_is_too(workspace, tmp_path):
    @step
    def try_setting():
        try:
            with open("optional.txt") as file:
                return file.read()
        except FileNotFoundError:
            return "default"

    @pipeline
    def flow():
        return try_setting()

    assert flow.run().outputs["result"] == "default"
    assert flow.run().steps["try_setting"].reused
    (tmp_path / "optional.txt").write_text("given")

    assert flow.run().outputs["result"] == "given"


def test_what_a_step_writes_itself_is_no_read(workspace):
    @step
    def write_and_read():
        with open("own.txt", "w") as file:
            file.write("x")
        with open("own.txt") as file:
            return file.read()

    @pipeline
    def flow():
        return write_and_read()

    assert flow.run().steps["write_and_read"].record.reads == ()


def test_a_step_that_returns_nothing_runs_every_time_unless_told_otherwise(workspace):
    @step
    def notify():
        pass

    @pipeline
    def flow():
        notify()
        notify.with_options(cache=True, name="once")()

    flow.run()
    run = flow.run()

    assert run.steps["notify"].status == "completed"
    assert run.steps["once"].reused


def test_cache_false_regenerate_and_an_age_limit_recompute(workspace):
    @pipeline
    def flow():
        return {
            "never": five.with_options(cache=False, name="never")(),
            "young": add.with_options(cache=timedelta(0), name="young")(1),
            "usual": add.with_options(name="usual")(2),
        }

    flow.run()
    second = flow.run()
    third = flow.with_options(regenerate_outputs=True).run()

    assert {name: step.status for name, step in second.steps.items()} == {
        "never": "completed",
        "young": "completed",
        "usual": "reused",
    }
    assert second.steps["young"].record.reason == "the stored result is older than 0:00:00"
    assert all(step.status == "completed" for step in third.steps.values())


def test_a_missing_artifact_is_computed_again(workspace):
    @step
    def make():
        return np.ones(100)

    @pipeline
    def flow():
        return make()

    path = flow.run().output("result").path
    path.chmod(0o600)
    path.unlink()

    run = flow.run()

    assert run.steps["make"].status == "completed"
    assert run.steps["make"].record.reason == "its stored output 'result' is missing or damaged"
    assert run.outputs["result"].sum() == 100


def test_an_input_that_changes_while_its_step_runs_makes_the_result_not_reusable(workspace, tmp_path):
    @step
    def grow(path: Path):
        with path.open("a") as file:
            file.write("more")
        return path.read_text()

    @pipeline
    def flow(data: Path):
        return grow(data)

    (tmp_path / "data.txt").write_text("some")
    run = flow.run(data="data.txt")
    (tmp_path / "data.txt").write_text("some")

    assert "changed while the step ran" in run.steps["grow"].record.reason
    assert flow.run(data="data.txt").steps["grow"].status == "completed"


def test_order_without_data_is_kept(workspace, tmp_path):
    @step
    def write():
        Path("mark").write_text("x")

    @step
    def check():
        return Path("mark").exists()

    @pipeline
    def flow():
        return check.with_options(cache=False)().after(write())

    assert flow.run().outputs["result"] is True


def test_parameters_are_kept_with_their_types(workspace):
    run = arithmetic.run(y=3)

    assert Workspace().run(run.id).parameters == {"y": 3}


def test_a_wrong_parameter_starts_nothing(workspace):
    with pytest.raises(ParameterError, match="no parameter 'Y'; it takes y"):
        arithmetic.run(Y=3)
    with pytest.raises(ParameterError, match="'y'"):
        arithmetic.run(y="three")
    assert Workspace().runs() == []


def test_an_argument_without_a_stable_hash_starts_nothing(workspace):
    @pipeline
    def flow():
        return add([1, (n for n in range(3))])

    with pytest.raises(UnhashableError, match=r"step 'add', argument 'x'.*generator"):
        flow.run()
    assert Workspace().runs() == []


def test_wrong_outputs_fail_the_step_with_names(workspace):
    @step(outputs=("a", "b"))
    def three():
        return 1, 2, 3

    @pipeline
    def flow():
        return three()

    with pytest.raises(StepFailed, match=r"'three' names 2 outputs \(a, b\), but returned 3 values") as caught:
        flow.run()
    assert isinstance(caught.value.__cause__, SerializationError)


def test_a_generator_as_output_fails_the_step_with_advice(workspace):
    @step
    def lazy():
        return (n for n in range(3))

    @pipeline
    def flow():
        return lazy()

    with pytest.raises(StepFailed, match=r"(?s)step 'lazy'.*'result'.*generator.*list"):
        flow.run()


def test_metrics_of_several_steps_ask_which(workspace):
    @pipeline
    def flow():
        add(1)
        add(2)

    run = flow.run()

    with pytest.raises(NotFoundError, match="add/sum, add-2/sum"):
        run.metrics["sum"]
    assert run.metrics["add-2/sum"] == 3


def test_a_metric_series_keeps_every_value_with_its_step_number(workspace):
    @step
    def learn():
        for epoch in range(3):
            current_run().log("loss", 1 / (epoch + 1), step=epoch)
        current_run().log_table("table", {"a": [1, 2]})
        current_run().log_confusion_matrix("confusion", np.array([[3, 1], [0, 4]]), labels=["no", "yes"])
        current_run().log_row("row", x=np.float64(1.5), y=True)
        current_run().tag("kind", "test")

    @pipeline(tags={"team": "a"})
    def flow():
        learn()

    run = flow.run()

    assert run.metric_series("loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert run.metrics["table"] == {"a": [1, 2]}
    assert run.metrics["confusion"] == {"labels": ["no", "yes"], "matrix": [[3, 1], [0, 4]]}
    assert run.metrics["row"] == {"x": 1.5, "y": True}
    assert run.tags == {"team": "a", "kind": "test"}


def test_an_uploaded_file_is_kept(workspace, tmp_path):
    @step
    def upload():
        path = current_run().scratch / "a.txt"
        path.write_text("kept")
        current_run().upload_file("notes", path)

    @pipeline
    def flow():
        upload()

    run = flow.run()

    stored = run.metrics["notes"]
    assert (workspace / "artifacts" / stored["path"]).read_text() == "kept"


def test_a_submitted_run_can_be_waited_for(workspace):
    run = arithmetic.submit(y=9)

    assert run.wait(timeout=60).outputs["sum"] == 14
    assert run.status == "completed"


def test_hooks_are_called_with_the_run(workspace):
    seen = []

    @pipeline(on_success=lambda run: seen.append(("good", run.status)))
    def good():
        five()

    @step
    def fail():
        raise ValueError("no")

    @pipeline(on_failure=lambda run: seen.append(("bad", run.status)))
    def bad():
        fail()

    good.run()
    with pytest.raises(StepFailed):
        bad.run()

    assert seen == [("good", "completed"), ("bad", "failed")]


def test_steps_see_the_working_directory_the_environment_and_the_import_path_of_the_submitter(
    workspace, tmp_path, monkeypatch
):
    @step(cache=False)
    def look():
        import sys

        return [os.getcwd(), os.environ.get("MY_SETTING"), "somewhere-else" in "".join(sys.path)]

    @pipeline
    def flow():
        return look()

    flow.run()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    monkeypatch.setenv("MY_SETTING", "on")
    monkeypatch.syspath_prepend(str(tmp_path / "somewhere-else"))

    assert flow.run().outputs["result"] == [str(tmp_path / "other"), "on", True]


def test_source_files_are_collected_while_finalizers_import():
    made = []

    class Finalized:
        def __init__(self):
            self.circle = self

        def __del__(self):
            if len(made) < 500:
                made.append(f"made_by_finalizer_{len(made)}")
                sys.modules[made[-1]] = ModuleType(made[-1])
                Finalized()

    thresholds = gc.get_threshold()
    Finalized()
    gc.set_threshold(1)
    try:
        places, _ = collect_sources([])
    finally:
        gc.set_threshold(*thresholds)
        for name in made:
            del sys.modules[name]

    assert made
    assert any(place.endswith("test_running.py") for place in places)
