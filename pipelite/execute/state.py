"""What the coordinator knows of each node while a run goes on."""

from __future__ import annotations

from pipelite.define import Graph, Node
from pipelite.plan import PlannedNode
from pipelite.records import FINAL, Failure, Status


class NodeRun(PlannedNode):
    """One node of a running graph."""

    __slots__ = (
        "attempts",
        "dependents",
        "earlier_attempts",
        "failure",
        "followers",
        "id",
        "is_output",
        "not_before",
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
        #: Whether the pipeline returns one of its outputs.
        self.is_output = False
        self.attempts = 0
        #: Those before the run was resumed: they do not count towards its retries.
        self.earlier_attempts = 0
        #: Monotonic time before which a retry must not start.
        self.not_before = 0.0
        self.failure: Failure | None = None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def needs_outputs(self) -> bool:
        """Whether anybody in this process looks at its outputs; else they stay the text that the worker sent."""
        return bool(self.dependents) or self.is_output or self.followers is not None


def connect(graph: Graph, first_id: int) -> list[NodeRun]:
    """Make the state of each node of a graph, linked as data and order flow."""
    states = [NodeRun(node, first_id + node.position) for node in graph.nodes]
    for state in states:
        node = state.node
        for upstream in node.upstream:
            states[upstream.position].dependents.append((state, False))
        state.waits_for = len(node.upstream)
        for earlier in node.after:
            if earlier not in node.upstream:
                states[earlier.position].dependents.append((state, True))
                state.waits_for += 1
    return states
