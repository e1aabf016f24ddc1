"""What a run would do now, found out without doing it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from pipelite.execute.conditions import explain_obstacle
from pipelite.execute.coordinator import Coordinator
from pipelite.execute.growing import Growth
from pipelite.execute.state import NodeRun, is_transparent
from pipelite.records import CodeFingerprint, Failure, Status
from pipelite.store import decode_outputs, find_claims

#: What leaves open what the steps behind it would do.
_UNSETTLED = ("compute", "wait", "unknown")


@attrs.frozen(kw_only=True)
class Previewed:
    """One node of a graph that is not run."""

    state: NodeRun
    #: "reuse", "compute", "wait" for another run that is at it, "skip", "fail", or "unknown" where an input is not known
    #: before another step has been computed.
    action: str
    reason: str | None = None
    #: The step that has to be computed first, for "unknown".
    depends_on: str | None = None


def preview(coordinator: Coordinator) -> list[Previewed]:
    """Each node, in the order of the graph; a map over a list that is known already shows its steps."""
    return _Preview(coordinator).look()


class _Preview:
    """Goes through a graph as a coordinator does; what would be computed is taken for done, with outputs unknown."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._states = coordinator.states
        self._planner = coordinator.planner
        self._planner.find_claims = lambda keys: find_claims(coordinator.store, keys)
        self._growth = Growth(self, coordinator.graph, coordinator.states, coordinator.planner)
        self._arrived = deque(state for state in self._states if not state.waits_for)
        #: By position: what was found, and the step whose computed output a node needs.
        self._found: dict[int, Previewed] = {}
        self._unknown: dict[int, str] = {}

    def look(self) -> list[Previewed]:
        while self._arrived:
            batch = list(self._arrived)
            self._arrived.clear()
            known = []
            for state in batch:
                if self._needs_unknown(state):
                    depends_on = self._unknown[state.node.position]
                    self._end(Previewed(state=state, action="unknown", depends_on=depends_on))
                elif state.node.step.is_expander and not is_transparent(state.node):
                    reason = "the steps that it makes are known only when it runs"
                    self._end(Previewed(state=state, action="compute", reason=reason))
                else:
                    known.append(state)
            known = self._growth.take_special(known)
            self._planner.plan(known)
            for state in known:
                self._follow_decision(state)
        return [self._found[state.node.position] for state in self._iter_shown(self._states[: self._n_traced()])]

    def _n_traced(self) -> int:
        """How many nodes there were before any was added."""
        added = {node.position for state in self._states for node in self._growth.made_by(state)}
        return len(self._states) - len(added)

    def _iter_shown(self, states: Iterable[NodeRun]) -> Iterator[NodeRun]:
        for state in states:
            if state.node.position in self._found:
                yield state
            yield from self._iter_shown(self._states[node.position] for node in self._growth.made_by(state))

    def _needs_unknown(self, state: NodeRun) -> bool:
        position = state.node.position
        if position not in self._unknown and getattr(state.node.step, "takes_skipped", False):
            # Whether an alternative is skipped is not known before it has been looked at.
            for node in state.node.upstream:
                found = self._found.get(node.position)
                if found is not None and found.action in _UNSETTLED:
                    self._unknown[position] = node.name
                    break
        return position in self._unknown

    def _follow_decision(self, state: NodeRun) -> None:
        decision = state.decision
        assert decision is not None
        claim = decision.waits_for
        if claim is not None:
            reason = f"run {claim.run_id} is at it, in step {claim.step!r}"
            self._end(Previewed(state=state, action="wait", reason=reason))
            return
        if decision.result is None:
            self._end(Previewed(state=state, action="compute", reason=decision.reason))
            return
        state.outputs, state.form = decode_outputs(decision.result.outputs), decision.result.form
        self._end(Previewed(state=state, action="reuse", reason=decision.reason))

    def _end(self, found: Previewed) -> None:
        state = found.state
        self._found[state.node.position] = found
        state.status = Status.REUSED if found.action == "reuse" else Status.COMPLETED
        for dependent, order_only in state.dependents:
            if found.action != "reuse" and not order_only:
                self._unknown.setdefault(dependent.node.position, state.node.name)
            self._release(dependent)

    def _release(self, dependent: NodeRun) -> None:
        dependent.waits_for -= 1
        if not dependent.waits_for and dependent.status is Status.PENDING:
            self._arrived.append(dependent)

    def _end_without(self, found: Previewed, status: Status) -> None:
        """A node that leaves no output, and what follows from that."""
        waiting = [(found, status)]
        while waiting:
            found, status = waiting.pop()
            state = found.state
            state.status = status
            self._found[state.node.position] = found
            for dependent, order_only in state.dependents:
                if dependent.status is not Status.PENDING:
                    continue
                if state.lets_go(order_only=order_only):
                    self._release(dependent)
                else:
                    reason = explain_obstacle(state, dependent.node)
                    waiting.append((Previewed(state=dependent, action="skip", reason=reason), Status.SKIPPED))

    # What growing asks for.

    def arrive(self, state: NodeRun) -> None:
        self._arrived.append(state)

    def add(self, states: list[NodeRun], codes: list[CodeFingerprint]) -> None:
        for state in states:
            for node in state.node.upstream:
                found = self._found.get(node.position)
                if found is not None and found.action in _UNSETTLED:
                    self._unknown.setdefault(state.node.position, node.name)

    def settle(self, state: NodeRun) -> None:
        """It stands for others, which are shown in its place."""

    def skip(self, state: NodeRun, reason: str) -> None:
        self._end_without(Previewed(state=state, action="skip", reason=reason), Status.SKIPPED)

    def fail(self, state: NodeRun, failure: Failure) -> None:
        self._end_without(Previewed(state=state, action="fail", reason=failure.message), Status.FAILED)

    def begin(self, state: NodeRun) -> None:
        """Not asked for: expanders with a step run of their own are not started here."""

    def complete(self, state: NodeRun, value: Any, duration_s: float) -> None:
        """Not asked for: expanders with a step run of their own are not started here."""

    def stop_step(self, state: NodeRun, reason: str) -> None:
        """Not asked for: expanders with a step run of their own are not started here."""

    def keep(self, state: NodeRun, status: Status) -> None:
        """Not asked for: nothing is resumed here."""

    def record(self, state: NodeRun, kind: str, value: Any) -> None:
        """Nothing is kept."""

    def note_outputs(self) -> None:
        """Nobody asks for them."""

    def logged_by(self, state: NodeRun) -> list[tuple[str, Any, int | None]]:
        return []
