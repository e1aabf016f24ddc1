"""What the expanders of a run made, were told and stopped before the run was interrupted, and where their steps stood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import attrs

from pipelite.define import Node
from pipelite.execute.resuming import Resumption
from pipelite.execute.state import NodeRun
from pipelite.records import GrowthRecord, Status

T = TypeVar("T")

#: Names that a sentence shows of many.
_SHOWN = 3


class News(NamedTuple):
    """Something to tell an expander: a step ended, or it logged a number or a text."""

    state: NodeRun
    #: Name, value and step number; None for the end.
    logged: tuple[str, Any, int | None] | None = None
    duration_s: float = 0.0


@attrs.define(eq=False)
class Replay:
    """One expander on its way through its log."""

    entries: Sequence[GrowthRecord]
    #: How many of them it is through.
    n_done: int = 0
    #: Steps that it made and that were not done before, by position: they start after the replay.
    held: dict[int, NodeRun] = attrs.field(factory=dict)
    #: What happened meanwhile.
    waiting: list[News] = attrs.field(factory=list)
    #: A request whose answer is not yet what it was.
    parked: Any = None

    @property
    def next(self) -> GrowthRecord | None:
        """What it did, or was told, at this point."""
        return self.entries[self.n_done] if self.n_done < len(self.entries) else None

    def takes(self, kind: str, value: Any) -> bool:
        """Whether it has done the same again; then it is through that."""
        entry = self.next
        if entry is None or (entry.kind, entry.value) != (kind, value):
            return False
        self.n_done += 1
        return True

    def takes_made(self, names: list[str]) -> bool:
        """Whether it has made the same steps again; in the log they may stand in several blocks."""
        found: list[str] = []
        n_done = self.n_done
        while len(found) < len(names) and n_done < len(self.entries) and self.entries[n_done].kind == "made":
            found += self.entries[n_done].value["names"]
            n_done += 1
        if found != names:
            return False
        self.n_done = n_done
        return True


class EarlierGrowth:
    """What the expanders of a run did before it was interrupted."""

    def __init__(self, growth: Iterable[GrowthRecord], resumption: Resumption, n_logged: Mapping[int, int]) -> None:
        self._resumption = resumption
        #: How many numbers and texts each step had logged, by position.
        self._n_logged = n_logged
        self._logs: dict[int, list[GrowthRecord]] = {}
        #: Where steps were: those of a map in a row of places, others by name.
        self._rows: dict[int, list[int]] = {}
        self._places: dict[str, int] = {}
        #: The first place that nothing has ever had.
        self.end = 0
        for entry in growth:
            self._read(entry)

    def _read(self, entry: GrowthRecord) -> None:
        log = self._logs.setdefault(entry.position, [])
        if entry.kind == "cut":
            del log[entry.value :]
            return
        if entry.kind != "made":
            log.append(entry)
            return
        first, count, names = entry.value["first"], entry.value["count"], entry.value["names"]
        self.end = max(self.end, first + count)
        if isinstance(names, str):
            self._rows.setdefault(entry.position, []).extend(range(first, first + count))
        else:
            log.append(entry)
            self._places.update(zip(names, range(first, first + count), strict=True))

    def start(self, position: int) -> Replay | None:
        """What the expander at a position is to be driven through; None if that is nothing."""
        entries = self._logs.get(position)
        return Replay(entries) if entries else None

    def place(self, made: Sequence[Node], nodes: list[Node], *, map_at: int | None, n_before: int) -> list[Node]:
        """Give nodes at the end of a list the places that they had before, and new ones to the others.

        `map_at` is the position of the map that made them, if it is one, and `n_before` how many it had made already.
        Returns those that had no place.
        """
        row = [] if map_at is None else self._rows.get(map_at, [])[n_before:]
        del nodes[len(nodes) - len(made) :]
        fresh = []
        for index, node in enumerate(made):
            if map_at is None:
                place = self._places.get(node.name)
            else:
                place = row[index] if index < len(row) else None
            if place is None:
                node.position = len(nodes)
                nodes.append(node)
                fresh.append(node)
            else:
                node.position = place
                nodes[place] = node
        return fresh

    def describe(self, entry: GrowthRecord) -> str:
        """What an expander did or was told, in words."""
        if entry.kind == "made":
            names = entry.value["names"]
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            return f"it made {', '.join(repr(name) for name in names[:_SHOWN])}{more}"
        if entry.kind == "status":
            return f"it was told that a step is {entry.value}"
        if entry.kind == "stop":
            return f"it stopped {self._resumption.describe(entry.value)}"
        step = self._resumption.describe(entry.value[0])
        told = f"logged {entry.value[1]!r}" if entry.kind == "logged" else f"ended as {entry.value[1]}"
        return f"it was told that {step} had {told}"

    # What steps were.

    def was_planned(self, state: NodeRun) -> bool:
        """Whether a step had got as far as to have a key."""
        return self._resumption.key_of(state) is not None

    def was(self, state: NodeRun, status: Status) -> bool:
        """Whether a planned step had ended in this way, under the key that it has now."""
        return self._resumption.status_of(state) is status and self._resumption.is_same(state)

    def is_same(self, state: NodeRun) -> bool:
        """Whether a planned step has the name and the key that it had."""
        return self._resumption.is_same(state)

    def was_done(self, state: NodeRun) -> bool:
        """Whether a step that has ended has not been run since."""
        return self._resumption.was_done(state)

    def duration_of(self, state: NodeRun) -> float:
        """Seconds that a done step had taken."""
        return self._resumption.duration_of(state)

    def n_logged(self, state: NodeRun) -> int:
        """How many numbers and texts a step had logged."""
        return self._n_logged.get(state.node.position, 0)


def in_blocks(nodes: Iterable[Node]) -> list[list[Node]]:
    """Nodes that stand next to each other in the graph, together."""
    blocks: list[list[Node]] = []
    for node in nodes:
        if blocks and node.position == blocks[-1][-1].position + 1:
            blocks[-1].append(node)
        else:
            blocks.append([node])
    return blocks


def without(logged: Iterable[T], heard: Iterable[T]) -> list[T]:
    """What a step logged after the last that was heard of it; some of what came before may never have been heard."""
    rest = iter(logged)
    for told in heard:
        for each in rest:
            if each == told:
                break
    return list(rest)
