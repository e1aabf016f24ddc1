"""The course of a run: what becomes of each node, and what follows from that for others.

Nothing here sends, waits or looks at a worker. All of it belongs to whichever thread has the coordinator's turn.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable

import attrs

from pipelite.clock import CLOCK
from pipelite.execute.conditions import explain_obstacle
from pipelite.execute.failures import load_exception
from pipelite.execute.growing import Growth
from pipelite.execute.recording import Recorder
from pipelite.execute.state import NodeRun, is_transparent
from pipelite.records import Failure, Status, StoredResult
from pipelite.store import decode_outputs, now_text

#: A retry waits up to this much longer than asked, so that steps which failed together do not come back together.
JITTER = 0.25


@attrs.define
class Progress:
    """How far a run is; written by its coordinator, read by whoever shows it."""

    total: int
    counts: dict[Status, int] = attrs.field(factory=dict)
    #: What happened, in order: node name, status, seconds, reason.
    events: deque[tuple[str, Status, float, str | None]] = attrs.field(factory=deque)
    #: Names of the steps that have been running for a moment, to when they started (seconds since the epoch).
    running: dict[str, float] = attrs.field(factory=dict)
    #: What the whole run waits for, in words, if it has for a moment.
    waits_for: str | None = None
    #: Whether somebody takes the events.
    is_watched: bool = False


class Course:
    """How far each node is.

    Parameters
    ----------
    keep_going : whether a failure stops only what needs the step that failed
    end_early : called with what the run ends as, when it is to start nothing more
    """

    #: Known as soon as the run begins.
    recorder: Recorder
    growth: Growth

    def __init__(self, states: list[NodeRun], *, keep_going: bool, end_early: Callable[[Status], None]) -> None:
        self.states = states
        self.progress = Progress(sum(not is_transparent(state.node) for state in states))
        self.error: str | None = None
        #: The step run that made the run fail, if one did.
        self.failed: NodeRun | None = None
        self.unfinished = len(states)
        #: Nodes that have nothing left to wait for, and are not planned yet.
        self.arrived = deque(state for state in states if not state.waits_for)
        #: Retries that wait for their time: when (monotonic), and what keeps two apart.
        self.delayed: list[tuple[float, int, NodeRun]] = []
        #: What ends the run early: failed, interrupted or canceled.
        self.ending: Status | None = None
        #: Steps that an expander has stopped and that were in a worker's hands, with the reason.
        self.unwanted: dict[int, str] = {}
        self._keep_going = keep_going
        self._end_early = end_early
        self._in_flight: dict[str, NodeRun] = {}
        self._order = itertools.count()

    def add(self, states: list[NodeRun]) -> None:
        """Nodes were added to the graph."""
        self.unfinished += len(states)
        self.progress.total += sum(not is_transparent(state.node) for state in states)

    # What goes well.

    def follows_another(self, state: NodeRun) -> bool:
        """Of equal nodes in one run one is computed and the others take its result."""
        if state.node.step.options.cache is False or state.key is None:
            return False
        first = self._in_flight.setdefault(state.key, state)
        if first is state:
            return False
        if first.followers is None:
            first.followers = []
        first.followers.append(state)
        return True

    def reuse(self, state: NodeRun, result: StoredResult, now: str) -> None:
        """A node takes a stored result."""
        state.status = Status.REUSED
        # It may have been tried here before another run computed it.
        state.attempts = 0
        if state.needs_outputs:
            state.outputs, state.form = decode_outputs(result.outputs), result.form
        self.recorder.add_reused(state, result.step_run_id, now)
        state.drop_plan()
        self.finish(state, 0.0, None)
        if self._in_flight.get(result.key) is state:
            self.let_followers_go(state)

    def serve_followers(self, state: NodeRun, *, reusable: bool, returned_none: bool) -> None:
        """Equal nodes of this run take what one of them computed, if others may take it at all."""
        if state.key is not None and self._in_flight.get(state.key) is state:
            del self._in_flight[state.key]
        followers, state.followers = state.followers, None
        now = now_text() if followers else ""
        for follower in followers or ():
            if not reusable or (returned_none and follower.node.step.options.cache is None):
                self.arrived.append(follower)
                continue
            follower.status = Status.REUSED
            follower.outputs = state.outputs
            follower.form = state.form
            self.recorder.add_reused(follower, state.id, now, f"equal to step {state.node.name!r} of this run")
            self.finish(follower, 0.0, None)

    def finish(self, state: NodeRun, duration_s: float, reason: str | None) -> None:
        """A node has an output: those that waited for it may be next."""
        self.count(state, duration_s, reason)
        for dependent, _ in state.dependents:
            dependent.waits_for -= 1
            if not dependent.waits_for and dependent.status is Status.PENDING:
                self.arrived.append(dependent)

    def count(self, state: NodeRun, duration_s: float, reason: str | None) -> None:
        """A node has ended, in whatever way."""
        self.unfinished -= 1
        if state.parent is not None:
            self.growth.hear_end(state, duration_s)
        progress = self.progress
        if state.is_special and is_transparent(state.node):
            # It has become a step run of its own.
            progress.total += 1
        progress.counts[state.status] = progress.counts.get(state.status, 0) + 1
        if progress.is_watched:
            progress.events.append((state.node.name, state.status, duration_s, reason))

    # What goes wrong.

    def retry(self, state: NodeRun, failure: Failure) -> bool:
        """Have a step that failed tried again, if it may be; gives whether it may."""
        options = state.node.step.options
        if (
            self.ending is not None
            or state.attempts - state.earlier_attempts > options.retries
            or not _is_retried(failure, options.retry_on)
        ):
            return False
        delay = options.retry_delay_s * options.retry_backoff ** (state.attempts - state.earlier_attempts - 1)
        delay *= 1 + JITTER * random.random()
        heapq.heappush(self.delayed, (CLOCK.monotonic() + delay, next(self._order), state))
        return True

    def take_delayed(self) -> list[NodeRun]:
        """Retries whose time has come, the one to go first at the end."""
        now = CLOCK.monotonic()
        taken = []
        while self.delayed and self.delayed[0][0] <= now:
            taken.append(heapq.heappop(self.delayed)[2])
        return taken

    def fail(self, state: NodeRun) -> None:
        """A step failed for good: what needs it is skipped, and without `keep_going` all that has not started."""
        failure = state.failure
        assert failure is not None
        tolerated = self.growth.tolerates(state)
        if self.failed is None and not tolerated:
            self.failed = state
            self.error = f"step {state.node.name!r} failed: {failure.type_name}: {failure.message}"
        self.count(state, 0.0, f"{failure.type_name}: {failure.message}")
        self.let_followers_go(state)
        self.skip_dependents(state)
        if not self._keep_going and not tolerated:
            self._end_early(Status.FAILED)

    def skip_dependents(self, state: NodeRun) -> None:
        """A node has ended without an output: skip all that need it, and let go what only waited for its end."""
        waiting = [state]
        while waiting:
            ended = waiting.pop()
            for dependent, order_only in ended.dependents:
                if dependent.status is not Status.PENDING:
                    continue
                if ended.lets_go(order_only=order_only):
                    dependent.waits_for -= 1
                    if not dependent.waits_for:
                        self.arrived.append(dependent)
                    continue
                self.skip(dependent, explain_obstacle(ended, dependent.node))
                waiting.append(dependent)

    def skip(self, state: NodeRun, reason: str) -> None:
        """A node will not run; what becomes of those that need it is not decided here."""
        state.status = Status.SKIPPED
        self.recorder.add_ended(state, reason=reason)
        self.count(state, 0.0, reason)

    def cancel(self, state: NodeRun, reason: str) -> None:
        """A node that no worker has is not wanted any more."""
        state.status = Status.CANCELED
        self.progress.running.pop(state.node.name, None)
        self.recorder.add_ended(state, reason=reason)
        self.count(state, 0.0, reason)

    def forget(self, state: NodeRun) -> None:
        """Take a step out of all lines that it stands in here: it will not be sent."""
        self.delayed = [each for each in self.delayed if each[2] is not state]
        heapq.heapify(self.delayed)
        if state in self.arrived:
            self.arrived.remove(state)
        first = self._in_flight.get(state.key) if state.key is not None else None
        if first is not None and first is not state and state in (first.followers or ()):
            assert first.followers is not None
            first.followers.remove(state)
        self.let_followers_go(state)

    def let_followers_go(self, state: NodeRun) -> None:
        """Equal nodes that were to take a step's result have to see for themselves."""
        if state.key is not None and self._in_flight.get(state.key) is state:
            del self._in_flight[state.key]
        self.arrived.extend(state.followers or ())
        state.followers = None


def _is_retried(failure: Failure, retry_on: tuple[type[BaseException], ...]) -> bool:
    error = load_exception(failure)
    if error is not None:
        return isinstance(error, retry_on)
    if failure.type_name in {kind.__qualname__ for kind in retry_on}:
        return True
    return Exception in retry_on and failure.type_name not in ("SystemExit", "KeyboardInterrupt", "GeneratorExit")
