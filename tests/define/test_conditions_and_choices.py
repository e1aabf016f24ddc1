"""`.when`, `.unless` and `first_of` while a pipeline is traced, and outside of one."""

from __future__ import annotations

import pytest

from pipelite import first_of, step
from pipelite.define import Output, trace
from pipelite.errors import DefinitionError, TracingError


@step
def check(x):
    return x > 1


@step
def alarm(x, level=1):
    return f"{x} at {level}"


class Gauge:
    def __init__(self, limit):
        self.limit = limit

    @step
    def exceeds(self, x):
        return x > self.limit


def nodes_of(body):
    return trace(body, {}, name="sample").nodes


def test_a_condition_is_waited_for_and_is_no_input():
    checked, alarmed = nodes_of(lambda: alarm.when(check(1))(5))

    assert alarmed.upstream == ()
    assert [(condition.node, expected) for condition, expected in alarmed.conditions] == [(checked, True)]
    assert set(alarmed.iter_earlier()) == {checked}
    assert alarmed.inputs == {"x": 5, "level": 1}


def test_conditions_add_up_and_go_with_other_options():
    def body():
        alarm.when(check(1)).unless(check(2)).with_options(name="siren")(5)

    *_, node = nodes_of(body)
    assert node.name == "siren"
    assert [expected for _, expected in node.conditions] == [True, False]


def test_the_step_itself_stays_without_condition():
    def body():
        alarm.when(False)(1)
        alarm(2)

    assert [node.conditions for node in nodes_of(body)] == [((False, True),), ()]


def test_each_call_of_a_map_has_the_condition():
    *_, first, second = nodes_of(lambda: alarm.when(check(1)).map([1, 2]))
    assert first.conditions == second.conditions != ()


def test_a_step_of_a_class_takes_conditions_too():
    *_, node = nodes_of(lambda: Gauge(3).exceeds.when(check(1))(5))
    assert len(node.conditions) == 1
    assert Gauge(3).exceeds.when(True)(5) is True


def test_outside_of_a_pipeline_a_condition_decides_at_once():
    assert alarm.when(check(5))(1) == "1 at 1"
    assert alarm.unless(check(5))(1) is None
    assert alarm.when([])(1) is None
    assert alarm.unless(0).map([1, 2], level=3) == ["1 at 3", "2 at 3"]
    assert first_of(None, "b", "c") == "b"


def test_a_choice_is_a_handle_like_any_other():
    def body():
        chosen = first_of(alarm.when(check(1))(1), alarm.unless(check(1))(2))
        assert isinstance(chosen, Output)
        alarm(chosen)

    names = [node.name for node in nodes_of(body)]
    assert names == ["check", "alarm", "check-2", "alarm-2", "first_of", "alarm-3"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            lambda: alarm.when(1)(2),
            "step 'alarm': .when(...) got an int, and not the output of a step, or True or False",
        ),
        (lambda: alarm.unless("yes")(2), "step 'alarm': .unless(...) got a str, and not the output of a step"),
        (lambda: alarm.when(check.map([1, 2]))(2), "which is many conditions; decide in a step that takes the list"),
        (lambda: first_of(), "first_of() is given nothing"),
        (lambda: first_of(alarm(1), 5), "first_of(...) got an int; it takes the outputs of several steps"),
    ],
)
def test_what_is_no_condition_or_alternative_says_what_is(body, message):
    with pytest.raises(DefinitionError) as caught:
        nodes_of(body)
    assert message in str(caught.value)


def test_a_condition_of_another_pipeline_is_refused():
    kept = []
    trace(lambda: kept.append(check(1)), {}, name="other")
    with pytest.raises(TracingError, match="made by another call of a pipeline"):
        nodes_of(lambda: (alarm(1), alarm.when(kept[0])(1)))


def test_a_handle_in_an_if_names_when():
    with pytest.raises(TracingError, match=r"step\.when\(handle\)"):
        nodes_of(lambda: 1 if check(1) else 2)
    with pytest.raises(TracingError, match=r"step\.map\(handle\)"):
        nodes_of(lambda: list(check(1)))
