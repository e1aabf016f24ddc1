"""Nodes that only stand for others, such as a map: what they stand for is put in their place wherever they are used.

Nothing that follows knows of them: keys, lineage and what workers are sent are those of a graph written out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pipelite.define import Node, Output, described, iter_handles, replace_handles


class StandIns:
    """What is known so far of the nodes of one graph that stand for others."""

    def __init__(self, made_by: Callable[[Node], Sequence[Node]]) -> None:
        self._made_by = made_by
        self._known: dict[Node, Any] = {}

    def settle(self, node: Node, value: Any) -> None:
        """A node stands for this."""
        self._known[node] = value

    def __contains__(self, node: Node) -> bool:
        return node in self._known

    def substitute(self, node: Node) -> None:
        """Put what they stand for into all that a node takes and waits for.

        Raises
        ------
        LookupError, TypeError
            If it takes an element that is not there.
        """
        node.inputs = {name: self.resolve_all(value) for name, value in node.inputs.items()}
        node.conditions = tuple((self.resolve_all(condition), expected) for condition, expected in node.conditions)
        node.after = list(dict.fromkeys(self._iter_behind(node.after)))
        found = dict.fromkeys(handle.node for value in node.inputs.values() for handle in iter_handles(value))
        node.upstream = tuple(found)

    def _iter_behind(self, nodes: Iterable[Node]) -> Iterator[Node]:
        for node in nodes:
            if node not in self._known:
                yield node
            elif self._made_by(node):
                yield from self._iter_behind(self._made_by(node))
            else:
                yield from self._iter_behind(handle.node for handle in iter_handles(self._known[node]))

    def resolve_all(self, value: Any) -> Any:
        """The value with what stands behind each handle; the same object where nothing does."""
        if isinstance(value, Output):
            return self._resolve(value)
        if not self._known or all(handle.node not in self._known for handle in iter_handles(value)):
            return value
        return replace_handles(value, self._resolve)

    def _resolve(self, handle: Output) -> Any:
        if handle.node not in self._known:
            return handle
        value = self._known[handle.node]
        for part in handle.path:
            value = _look_up(value, part, handle)
        return value


def _look_up(value: Any, part: Any, handle: Output) -> Any:
    if isinstance(value, list) and isinstance(part, str):
        return [each[part] for each in value]
    try:
        return value[part]
    except LookupError:
        raise IndexError(
            f"{described(Output(handle.node, handle.output))} came out with {len(value)} elements, so it has no [{part!r}]"
        ) from None
