"""Bodies of expanders, driven without running anything."""

from __future__ import annotations

import pickle

import pytest

from pipelite.define import Ended, Expander, Fan, Graph, GrowingTrace, Load, MapStep, Node, StatusOf, Stop, step, trace
from pipelite.errors import DefinitionError, TracingError


@step
def double(x, by=2):
    return x * by


def search(numbers):
    results = []
    made = yield Fan(double, [(number,) for number in (yield Load(numbers))], {"by": 3})
    while isinstance(event := (yield made), Ended):
        results.append((yield Load(event.handle)))
        made = []
    yield Stop(numbers)
    assert (yield StatusOf(numbers)) == "completed"
    return results


def test_outside_of_a_pipeline_a_body_runs_its_steps_as_functions():
    assert Expander(search, name="search")([1, 2]) == [3, 6]


def test_an_expander_is_a_node_whose_output_can_be_taken():
    found = Expander(search, name="search", steps=(double,))

    first, second = trace(lambda: double(found([1, 2])), {}, name="sample").nodes

    assert (first.name, second.upstream) == ("search", (first,))
    assert list(first.step.iter_awaited(first.inputs)) == []
    assert found.with_options(name="other").steps == (double,)


def test_steps_called_while_it_runs_are_named_after_it():
    graph = trace(lambda: {"a": Expander(search, name="search")([1]), "b": double(1)}, {}, name="sample")
    growing = GrowingTrace(graph)

    with growing.inside(graph.nodes[0]):
        made = [double(1), double(2), double.with_options(name="trial")(3)]
        with pytest.raises(DefinitionError, match=r"named 'search/trial'|'search/trial' is called more than once"):
            double.with_options(name="trial")(4)
        with pytest.raises(TracingError, match="cannot wait for one that is made after it"):
            made[0].after(made[1])

    assert [handle.node.name for handle in made] == ["search/double", "search/double-2", "search/trial"]
    assert [node.position for node in graph.nodes] == list(range(len(graph.nodes)))


def test_a_fan_binds_arguments_as_calls_do():
    graph = Graph(name="sample", nodes=[])
    expander = Node(0, "grid", MapStep(double), {})
    growing = GrowingTrace(graph)

    handles = growing.fan(expander, double, [(1,), (2,)], {"by": [5]})

    assert [handle.node.name for handle in handles] == ["grid[0]", "grid[1]"]
    assert [handle.node.inputs for handle in handles] == [{"x": 1, "by": [5]}, {"x": 2, "by": [5]}]
    assert growing.fan(expander, double, [], {}) == []


def test_a_fan_of_a_step_with_any_number_of_arguments():
    @step
    def add(*numbers, scale=1):
        return sum(numbers) * scale

    growing = GrowingTrace(Graph(name="sample", nodes=[]))

    (handle,) = growing.fan(Node(0, "add", MapStep(add), {}), add, [(1, 2)], {"scale": 3})

    assert handle.node.inputs == {"numbers": (1, 2), "scale": 3}


def test_a_map_and_an_expander_can_be_pickled():
    assert pickle.loads(pickle.dumps(MapStep(double))).base.func is double.func
    assert pickle.loads(pickle.dumps(Expander(search, name="s", tolerates_failures=True))).tolerates_failures
