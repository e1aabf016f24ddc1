"""Tracing of a pipeline's body: nodes, their names and inputs, what it may return, and mistakes."""

from __future__ import annotations

import threading
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import attrs
import pytest

from pipelite.define import Output, is_tracing, prefix, step, trace, untraced
from pipelite.errors import DefinitionError, TracingError

Pair = namedtuple("Pair", "left right")


@step
def load(path="a", n=3):
    return f"{path}{n}"


@step
def merge(parts, label="x"):
    return parts


@step(outputs=("train", "test"))
def split(frame):
    return frame, frame


special = load.with_options(name="special")


@dataclass
class Config:
    source: Any


@attrs.define
class Settings:
    source: Any


def traced(body, **arguments):
    return trace(body, arguments, name="sample")


def names(body):
    return [node.name for node in traced(body).nodes]


def refused(body, error=TracingError) -> str:
    with pytest.raises(error) as caught:
        traced(body)
    return str(caught.value)


def test_parameters_are_plain_values_in_the_body():
    def body(path, n):
        assert n + 1 == 6
        for index in range(n):
            load(f"{path}{index}", n)

    graph = trace(body, {"path": "x", "n": 5}, name="sample")
    assert graph.name == "sample"
    assert [node.inputs for node in graph.nodes] == [{"path": f"x{index}", "n": 5} for index in range(5)]


def test_a_node_knows_its_step_inputs_upstream_and_place():
    def body():
        loaded = load("b")
        merge([loaded, {"again": loaded}])

    first, second = traced(body).nodes
    line = body.__code__.co_firstlineno
    assert (first.position, first.step, first.inputs) == (0, load, {"path": "b", "n": 3})
    assert (second.position, second.step, second.upstream) == (1, merge, (first,))
    assert (first.place, second.place) == (f"test_tracing.py:{line + 1}", f"test_tracing.py:{line + 2}")
    assert list(second.inputs) == ["parts", "label"]


def test_upstream_nodes_are_distinct_and_in_order():
    def body():
        a, b = load("a"), load("b")
        train, test = split(b)
        merge([train, a, test], label=b)

    *_, split_node, merge_node = traced(body).nodes
    assert [node.name for node in merge_node.upstream] == ["split", "load", "load-2"]
    assert [node.name for node in split_node.upstream] == ["load-2"]


def test_generated_names_are_made_unique():
    def body():
        load()
        load()
        merge(1)
        load()

    assert names(body) == ["load", "load-2", "merge", "load-3"]


def test_a_generated_name_makes_way_for_a_chosen_one():
    def body():
        load()
        load()
        load.with_options(name="load-2")()
        load.with_options(name="load")()
        load()

    assert names(body) == ["load-4", "load-3", "load-2", "load", "load-5"]


def test_the_name_of_a_map_makes_way_as_a_whole():
    def body():
        load.map([1, 2])
        load.with_options(name="load")()

    assert names(body) == ["load-2[0]", "load-2[1]", "load"]


def test_two_equal_chosen_names_are_an_error_that_names_both_places():
    def body():
        special("a")
        special("b")

    line = body.__code__.co_firstlineno
    assert refused(body, DefinitionError) == (
        f"two steps are named 'special', at test_tracing.py:{line + 1} and test_tracing.py:{line + 2}; "
        "give one of them another name by .with_options(name=...), or leave name= away"
    )


def test_two_different_steps_of_one_chosen_name_are_an_error():
    def body():
        step(lambda: 1, name="same")()
        merge.with_options(name="same").map([1])

    assert "two steps are named 'same', at test_tracing.py:" in refused(body, DefinitionError)


def test_a_chosen_name_in_a_loop_says_what_to_do():
    def body():
        for path in "ab":
            special(path)

    assert "is called more than once at test_tracing.py:" in refused(body, DefinitionError)


def test_a_chosen_name_may_come_back_in_another_inlined_pipeline():
    def body():
        for _ in range(2):
            with prefix("inner"):
                special()
        special()

    assert names(body) == ["inner/special", "inner-2/special", "special"]


def test_inlined_pipelines_prefix_their_nodes():
    seen = []

    def body():
        load()
        with prefix("inner") as name:
            seen.append(name)
            load()
            with prefix("deep") as name:
                seen.append(name)
                load.map([1])
            load()
        with prefix("inner") as name:
            seen.append(name)
            load()
        step(lambda: 1, name="inner")()

    assert names(body) == ["load", "inner/load", "inner/deep/load[0]", "inner/load-2", "inner-2/load", "inner"]
    assert seen == ["inner", "inner/deep", "inner-2"]


def test_a_prefix_ends_with_its_block_also_after_an_error():
    def body():
        with pytest.raises(ZeroDivisionError), prefix("inner"):
            raise ZeroDivisionError
        load()

    assert names(body) == ["load"]


def test_a_prefix_outside_of_a_trace_is_refused():
    with pytest.raises(TracingError, match="pipeline 'inner' is called as part of another one"), prefix("inner"):
        pass


def test_containers_are_kept_as_they_were_at_the_call():
    def body():
        parts, config, seen = [], {"rates": [1]}, {1}
        for path in "ab":
            parts.append(load(path))
            merge(parts, label=(config, seen))
            config["rates"].append(2)
            seen.add(2)

    merges = [node for node in traced(body).nodes if node.step is merge]
    assert [len(node.inputs["parts"]) for node in merges] == [1, 2]
    assert [node.inputs["label"] for node in merges] == [({"rates": [1]}, {1}), ({"rates": [1, 2]}, {1, 2})]
    assert [len(node.upstream) for node in merges] == [1, 2]


def test_a_mapped_list_arrives_as_a_list_of_handles():
    def body():
        merge(load.map(["a", "b"]))
        merge({"models": load.map([1])})

    nodes = traced(body).nodes
    assert isinstance(nodes[2].inputs["parts"], list)
    assert [handle.node for handle in nodes[2].inputs["parts"]] == nodes[:2]
    assert [handle.node for handle in nodes[4].inputs["parts"]["models"]] == [nodes[3]]


def test_handles_stand_in_named_tuples_and_star_arguments_too():
    @step
    def gather(*parts, **named):
        return parts

    def body():
        a, b, c = load("a"), load("b"), load("c")
        gather(a, Pair(b, 1), x=c)

    *loads, node = traced(body).nodes
    assert list(node.upstream) == loads
    assert isinstance(node.inputs["parts"][1], Pair)
    assert isinstance(node.inputs["named"]["x"], Output)


def test_a_big_list_of_numbers_is_taken_as_it_is():
    numbers = list(range(1000))
    (node,) = traced(lambda: merge(numbers)).nodes
    assert node.inputs["parts"] == numbers
    assert node.inputs["parts"] is not numbers


def nested_too_deep():
    ring: list[Any] = [load()]
    ring.append(ring)
    merge(ring)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda: merge(load), "argument 'parts' is the step 'load' itself, not its output; did you mean load(...)?"),
        (lambda: merge([1, {"a": load}]), "did you mean load(...)?"),
        (
            lambda: merge({load()}),
            "argument 'parts' is a set with outputs of steps in it; sets have no order: pass a list",
        ),
        (lambda: merge({load(): 1}), "a dict with the output of a step as a key"),
        (lambda: merge(1, label=Config(load())), "argument 'label' is a Config whose field 'source' holds the output"),
        (lambda: merge([Settings([load()])]), "argument 'parts' is a Settings whose field 'source' holds the output"),
        (nested_too_deep, "nested too deep, or contains itself"),
    ],
)
def test_what_cannot_be_an_argument_is_told_with_step_place_and_name(body, message):
    text = refused(body)
    assert text.startswith("step 'merge' (test_tracing.py:")
    assert message in text


def test_a_pipeline_that_calls_no_step_is_refused():
    assert refused(lambda: None) == (
        "pipeline 'sample' calls no step, so there is nothing to run; call functions with @step in its body"
    )


def test_a_pipeline_may_return_a_dict_a_handle_a_list_handle_or_nothing():
    def several():
        a = load("a")
        return {"a": a, "all": [a, {"b": (load("b"), 1, "text")}], "list": load.map([1, 2])}

    outputs = traced(several).outputs
    assert list(outputs) == ["a", "all", "list"]
    assert outputs["all"][1]["b"][1:] == (1, "text")
    assert list(traced(lambda: load()).outputs) == ["result"]
    assert len(traced(lambda: load.map([1, 2])).outputs["result"]) == 2

    def nothing():
        load()

    assert traced(nothing).outputs == {}


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            lambda: (load(), load()),
            "pipeline 'sample' returned a tuple of 2, which gives its parts no names; return a dict",
        ),
        (lambda: [load()], "pipeline 'sample' returned [<output load>] (list); return a dict"),
        (lambda: load() and 5, "used as a condition"),
        (
            lambda: (load(), 5)[1],
            "pipeline 'sample' returned 5 (int); return a dict of names and what step calls returned",
        ),
        (lambda: (load(), load.func)[1], "(function); return a dict"),
        (lambda: (load(), merge)[1], "returned the step 'merge' itself (did you mean merge(...)?)"),
        (lambda: {"a": load(), "rate": 0.1}, "output 'rate' is 0.1 (float), and not what a step call returned"),
        (lambda: {"a": load(), "b": merge}, "output 'b' is the step 'merge' itself (did you mean merge(...)?)"),
        (lambda: {"a": [load(), object]}, "output 'a' holds <class 'object'> (type) among outputs of steps"),
        (lambda: {1: load()}, "returned a dict with the key 1"),
        (lambda: {"": load()}, "returned a dict with the key ''"),
    ],
)
def test_what_a_pipeline_may_not_return_is_told(returned, message):
    assert message in refused(returned)


def test_a_handle_of_another_trace_is_refused_wherever_it_comes_up():
    leaked = traced(lambda: load()).outputs["result"]

    for body in (
        lambda: merge(leaked),
        lambda: merge([{"x": leaked}]),
        lambda: merge.map([leaked]),
        lambda: load().after(leaked),
        lambda: leaked.after(load()),
        lambda: {"a": [load(), leaked]},
    ):
        text = refused(body)
        assert text.startswith("the output of step 'load' (test_tracing.py:")
        assert "made by another call of a pipeline and is used in 'sample'" in text
        assert "call the step here" in text


def test_an_error_of_the_body_comes_out_as_it_is_and_ends_the_trace():
    with pytest.raises(ZeroDivisionError):
        traced(lambda: [load(), 1 / 0])

    assert not is_tracing()
    assert load("a") == "a3"


def test_a_trace_inside_a_trace_is_one_of_its_own():
    inner = []

    def body():
        load("outer")
        inner.append(traced(lambda: load("inner")))
        load("outer")

    assert names(body) == ["load", "load-2"]
    assert [node.inputs["path"] for node in inner[0].nodes] == ["inner"]


def test_steps_called_untraced_run_at_once():
    seen = []

    def body():
        assert is_tracing()
        with untraced():
            assert not is_tracing()
            seen.append(load("a"))
        load("b")

    assert names(body) == ["load"]
    assert seen == ["a3"]


def test_another_thread_does_not_trace():
    seen = []

    def body():
        thread = threading.Thread(target=lambda: seen.append(load("a")))
        thread.start()
        thread.join()
        load("b")

    assert names(body) == ["load"]
    assert seen == ["a3"]


def test_the_place_is_the_line_of_the_call_in_a_body_of_many_lines():
    source = "def body():\n" + "".join(f"    load({index})\n" for index in range(300))
    space = {"load": load}
    exec(compile(source, "/some/where/flow.py", "exec"), space)

    assert [node.place for node in traced(space["body"]).nodes] == [f"flow.py:{index + 2}" for index in range(300)]


def test_a_call_in_a_notebook_cell_says_so():
    space = {"load": load}
    exec(compile("def body():\n    load()\n", "/tmp/ipykernel_17/123.py", "exec"), space)

    assert traced(space["body"]).nodes[0].place == "notebook cell:2"
