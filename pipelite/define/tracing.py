"""Running a pipeline's body once to learn its graph: parameters are plain values, step calls become nodes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pipelite._garbage import collector_paused
from pipelite.define.context import active
from pipelite.define.fanning import MapStep
from pipelite.define.graph import Graph, Node
from pipelite.define.handles import PLAIN, Item, ListOutput, Output
from pipelite.define.inputs import InputError, take
from pipelite.define.mapping import read_columns
from pipelite.define.outputs import read_outputs
from pipelite.define.places import RawPlace, format_place
from pipelite.define.signatures import BindError
from pipelite.define.step import Step
from pipelite.define.wording import followed_by
from pipelite.errors import DefinitionError, TracingError


def trace(func: Callable[..., Any], arguments: Mapping[str, Any], *, name: str) -> Graph:
    """The graph of one call of a pipeline.

    Raises
    ------
    TracingError
        If the body calls no step, treats a handle as a value, or returns something that is no output.
    DefinitionError
        If it calls a step with wrong arguments, or gives two steps one name.
    """
    traced = Trace(name)
    outer = active.trace
    active.trace = traced
    try:
        with collector_paused():
            returned = func(**arguments)
    finally:
        active.trace = outer
    if not traced.nodes:
        raise TracingError(
            f"pipeline {name!r} calls no step, so there is nothing to run; call functions with @step in its body"
        )
    outputs = read_outputs(returned, pipeline=name, check_own=traced.check_own)
    nodes = _in_order(traced.nodes) if traced.has_later else traced.nodes
    return Graph(name=name, nodes=nodes, outputs=outputs)


def is_tracing() -> bool:
    """Whether the body of a pipeline is running on this thread."""
    return active.trace is not None


@contextmanager
def untraced() -> Iterator[None]:
    """Step calls in here are calls of their functions, also if a pipeline's body is running around it."""
    outer = active.trace
    active.trace = None
    try:
        yield
    finally:
        active.trace = outer


@contextmanager
def prefix(name: str) -> Iterator[str]:
    """Nodes made in here are called `name/...`: the body of a pipeline that is called inside another one.

    Gives the name as it came out: `inner-2` for the second call of a pipeline `inner`.
    """
    traced = active.trace
    if not isinstance(traced, Trace):
        raise TracingError(f"pipeline {name!r} is called as part of another one, but none is being traced here")
    outer = traced.prefix
    unique = traced.claim_prefix(outer + name)
    traced.prefix = f"{unique}/"
    try:
        yield unique
    finally:
        traced.prefix = outer


class Trace:
    """The nodes made so far while a pipeline's body runs, and their names."""

    __slots__ = ("_counts", "_names", "has_later", "name", "nodes", "prefix")

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Node] = []
        self.prefix = ""
        self.has_later = False
        #: Name without [0] to the nodes that bear it: one, or those of a map. A prefix "inner/" bears none.
        self._names: dict[str, Node | list[Node]] = {}
        #: Last number that was given to a name.
        self._counts: dict[str, int] = {}

    def add(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], caller: FrameType) -> Output:
        """A node for one call of a step, and the handle of its output."""
        node = self._make(step, args, kwargs, (caller.f_code, caller.f_lasti))
        name = self.prefix + step.name if self.prefix else step.name
        if name in self._names:
            name = self._resolve(name, step, node)
        node.name = name
        self._names[name] = node
        self.nodes.append(node)
        return Output(node, step.whole_output)

    def add_map(
        self, step: Step[..., Any], rows: Sequence[tuple[Any, ...]], shared: dict[str, Any], caller: FrameType
    ) -> ListOutput:
        """A node for each row of arguments, and the handle of their list."""
        name = self.prefix + step.name
        made: list[Node] = []
        start = len(self.nodes)
        place = (caller.f_code, caller.f_lasti)
        for row in rows:
            node = self._make(step, row, shared, place)
            node.position = start + len(made)
            made.append(node)
        if made and name in self._names:
            name = self._resolve(name, step, made[0])
        for index, node in enumerate(made):
            node.name = f"{name}[{index}]"
        if made:
            self._names[name] = made
        self.nodes.extend(made)
        output = step.whole_output
        return ListOutput([Output(node, output) for node in made])

    def add_growing_map(
        self,
        step: Step[..., Any],
        lists: tuple[Any, ...],
        shared: dict[str, Any],
        caller: FrameType,
        first: tuple[Any, ...] = (),
    ) -> Output:
        """One node for a map whose length is not known yet, and the handle of its list."""
        columns = read_columns(step.name, lists)
        # Arguments that the step does not take are met here, and not when the list is there.
        self._make(step, (*first, *columns), shared, (caller.f_code, caller.f_lasti))
        return self.add(MapStep(step), (columns, shared, first), {}, caller)

    def check_own(self, node: Node) -> None:
        """Refuse what another call of a pipeline made."""
        if not (node.position < len(self.nodes) and self.nodes[node.position] is node):
            raise TracingError(_not_own(node, self.name))

    def claim_prefix(self, name: str) -> str:
        """The name, or name-2, name-3, ... if another pipeline was inlined under it."""
        unique = self._numbered(name, "/") if f"{name}/" in self._names else name
        self._names[f"{unique}/"] = []
        return unique

    def _make(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], place: RawPlace | str) -> Node:
        """A node that has everything but its name."""
        found: dict[Node, None] = {}
        name = ""
        try:
            inputs = step.signature.bind(args, kwargs)
            for name, value in inputs.items():
                kind = type(value)
                if kind is Output or kind is Item:
                    found[value.node] = None
                elif kind not in PLAIN:
                    inputs[name] = take(value, found)
            nodes = self.nodes
            if step.conditions:
                self._check_conditions(step)
            for node in found:
                if node.position >= len(nodes) or nodes[node.position] is not node:
                    raise TracingError(_not_own(node, self.name))
        except BindError as exc:
            where = place if isinstance(place, str) else format_place(*place)
            takes = f"{step.name}{step.signature}"
            message = followed_by(f"step {step.name!r} ({where}) {exc}", f"it takes {takes}")
            raise DefinitionError(message, step=step.name) from None
        except InputError as exc:
            where = place if isinstance(place, str) else format_place(*place)
            raise TracingError(f"step {step.name!r} ({where}): argument {name!r} {exc}", step=step.name) from None
        return Node(len(self.nodes), "", step, inputs, tuple(found), None, place, step.conditions)

    def _check_conditions(self, step: Step[..., Any]) -> None:
        for condition, _ in step.conditions:
            for node in getattr(condition, "nodes", ()):
                self.check_own(node)

    def _resolve(self, name: str, step: Step[..., Any], node: Node) -> str:
        """What a node is called whose name is taken: a generated name makes way for one that the user chose."""
        bearer = self._names[name]
        bearers = bearer if isinstance(bearer, list) else [bearer]
        if not step.is_named:
            return self._numbered(name)
        first = bearers[0]
        if first.step.is_named:
            raise DefinitionError(_named_twice(name, first.place, node.place), step=name)
        scope, slash, _ = name.rpartition("/")
        other = self._numbered(scope + slash + first.step.name)
        for each in bearers:
            each.name = other + each.name[len(name) :]
        self._names[other] = bearer
        return name

    def _numbered(self, name: str, ending: str = "") -> str:
        number = self._counts.get(name + ending, 1) + 1
        while f"{name}-{number}{ending}" in self._names:
            number += 1
        self._counts[name + ending] = number
        return f"{name}-{number}"


def _named_twice(name: str, first: str, second: str) -> str:
    if first == second:
        return (
            f"step {name!r} is called more than once at {first}, and with name= its name is given by you: "
            "leave name= away, and the calls are numbered, or use .map(...) over a list"
        )
    return (
        f"two steps are named {name!r}, at {first} and {second}; "
        "give one of them another name by .with_options(name=...), or leave name= away"
    )


def _not_own(node: Node, name: str) -> str:
    place = f" ({node.place})" if node.place else ""
    return (
        f"the output of step {node.name!r}{place} was made by another call of a pipeline and is used in {name!r}; "
        "a handle lives as long as the body that made it: call the step here"
    )


def _in_order(nodes: list[Node]) -> list[Node]:
    """The nodes, each behind all that it waits for, else as they were made."""
    n_waits = {node: len({*node.iter_earlier()}) for node in nodes}
    followers: dict[Node, list[Node]] = {node: [] for node in nodes}
    for node in nodes:
        for other in {*node.iter_earlier()}:
            followers[other].append(node)
    ready = [(node.position, node) for node in nodes if not n_waits[node]]
    ordered: list[Node] = []
    while ready:
        _, node = heapq.heappop(ready)
        ordered.append(node)
        for follower in followers[node]:
            n_waits[follower] -= 1
            if not n_waits[follower]:
                heapq.heappush(ready, (follower.position, follower))
    for position, node in enumerate(ordered):
        node.position = position
    return ordered
