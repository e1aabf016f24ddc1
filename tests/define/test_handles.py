"""What can be done with the output of a step before there is a value, and what a handle says to the rest."""

from __future__ import annotations

import copy
import os
import pickle
from collections import OrderedDict, defaultdict, namedtuple
from pathlib import Path

import pytest

from pipelite.define import Graph, ListOutput, Output, iter_handles, replace_handles, step, trace
from pipelite.errors import TracingError

Pair = namedtuple("Pair", "left right")


@step
def load(path):
    return path


@step(outputs=("train", "test"))
def split(frame):
    return frame, frame


@step
def merge(parts):
    return parts


def traced(body) -> Graph:
    return trace(body, {}, name="sample")


def refused(body) -> str:
    with pytest.raises(TracingError) as caught:
        traced(body)
    return str(caught.value)


def test_a_call_in_a_body_gives_a_handle_of_its_result():
    graph = traced(lambda: load("a"))
    handle = graph.outputs["result"]
    assert isinstance(handle, Output)
    assert (handle.node.name, handle.output, handle.path) == ("load", "result", ())


def test_several_outputs_are_unpacked_by_position_name_and_in_a_loop():
    seen = []

    def body():
        train, test = both = split("frame")
        seen.extend([train, test, both[0], both[-1], both["test"], *both])
        seen.append(both)

    traced(body)
    assert [handle.output for handle in seen] == ["train", "test", "train", "test", "test", "train", "test", None]


def test_a_handle_can_be_indexed_by_key_and_position():
    graph = traced(lambda: {"x": load("a")["b"][0][("c", 1)], "y": split("f")["train"][None]})
    assert graph.outputs["x"].path == ("b", 0, ("c", 1))
    assert (graph.outputs["y"].output, graph.outputs["y"].path) == ("train", (None,))


def test_a_number_of_numpy_is_an_index_like_any_other():
    numpy = pytest.importorskip("numpy")
    graph = traced(lambda: load("a")[numpy.int64(2)])
    assert graph.outputs["result"].path == (2,)
    assert type(graph.outputs["result"].path[0]) is int


def test_repr_of_a_handle_is_harmless():
    graph = traced(lambda: {"a": load("a")["k"][0], "b": split("f")["test"], "c": load.map([1, 2]), "d": split(1)})
    assert repr(list(graph.outputs.values())) == (
        "[<output load['k'][0]>, <output split.test>, <list of 2 outputs of load-2>, <output split-2>]"
    )


def test_a_handle_can_be_a_key_of_a_dict_and_be_copied():
    def body():
        handle = load("a")
        names = {handle: "a"}
        assert names[handle] == "a"
        assert copy.copy(handle).node is handle.node
        assert not hasattr(handle, "_repr_html_")

    traced(body)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda h: 1 if h else 2, "used as a condition (if, while, and, or, not)"),
        (lambda h: not h, "used as a condition"),
        (lambda h: h and 1, "used as a condition"),
        (lambda h: h == 1, "is compared, but it has no value yet"),
        (lambda h: h != "a", "is compared"),
        (lambda h: 1 < h, "is compared"),  # noqa: SIM300
        (lambda h: max(h, 2), "is compared"),
        (lambda h: h + 1, "used in a calculation"),
        (lambda h: 1 - h, "used in a calculation"),
        (lambda h: sum([h]), "used in a calculation"),
        (lambda h: -h, "used in a calculation"),
        (lambda h: round(h, 2), "used in a calculation"),
        (lambda h: h @ h, "used in a calculation"),
        (lambda h: h & h, "used in a calculation"),
        (lambda h: int(h), "converted to a number"),
        (lambda h: float(h), "converted to a number"),
        (lambda h: range(h), "converted to a number"),
        (lambda h: [0, 1][h], "converted to a number"),
        (lambda h: [2 * x for x in h], "looped over"),
        (lambda h: list(h), "looped over"),
        (lambda h: list(reversed(h)), "looped over"),
        (lambda h: 1 in h, "searched with `in`"),
        (lambda h: len(h), "asked for its length"),
        (lambda h: f"{h}", "turned into text"),
        (lambda h: f"{h:.2f}", "turned into text"),
        (lambda h: "%s" % h, "turned into text"),  # noqa: UP031
        (lambda h: str(h), "turned into text"),
        (lambda h: print(h), "turned into text"),
        (lambda h: h(1), "called like a function"),
        (lambda h: h.shape, "asked for .shape"),
        (lambda h: h.groupby("x").mean(), "asked for .groupby"),
        (lambda h: h.map(load), "That belongs to a step, and the handle is its argument: step.map(...)"),
        (lambda h: open(h), "used as a file path"),  # noqa: SIM115
        (lambda h: Path("a") / h, "used in a calculation"),
        (lambda h: os.fspath(h), "used as a file path"),
        (lambda h: h.__setitem__("x", 1), "changed in place"),
        (lambda h: h.__delitem__("x"), "changed in place"),
        (lambda h: h.__enter__(), "used in `with`"),
        (lambda h: h[0:2], "is indexed with a slice"),
        (lambda h: h[h], "is indexed with the output of step 'load'"),
        (lambda h: h[h["a"] > 1], "is compared"),
        (lambda h: h[[1]], "is indexed with a list"),
        (lambda h: {} if h in ({}, {1}) else None, "is compared"),
    ],
)
def test_what_needs_the_value_is_refused_naming_the_step_and_the_place(use, message):
    text = refused(lambda: use(load("a")))
    assert message in text
    assert "'load' (test_handles.py:" in text


def test_a_refusal_says_what_to_do_instead():
    assert refused(lambda: load("a") > 3).endswith(
        "is compared, but it has no value yet: the pipeline's body runs once, before any step. "
        "Compare inside a step that takes it as an argument."
    )
    assert 'name them: @step(outputs=("a", "b"))' in refused(lambda: [2 * row for row in load("a")])


def test_a_part_and_a_named_output_are_named_in_a_refusal():
    assert refused(lambda: load("a")["k"] + 1).startswith("['k'] of the output of step 'load' (test_handles.py:")
    assert refused(lambda: split("a")["test"] + 1).startswith("output 'test' of step 'split' (test_handles.py:")


def test_numpy_and_pandas_are_refused_too():
    numpy = pytest.importorskip("numpy")
    pandas = pytest.importorskip("pandas")
    for use in (
        lambda h: numpy.mean(h),
        lambda h: numpy.array([h]),
        lambda h: numpy.arange(3) + h,
        lambda h: h + numpy.arange(3),
        lambda h: numpy.float64(2) * h,
        lambda h: pandas.DataFrame(h),
        lambda h: pandas.Series([1, 2]) + h,
    ):
        assert "step 'load'" in refused(lambda use=use: use(load("a")))


def unpack_three():
    _a, _b, _c = split("f")


def unpack_one():
    (_a,) = split("f")


def unpack_single():
    _a, _b = load("f")


def unpack_part():
    _a, _b = split("f")["train"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (unpack_three, "has 2 outputs (train, test), but its call is unpacked into 3 names"),
        (unpack_one, "has 2 outputs (train, test), but its call is unpacked into 1 name"),
        (
            unpack_single,
            'has one output, but its call is unpacked into 2 names; name its outputs: @step(outputs=("a", "b"))',
        ),
        (unpack_part, "is unpacked into 2 names; take the parts by handle[0], handle[1], ..."),
        (lambda: split("f")["tran"], "has no output 'tran'; did you mean 'train'? It has 2 outputs (train, test)"),
        (lambda: split("f")[2], "has no output [2]; it has 2 outputs (train, test)"),
        (lambda: split("f")[None], "has no output [None]"),
    ],
)
def test_wrong_unpacking_names_the_outputs(body, message):
    text = refused(body)
    assert message in text
    assert "(test_handles.py:" in text


def test_after_orders_without_taking_anything():
    def body():
        first, second = load("a"), load("b")
        return second.after(first)

    graph = traced(body)
    first, second = graph.nodes
    assert second.after == [first]
    assert second.upstream == ()
    assert graph.outputs["result"].node is second


def test_after_takes_lists_parts_and_maps_and_counts_each_node_once():
    def body():
        parts = load.map([1, 2])
        other = split("x")
        return merge("x").after(parts, [other["train"], other], other)

    *before, last = traced(body).nodes
    assert last.after == before


def test_a_step_does_not_wait_twice_for_what_it_takes():
    def body():
        first = load("a")
        merge([first]).after(first)

    assert traced(body).nodes[1].after == []


def test_each_element_of_a_map_waits():
    def body():
        first = merge("x")
        load.map([1, 2]).after(first)

    first, *elements = traced(body).nodes
    assert [element.after for element in elements] == [[first], [first]]


def test_a_step_may_wait_for_a_later_one_and_then_stands_behind_it():
    def body():
        first = load("a")
        middle = load("b")
        last = load("c")
        first.after(last)
        return {"first": first, "middle": middle}

    graph = traced(body)
    assert [node.inputs["path"] for node in graph.nodes] == ["b", "c", "a"]
    assert [node.position for node in graph.nodes] == [0, 1, 2]


def wait_for_follower():
    first = load("a")
    second = merge([first])
    first.after(second)


def wait_in_a_ring():
    a, b, c = load("a"), load("b"), load("c")
    a.after(c)
    b.after(a)
    c.after(b)


def wait_for_itself():
    first = load("a")
    first.after(first)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (wait_for_follower, "cannot start after step 'merge' (test_handles.py:"),
        (wait_in_a_ring, "which waits for it; take that .after(...) away"),
        (wait_for_itself, "cannot start after itself"),
        (
            lambda: load("a").after(load),
            ".after(...) takes what step calls return, not a Step; did you mean load(...)?",
        ),
        (lambda: load("a").after(None), ".after(...) takes what step calls return, not a NoneType"),
        (lambda: load("a").after([5]), "not an int"),
    ],
)
def test_an_impossible_order_is_refused(body, message):
    assert message in refused(body)


def test_after_outside_of_a_body_is_refused():
    handle = traced(lambda: load("a")).outputs["result"]
    with pytest.raises(TracingError, match="none is running here"):
        handle.after(handle)


def test_a_list_handle_is_as_long_as_what_was_mapped():
    def body():
        parts = load.map(["a", "b", "c"])
        assert isinstance(parts, ListOutput)
        assert len(parts) == 3
        assert [part.node.name for part in parts] == ["load[0]", "load[1]", "load[2]"]
        assert parts[-1].node.name == "load[2]"
        assert [part.node.name for part in parts[1:]] == ["load[1]", "load[2]"]
        assert [part.node.name for part in reversed(parts)] == ["load[2]", "load[1]", "load[0]"]

    traced(body)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda parts: parts + parts, "the list of outputs of 'load' (test_handles.py:"),
        (lambda parts: 1 if parts else 2, "used as a condition"),
        (lambda parts: parts == [], "is compared"),
        (lambda parts: 1 in parts, "searched with `in`"),
        (lambda parts: parts.append(1), "asked for .append"),
        (lambda parts: parts["train"], "it is a list with one handle per call: [each['train'] for each in handles]"),
        (lambda parts: str(parts), "turned into text"),
    ],
)
def test_a_list_handle_refuses_what_needs_the_values(use, message):
    assert message in refused(lambda: use(load.map([1, 2])))


def test_handles_are_found_in_lists_tuples_and_dicts():
    def body():
        a, b, c = load("a"), load("b"), load.map([1, 2])
        found = list(iter_handles([1, (a, {"x": b}), {"y": [c]}, "text", [1, 2]]))
        assert [each.node.name for each in found] == ["load", "load-2", "load-3[0]", "load-3[1]"]

    traced(body)


def test_handles_are_replaced_in_copies_that_keep_their_type():
    def body():
        a, b = load("a"), load("b")
        nested = [a, (b, 1), {"k": a}, Pair(a, 2), OrderedDict(x=b), defaultdict(list, y=a), load.map([1]), {3}]
        out = replace_handles(nested, lambda handle: handle.node.inputs["path"])
        assert out == ["a", ("b", 1), {"k": "a"}, Pair("a", 2), OrderedDict(x="b"), {"y": "a"}, [1], {3}]
        assert type(out[3]) is Pair
        assert out[5].default_factory is list
        assert nested[0] is a

    traced(body)


def test_a_graph_can_be_pickled():
    graph = traced(lambda: {"x": merge([load("a")])["k"]})
    again = pickle.loads(pickle.dumps(graph))
    assert [node.name for node in again.nodes] == ["load", "merge"]
    assert again.nodes[1].upstream == (again.nodes[0],)
    assert again.nodes[0].place == graph.nodes[0].place
    assert again.outputs["x"].path == ("k",)
