"""`step.map(...)` over lists that are known while the pipeline is traced."""

from __future__ import annotations

import pytest

from pipelite.define import ListOutput, Output, step, trace
from pipelite.errors import DefinitionError, TracingError


@step
def load(path):
    return path


@step
def fit(rate, depth=1, train=None):
    return rate, depth, train


@step(outputs=("a", "b"))
def split(x):
    return x, x


def nodes_of(body):
    return trace(body, {}, name="sample").nodes


def test_each_element_is_a_call_and_keywords_go_to_every_call():
    def body():
        fit.map([0.1, 0.2], train=load("x"))

    loaded, *fits = nodes_of(body)
    assert [node.name for node in fits] == ["fit[0]", "fit[1]"]
    assert [node.inputs["rate"] for node in fits] == [0.1, 0.2]
    assert [node.upstream for node in fits] == [(loaded,), (loaded,)]
    assert [node.position for node in fits] == [1, 2]


def test_several_lists_are_zipped():
    nodes = nodes_of(lambda: fit.map([1, 2], range(2), train="t"))
    assert [tuple(node.inputs.values()) for node in nodes] == [(1, 0, "t"), (2, 1, "t")]


def test_the_second_map_of_a_step_has_a_name_of_its_own():
    def body():
        fit.map([1])
        fit.map([2])
        fit(3)

    assert [node.name for node in nodes_of(body)] == ["fit[0]", "fit-2[0]", "fit-3"]


def test_a_map_can_be_mapped_again_and_passed_on():
    def body():
        scores = fit.map(fit.map([1, 2]), train=5)
        fit(scores)

    nodes = nodes_of(body)
    assert [node.upstream for node in nodes[2:4]] == [(nodes[0],), (nodes[1],)]
    assert nodes[4].upstream == (nodes[2], nodes[3])


def test_a_list_of_handles_and_outputs_by_name_can_be_mapped():
    def body():
        parts = split.map([1, 2])
        fit.map([part["a"] for part in parts], [load("x"), 7])

    *_, first, second = nodes_of(body)
    assert (first.inputs["rate"].output, first.inputs["depth"].node.name) == ("a", "load")
    assert second.inputs["depth"] == 7


def test_a_list_of_handles_of_steps_with_several_outputs_has_whole_handles():
    parts = trace(lambda: split.map([1]), {}, name="sample").outputs["result"]
    assert isinstance(parts, ListOutput)
    assert isinstance(parts[0], Output)
    assert parts[0].output is None


def test_an_empty_list_gives_an_empty_list():
    def body():
        assert list(fit.map([])) == []
        assert repr(fit.map([])) == "<list of 0 outputs>"
        fit.map(load.map([]))
        load(load.map([]))

    (node,) = nodes_of(body)
    assert (node.name, node.inputs) == ("load", {"path": []})


def test_arrays_and_views_of_dicts_are_lists_too():
    numpy = pytest.importorskip("numpy")
    rates = {"a": 1, "b": 2}

    def body():
        load.map(numpy.array([1.5, 2.5]))
        load.map(rates.keys())
        load.map(rates.items())

    assert [node.inputs["path"] for node in nodes_of(body)] == [1.5, 2.5, "a", "b", ("a", 1), ("b", 2)]


def test_outside_of_a_pipeline_map_calls_the_function():
    assert fit.map([1, 2], [3, 4], train=5) == [(1, 3, 5), (2, 4, 5)]


def test_a_step_with_a_chosen_name_gives_it_to_the_elements():
    assert [node.name for node in nodes_of(lambda: fit.with_options(name="grid").map([1, 2]))] == ["grid[0]", "grid[1]"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda: fit.map(), "fit.map() maps nothing: its first argument is a list; keywords go to every call"),
        (lambda: fit.map(train=[1]), "fit.map() maps nothing"),
        (lambda: fit.map([1, 2], [3]), "fit.map(...) got lists of 2 and 1 elements; they are zipped"),
        (lambda: fit.map([1, 2], [3], [1, 2, 3]), "got lists of 2, 1 and 3 elements"),
        (lambda: fit.map("abc"), "got the text 'abc', which is not a list; to map one element write ['abc']"),
        (lambda: fit.map(b"abc"), "got the text b'abc'"),
        (lambda: fit.map({"a": 1}), "got a dict; map over list(d.items())"),
        (lambda: fit.map({1, 2}), "got a set, which has no order; map over sorted(...)"),
        (lambda: fit.map(x for x in "ab"), "got a generator, which can be read only once; map over list(...)"),
        (lambda: fit.map(zip([1], [2], strict=True)), "got a zip, which can be read only once"),
        (
            lambda: fit.map(5),
            "got an int, which is not a list; an argument that is the same for every call goes by keyword",
        ),
        (lambda: fit.map(load), "got a Step, which is not a list"),
        (lambda: fit.map([1], rat=2), "step 'fit' (test_mapping.py:"),
    ],
)
def test_what_cannot_be_mapped_says_what_to_do(body, message):
    with pytest.raises(DefinitionError) as caught:
        nodes_of(body)
    assert message in str(caught.value)


def test_a_data_frame_is_not_a_list():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DefinitionError, match="got a DataFrame, which would give its column names"):
        fit.map(pandas.DataFrame({"a": [1]}))


def test_a_map_over_the_output_of_a_step_is_one_node_for_now():
    def body():
        first = fit.map(load("x"), [1, 2], train=load("y"))
        assert repr(first) == "<output fit>"
        fit.map(first)
        load(first)
        load(first[0])

    *_, first, second, whole, item = nodes_of(body)
    assert [node.name for node in (first, second, whole)] == ["fit", "fit-2", "load-3"]
    assert first.step.is_list
    assert [node.name for node in first.upstream] == ["load", "load-2"]
    assert [handle.node.name for handle in first.step.iter_awaited(first.inputs)] == ["load"]
    assert item.inputs["path"].path == (0,)


def test_arguments_of_such_a_map_are_checked_when_it_is_traced():
    with pytest.raises(DefinitionError, match=r"step 'fit' \(test_mapping.py:\d+\) takes no argument 'rat'"):
        nodes_of(lambda: fit.map(load("x"), rat=2))
    with pytest.raises(DefinitionError, match="got the text 'abc'"):
        nodes_of(lambda: fit.map(load("x"), "abc"))


def test_the_list_of_such_a_map_says_what_it_cannot_do():
    with pytest.raises(TracingError, match=r"the list of outputs of 'fit' \(test_mapping.py:\d+\) is indexed with 'a'"):
        nodes_of(lambda: fit.map(load("x"))["a"])
    with pytest.raises(TracingError, match="is cut by a slice"):
        nodes_of(lambda: fit.map(load("x"))[1:])
    with pytest.raises(TracingError, match=r"step\.map\(handle\)"):
        nodes_of(lambda: list(fit.map(load("x"))))
    assert len(nodes_of(lambda: split.map(load("x"))["a"])) == 2


def test_named_outputs_are_no_list_but_can_be_written_as_one():
    with pytest.raises(DefinitionError, match=r"has 2 outputs \(a, b\); map over one of them, or over \[\*handle\]"):
        nodes_of(lambda: fit.map(split(1)))
    assert len(nodes_of(lambda: fit.map([*split(1)]))) == 3
