"""Steps that run only if a condition came out so, and what follows for those that depend on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelite import Workspace, first_of, pipeline, step
from pipelite.errors import StepFailed
from pipelite.observe import explain_run, to_mermaid
from pipelite.store import get_step_runs


@step
def give(value):
    return value


@step
def is_high(x):
    return x > 10


@step
def alarm(x):
    return f"alarm at {x}"


@step
def praise(x):
    return f"all well at {x}"


@step
def send(message):
    return f"sent: {message}"


@step
def fail(x):
    raise ValueError("no")


@pipeline
def watch(x: int):
    high = is_high(x)
    alarmed = alarm.when(high)(x)
    praised = praise.unless(high)(x)
    chosen = first_of(alarmed, praised)
    return {"alarm": alarmed, "sent": send(alarmed), "chosen": chosen, "said": send(chosen)}


def statuses(run):
    return {name: each.status for name, each in run.steps.items()}


def reasons(run):
    return {name: each.record.reason for name, each in run.steps.items() if each.status == "skipped"}


def test_a_step_runs_only_if_its_condition_came_out_true(workspace):
    high, low = watch.run(x=20), watch.run(x=5)

    assert high.outputs == {
        "alarm": "alarm at 20",
        "sent": "sent: alarm at 20",
        "chosen": "alarm at 20",
        "said": "sent: alarm at 20",
    }
    assert low.outputs == {"alarm": None, "sent": None, "chosen": "all well at 5", "said": "sent: all well at 5"}
    assert low.status == "completed"
    assert reasons(low) == {
        "alarm": "its condition, step 'is_high', came out false",
        "send": "step 'alarm', which it needs, was skipped",
    }


def test_a_choice_is_no_step_run_unless_all_was_skipped(workspace):
    @pipeline
    def flow():
        chosen = first_of(alarm.when(False)(1), praise.when(give(0))(2))
        return {"chosen": chosen, "sent": send(chosen)}

    assert "first_of" not in watch.run(x=20).steps
    run = flow.run()

    assert run.outputs == {"chosen": None, "sent": None}
    assert reasons(run) == {
        "alarm": "its condition is False",
        "praise": "its condition, step 'give', came out false",
        "first_of": "all of its alternatives were skipped: 'alarm', 'praise'",
        "send": "step 'first_of', which it needs, was skipped",
    }


def test_a_condition_is_no_part_of_a_key(workspace):
    @pipeline
    def plain():
        return alarm(20)

    watch.run(x=20)

    assert plain.run().steps["alarm"].reused


def test_order_alone_also_follows_a_skipped_step_but_not_a_failed_one(workspace):
    @pipeline(keep_going=True)
    def flow():
        skipped = alarm.when(False)(1)
        broken = fail(1)
        return {"a": give(1).after(skipped), "b": give(2).after(broken), "c": give(3).after(send(broken))}

    with pytest.raises(StepFailed):
        flow.run()

    assert Workspace().runs()[0].outputs == {"a": 1, "b": None, "c": 3}


def test_any_value_has_a_truth_and_parts_of_outputs_too(workspace):
    @pipeline
    def flow():
        record = give({"on": 1, "items": []})
        return {
            "a": alarm.when(record["on"])("a"),
            "b": alarm.when(record["items"])("b"),
            "c": alarm.unless(record["items"]).when(record)("c"),
        }

    run = flow.run()

    assert run.outputs == {"a": "alarm at a", "b": None, "c": "alarm at c"}
    assert run.steps["alarm-2"].record.reason == "its condition, ['items'] of step 'give', came out false"


def test_a_value_without_a_truth_fails_the_step(workspace):
    numpy = pytest.importorskip("numpy")

    @pipeline
    def flow():
        return alarm.when(give(numpy.array([1, 2])))(1)

    with pytest.raises(StepFailed, match=r"its condition, step 'give', is neither true nor false: ValueError"):
        flow.run()


def test_a_step_whose_condition_failed_or_was_skipped_is_skipped(workspace):
    @pipeline(keep_going=True)
    def flow():
        alarm.when(fail(1))(1)
        praise.unless(give.when(False)(True))(2)

    with pytest.raises(StepFailed):
        flow.run()

    assert reasons(Workspace().runs()[0]) == {
        "alarm": "its condition, step 'fail', failed",
        "give": "its condition is False",
        "praise": "its condition, step 'give', was skipped",
    }


def test_a_step_that_is_skipped_does_nothing(workspace, tmp_path):
    @step
    def touch():
        Path("touched").write_text("")

    @pipeline
    def flow(go: bool):
        touch.when(go)()

    flow.run(go=False)
    assert not (tmp_path / "touched").exists()
    flow.run(go=True)
    assert (tmp_path / "touched").exists()


def test_maps_take_conditions_and_skipped_elements(workspace):
    @pipeline
    def flow(go: bool):
        wanted = give(go)
        items = give([1, 2])
        lists = alarm.when(wanted).map([1, 2])
        grown = praise.when(wanted).map(items)
        return {"lists": lists, "grown": grown, "chosen": first_of(grown, lists, items), "all": send(grown)}

    on, off = flow.run(go=True), flow.run(go=False)

    assert on.outputs["grown"] == on.outputs["chosen"] == ["all well at 1", "all well at 2"]
    assert off.outputs["lists"] == [None, None]
    assert off.outputs["grown"] is None
    assert off.outputs["chosen"] == [1, 2]
    assert off.steps["praise"].status == off.steps["send"].status == "skipped"


def test_a_choice_can_be_mapped_and_be_a_condition(workspace):
    @pipeline
    def flow(x: int):
        high = is_high(x)
        chosen = first_of(give.when(high)([1, 2, 3]), give.unless(high)([]))
        return {"mapped": send.map(chosen), "any": alarm.when(chosen)(x)}

    assert flow.run(x=20).outputs == {"mapped": ["sent: 1", "sent: 2", "sent: 3"], "any": "alarm at 20"}
    assert flow.run(x=5).outputs == {"mapped": [], "any": None}


def test_conditions_inside_a_pipeline_that_is_called_by_another(workspace):
    @pipeline
    def outer():
        return {"low": watch(5)["chosen"], "high": watch(20)["chosen"]}

    run = outer.run()

    assert run.outputs == {"low": "all well at 5", "high": "alarm at 20"}
    assert run.steps["watch-2/praise"].status == "skipped"


def test_a_plan_knows_what_is_skipped_where_the_condition_is_stored(workspace):
    before = {each.name: (each.action, each.depends_on) for each in watch.plan(x=5)}
    watch.run(x=5)
    after = {each.name: each.action for each in watch.plan(x=5)}

    assert before["alarm"] == ("unknown", "is_high")
    assert before["first_of"][0] == "unknown"
    assert after == {"is_high": "reuse", "alarm": "skip", "praise": "reuse", "send": "skip", "send-2": "reuse"}


def test_explain_says_why_a_step_was_skipped(workspace):
    run = watch.run(x=5)

    lines = {each.step: each.line for each in explain_run(Workspace()._store, run.record)}

    assert lines["alarm"] == "skipped: its condition, step 'is_high', came out false"


def test_drawings_have_conditions_as_dotted_arrows_with_a_word(workspace):
    drawn = to_mermaid(watch.trace(x=5))
    run = to_mermaid(get_step_runs(Workspace()._store, watch.run(x=5).id))

    assert "    n0 -. when .-> n1" in drawn
    assert "    n0 -. unless .-> n2" in drawn
    assert '    n3{"first_of"}' in drawn
    assert "    n0 -.-> n1" in run
