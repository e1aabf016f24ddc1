"""The loop of a run: plan what is ready, reuse or send it, take in what comes back, until nothing is left."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import pickle
import queue
import random
import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from pipelite._garbage import collector_paused
from pipelite.define import Graph, iter_handles
from pipelite.errors import PipeliteError, StorageError
from pipelite.execute import deaths
from pipelite.execute.conditions import explain_obstacle
from pipelite.execute.dispatch import Dispatcher, Doom, Lease, learn_durations
from pipelite.execute.ending import end_workers
from pipelite.execute.failures import load_exception
from pipelite.execute.growing import Growth
from pipelite.execute.grown import GrownOutputs
from pipelite.execute.logs import cap_log, exceeds_cap
from pipelite.execute.messages import Outcome, Returned
from pipelite.execute.recording import Recorder
from pipelite.execute.resuming import Resumption
from pipelite.execute.sending import Sender, make_setup
from pipelite.execute.shared_slots import share_slots
from pipelite.execute.slots import LocalTarget
from pipelite.execute.state import NodeRun, connect, is_transparent
from pipelite.execute.waiting import SingleFlight
from pipelite.plan import Planner
from pipelite.records import FINAL, Claim, CodeFingerprint, Failure, RunRecord, Status, StoredResult
from pipelite.store import (
    NONE_REFUSED,
    STEP_RUNS_PER_RUN,
    EarlierStepRun,
    RunWriter,
    Store,
    clear_dead_workers,
    decode_outputs,
    get_logged,
    now_text,
)
from pipelite.store.disk import explain, hold_reserve, use_reserve

#: Seconds between two looks at what runs: for marks, spools, logs, timeouts.
POLL_S = 0.2
#: Nodes that are planned in one go: few at first, so that the slots get to work, then more, which costs less for each.
FIRST_PORTION = 64
LARGEST_PORTION = 2048
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
    #: Whether somebody takes the events.
    is_watched: bool = False


class Coordinator:
    """One run, from its graph to its last record. `run` blocks; `drain` and `stop` may be called from any thread."""

    def __init__(
        self,
        graph: Graph,
        *,
        store: Store,
        working_directory: str,
        keep_going: bool = False,
        regenerate: bool = False,
    ) -> None:
        """Look at all steps and constants; nothing is computed or stored yet.

        Raises
        ------
        FingerprintError
            If the code of a step or a constant argument cannot be identified.
        """
        self.graph = graph
        self.progress = Progress(sum(not is_transparent(node) for node in graph.nodes))
        self.error: str | None = None
        #: The step run that made the run fail, if one did.
        self.failed: NodeRun | None = None
        self.store = self._store = store
        self._keep_going = keep_going
        self._working_directory = working_directory
        self.states: list[NodeRun] = connect(graph, 0)
        for handle in iter_handles(graph.outputs):
            self.states[handle.node.position].is_output = True
        self._planner = Planner(
            graph, self.states, store=store, regenerate=regenerate, working_directory=working_directory
        )
        self._planner.check_constants()
        self._growth = Growth(self, graph, self.states, self._planner)
        self._unfinished = len(self.states)
        self._arrived = deque(state for state in self.states if not state.waits_for)
        self._portion = FIRST_PORTION
        self._in_flight: dict[str, NodeRun] = {}
        self._delayed: list[tuple[float, int, NodeRun]] = []
        self._order = itertools.count()
        #: What ends the run early: failed, interrupted or canceled.
        self._ending: Status | None = None
        #: Steps that an expander has stopped and that were in a worker's hands, with the reason.
        self._unwanted: dict[int, str] = {}
        #: Whether someone has asked for an end: seen at once, where an event waits for its turn.
        self._is_asked_to_end = False
        self._why_interrupted = ""
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._last_poll = time.monotonic()
        self._resumption: Resumption | None = None

    @property
    def planner(self) -> Planner:
        """What gives keys and decides; for looking at a graph without running it."""
        return self._planner

    def codes(self) -> Any:
        """Code fingerprints of all steps."""
        return self._planner.codes()

    def resume(self, earlier: Mapping[int, EarlierStepRun]) -> None:
        """Before `run`: take what the run has done already, by position, as done."""
        self._resumption = Resumption(self._store, earlier)

    def run(self, record: RunRecord, writer: RunWriter, target: LocalTarget, **first: Any) -> Status:
        """Run the graph to its end; `first` is what else goes into the first commit."""
        started = time.monotonic() - (record.duration_s or 0.0)
        hold_reserve(self._store.path)
        for state in self.states:
            state.id = record.number * STEP_RUNS_PER_RUN + state.node.position
        self._growth.first_id = record.number * STEP_RUNS_PER_RUN
        spool_folder = self._store.path / "spool"
        self._target = target
        self._writer = writer
        self._recorder = Recorder(writer, spool_folder, hear=self._growth.hear_logged)
        self._recorder.start_tags(record.tags)
        self._flight = SingleFlight(self._store, writer, self._recorder)
        self._planner.find_claims = self._flight.find_others
        self._sender = Sender(self._store, self._planner)
        self._grown = GrownOutputs(self._store, self._planner)
        setup = make_setup(self._store, record.id, record.pipeline, self._working_directory)
        self._log_folder = self._store.path / "logs"
        shared = share_slots(self._store.path, target.size, self._wake)
        self._dispatcher = Dispatcher(
            target, self._sender, setup, spool_folder / record.id, self._hear_return, self._claim, shared
        )
        ticket = target.call_when_free(self._wake)
        self._first: dict[str, Any] = {"codes": self.codes(), **first}
        try:
            self._loop()
        except BaseException as exc:
            # Not a step's fault: a full disk, a lost workspace, a mistake of ours. The run must not stay "running".
            self._give_up(exc, time.monotonic() - started)
            raise
        finally:
            self._growth.close()
            target.forget(ticket)
            self._dispatcher.release_idle()
            clear_dead_workers(self._store.path, self._store.owner.name)
            if shared is not None:
                shared.close()
        is_left = self._ending is Status.INTERRUPTED and self._unfinished > 0
        status = Status.INTERRUPTED if is_left else self._final_status()
        try:
            self._recorder.read_all_spools(self.states)
            duration_s = time.monotonic() - started
            if is_left:
                self._commit(duration_s=duration_s)
                # Before another may go on with the run, and write its own.
                shutil.rmtree(spool_folder / record.id, ignore_errors=True)
                writer.release(self._why_interrupted)
                return status
            self._commit(status=status, error=self.error, ended_at=datetime.now(UTC), duration_s=duration_s)
        except BaseException as exc:
            self._give_up(exc, time.monotonic() - started)
            raise
        shutil.rmtree(spool_folder / record.id, ignore_errors=True)
        return status

    def _wake(self) -> None:
        self._events.put(lambda: None)

    def drain(self) -> None:
        """Start nothing more, let running steps finish, and end as canceled."""
        self._ask(lambda: self._end_early(Status.CANCELED))

    def stop(self) -> None:
        """End running steps at once, and the run as canceled."""
        self._ask(lambda: self._end_now(Status.CANCELED))

    def interrupt(self, why: str, *, at_once: bool = False) -> None:
        """Start nothing more, let running steps finish or not, and leave the rest of the run to whoever resumes it."""

        def end() -> None:
            self._why_interrupted = why
            self._end_now(Status.INTERRUPTED) if at_once else self._end_early(Status.INTERRUPTED)

        self._ask(end)

    def _ask(self, event: Callable[[], None]) -> None:
        self._is_asked_to_end = True
        self._events.put(event)

    def _final_status(self) -> Status:
        if self._ending is not None and self._ending is not Status.INTERRUPTED:
            return self._ending
        return Status.FAILED if self.failed is not None else Status.COMPLETED

    def _give_up(self, error: BaseException, duration_s: float) -> None:
        for lease in self._dispatcher.leases:
            if lease.batches:
                lease.batches.clear()
                lease.slot.replace()
        self.error = self.error or _reason_of(error)
        ended = {"status": Status.FAILED, "error": self.error, "duration_s": duration_s}
        # Also what cannot be written now is wanted: the steps that are done need not be done again.
        use_reserve(self._store.path)
        with contextlib.suppress(Exception):
            self._commit(ended_at=datetime.now(UTC), **ended)
            return
        try:
            self._recorder.give_up(**ended)
        except StorageError:
            self._store.owner.note_failure(self._recorder.run_id, self.error)
        except PipeliteError:
            # It belongs to another by now.
            return

    # The loop.

    def _loop(self) -> None:
        while self._unfinished:
            self._arrived.extend(self._flight.bring_back())
            self._settle()
            if self._ending is None:
                self._bring_back_delayed()
                if self._dispatcher.queue and not self._is_asked_to_end:
                    self._prepare()
                    self._dispatcher.dispatch()
            else:
                self._dispatcher.queue.clear()
                if not self._dispatcher.running_count():
                    if self._ending is not Status.INTERRUPTED:
                        self._skip_rest()
                    return
            self._dispatcher.release_idle()
            if self._unfinished:
                self._wait()

    def _settle(self) -> None:
        """Plan nodes whose inputs are there, until there is something to send; a reused one brings others to that point.

        In portions, so that the slots work on the first of many while the rest is planned.
        """
        while self._ending is None and not self._is_asked_to_end:
            if self._growth.pending:
                self._growth.deliver()
            if not self._arrived or self._dispatcher.queue:
                return
            states = [self._arrived.popleft() for _ in range(min(self._portion, len(self._arrived)))]
            self._portion = min(2 * self._portion, LARGEST_PORTION)
            with collector_paused():
                states = self._growth.take_special(states)
                self._planner.plan(states)
                self._follow_decisions(states)
            if time.monotonic() - self._last_poll > POLL_S:
                self._poll()

    def _plan_ahead(self) -> None:
        queue, self._dispatcher.queue = self._dispatcher.queue, deque()
        self._settle()
        self._dispatcher.queue.extendleft(reversed(queue))

    def _follow_decisions(self, states: list[NodeRun]) -> None:
        now = ""
        unwritten = []
        for state in states:
            decision = state.decision
            assert decision is not None
            if self._resumption is not None and self._was_done(state, self._resumption):
                continue
            if decision.result is not None:
                now = now or now_text()
                self._reuse(state, decision.result, now)
            elif state.key in self._recorder.unwritten and decision.is_shared:
                unwritten.append(state)
            elif not self._follows_another(state):
                if decision.waits_for is None:
                    self._dispatcher.queue.append(state)
                else:
                    self._wait_for(state, decision.waits_for)
        if unwritten:
            self._commit()
            self._arrived.extendleft(unwritten)

    def _claim(self, batch: list[NodeRun]) -> list[NodeRun]:
        """The steps of a batch that nobody else is at, claimed; the others wait, or take what was stored meanwhile."""
        refusals = self._flight.claim(batch)
        if refusals is NONE_REFUSED:
            return batch
        sent = []
        for state in batch:
            key = state.key or ""
            if key in refusals.stored:
                self._arrived.append(state)
            elif key in refusals.held:
                self._wait_for(state, refusals.held[key])
            else:
                sent.append(state)
        return sent

    def _wait_for(self, state: NodeRun, claim: Claim) -> None:
        reason = self._flight.park(state, claim)
        if self.progress.is_watched:
            self.progress.events.append((state.node.name, state.status, 0.0, reason))

    def _was_done(self, state: NodeRun, resumption: Resumption) -> bool:
        """Whether this run had done a node before it was resumed; its record stays as it is."""
        if resumption.is_done(state):
            self._finish(state, 0.0, None)
            return True
        if resumption.takes_place(state):
            self._recorder.replace(state)
        state.attempts = state.earlier_attempts = resumption.attempts_of(state)
        return False

    def _follows_another(self, state: NodeRun) -> bool:
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

    def _prepare(self) -> None:
        """Before the first step is sent: make sure that all that may follow can be sent too."""
        if not self._sender.is_ready:
            self._sender.ship_all([state.node.step for state in self.states if not state.is_final])
            self._commit()

    def _wait(self) -> None:
        """Take in what has happened; wait for something if nothing has."""
        if self._recorder.is_due():
            self._commit()
        timeout = POLL_S
        if self._delayed:
            timeout = min(timeout, max(0.0, self._delayed[0][0] - time.monotonic()))
        timeout = self._flight.seconds_to_look(timeout)
        try:
            event = self._events.get_nowait()
        except queue.Empty:
            if (self._arrived or self._growth.pending) and self._ending is None and not self._is_asked_to_end:
                # There is more to plan than to wait for.
                self._plan_ahead()
                return
            if self._recorder.is_worth_it():
                self._commit()
            try:
                event = self._events.get(timeout=timeout)
            except queue.Empty:
                self._poll()
                return
        while True:
            event()
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                break
        if time.monotonic() - self._last_poll > POLL_S:
            self._poll()

    def _bring_back_delayed(self) -> None:
        now = time.monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            self._dispatcher.queue.appendleft(heapq.heappop(self._delayed)[2])

    def _commit(self, **run: Any) -> None:
        self._recorder.add_printed(self.states)
        for ref in self._sender.stored_constants:
            self._recorder.add_artifact(ref)
        self._sender.stored_constants.clear()
        self._recorder.commit(**self._first, **run)
        self._first = {}

    # What comes back.

    def _hear_return(self, lease: Lease, batch: list[NodeRun], future: Future[bytes]) -> None:
        self._events.put(lambda: self._take_in(lease, batch, future))

    def _take_in(self, lease: Lease, batch: list[NodeRun], future: Future[bytes]) -> None:
        if not lease.batches or lease.batches[0] is not batch:
            # It went back to the queue when its worker died with the batch before it.
            return
        error = future.exception()
        if error is not None:
            self._take_in_death(lease, error)
            return
        lease.batches.popleft()
        returned: Returned = pickle.loads(future.result())
        learn_durations(batch, returned)
        outcomes = {outcome.position: outcome for outcome in returned.outcomes}
        spool = returned.spool_file
        if spool is None:
            # The worker could not be prepared for the run.
            lease.slot.setup = None
        elif outcomes and returned.outcomes[-1].spool_end > self._recorder.spool_offset(spool):
            self._recorder.read_spool(spool, self.states)
        if returned.is_spent or lease.doom is not None:
            # Or its time was up at the moment when it was done.
            self._dismiss(lease)
        for state in batch:
            outcome = outcomes.get(state.node.position)
            if outcome is None:
                self._hand_back(state)
            else:
                self._take_outcome(lease, state, outcome, returned.log_file)

    def _hand_back(self, state: NodeRun) -> None:
        """Put a step that was not started back to the front of the queue."""
        state.attempts -= 1
        self._recorder.release_claim(state)
        if state.node.position in self._unwanted:
            self._drop(state, self._unwanted[state.node.position])
            return
        self._dispatcher.queue.appendleft(state)

    def _dismiss(self, lease: Lease) -> None:
        """Replace the worker of a lease, which has come to its end without fault of the steps that wait for it."""
        waiting = [state for batch in lease.batches for state in batch]
        lease.batches.clear()
        lease.doom = None
        lease.slot.replace()
        for state in reversed(waiting):
            self._hand_back(state)

    def _take_outcome(self, lease: Lease, state: NodeRun, outcome: Outcome, log_file: str | None) -> None:
        self.progress.running.pop(state.node.name, None)
        self._recorder.release_claim(state)
        if log_file is not None and exceeds_cap(outcome.log_start, outcome.log_end):
            # A fast printer may be through before anybody looked.
            cap_log(self._log_folder / log_file, outcome.log_start or 0, outcome.log_end)
        if outcome.failure is not None:
            if outcome.failure.type_name == "StaleWorkerError":
                self._dismiss(lease)
                self._hand_back(state)
            elif not self._retry(state, outcome.failure):
                state.status, state.failure = Status.FAILED, outcome.failure
                self._recorder.add_computed(state, outcome, log_file, reason=self._reason(state))
                self._fail(state)
            return
        state.status = Status.COMPLETED
        state.form = outcome.form
        if state.needs_outputs:
            state.outputs = decode_outputs(outcome.outputs)
        reason = self._reason(state)
        reusable = state.node.step.options.cache is not False and not (
            outcome.returned_none and state.node.step.options.cache is None
        )
        if reusable and state.paths:
            changed = self._planner.has_changed_inputs(state)
            if changed is not None:
                reusable = False
                reason = f"not reusable: the input {str(changed)!r} changed while the step ran"
        self._recorder.add_computed(state, outcome, log_file, reason=reason)
        if reusable:
            self._recorder.add_result(state, outcome)
        self._finish(state, outcome.duration_s, reason)
        self._serve_followers(state, reusable=reusable, returned_none=outcome.returned_none)

    def _reason(self, state: NodeRun) -> str | None:
        return state.decision.reason if state.decision is not None else None

    def _reuse(self, state: NodeRun, result: StoredResult, now: str) -> None:
        state.status = Status.REUSED
        # It may have been tried here before another run computed it.
        state.attempts = 0
        if state.needs_outputs:
            state.outputs, state.form = decode_outputs(result.outputs), result.form
        self._recorder.add_reused(state, result.step_run_id, now)
        self._finish(state, 0.0, None)
        if self._in_flight.get(result.key) is state:
            del self._in_flight[result.key]
            self._arrived.extend(state.followers or ())
            state.followers = None

    def _serve_followers(self, state: NodeRun, *, reusable: bool, returned_none: bool) -> None:
        if state.key is not None and self._in_flight.get(state.key) is state:
            del self._in_flight[state.key]
        followers, state.followers = state.followers, None
        now = now_text() if followers else ""
        for follower in followers or ():
            if not reusable or (returned_none and follower.node.step.options.cache is None):
                self._arrived.append(follower)
                continue
            follower.status = Status.REUSED
            follower.outputs = state.outputs
            follower.form = state.form
            self._recorder.add_reused(follower, state.id, now, f"equal to step {state.node.name!r} of this run")
            self._finish(follower, 0.0, None)

    def _finish(self, state: NodeRun, duration_s: float, reason: str | None) -> None:
        """A node has an output: those that waited for it may be next."""
        self._count(state, duration_s, reason)
        for dependent, _ in state.dependents:
            dependent.waits_for -= 1
            if not dependent.waits_for and dependent.status is Status.PENDING:
                self._arrived.append(dependent)

    def _count(self, state: NodeRun, duration_s: float, reason: str | None) -> None:
        self._unfinished -= 1
        if state.parent is not None:
            self._growth.hear_end(state, duration_s)
        progress = self.progress
        if state.is_special and is_transparent(state.node):
            # It has become a step run of its own.
            progress.total += 1
        progress.counts[state.status] = progress.counts.get(state.status, 0) + 1
        if progress.is_watched:
            progress.events.append((state.node.name, state.status, duration_s, reason))

    # What goes wrong.

    def _retry(self, state: NodeRun, failure: Failure) -> bool:
        options = state.node.step.options
        if (
            self._ending is not None
            or state.attempts - state.earlier_attempts > options.retries
            or not _is_retried(failure, options.retry_on)
        ):
            return False
        delay = options.retry_delay_s * options.retry_backoff ** (state.attempts - state.earlier_attempts - 1)
        delay *= 1 + JITTER * random.random()
        heapq.heappush(self._delayed, (time.monotonic() + delay, next(self._order), state))
        return True

    def _fail(self, state: NodeRun) -> None:
        """A step failed for good: what needs it is skipped, and without `keep_going` all that has not started."""
        failure = state.failure
        assert failure is not None
        tolerated = self._growth.tolerates(state)
        if self.failed is None and not tolerated:
            self.failed = state
            self.error = f"step {state.node.name!r} failed: {failure.type_name}: {failure.message}"
        self._count(state, 0.0, f"{failure.type_name}: {failure.message}")
        if state.key is not None and self._in_flight.get(state.key) is state:
            del self._in_flight[state.key]
        for follower in state.followers or ():
            self._arrived.append(follower)
        state.followers = None
        self._skip_dependents(state)
        if not self._keep_going and not tolerated:
            self._end_early(Status.FAILED)

    def _skip_dependents(self, state: NodeRun) -> None:
        waiting = [state]
        while waiting:
            ended = waiting.pop()
            for dependent, order_only in ended.dependents:
                if dependent.status is not Status.PENDING:
                    continue
                if ended.lets_go(order_only=order_only):
                    dependent.waits_for -= 1
                    if not dependent.waits_for:
                        self._arrived.append(dependent)
                    continue
                self._skip(dependent, explain_obstacle(ended, dependent.node))
                waiting.append(dependent)

    def _skip(self, state: NodeRun, reason: str) -> None:
        state.status = Status.SKIPPED
        self._recorder.add_ended(state, reason=reason)
        self._count(state, 0.0, reason)

    def _end_early(self, status: Status) -> None:
        """Start nothing more; steps that run go on."""
        if self._ending is None or _ENDINGS.index(status) > _ENDINGS.index(self._ending):
            self._ending = status
            if status is Status.CANCELED:
                self._commit(status=Status.CANCELING)
        self._is_asked_to_end = True
        for lease in self._dispatcher.leases:
            if lease.batches:
                lease.hold_back()

    def _end_now(self, status: Status) -> None:
        """End the steps that run, too."""
        self._end_early(status)
        ended = [lease for lease in self._dispatcher.leases if lease.batches and lease.doom is None]
        for lease in ended:
            lease.doom = Doom(status, None)
        end_workers([lease.worker for lease in ended if lease.worker is not None])

    def _skip_rest(self) -> None:
        why = "the run was canceled" if self._ending is Status.CANCELED else "another step failed"
        for state in self.states:
            if state.status in FINAL:
                continue
            if state.status is Status.RUNNING and state.node.step.is_expander and not is_transparent(state.node):
                self._cancel(state, f"{why} before it had ended")
            else:
                self._skip(state, f"{why} before it started")

    def _take_in_death(self, lease: Lease, error: BaseException | None = None) -> None:
        """A worker died: the step it was at is charged, the others that it had been sent go back to the queue."""
        batch = [state for sent in lease.batches for state in sent]
        lease.batches.clear()
        death = deaths.take_in(lease, batch, error)
        lease.doom = None
        log_file = f"{lease.name}.log"
        self._recorder.read_grown_spools([f"{lease.name}.jsonl"], self.states)
        lease.slot.replace()
        clear_dead_workers(self._store.path, self._store.owner.name)
        for state in reversed(batch):
            if state is not death.guilty:
                self._hand_back(state)
        if death.guilty is not None:
            self._charge(death.guilty, death, log_file)

    def _charge(self, state: NodeRun, death: deaths.Death, log_file: str) -> None:
        self.progress.running.pop(state.node.name, None)
        self._recorder.release_claim(state)
        if death.ended_as is None and self._retry(state, death.failure):
            return
        state.status = death.ended_as or Status.FAILED
        if death.ended_as is None:
            state.failure = death.failure
        figures: dict[str, Any] = {"peak_memory_bytes": death.peak_memory_bytes}
        mark = death.mark
        if mark is not None:
            figures.update(
                started_at=datetime.fromtimestamp(mark.started_at, UTC).isoformat(timespec="microseconds"),
                duration_s=max(0.0, time.time() - mark.started_at),
                log=(log_file, mark.log_start, _size_of(self._log_folder / log_file)),
            )
        reason = self._unwanted.get(state.node.position) if death.ended_as is Status.CANCELED else None
        self._recorder.add_ended(state, reason=reason or self._reason(state), **figures)
        if state.status is Status.FAILED:
            self._fail(state)
        elif state.status is Status.CANCELED:
            self._count(state, 0.0, "canceled")
            if self._ending is None:
                # It was stopped alone.
                self._skip_dependents(state)

    def _end(self, lease: Lease, doom: Doom) -> None:
        """End the worker of a lease; its batch comes back as a death."""
        if lease.doom is None and lease.worker is not None:
            lease.doom = doom
            end_workers([lease.worker])

    # What expanders ask for.

    def arrive(self, state: NodeRun) -> None:
        self._arrived.append(state)

    def add(self, states: list[NodeRun], codes: list[CodeFingerprint]) -> None:
        self._unfinished += len(states)
        self.progress.total += sum(not is_transparent(state.node) for state in states)
        if codes:
            # Rows of step runs refer to the code: it goes with the next commit.
            self._first["codes"] = [*self._first.get("codes", ()), *codes]

    def settle(self, state: NodeRun) -> None:
        self._unfinished -= 1
        self._recorder.set_total(self.progress.total)

    def skip(self, state: NodeRun, reason: str) -> None:
        self._skip(state, reason)
        self._skip_dependents(state)

    def fail(self, state: NodeRun, failure: Failure) -> None:
        state.status, state.failure = Status.FAILED, failure
        self.progress.running.pop(state.node.name, None)
        self._recorder.add_ended(state)
        self._fail(state)

    def begin(self, state: NodeRun) -> None:
        state.status = Status.RUNNING
        state.attempts = 1
        self._grown.begin(state, self._recorder)
        self.progress.running[state.node.name] = time.time()

    def complete(self, state: NodeRun, value: Any, duration_s: float) -> None:
        self._grown.complete(state, value, duration_s, self._recorder)
        self.progress.running.pop(state.node.name, None)
        state.status = Status.COMPLETED
        self._finish(state, duration_s, None)

    def stop_step(self, state: NodeRun, reason: str) -> None:
        if state.is_final:
            return
        lease = next((each for each in self._dispatcher.leases if any(state in batch for batch in each.batches)), None)
        if lease is None:
            self._drop(state, reason)
            return
        self._unwanted[state.node.position] = reason
        if len(lease.batches) == 1 and lease.batches[0] == [state]:
            self._end(lease, Doom(Status.CANCELED, state))

    def record(self, state: NodeRun, kind: str, value: Any) -> None:
        self._recorder.add_growth(state, kind, value)

    def note_outputs(self) -> None:
        self._recorder.set_outputs(self.graph.outputs)

    def logged_by(self, state: NodeRun) -> list[tuple[str, Any, int | None]]:
        # What it was reused from may be a step run of this run.
        self._commit()
        return get_logged(self._store, state.id)

    def _drop(self, state: NodeRun, reason: str) -> None:
        """End a step that is in no worker's hands."""
        if state in self._dispatcher.queue:
            self._dispatcher.queue.remove(state)
        self._delayed = [each for each in self._delayed if each[2] is not state]
        heapq.heapify(self._delayed)
        if state in self._arrived:
            self._arrived.remove(state)
        first = self._in_flight.get(state.key) if state.key is not None else None
        if first is state:
            del self._in_flight[state.key or ""]
            self._arrived.extend(state.followers or ())
            state.followers = None
        elif first is not None and state in (first.followers or ()):
            assert first.followers is not None
            first.followers.remove(state)
        self._cancel(state, reason)
        self._skip_dependents(state)

    def _cancel(self, state: NodeRun, reason: str) -> None:
        state.status = Status.CANCELED
        self.progress.running.pop(state.node.name, None)
        self._recorder.add_ended(state, reason=reason)
        self._count(state, 0.0, reason)

    # What goes on meanwhile.

    def _poll(self) -> None:
        self._last_poll = time.monotonic()
        for lease in list(self._dispatcher.leases):
            if lease.batches:
                self._look_at_lease(lease)
        if self._writer.look() and self._ending is not Status.CANCELED:
            self._end_now(Status.CANCELED)
        if self._recorder.is_due():
            self._commit()

    def _look_at_lease(self, lease: Lease) -> None:
        # A result that waits for its turn is not lost with its worker.
        if self._events.empty() and deaths.look(lease):
            self._take_in_death(lease)
            return
        doom = deaths.find_overdue(lease)
        if doom is not None:
            self._end(lease, doom)
            return
        mark = lease.read_mark()
        state = deaths.find_marked([state for batch in lease.batches for state in batch], mark)
        if mark is None or state is None:
            return
        self._recorder.read_grown_spools([f"{lease.name}.jsonl"], self.states)
        if lease.seen is not None and lease.seen.number == mark.number:
            # It has been at the same step for two looks: that is worth a record of its own.
            log_file = f"{lease.name}.log"
            if lease.recorded != mark.number:
                lease.recorded = mark.number
                self.progress.running[state.node.name] = mark.started_at
                state.status = Status.RUNNING
                self._recorder.add_running(state, mark.started_at, log_file, mark.log_start)
            if state.node.position in self._unwanted:
                self._end(lease, Doom(Status.CANCELED, state))
            cap_log(self._log_folder / log_file, mark.log_start)
        lease.seen = mark


#: What may end a run early; a later one takes the place of an earlier one.
_ENDINGS = (Status.FAILED, Status.INTERRUPTED, Status.CANCELED)


def _is_retried(failure: Failure, retry_on: tuple[type[BaseException], ...]) -> bool:
    error = load_exception(failure)
    if error is not None:
        return isinstance(error, retry_on)
    if failure.type_name in {kind.__qualname__ for kind in retry_on}:
        return True
    return Exception in retry_on and failure.type_name not in ("SystemExit", "KeyboardInterrupt", "GeneratorExit")


def _reason_of(error: BaseException) -> str:
    """Why a run could not go on: for a person where it is the disk's doing, else as it came."""
    told = explain(error) if isinstance(error, OSError) else error
    if isinstance(told, StorageError):
        return str(told)
    return f"the run could not go on: {type(error).__name__}: {error}"


def _size_of(path: Path) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
