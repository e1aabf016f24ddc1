"""Every step says why it was reused or computed, naming what changed."""

from __future__ import annotations

import pytest

from pipelite.errors import NotFoundError
from pipelite.observe import explain_run, explain_step
from pipelite.records import RESULT, ArtifactRef
from pipelite.store import step_run_id

NOTHING = ArtifactRef(digest="None:", kind="json", inline="null", type_name="NoneType")


def lines(store, run):
    return {each.step: each.line for each in explain_run(store, run)}


@pytest.fixture
def second(records):
    """Store two runs of one step that differ as given, and give the line of the second."""

    def compare(old, new, codes=()):
        records.run(records.step(**{"key": "k1", **old}), codes=codes)
        run = records.run(records.step(**{"key": "k2", **new}))
        return lines(records.store, run)["fit"]

    return compare


class TestFirstTime:
    def test_the_first_run_of_a_pipeline_says_so(self, store, records):
        records.run(records.step(), pipeline="other")
        run = records.run(records.step())

        assert lines(store, run) == {"fit": "computed: the first run of this pipeline"}

    def test_a_step_that_no_earlier_run_has_is_new(self, store, records):
        records.run(records.step("load"))
        run = records.run(records.step("load", key="k9", computed_by=None), records.step("fit"))

        assert lines(store, run)["fit"] == "computed: new step, no earlier run of this pipeline has it"


class TestCode:
    def test_a_changed_function_is_named(self, records, second):
        codes = [
            records.code("c1", **{"function_features.is_rush_hour": "ast#1", "function_flow.fit": "ast#2"}),
            records.code("c2", **{"function_features.is_rush_hour": "ast#9", "function_flow.fit": "ast#2"}),
        ]

        line = second({"code": "c1"}, {"code": "c2"}, codes)

        assert line == "computed: function features.is_rush_hour changed"

    def test_a_changed_constant_is_shown_before_and_after(self, records, second):
        codes = [
            records.code("c1", **{"constant_flow.RATE": "float:0.1"}),
            records.code("c2", **{"constant_flow.RATE": "float:0.2"}),
        ]

        assert second({"code": "c1"}, {"code": "c2"}, codes) == "computed: constant flow.RATE was 0.1, is 0.2"

    def test_a_package_is_shown_with_both_versions(self, records, second):
        codes = [records.code("c1", package_numpy="2.1.0"), records.code("c2", package_numpy="2.2.0")]

        assert second({"code": "c1"}, {"code": "c2"}, codes) == "computed: package numpy 2.1.0 -> 2.2.0"

    def test_what_came_and_what_went_is_named(self, records, second):
        codes = [
            records.code("c1", **{"function_flow.old": "ast#1"}),
            records.code("c2", **{"function_flow.new": "ast#1"}),
        ]

        line = second({"code": "c1"}, {"code": "c2"}, codes)

        assert line == "computed: it uses function flow.new now; it no longer uses function flow.old"

    def test_many_changes_are_counted_in_the_line_and_listed_for_one_step(self, store, records):
        old = records.code("c1", **{f"function_flow.f{number}": "ast#1" for number in range(5)})
        new = records.code("c2", **{f"function_flow.f{number}": "ast#2" for number in range(5)})
        first = records.run(records.step(code="c1"), codes=[old, new])
        run = records.run(records.step(key="k2", code="c2"))

        explanation = explain_step(store, run, "fit")

        assert explanation.line.endswith("function flow.f2 changed; and 2 more changes")
        assert explanation.reasons[4] == "function flow.f4 changed"
        assert explanation.compared_with == first.id

    def test_what_is_not_tracked_is_listed_also_for_a_reused_step(self, store, records):
        opaque = records.code("c1", not_tracked=["function flow.fit: eval()"])
        first = records.run(records.step(code="c1"), codes=[opaque])
        origin = step_run_id(first.number, 0)
        run = records.run(records.step(code="c1", status="reused", computed_by=origin, outputs={}))

        assert explain_step(store, run, "fit").not_tracked == ("function flow.fit: eval()",)


class TestInputs:
    def test_a_changed_value_is_shown_before_and_after(self, second):
        line = second({"inputs": {"reg_rate": {"id": "float:0.1"}}}, {"inputs": {"reg_rate": {"id": "float:0.2"}}})

        assert line == "computed: input 'reg_rate' was 0.1, is 0.2"

    def test_values_that_are_written_alike_are_told_apart_by_type(self, second):
        line = second({"inputs": {"n": {"id": "list:5:int:1"}}}, {"inputs": {"n": {"id": "tuple:5:int:1"}}})
        same = second({"inputs": {"n": {"id": "set:5:int:1"}}}, {"inputs": {"n": {"id": "set:6:bool:1"}}})

        assert line == "computed: input 'n' was [1], is (1,)"
        assert same == "computed: input 'n' was {1} (set), is {1} (set)"

    def test_an_input_that_comes_from_a_step_names_the_step(self, second):
        origin = [["add_features", RESULT]]

        line = second(
            {"inputs": {"frame": {"id": "frame#1", "from": origin}}},
            {"inputs": {"frame": {"id": "frame#2", "from": origin}}},
        )

        assert line == "computed: input 'frame' changed (it comes from step 'add_features')"

    def test_a_fan_out_is_named_once(self, second):
        origins = [[f"fit[{number}]", RESULT] for number in range(4)]

        line = second(
            {"inputs": {"models": {"id": "list#1", "from": origins}}},
            {"inputs": {"models": {"id": "list#2", "from": [*origins, ["load", RESULT]]}}},
        )

        assert line == "computed: input 'models' changed (it comes from steps 'fit', 'load')"

    def test_a_file_is_told_from_other_values(self, second):
        line = second({"inputs": {"path": {"id": "file#1"}}}, {"inputs": {"path": {"id": "file#2"}}})

        assert line == "computed: input 'path' changed (content or name of the file)"

    def test_inputs_that_came_and_went_are_named(self, second):
        line = second({"inputs": {"old": {"id": "int:1"}}}, {"inputs": {"new": {"id": "int:1"}}})

        assert line == "computed: input 'new' is new; input 'old' is gone"

    def test_another_python_and_other_outputs_are_named(self, second):
        two = {"a": NOTHING, "b": NOTHING}

        line = second({"environment": "python 3.11"}, {"environment": "python 3.12", "outputs": two})

        assert line == "computed: python 3.11 -> python 3.12; its outputs were result, are a, b"


class TestSameKey:
    def test_a_reason_that_the_plan_gave_is_passed_on(self, second):
        reason = "its stored output 'result' is missing or damaged"

        assert second({}, {"key": "k1", "reason": reason}) == f"computed: {reason}"

    def test_a_step_that_failed_before_left_no_result(self, store, records):
        first = records.run(records.step(status="failed", outputs={}))
        run = records.run(records.step())

        expected = f"computed: nothing changed, but in run {first.id} it failed and left no result"
        assert lines(store, run) == {"fit": expected}

    def test_a_step_that_returned_only_none_is_taken_to_run_for_its_effect(self, second):
        line = second({"outputs": {RESULT: NOTHING}}, {"key": "k1", "outputs": {RESULT: NOTHING}})

        assert line.startswith("computed: it returned only None before, so it is taken to run for its effect")

    def test_a_result_that_was_not_reusable_says_why(self, store, records):
        reason = "not reusable: the input 'a.csv' changed while the step ran"
        first = records.run(records.step(reason=reason))
        run = records.run(records.step())

        assert lines(store, first)["fit"] == f"computed: the first run of this pipeline; {reason}"
        assert lines(store, run)["fit"] == f"computed: nothing changed, but its result in run {first.id} is {reason}"


class TestOtherStates:
    def test_a_reused_step_names_the_run_and_another_name_of_the_step(self, store, records):
        first = records.run(records.step(), records.step("other", key="k2"))
        same, other = (step_run_id(first.number, position) for position in (0, 1))
        run = records.run(
            records.step(status="reused", computed_by=same, outputs={}),
            records.step("fit-2", key="k2", status="reused", computed_by=other, outputs={}),
        )

        assert lines(store, run) == {
            "fit": f"reused from run {first.id}",
            "fit-2": f"reused from run {first.id} (step 'other')",
        }
        assert explain_step(store, run, "fit-2").as_dict()["reused_from"] == {"run": first.id, "step": "other"}

    def test_of_two_equal_steps_the_second_names_the_first(self, store, records):
        records.run()
        twin = step_run_id(2, 0)
        run = records.run(records.step(), records.step("fit-2", status="reused", computed_by=twin, outputs={}))

        assert run.number == 2
        assert lines(store, run)["fit-2"] == "reused from step 'fit' of this run, which is equal"

    def test_a_skipped_step_says_why(self, store, records):
        reason = "step 'load', which it needs, failed"
        run = records.run(
            records.step("load", status="failed", outputs={}),
            records.step(key=None, status="skipped", reason=reason, outputs={}),
        )

        assert lines(store, run) == {
            "load": "computed, and failed: the first run of this pipeline",
            "fit": f"skipped: {reason}",
        }

    def test_a_step_that_is_not_there_is_an_error_that_names_similar_ones(self, store, records):
        run = records.run(records.step())

        with pytest.raises(NotFoundError, match="no step 'fti'; it has fit"):
            explain_step(store, run, "fti")
