"""Drives expanders: nodes that add others to the graph while it runs; and decides on conditions.

Everything here happens on the coordinator's thread. `define.expanders` describes what an expander may ask for.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from pipelite.clock import CLOCK
from pipelite.define import (
    Elements,
    Expander,
    Fan,
    Graph,
    GrowingTrace,
    Item,
    Load,
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
from pipelite.execute.earlier_growth import EarlierGrowth, News, in_blocks, without
from pipelite.execute.expansion import Expansion, Host
from pipelite.execute.failures import describe_exception
from pipelite.execute.replaying import Replays
from pipelite.execute.stand_ins import StandIns
from pipelite.execute.state import NodeRun, is_transparent, iter_edges, link
from pipelite.plan import Planner
from pipelite.records import FINAL, Failure, GrowthRecord, Status


class Growth:
    """The expanders and conditions of one run."""

    def __init__(self, host: Host, graph: Graph, states: list[NodeRun], planner: Planner) -> None:
        self._host = host
        self._graph = graph
        self._states = states
        self._planner = planner
        self._trace = GrowingTrace(graph)
        self._expansions: dict[int, Expansion] = {}
        #: Whether there are bodies that may be the user's own: always in one thread, as they may hold what belongs to one.
        self.has_bodies = _have_bodies(states)
        self._stand_ins = StandIns(lambda node: self.made_by(self._states[node.position]))
        #: Id of the step run at position 0.
        self.first_id = 0
        #: What is to be told to expanders.
        self.pending: deque[tuple[Expansion, News]] = deque()
        #: What they did before, if the run goes on from there.
        self._earlier: EarlierGrowth | None = None
        self._replays: Replays | None = None

    def resume(self, earlier: EarlierGrowth) -> None:
        """Before anything else: what was made before keeps its places."""
        self._earlier = earlier
        self._replays = Replays(self._host, earlier, self._states, self.pending, self._advance)
        n_free = max(0, earlier.end - len(self._graph.nodes))
        node = Node(-1, "", self._graph.nodes[0].step, {})
        nobody = NodeRun(node, 0)
        nobody.status = Status.SKIPPED
        self._graph.nodes.extend([node] * n_free)
        self._states.extend([nobody] * n_free)

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
        position = state.node.position
        if expansion is not None and (position in expansion.listening or position in expansion.waits_for):
            self.pending.append((expansion, News(state, None, duration_s)))

    def hear_logged(self, state: NodeRun, name: str, value: Any, step: int | None) -> None:
        """A step that an expander may listen to has logged a number or a text."""
        expansion = None if state.parent is None else self._expansions.get(state.parent)
        if expansion is not None and state.node.position in expansion.listening:
            self.pending.append((expansion, News(state, (name, value, step))))

    def deliver(self) -> None:
        """Tell expanders what has happened."""
        while self.pending:
            expansion, news = self.pending.popleft()
            position = news.state.node.position
            if expansion.replay is not None:
                expansion.replay.waiting.append(news)
            elif expansion.has_returned:
                expansion.waits_for.discard(position)
                self._complete(expansion)
            elif position in expansion.listening:
                if news.logged is not None:
                    self._tell_logged(expansion, news.state, news.logged)
                else:
                    self._tell_end(expansion, news.state, news.duration_s)

    def _tell_logged(self, expansion: Expansion, state: NodeRun, logged: tuple[str, Any, int | None]) -> None:
        self._host.record(expansion.state, "logged", [state.node.position, *logged])
        self._advance(expansion, expansion.hear_logged(state.node.position, *logged))

    def _tell_end(self, expansion: Expansion, state: NodeRun, duration_s: float) -> None:
        position = state.node.position
        was_done = self._earlier is not None and self._earlier.was_done(state)
        if was_done or state.status is Status.REUSED:
            # It shows what the step run logged that it came from, and so its expander hears the same in every run.
            shown = self._host.logged_by(state)
            for logged in without(shown, expansion.heard.get(position, ())) if was_done else shown:
                self._tell_logged(expansion, state, logged)
                if position not in expansion.listening:
                    return
        if was_done and self._earlier is not None:
            duration_s = self._earlier.duration_of(state)
        failure = state.failure
        error = None if failure is None else f"{failure.type_name}: {failure.message}"
        if state.status is not Status.FAILED or expansion.step.tolerates_failures:
            self._host.record(expansion.state, "ended", [position, state.status.value, error, duration_s])
        else:
            self._host.record(expansion.state, "failed", [position])
        self._advance(expansion, expansion.hear_end(position, state.status, error, duration_s))

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
            self._host.begin(state)
            if self._replays is not None:
                self._replays.start(expansion)
        self._advance(expansion, None)

    def _advance(self, expansion: Expansion, answer: Any, *, parked: Any = None) -> None:
        """Let the body go on, until it waits or returns; `parked` is a request that it waits for the answer to."""
        thrown: BaseException | None = None
        n_before = len(self._graph.nodes)
        try:
            while True:
                if parked is not None:
                    request, parked = parked, None
                else:
                    n_before = len(self._graph.nodes)
                    with self._trace.inside(expansion.state.node):
                        error, thrown = thrown, None
                        request = expansion.body.send(answer) if error is None else expansion.body.throw(error)
                    self._adopt(expansion, n_before)
                if expansion.state.is_final:
                    # What it made could not be added.
                    self._note_return(expansion)
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
            self._note_return(expansion)
            self._take_returned(expansion, stop.value)
        except Skip as skip:
            self._note_return(expansion)
            self._host.skip(expansion.state, str(skip))
        except Exception as exc:
            # The body may be the user's own: whatever it raises is a failure of this node.
            self._adopt(expansion, n_before)
            self._note_return(expansion)
            if not expansion.state.is_final:
                self._host.fail(expansion.state, describe_exception(exc, skip_files=(__file__,)))

    def _note_return(self, expansion: Expansion) -> None:
        self._leave_log(expansion)
        expansion.has_returned = True

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
            return self._answer_status(expansion, request)
        if isinstance(request, Stop):
            state = self._states[request.handle.node.position]
            if state.node not in expansion.made:
                raise DefinitionError(f"an expander can stop only steps that it made, and not {state.node.name!r}")
            return self._stop(expansion, state, request), None
        return self._listen(expansion, request)

    def _answer_status(self, expansion: Expansion, request: StatusOf) -> tuple[bool, Status | None]:
        status = self._status_of(request.handle)
        if expansion.step.is_transparent:
            return True, status
        replay = expansion.replay
        if replay is not None and replay.next is not None and replay.next.kind == "status":
            earlier = Status(replay.next.value)
            if earlier in FINAL and status is not earlier:
                # It is not known yet that it was done before.
                replay.parked = request
                return False, None
            status = earlier
        self._record(expansion, "status", status.value)
        return True, status

    def _stop(self, expansion: Expansion, state: NodeRun, request: Stop) -> bool:
        """Stop a step; false if it has to be known first how it had ended."""
        position, earlier, replay = state.node.position, self._earlier, expansion.replay
        stays = False
        if earlier is not None and replay is not None and replay.next == _entry(expansion, "stop", position):
            if not state.is_final and position not in replay.held and earlier.was_planned(state):
                replay.parked = request
                return False
            stays = not state.is_final and earlier.was(state, Status.CANCELED)
        self._record(expansion, "stop", position)
        if stays:
            self._host.keep(state, Status.CANCELED)
        else:
            self._host.stop_step(state, f"stopped by step {expansion.state.node.name!r}")
        return True

    def _record(self, expansion: Expansion, kind: str, value: Any) -> None:
        """Keep what an expander did or was told at once, unless it did so before."""
        if expansion.replay is not None:
            if expansion.replay.takes(kind, value):
                return
            if expansion.replay.next is not None:
                self._leave_log(expansion)
        self._host.record(expansion.state, kind, value)

    # What expanders did before the run was resumed.

    def holds(self, state: NodeRun) -> bool:
        """Whether a step that was not done has to wait, because the expander that made it is in its replay."""
        expansion = None if state.parent is None else self._expansions.get(state.parent)
        if expansion is None or expansion.replay is None:
            return False
        expansion.replay.held[state.node.position] = state
        return True

    def follow_logs(self) -> bool:
        """Go on with replays, now that everything that can be known of what was done is known; false if there are none."""
        return self._replays is not None and self._replays.follow()

    def _leave_log(self, expansion: Expansion) -> None:
        if self._replays is not None:
            self._replays.leave(expansion)

    # What bodies ask for.

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
                self.pending.append((expansion, News(state)))

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
        try:
            codes = self._planner.add_steps(made)
        except FingerprintError as exc:
            del self._graph.nodes[start:]
            self._host.fail(expansion.state, describe_exception(exc))
            return
        listens = not expansion.step.is_transparent
        self._place(expansion, made)
        states = [NodeRun(node, self.first_id + node.position) for node in made]
        for state in states:
            if state.node.position < len(self._states):
                self._states[state.node.position] = state
            else:
                self._states.append(state)
        expansion.made += made
        self.has_bodies = self.has_bodies or _have_bodies(states)
        keeps = expansion.state.needs_outputs or listens
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

    def _place(self, expansion: Expansion, made: list[Node]) -> None:
        """Put new nodes where they were before the run was resumed, and keep where those are that were nowhere."""
        position, is_map = expansion.state.node.position, expansion.step.is_transparent
        new = made
        if self._earlier is not None:
            map_at, n_before = position if is_map else None, len(expansion.made)
            fresh = self._earlier.place(made, self._graph.nodes, map_at=map_at, n_before=n_before)
            replay = expansion.replay
            if is_map:
                new = fresh
            elif replay is not None and replay.next is not None:
                if replay.takes_made([node.name for node in made]):
                    return
                self._leave_log(expansion)
        for block in in_blocks(new):
            names: Any = expansion.state.node.name if is_map else [node.name for node in block]
            made_now = {"first": block[0].position, "count": len(block), "names": names}
            self._host.record(expansion.state, "made", made_now)

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
            self._host.complete(state, expansion.returned, CLOCK.monotonic() - expansion.started)
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


def _entry(expansion: Expansion, kind: str, value: Any) -> GrowthRecord:
    return GrowthRecord(position=expansion.state.node.position, kind=kind, value=value)


def _have_bodies(states: list[NodeRun]) -> bool:
    return any(state.is_special and state.node.step.is_expander and not is_transparent(state.node) for state in states)
