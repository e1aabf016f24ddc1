"""Graphs that grow while they run: maps over what steps return, and expanders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelite import Workspace, current_run, pipeline, step
from pipelite.define import Ended, Expander, Load, Logged, StatusOf, Stop
from pipelite.errors import StepFailed
from pipelite.observe import describe_run, explain_run, to_mermaid
from pipelite.store import get_growth, get_run, get_step_runs


@step
def numbers(n):
    return list(range(n))


@step
def give(value):
    return value


@step
def add(x, y=1):
    return x + y


@step
def total(values):
    return sum(values)


@step
def fail(x):
    raise ValueError(f"no {x}")


@step
def fail_at_two(x):
    if x == 2:
        raise ValueError("it is two")
    return x


@step(outputs=("low", "high"))
def split(x):
    return x - 1, x + 1


@step
def length(array):
    return len(array)


@pipeline
def mapped(n: int = 3):
    sums = add.map(numbers(n), y=10)
    return {"sums": sums, "total": total(sums), "second": sums[1] if n > 1 else sums}


def statuses(run):
    return {name: each.status for name, each in run.steps.items()}


# Maps over what steps return.


def test_a_map_over_an_output_is_as_long_as_the_output(workspace):
    run = mapped.run()

    assert run.outputs == {"sums": [10, 11, 12], "total": 33, "second": 11}
    assert list(run.steps) == ["numbers", "add[0]", "add[1]", "add[2]", "total"]


def test_its_steps_are_reused_one_by_one(workspace):
    mapped.run()

    run = mapped.run(n=4)

    assert statuses(run) == {
        "numbers": "completed",
        "add[0]": "reused",
        "add[1]": "reused",
        "add[2]": "reused",
        "add[3]": "completed",
        "total": "completed",
    }


def test_it_equals_the_same_map_written_out(workspace):
    @pipeline
    def written():
        return total(add.map([0, 1, 2], y=10))

    mapped.run()

    assert set(statuses(written.run()).values()) == {"reused"}


def test_lineage_names_the_list_that_an_element_comes_from(workspace):
    run = mapped.run()

    assert run.steps["add[1]"].record.inputs["x"] == {"id": "int:1", "from": [["numbers", "result"]]}
    assert [origin[0] for origin in run.steps["total"].record.inputs["values"]["from"]] == [
        "add[0]",
        "add[1]",
        "add[2]",
    ]


def test_maps_of_maps_start_each_element_when_its_own_input_is_ready(workspace, tmp_path):
    @step
    def slow_at_zero(x):
        if x == 0:
            # The last of the second map writes it.
            while not Path("done").exists():
                pass
        return x

    @step
    def finish(x):
        if x == 1:
            Path("done").write_text("done")
        return x + 1

    @pipeline
    def flow():
        return total(finish.map(slow_at_zero.map(numbers(2))))

    assert flow.run().outputs["result"] == 3


def test_outputs_lists_and_maps_are_zipped(workspace):
    @pipeline
    def flow():
        n = numbers(3)
        first = add.map(n, [10, 20, 30])
        return {"a": add.map(first, n), "b": add.map([give(1), give(2), give(3)], first)}

    assert flow.run().outputs == {"a": [10, 22, 34], "b": [11, 23, 35]}


def test_an_empty_list_gives_an_empty_list(workspace):
    run = mapped.run(n=0)

    assert run.outputs == {"sums": [], "total": 0, "second": []}
    assert list(run.steps) == ["numbers", "total"]


def test_parts_of_outputs_tuples_arrays_and_elements_of_elements_can_be_mapped(workspace):
    @step
    def rows():
        return np.arange(4.0).reshape(2, 2)

    @pipeline
    def flow():
        record = give({"kept": [1, 2], "other": (5,)})
        nested = give.map(give([[1, 2], [3]]))
        return {
            "kept": add.map(record["kept"]),
            "other": add.map(record["other"]),
            "nested": add.map(nested[0]),
            "rows": length.map(rows()),
            "paths": give.map(give([{"a": 1}, (3,), "text"])),
        }

    run = flow.run()

    assert run.outputs["kept"] == [2, 3]
    assert run.outputs["other"] == [6]
    assert run.outputs["nested"] == [2, 3]
    assert run.outputs["rows"] == [2, 2]
    assert run.outputs["paths"] == [{"a": 1}, (3,), "text"]
    assert set(statuses(flow.run()).values()) == {"reused"}


def test_named_outputs_of_each_element_are_taken_by_name(workspace):
    @pipeline
    def flow():
        parts = split.map(numbers(3))
        return {"low": total(parts["low"]), "high": parts["high"], "first": parts[0]["high"], "all": parts}

    run = flow.run()

    assert run.outputs == {"low": 0, "high": [1, 2, 3], "first": 1, "all": [(-1, 1), (0, 2), (1, 3)]}


def test_large_elements_are_hashed_and_stored_once_for_all_that_take_them(workspace):
    @step
    def arrays():
        return [np.full(50_000, number, dtype="float64") for number in range(3)]

    @pipeline
    def flow():
        return length.map(arrays())

    assert flow.run().outputs["result"] == [50_000] * 3
    assert set(statuses(flow.run()).values()) == {"reused"}


def test_what_waits_for_a_map_waits_for_all_of_its_steps(workspace, tmp_path):
    @step
    def touch(x):
        Path(f"touched-{x}").write_text("")
        return x

    @step
    def count_touched():
        return len(list(Path.cwd().glob("touched-*")))

    @pipeline
    def flow():
        touched = touch.map(numbers(3))
        counted = count_touched().after(touched)
        return {"counted": counted, "later": touch.with_options(name="late").map(numbers(1)).after(counted)}

    run = flow.run()

    assert run.outputs["counted"] == 3
    assert run.steps["count_touched"].record.after == ("touch[0]", "touch[1]", "touch[2]")


def test_a_map_of_a_pipeline_inside_a_pipeline_has_its_prefix(workspace):
    @pipeline
    def outer():
        return mapped(2)["total"]

    run = outer.run()

    assert run.outputs["result"] == 21
    assert list(run.steps) == ["mapped/numbers", "mapped/add[0]", "mapped/add[1]", "mapped/total"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("abc", "which came out as the text 'abc', which is not a list"),
        ({"a": 1}, "which came out as a dict; map over list(d.items())"),
        ({1, 2}, "which came out as a set, which has no order"),
        (5, "which came out as an int, which is not a list"),
        (None, "which came out as a NoneType, which is not a list"),
    ],
)
def test_what_is_no_list_fails_the_map_with_a_sentence(workspace, value, message):
    @pipeline
    def flow():
        return total(add.map(give.with_options(cache=True)(value)))

    with pytest.raises(StepFailed, match="step 'add' failed: DefinitionError: ") as caught:
        flow.run()

    assert "add.map(...) got the output of step 'give' (test_growing.py:" in str(caught.value)
    assert message in str(caught.value)
    assert statuses(Workspace().runs()[0]) == {"give": "completed", "add": "failed", "total": "skipped"}


def test_a_data_frame_is_no_list(workspace):
    pandas = pytest.importorskip("pandas")

    @pipeline
    def flow():
        add.map(give(pandas.DataFrame({"a": [1]})))

    with pytest.raises(StepFailed, match="which came out as a DataFrame, which would give its column names"):
        flow.run()


def test_lists_of_different_lengths_fail_the_map_and_name_the_lengths(workspace):
    @pipeline
    def flow():
        add.map(numbers(3), [1, 2])

    with pytest.raises(StepFailed, match=r"3 \(the output of step 'numbers' \(.*\)\), 2 \(list 2\); they are zipped"):
        flow.run()


def test_an_element_that_is_not_there_fails_the_step_that_takes_it(workspace):
    @pipeline
    def flow():
        return add(add.map(numbers(2))[5])

    with pytest.raises(
        StepFailed, match=r"step 'add-2' failed: IndexError: the list of outputs of 'add' .* 2 elements"
    ):
        flow.run()


def test_a_map_that_never_expanded_has_a_step_run_of_its_own(workspace):
    @pipeline
    def flow():
        return add.map(fail(1))

    with pytest.raises(StepFailed):
        flow.run()

    run = Workspace().runs()[0]
    assert statuses(run) == {"fail": "failed", "add": "skipped"}
    assert run.outputs["result"] is None
    assert run.steps["add"].record.reason == "step 'fail', which it needs, failed"


def test_with_keep_going_the_other_elements_complete(workspace):
    @pipeline(keep_going=True)
    def flow():
        kept = fail_at_two.map(numbers(4))
        return {"kept": kept, "next": add.map(kept), "total": total(kept)}

    with pytest.raises(StepFailed, match="it is two"):
        flow.run()

    run = Workspace().runs()[0]
    assert [run.steps[f"add[{index}]"].status for index in range(4)] == [
        "completed",
        "completed",
        "skipped",
        "completed",
    ]
    assert run.steps["total"].status == "skipped"
    assert run.outputs["next"] == [1, 2, None, 4]


def test_what_all_elements_share_may_fail_before_they_start(workspace):
    @pipeline(keep_going=True)
    def flow():
        add.map(numbers(2), y=fail(1))

    with pytest.raises(StepFailed):
        flow.run()

    assert set(statuses(Workspace().runs()[0]).values()) <= {"completed", "failed", "skipped"}
    assert Workspace().runs()[0].steps["add[1]"].status == "skipped"


def test_a_step_method_is_mapped_with_its_instance(workspace):
    class Scaler:
        def __init__(self, factor):
            self.factor = factor

        @step
        def scale(self, x):
            return x * self.factor

    @pipeline
    def flow():
        return Scaler(3).scale.map(numbers(3))

    assert flow.run().outputs["result"] == [0, 3, 6]


def test_progress_and_records_count_what_has_grown(workspace):
    run = mapped.run(n=30)

    assert run.record.options["steps"] == 32
    shown = describe_run(Workspace()._store, run.record)
    assert "32 steps: 32 computed" in shown
    assert "add[...]" in shown


def test_explain_and_drawings_know_the_steps_of_a_map(workspace):
    mapped.run()
    run = mapped.run(n=2)
    store = Workspace()._store

    lines = {each.step: each.line for each in explain_run(store, run.record)}
    drawn = to_mermaid(get_step_runs(store, run.id))

    assert lines["add[1]"].startswith("reused from run")
    assert '["add[0]"]' in drawn
    assert drawn.count("-->") == 4


def test_a_plan_shows_the_steps_of_a_map_whose_list_is_known(workspace):
    before = [(each.name, each.action, each.depends_on) for each in mapped.plan()]
    mapped.run()
    after = [(each.name, each.action) for each in mapped.plan()]

    assert before == [
        ("numbers", "compute", None),
        ("add", "unknown", "numbers"),
        ("total", "unknown", "add"),
    ]
    assert after == [(name, "reuse") for name in ("numbers", "add[0]", "add[1]", "add[2]", "total")]
    assert len(Workspace().runs()) == 1


def test_ten_thousand_elements(workspace):
    run = mapped.run(n=10_000)

    assert run.outputs["total"] == sum(range(10_000)) + 100_000
    assert len(run.steps) == 10_002
    assert get_growth(Workspace()._store, run.id)[0].value == {"first": 3, "count": 10_000, "names": "add"}


def test_a_run_with_a_map_is_run_again_from_its_source(workspace, tmp_path):
    (tmp_path / "flow.py").write_text(
        "from pipelite import pipeline, step\n\n"
        "@step\ndef numbers():\n    return [1, 2]\n\n"
        "@step\ndef double(x):\n    return 2 * x\n\n"
        "@pipeline\ndef flow():\n    return double.map(numbers())\n"
    )
    subprocess.run([sys.executable, "-m", "pipelite", "run", "flow.py:flow", "--quiet"], check=True)

    again = Workspace().runs()[0].rerun()

    assert again.outputs["result"] == [2, 4]
    assert set(statuses(again).values()) == {"reused"}


# Expanders.


@step
def train(rate):
    for epoch in range(3):
        current_run().log("loss", rate - epoch, step=epoch)
    return {"rate": rate}


@step
def wait_for_ever(rate):
    current_run().log("loss", 100)
    while True:
        pass


def search(rates):
    """Train with each rate, then once more with the best; return the best model and what was heard."""
    trials = [train.with_options(name=f"trial-{rate}")(rate) for rate in (yield Load(rates))]
    losses = {}
    heard = []
    while (event := (yield trials)) is not None:
        heard.append(type(event).__name__)
        if isinstance(event, Ended):
            losses[event.handle] = event.metrics["loss"]
    best = min(losses, key=lambda handle: losses[handle])
    rate = (yield Load(best))["rate"]
    final = train.with_options(name="final")(rate - 1)
    ended = yield [final]
    while not isinstance(ended, Ended):
        ended = yield []
    return {"model": final, "heard": sorted(heard), "best": rate}


@pipeline
def sweep(rates: list = (3, 1, 2)):
    found = Expander(search, name="search", steps=(train,))(give(list(rates)))
    return {"found": found, "model": give(found["model"])}


def test_an_expander_makes_steps_as_results_and_metrics_arrive(workspace):
    run = sweep.run(rates=[3, 1, 2])

    found = run.outputs["found"]
    assert found["best"] == 1
    assert found["model"] == run.outputs["model"] == {"rate": 0}
    assert found["heard"] == ["Ended"] * 3 + ["Logged"] * 9
    assert list(run.steps)[:5] == ["give", "search", "search/trial-3", "search/trial-1", "search/trial-2"]
    assert run.steps["search"].outputs["result"]["best"] == 1
    assert run.metrics["search/final/loss"] == -2


def test_its_steps_are_memoized_singly_and_it_hears_the_same_of_reused_ones(workspace):
    first = sweep.run(rates=[3, 1, 2])

    again = sweep.run(rates=[3, 1, 2])
    longer = sweep.run(rates=[3, 1, 2, 5])

    assert again.outputs["found"] == first.outputs["found"]
    assert {name for name, status in statuses(again).items() if status != "reused"} == {"search"}
    assert longer.steps["search/trial-1"].reused
    assert longer.steps["search/trial-5"].status == "completed"


def test_what_it_did_and_was_told_is_kept_in_order(workspace):
    run = sweep.run(rates=[1])

    kept = [(each.kind, each.value) for each in get_growth(Workspace()._store, run.id)]

    assert kept[0] == ("made", {"first": 3, "count": 1, "names": ["search/trial-1"]})
    assert [kind for kind, _ in kept] == ["made", "logged", "logged", "logged", "ended", "made"] + ["logged"] * 3 + [
        "ended"
    ]
    assert kept[3] == ("logged", [3, "loss", -1, 2])
    kind, (position, status, error, duration_s) = kept[4]
    assert (kind, position, status, error) == ("ended", 3, "completed", None)
    assert duration_s == run.steps["search/trial-1"].duration_s


def test_a_step_that_it_stops_is_canceled_and_the_run_goes_on(workspace):
    def stopping():
        running = wait_for_ever(1)
        also = wait_for_ever(1)
        queued = [wait_for_ever.with_options(name=f"queued-{number}")(number) for number in range(2, 5)]
        waiting = train(queued[0])
        for handle in queued:
            yield Stop(handle)
        while not isinstance((yield [running, also]), Logged):
            pass
        yield Stop(also)
        yield Stop(running)
        ended = []
        while (event := (yield [])) is not None:
            if isinstance(event, Ended):
                ended.append(event.status.value)
        return [ended, str((yield StatusOf(waiting)))]

    @pipeline
    def flow():
        return add([1], Expander(stopping, name="stopping", steps=(wait_for_ever,))())

    run = flow.run()

    assert run.outputs["result"] == [1, ["canceled", "canceled"], "skipped"]
    assert run.status == "completed"
    assert run.steps["stopping/wait_for_ever"].record.reason == "stopped by step 'stopping'"
    assert run.steps["stopping/queued-2"].status == "canceled"
    assert run.steps["stopping/train"].record.reason == "step 'stopping/queued-2', which it needs, was canceled"


def trying():
    made = fail_at_two.map([1, 2, 3])
    statuses = {}
    while (event := (yield made)) is not None:
        statuses[event.handle.node.name] = (event.status.value, event.error)
    return statuses


def test_failures_can_be_only_reported_to_an_expander(workspace):
    @pipeline
    def flow():
        return Expander(trying, name="trying", tolerates_failures=True)()

    run = flow.run()

    assert run.status == "completed"
    assert run.outputs["result"]["trying/fail_at_two[1]"] == ("failed", "ValueError: it is two")
    assert run.outputs["result"]["trying/fail_at_two[2]"] == ("completed", None)


def test_else_they_fail_the_run(workspace):
    @pipeline
    def flow():
        return Expander(trying, name="trying")()

    with pytest.raises(StepFailed, match=r"step 'trying/fail_at_two\[1\]' failed: ValueError: it is two"):
        flow.run()

    run = Workspace().runs()[0]
    assert run.steps["trying"].status == "canceled"
    assert run.steps["trying"].record.reason == "another step failed before it had ended"


def test_an_expander_that_raises_fails_as_a_step_does(workspace):
    def broken():
        yield []
        raise KeyError("lost")

    @pipeline
    def flow():
        return add(Expander(broken, name="broken")())

    with pytest.raises(StepFailed, match="step 'broken' failed: KeyError: 'lost'") as caught:
        flow.run()

    assert isinstance(caught.value.__cause__, KeyError)
    assert statuses(Workspace().runs()[0]) == {"broken": "failed", "add": "skipped"}


def test_an_expander_that_waits_for_nothing_is_told_and_then_fails(workspace):
    def idle():
        while True:
            yield []

    @pipeline
    def flow():
        Expander(idle, name="idle")()

    with pytest.raises(StepFailed, match="no step that it listens to is under way"):
        flow.run()


def test_a_step_that_cannot_take_its_arguments_is_an_error_of_the_expander(workspace):
    def wrong():
        try:
            add(1, 2, 3)
        except TypeError as exc:
            return str(exc)
        yield []

    @pipeline
    def flow():
        return Expander(wrong, name="wrong")()

    assert "step 'add' (test_growing.py:" in flow.run().outputs["result"]


def test_maps_and_named_outputs_inside_an_expander(workspace):
    def nested(n):
        sums = add.map(numbers(2), y=n)
        ended = 0
        while (event := (yield sums)) is not None:
            ended += isinstance(event, Ended)
        return {"sums": sums, "ended": ended}

    @pipeline
    def flow():
        found = Expander(nested, name="nested", outputs=("sums", "ended"))(give(5))
        return {"sums": total(found["sums"]), "ended": found["ended"], "all": found}

    run = flow.run()

    assert run.outputs == {"sums": 11, "ended": 2, "all": {"sums": [5, 6], "ended": 2}}
    assert [name for name in run.steps if "add" in name] == ["nested/add[0]", "nested/add[1]"]


def test_a_plan_says_that_an_expander_is_known_only_when_it_runs(workspace):
    planned = {each.name: each for each in sweep.plan(rates=[1])}

    assert planned["search"].action == "unknown"
    sweep.run(rates=[1])
    planned = {each.name: each for each in sweep.plan(rates=[1])}
    assert planned["search"].reason == "the steps that it makes are known only when it runs"
    assert get_run(Workspace()._store).pipeline == "sweep"


def test_a_step_equal_to_one_that_was_stopped_is_computed_on_its_own(workspace):
    @step
    def wait_unless_told(x):
        current_run().log("started", x)
        while not Path("go").exists():
            pass
        return x

    def stopping():
        first, equal = wait_unless_told(1), wait_unless_told(1)
        while not isinstance((yield [first, equal]), Logged):
            pass
        yield Stop(first)
        ended = []
        while (event := (yield [])) is not None:
            if isinstance(event, Ended):
                ended.append(event.status.value)
                Path("go").touch()
        return ended

    @pipeline
    def flow():
        return Expander(stopping, name="stopping", steps=(wait_unless_told,))()

    run = flow.submit().wait(30)

    assert run.outputs["result"] == ["canceled", "completed"]
    assert run.steps["stopping/wait_unless_told-2"].attempts == 1
