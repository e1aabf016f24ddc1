"""The nodes that expanders add to a graph while it runs: made by step calls, as in a pipeline's body, or in bulk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pipelite.define.context import active
from pipelite.define.graph import Graph, Node
from pipelite.define.handles import PLAIN, Item, Output
from pipelite.define.inputs import take
from pipelite.define.step import Step
from pipelite.define.tracing import Trace
from pipelite.errors import TracingError


class GrowingTrace(Trace):
    """Adds to the nodes of a graph that is running."""

    __slots__ = ("_knows_names",)

    def __init__(self, graph: Graph) -> None:
        self._knows_names = False
        super().__init__(graph.name)
        self.nodes = graph.nodes

    @property
    def has_later(self) -> bool:
        """Never: what is made is ready to start at once."""
        return False

    @has_later.setter
    def has_later(self, value: bool) -> None:
        if value:
            raise TracingError(
                "a step cannot wait for one that is made after it while a pipeline runs; make that first"
            )

    @contextmanager
    def inside(self, expander: Node) -> Iterator[None]:
        """Step calls on this thread make nodes, called after the expander: `search/fit`."""
        if not self._knows_names and not expander.step.is_list:
            self._names.update({node.name.partition("[")[0]: node for node in self.nodes})
            self._knows_names = True
        outer, self.prefix = active.trace, f"{expander.name}/"
        active.trace = self
        try:
            yield
        finally:
            active.trace = outer

    def fan(
        self, expander: Node, step: Step[..., Any], rows: Sequence[tuple[Any, ...]], shared: Mapping[str, Any]
    ) -> list[Output]:
        """A node for each row, called `name[0]`, ... after the expander. Bulk work: a row costs a microsecond or two."""
        if not rows:
            return []
        if step.signature.is_plain and len(rows[0]) <= len(step.signature.positional):
            made = self._fan_plain(expander, step, rows, shared)
        else:
            made = [self._make(step, row, dict(shared), expander.place) for row in rows]
        start, name = len(self.nodes), expander.name
        for index, node in enumerate(made):
            node.position = start + index
            node.name = f"{name}[{index}]"
        self.nodes.extend(made)
        output = step.whole_output
        return [Output(node, output) for node in made]

    def _fan_plain(
        self, expander: Node, step: Step[..., Any], rows: Sequence[tuple[Any, ...]], shared: Mapping[str, Any]
    ) -> list[Node]:
        """Bind and look through once what all rows have in common."""
        template = step.signature.bind(rows[0], dict(shared))
        names = step.signature.positional[: len(rows[0])]
        common: dict[Node, None] = {}
        for name, value in template.items():
            if name not in names:
                template[name] = take(value, common)
        place = expander.place
        uniform: dict[Node, tuple[Node, ...]] = {}
        made = []
        for row in rows:
            inputs = template.copy()
            found: dict[Node, None] = {}
            for name, value in zip(names, row, strict=True):
                kind = type(value)
                if kind is Item or kind is Output:
                    found[value.node] = None
                    inputs[name] = value
                else:
                    inputs[name] = value if kind in PLAIN else take(value, found)
            if len(found) == 1:
                # Most rows take elements of one list: they share one tuple.
                (only,) = found
                upstream = uniform.get(only)
                if upstream is None:
                    upstream = uniform[only] = (only, *(node for node in common if node is not only))
            else:
                upstream = tuple({**found, **common})
            made.append(Node(0, "", step, inputs, upstream, None, place, step.conditions))
        return made
