"""What the coordinator knows of each node while a run goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pipelite.define import Expander, Graph, Node, iter_handles
from pipelite.plan import PlannedNode
from pipelite.records import FINAL, Failure, Status


class NodeRun(PlannedNode):
    """One node of a running graph."""

    __slots__ = (
        "attempts",
        "dependents",
        "earlier_attempts",
        "failure",
        "false_starts",
        "followers",
        "id",
        "is_output",
        "is_special",
        "not_before",
        "parent",
        "status",
        "waits_for",
    )

    def __init__(self, node: Node, id: int) -> None:
        super().__init__(node)
        #: Id of its step run.
        self.id = id
        self.status = Status.PENDING
        #: How many of the nodes before it have not ended.
        self.waits_for = 0
        #: Nodes that wait for it, and whether only for its end and not for its output.
        self.dependents: list[tuple[NodeRun, bool]] = []
        #: Equal nodes of this run: they take its result.
        self.followers: list[NodeRun] | None = None
        #: Whether the pipeline returns one of its outputs, or an expander may give it to steps that it makes.
        self.is_output = False
        #: Whether it is more than a step to be run: it has conditions, or makes other nodes.
        self.is_special = node.step.is_expander or bool(node.conditions)
        #: Position of the expander that listens to it.
        self.parent: int | None = None
        self.attempts = 0
        #: Those before the run was resumed: they do not count towards its retries.
        self.earlier_attempts = 0
        #: How often a worker died that had been sent it and had not started it.
        self.false_starts = 0
        #: Monotonic time before which a retry must not start.
        self.not_before = 0.0
        self.failure: Failure | None = None

    def drop_plan(self) -> None:
        """Its last row is made: give back the memory of what was planned, which is much where there are many steps."""
        self.decision = None
        self.inputs = ""

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def lets_go(self, *, order_only: bool) -> bool:
        """Whether, as it has ended, one that waited for it may run."""
        if order_only:
            return self.status is not Status.FAILED
        return self.status in (Status.COMPLETED, Status.REUSED)

    @property
    def needs_outputs(self) -> bool:
        """Whether anybody in this process looks at its outputs; else they stay the text that the worker sent."""
        return bool(self.dependents) or self.is_output or self.followers is not None


def is_transparent(node: Node) -> bool:
    """Whether a node is no step run of its own, unless it cannot do its part: it stands for others."""
    return isinstance(node.step, Expander) and node.step.is_transparent


def connect(graph: Graph, first_id: int) -> list[NodeRun]:
    """Make the state of each node of a graph, linked as data and order flow."""
    states = [NodeRun(node, first_id + node.position) for node in graph.nodes]
    for state in states:
        node = state.node
        if state.is_special:
            link(state, iter_edges(node), states)
            if node.step.is_expander:
                for upstream in node.upstream:
                    states[upstream.position].is_output = True
            continue
        for upstream in node.upstream:
            states[upstream.position].dependents.append((state, False))
        state.waits_for = len(node.upstream)
        for earlier in node.after:
            if earlier not in node.upstream:
                states[earlier.position].dependents.append((state, True))
                state.waits_for += 1
    return states


def iter_edges(node: Node) -> Iterator[tuple[Node, bool]]:
    """The distinct nodes that a node waits for, and whether only for their end and not for their output."""
    step = node.step
    if isinstance(step, Expander):
        awaited: Iterable[Node] = (handle.node for handle in step.iter_awaited(node.inputs))
        takes_skipped = step.takes_skipped
    else:
        awaited, takes_skipped = node.upstream, False
    edges = dict.fromkeys(awaited, takes_skipped)
    for condition, _ in node.conditions:
        for handle in iter_handles(condition):
            edges[handle.node] = False
    for earlier in node.after:
        edges.setdefault(earlier, True)
    yield from edges.items()


def link(state: NodeRun, edges: Iterable[tuple[Node, bool]], states: Sequence[NodeRun]) -> NodeRun | None:
    """Have a node wait for others; gives the first that has ended in a way that keeps it from running."""
    obstacle = None
    for node, order_only in edges:
        other = states[node.position]
        if not other.is_final:
            other.dependents.append((state, order_only))
            state.waits_for += 1
        elif obstacle is None and not other.lets_go(order_only=order_only):
            obstacle = other
    return obstacle
