"""Graphs are plain data: whoever makes one (tracing, a script step, another front end), all that follows is the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs

from pipelite.define.places import RawPlace, format_place

if TYPE_CHECKING:
    from pipelite.define.step import Step


class Node:
    """One step in one graph, with its bound inputs."""

    __slots__ = ("_place", "after", "conditions", "inputs", "name", "position", "step", "upstream")

    #: Place in the list of nodes of its graph, from 0.
    position: int
    #: Unique in its graph: "fit", "fit-2", "fit[0]", "inner/fit".
    name: str
    step: Step[..., Any]
    #: By argument name in the order of the signature, defaults filled in. Handles may stand in lists, tuples, dicts.
    inputs: dict[str, Any]
    #: The distinct nodes whose outputs it takes.
    upstream: tuple[Node, ...]
    #: Nodes that it waits for without taking their outputs.
    after: list[Node]
    #: Handles or truth values, each with what it has to come out as; if one does not, the node is skipped.
    conditions: tuple[tuple[Any, bool], ...]

    def __init__(
        self,
        position: int,
        name: str,
        step: Step[..., Any],
        inputs: dict[str, Any],
        upstream: tuple[Node, ...] = (),
        after: list[Node] | None = None,
        place: RawPlace | str = "",
        conditions: tuple[tuple[Any, bool], ...] = (),
    ) -> None:
        self.position = position
        self.name = name
        self.step = step
        self.inputs = inputs
        self.upstream = upstream
        self.after = [] if after is None else after
        self._place = place
        self.conditions = conditions

    def iter_earlier(self) -> Iterator[Node]:
        """All nodes that it waits for, some perhaps more than once."""
        yield from self.upstream
        yield from self.after
        for condition, _ in self.conditions:
            yield from getattr(condition, "nodes", ())

    @property
    def place(self) -> str:
        """Where the step was called, "flow.py:31"; empty if it was not called in a file."""
        if isinstance(self._place, tuple):
            self._place = format_place(*self._place)
        return self._place

    def __repr__(self) -> str:
        return f"<node {self.name!r}>"

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        # A code object cannot be pickled; its text can.
        state = {name: getattr(self, name) for name in self.__slots__}
        state["_place"] = self.place
        return None, state


@attrs.define(kw_only=True, eq=False)
class Graph:
    """The steps of one pipeline call and what it returns."""

    #: Name of the pipeline.
    name: str
    #: Each node stands behind all those that it waits for.
    nodes: list[Node]
    #: Output name to a handle, or to a nested list or dict of handles.
    outputs: dict[str, Any] = attrs.field(factory=dict)
