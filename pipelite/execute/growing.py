"""Drives expanders: nodes that add others to the graph while it runs; and decides on conditions.

Everything here happens on the coordinator's thread. `define.expanders` describes what an expander may ask for.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from pipelite.define import (
    Elements,
    Ended,
    Expander,
    Fan,
    Graph,
    GrowingTrace,
    Item,
    Load,
    Logged,
    Node,
    Output,
    Skip,
    StatusOf,
    Stop,
    described,
    iter_handles,
    read_elements,
)
from pipelite.errors import DefinitionError, FingerprintError, PipeliteError
from pipelite.execute.conditions import describe_end, explain_obstacle, find_unmet
from pipelite.execute.expansion import Expansion, Host
from pipelite.execute.failures import describe_exception
from pipelite.execute.stand_ins import StandIns
from pipelite.execute.state import NodeRun, iter_edges, link
from pipelite.plan import Planner
from pipelite.records import Failure, Status


class Growth:
    """The expanders and conditions of one run."""

    def __init__(self, host: Host, graph: Graph, states: list[NodeRun], planner: Planner) -> None:
        self._host = host
        self._graph = graph
        self._states = states
        self._planner = planner
        self._trace = GrowingTrace(graph)
        self._expansions: dict[int, Expansion] = {}
        #: Whether bodies that are the user's own run: always in one thread, as they may hold what belongs to a thread.
        self.runs_bodies = False
        self._stand_ins = StandIns(lambda node: self.made_by(self._states[node.position]))
        #: Id of the step run at position 0.
        self.first_id = 0
        #: What is to be told to expanders: a step that ended, or what it logged.
        self.pending: deque[tuple[Expansion, NodeRun, tuple[str, Any, int | None] | None, float]] = deque()

    def take_special(self, states: list[NodeRun]) -> list[NodeRun]:
        """Decide on conditions and start expanders among nodes that have nothing to wait for; gives all others."""
        ordinary = []
        for state in states:
            if not state.is_special:
                ordinary.append(state)
            elif self._may_run(state):
                if isinstance(state.node.step, Expander):
                    self._begin(state, state.node.step)
                else:
                    ordinary.append(state)
        return ordinary

    def made_by(self, state: NodeRun) -> list[Node]:
        """The nodes that an expander has added so far."""
        expansion = self._expansions.get(state.node.position)
        return [] if expansion is None else expansion.made

    def tolerates(self, state: NodeRun) -> bool:
        """Whether a failure is only reported to the expander that made the step."""
        expansion = None if state.parent is None else self._expansions.get(state.parent)
        return expansion is not None and expansion.step.tolerates_failures

    def close(self) -> None:
        """End the bodies that are still waiting: the run is over."""
        for expansion in self._expansions.values():
            if not expansion.has_returned:
                expansion.body.close()

    # What comes from steps.

    def hear_end(self, state: NodeRun, duration_s: float) -> None:
        """A step that an expander may listen to has ended."""
        expansion = None if state.parent is None else self._expansions.get(state.parent)
        if expansion is not None and state.node.position in {*expansion.listening, *expansion.waits_for}:
            self.pending.append((expansion, state, None, duration_s))

    def hear_logged(self, state: NodeRun, name: str, value: Any, step: int | None) -> None:
        """A step that an expander may listen to has logged a number or a text."""
        expansion = None if state.parent is None else self._expansions.get(state.parent)
        if expansion is not None and state.node.position in expansion.listening:
            self.pending.append((expansion, state, (name, value, step), 0.0))

    def deliver(self) -> None:
        """Tell expanders what has happened."""
        while self.pending:
            expansion, state, logged, duration_s = self.pending.popleft()
            position = state.node.position
            if expansion.has_returned:
                expansion.waits_for.discard(position)
                self._complete(expansion)
            elif position in expansion.listening:
                if logged is not None:
                    self._tell_logged(expansion, state, logged)
                else:
                    self._tell_end(expansion, state, duration_s)

    def _tell_logged(self, expansion: Expansion, state: NodeRun, logged: tuple[str, Any, int | None]) -> None:
        name, value, step = logged
        expansion.metrics.setdefault(state.node.position, {})[name] = value
        self._host.record(expansion.state, "logged", [state.node.name, name, value, step])
        handle = expansion.listening[state.node.position]
        self._advance(expansion, Logged(handle=handle, name=name, value=value, step=step))

    def _tell_end(self, expansion: Expansion, state: NodeRun, duration_s: float) -> None:
        position = state.node.position
        if state.status is Status.REUSED:
            # It shows what the step run logged that it came from, and so its expander hears the same in every run.
            for logged in self._host.logged_by(state):
                self._tell_logged(expansion, state, logged)
                if position not in expansion.listening:
                    return
        handle = expansion.listening.pop(position)
        expansion.told.add(position)
        failure = state.failure
        event = Ended(
            handle=handle,
            status=state.status,
            error=None if failure is None else f"{failure.type_name}: {failure.message}",
            metrics=expansion.metrics.pop(position, {}),
            duration_s=duration_s,
        )
        self._host.record(expansion.state, "ended", [state.node.name, state.status.value])
        self._advance(expansion, event)

    # Conditions.

    def _may_run(self, state: NodeRun) -> bool:
        """Whether all conditions of a node are met; if not, it has been skipped."""
        obstacle = find_unmet(state.node, self._planner)
        if isinstance(obstacle, Failure):
            self._host.fail(state, obstacle)
        elif obstacle is not None:
            self._host.skip(state, obstacle)
        return obstacle is None

    # The bodies of expanders.

    def _begin(self, state: NodeRun, step: Expander) -> None:
        expansion = self._expansions[state.node.position] = Expansion(state, step)
        if not step.is_transparent:
            self.runs_bodies = True
            self._host.begin(state)
        self._advance(expansion, None)

    def _advance(self, expansion: Expansion, answer: Any) -> None:
        """Let the body go on, until it waits or returns."""
        thrown: BaseException | None = None
        try:
            while True:
                n_before = len(self._graph.nodes)
                with self._trace.inside(expansion.state.node):
                    error, thrown = thrown, None
                    request = expansion.body.send(answer) if error is None else expansion.body.throw(error)
                self._adopt(expansion, n_before)
                if expansion.state.is_final:
                    # What it made could not be added.
                    expansion.has_returned = True
                    expansion.body.close()
                    return
                try:
                    is_answered, answer = self._answer(expansion, request)
                except (PipeliteError, LookupError, TypeError) as exc:
                    thrown, is_answered, answer = exc, True, None
                if not is_answered:
                    return
        except StopIteration as stop:
            # The last calls may stand between the last yield and the return.
            self._adopt(expansion, n_before)
            expansion.has_returned = True
            self._take_returned(expansion, stop.value)
        except Skip as skip:
            expansion.has_returned = True
            self._host.skip(expansion.state, str(skip))
        except Exception as exc:
            # The body may be the user's own: whatever it raises is a failure of this node.
            expansion.has_returned = True
            self._adopt(expansion, n_before)
            if not expansion.state.is_final:
                self._host.fail(expansion.state, describe_exception(exc, skip_files=(__file__,)))

    def _answer(self, expansion: Expansion, request: Any) -> tuple[bool, Any]:
        """What a request is answered with at once; false where it has to wait."""
        if isinstance(request, Load):
            return True, self._planner.load(self._there(request.handle))
        if isinstance(request, Elements):
            return True, self._elements(expansion, request.handle)
        if isinstance(request, Fan):
            n_before = len(self._graph.nodes)
            made = self._trace.fan(
                expansion.state.node, request.step, request.rows, self._stand_ins.resolve_all(dict(request.shared))
            )
            self._adopt(expansion, n_before)
            return True, made
        if isinstance(request, StatusOf):
            return True, self._status_of(request.handle)
        if isinstance(request, Stop):
            state = self._states[request.handle.node.position]
            if state.node not in expansion.made:
                raise DefinitionError(f"an expander can stop only steps that it made, and not {state.node.name!r}")
            self._host.record(expansion.state, "stop", state.node.name)
            self._host.stop_step(state, f"stopped by step {expansion.state.node.name!r}")
            return True, None
        return self._listen(expansion, request)

    def _listen(self, expansion: Expansion, request: Any) -> tuple[bool, Any]:
        for handle in iter_handles(request if request is not None else ()):
            for each in iter_handles(self._stand_ins.resolve_all(handle)):
                self._listen_to(expansion, each)
        if expansion.listening:
            expansion.was_told = False
            return False, None
        if expansion.was_told:
            raise DefinitionError(
                "it waits, but no step that it listens to is under way: an event of None says so, and it should return"
            )
        expansion.was_told = True
        return True, None

    def _listen_to(self, expansion: Expansion, handle: Output) -> None:
        state = self._states[handle.node.position]
        if state.parent != expansion.state.node.position:
            raise DefinitionError(f"an expander can listen only to steps that it made, and not to {state.node.name!r}")
        position = state.node.position
        if position not in expansion.listening and position not in expansion.told:
            expansion.listening[state.node.position] = handle
            if state.is_final:
                self.pending.append((expansion, state, None, 0.0))

    def _there(self, handle: Output) -> Any:
        """The handle, if its step is done."""
        found = self._stand_ins.resolve_all(handle)
        for each in iter_handles(found):
            state = self._states[each.node.position]
            if type(each) is not Item and state.outputs is None:
                raise DefinitionError(
                    f"the output of step {state.node.name!r} is asked for, but the step is {state.status.value}"
                )
        return found

    def _elements(self, expansion: Expansion, handle: Output) -> list[Any]:
        found = self._stand_ins.resolve_all(handle)
        if not isinstance(found, Output):
            return read_elements(expansion.step.name, "an output", found)
        self._there(found)
        try:
            value = self._planner.load(found)
        except (LookupError, TypeError) as exc:
            raise DefinitionError(f"{described(found)} is not there: {type(exc).__name__}: {exc}") from exc
        node, output, path = found.node, found.output, found.path
        elements = read_elements(expansion.step.name, described(handle), value)
        return [Item(node, output, (*path, index), element) for index, element in enumerate(elements)]

    def _status_of(self, handle: Output) -> Status:
        found = [self._states[each.node.position].status for each in iter_handles(self._stand_ins.resolve_all(handle))]
        worst = (Status.FAILED, Status.CANCELED, Status.SKIPPED, Status.RUNNING, Status.PENDING)
        return next((status for status in worst if status in found), Status.COMPLETED)

    def _adopt(self, expansion: Expansion, start: int) -> None:
        """Make new nodes part of the run."""
        made = self._graph.nodes[start:]
        if not made:
            return
        position = expansion.state.node.position
        states = [NodeRun(node, self.first_id + node.position) for node in made]
        self._states.extend(states)
        expansion.made += made
        keeps = expansion.state.needs_outputs or not expansion.step.is_transparent
        listens = not expansion.step.is_transparent
        names: Any = [node.name for node in made] if listens else expansion.state.node.name
        self._host.record(expansion.state, "made", {"first": start, "count": len(made), "names": names})
        try:
            codes = self._planner.add_steps(made)
        except FingerprintError as exc:
            del self._graph.nodes[start:], self._states[start:], expansion.made[-len(made) :]
            self._host.fail(expansion.state, describe_exception(exc))
            return
        last: tuple[Node, ...] = ()
        stands_for_others = False
        for state in states:
            node = state.node
            if listens:
                state.parent = position
            state.is_output = keeps
            if node.upstream is not last:
                last = node.upstream
                stands_for_others = any(each in self._stand_ins for each in last)
            if stands_for_others or (state.is_special and any(each in self._stand_ins for each in node.iter_earlier())):
                self._stand_ins.substitute(node)
        self._host.add(states, codes)
        same: tuple[Node, ...] | None = None
        for state in states:
            node = state.node
            if state.is_special or node.after:
                obstacle = link(state, iter_edges(node), self._states)
            elif node.upstream is same:
                # The rows of one map mostly take the same, and all of it is there.
                obstacle = None
            else:
                obstacle = link(state, [(each, False) for each in node.upstream], self._states)
                same = node.upstream if obstacle is None and not state.waits_for else None
            if node.step.is_expander:
                for upstream in node.upstream:
                    self._states[upstream.position].is_output = True
            if obstacle is not None:
                self._host.skip(state, explain_obstacle(obstacle, node))
            elif not state.waits_for and state.status is Status.PENDING:
                self._host.arrive(state)

    # What expanders return.

    def _take_returned(self, expansion: Expansion, value: Any) -> None:
        state = expansion.state
        if state.is_final:
            return
        value = self._stand_ins.resolve_all(value)
        if expansion.step.is_transparent:
            self._settle(state, value)
            return
        expansion.returned = value
        expansion.waits_for = {
            handle.node.position for handle in iter_handles(value) if not self._states[handle.node.position].is_final
        }
        self._complete(expansion)

    def _complete(self, expansion: Expansion) -> None:
        """A step run of an expander is over when all that its output holds is there."""
        state = expansion.state
        if expansion.waits_for or state.is_final:
            return
        for handle in iter_handles(expansion.returned):
            other = self._states[handle.node.position]
            if not other.lets_go(order_only=False):
                message = f"it returned the output of step {other.node.name!r}, which {describe_end(other.status)}"
                self._host.fail(state, Failure(type_name="DefinitionError", message=message, traceback=""))
                return
        try:
            self._host.complete(state, expansion.returned, time.monotonic() - expansion.started)
        except PipeliteError as exc:
            self._host.fail(state, describe_exception(exc))

    def _settle(self, state: NodeRun, value: Any) -> None:
        """Put what a node stands for in its place, wherever its output is taken."""
        self._stand_ins.settle(state.node, value)
        state.status = Status.COMPLETED
        self._host.settle(state)
        if state.parent is not None:
            self._listen_instead(self._expansions[state.parent], state, value)
        for dependent, _ in state.dependents:
            if dependent.status is Status.PENDING:
                self._relink(dependent)
        if state.is_output:
            self._graph.outputs = {
                name: self._stand_ins.resolve_all(each) for name, each in self._graph.outputs.items()
            }
            self._host.note_outputs()

    def _listen_instead(self, parent: Expansion, state: NodeRun, value: Any) -> None:
        """A map inside an expander: it listens to the steps of the map."""
        for handle in iter_handles(value):
            child = self._states[handle.node.position]
            child.parent = parent.state.node.position
            parent.made.append(child.node)
        if parent.listening.pop(state.node.position, None) is not None:
            for handle in iter_handles(value):
                self._listen_to(parent, handle)
            if not parent.listening:
                self._advance(parent, None)

    def _relink(self, dependent: NodeRun) -> None:
        """Have a node wait for what stands behind a handle, instead of for the node that stood for it."""
        node = dependent.node
        before = dict(iter_edges(node))
        try:
            self._stand_ins.substitute(node)
        except (LookupError, TypeError) as exc:
            message = f"{exc.args[0] if exc.args else exc}"
            self._host.fail(dependent, Failure(type_name=type(exc).__name__, message=message, traceback=""))
            return
        new = [(other, order_only) for other, order_only in iter_edges(node) if other not in before]
        obstacle = link(dependent, new, self._states)
        dependent.waits_for -= 1
        if obstacle is not None:
            self._host.skip(dependent, explain_obstacle(obstacle, node))
        elif not dependent.waits_for:
            self._host.arrive(dependent)
