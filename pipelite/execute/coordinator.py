"""The loop of a run: plan what is ready, reuse or send it, take in what comes back, until nothing is left."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from pipelite._garbage import collector_paused
from pipelite.clock import CLOCK
from pipelite.define import Graph, iter_handles
from pipelite.errors import PipeliteError, StorageError
from pipelite.execute.course import Course, Progress
from pipelite.execute.dispatch import Dispatcher, Lease
from pipelite.execute.earlier_growth import EarlierGrowth
from pipelite.execute.growing import Growth
from pipelite.execute.grown import GrownOutputs
from pipelite.execute.inbox import Inbox
from pipelite.execute.reads import leave_thread_alone
from pipelite.execute.recording import Recorder
from pipelite.execute.resuming import Resumption
from pipelite.execute.returns import Returns
from pipelite.execute.routing import Router
from pipelite.execute.sending import Sender, make_setup
from pipelite.execute.shared_slots import share_slots
from pipelite.execute.state import NodeRun, connect, is_transparent
from pipelite.execute.targets import Target, Targets
from pipelite.execute.waiting import SingleFlight
from pipelite.plan import Planner
from pipelite.records import FINAL, Claim, CodeFingerprint, Failure, RunRecord, Status
from pipelite.store import (
    NONE_REFUSED,
    STEP_RUNS_PER_RUN,
    RunWriter,
    Store,
    clear_dead_workers,
    count_logged,
    get_earlier_step_runs,
    get_growth,
    get_logged,
    now_text,
)
from pipelite.store.disk import explain, hold_reserve, use_reserve

#: Seconds between two looks at what runs: for marks, spools, logs, timeouts.
POLL_S = 0.2
#: Nodes that are planned in one go: few at first, so that the slots get to work, then more, which costs less for each.
FIRST_PORTION = 64
LARGEST_PORTION = 2048


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
        self.store = self._store = store
        self._working_directory = working_directory
        self.states: list[NodeRun] = connect(graph, 0)
        for handle in iter_handles(graph.outputs):
            self.states[handle.node.position].is_output = True
        self._planner = Planner(
            graph, self.states, store=store, regenerate=regenerate, working_directory=working_directory
        )
        self._planner.identify_read = self._identify_read
        self._planner.check_constants()
        self._course = Course(self.states, keep_going=keep_going, end_early=self._end_early)
        self._growth = self._course.growth = Growth(self, graph, self.states, self._planner)
        self._portion = FIRST_PORTION
        #: Whether someone has asked for an end: seen at once, where an event waits for its turn.
        self._is_asked_to_end = False
        self._why_interrupted = ""
        self._inbox = Inbox()
        self._last_poll = CLOCK.monotonic()
        self._resumption: Resumption | None = None

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        return self._course.progress

    @property
    def error(self) -> str | None:
        """Why the run failed, if it did."""
        return self._course.error

    @property
    def failed(self) -> NodeRun | None:
        """The step run that made the run fail, if one did."""
        return self._course.failed

    def _identify_read(self, read: str) -> str:
        # Few runs read any.
        from pipelite.data import identify_read

        return identify_read(self._store, read, self._store.file_cache)

    @property
    def planner(self) -> Planner:
        """What gives keys and decides; for looking at a graph without running it."""
        return self._planner

    def codes(self) -> Any:
        """Code fingerprints of all steps."""
        return self._planner.codes()

    def resume(self, record: RunRecord) -> None:
        """Before `run`: take what the run has done already as done, and its expanders through what they did."""
        self._resumption = Resumption(self._store, get_earlier_step_runs(self._store, record.number))
        growth, n_logged = get_growth(self._store, record.id), count_logged(self._store, record.number)
        self._growth.resume(EarlierGrowth(growth, self._resumption, n_logged))

    def run(self, record: RunRecord, writer: RunWriter, targets: Targets, **first: Any) -> Status:
        """Run the graph to its end; `first` is what else goes into the first commit."""
        started = CLOCK.monotonic() - (record.duration_s or 0.0)
        hold_reserve(self._store.path)
        for state in self.states:
            state.id = record.number * STEP_RUNS_PER_RUN + state.node.position
        self._growth.first_id = record.number * STEP_RUNS_PER_RUN
        spool_folder = self._store.path / "spool"
        self._writer = writer
        self._recorder = self._course.recorder = Recorder(writer, spool_folder, hear=self._growth.hear_logged)
        self._recorder.start_tags(record.tags)
        for snapshot in self._planner.snapshots().values():
            self._recorder.add_artifact(snapshot.ref)
        self._flight = SingleFlight(self._store, writer, self._recorder)
        self._planner.find_claims = self._flight.find_others
        self._sender = Sender(self._store, self._planner, is_held=targets.are_here)
        self._grown = GrownOutputs(self._store, self._planner)
        setup = make_setup(self._store, record.id, record.pipeline, self._working_directory)

        def make_dispatcher(target: Target) -> Dispatcher:
            folder = spool_folder / record.id
            shared = None
            if target.shares_slots:
                shared = share_slots(self._store.path, target.size, self._wake, run_id=record.id)
            return Dispatcher(target, self._sender, setup, folder, self._hear_return, self._claim, shared)

        self._dispatcher = Router(targets, make_dispatcher, wake=self._wake)
        self._returns = Returns(self._course, self._planner, self._recorder, self._dispatcher, self._store)
        # What the coordinator reads is no step's read.
        leave_thread_alone()
        self._connection = self._store.database.connection()
        self._first: dict[str, Any] = {"codes": self.codes(), **first}
        try:
            self._loop()
        except BaseException as exc:
            # Not a step's fault: a full disk, a lost workspace, a mistake of ours. The run must not stay "running".
            self._give_up(exc, CLOCK.monotonic() - started)
            raise
        finally:
            self._growth.close()
            self._dispatcher.close()
            clear_dead_workers(self._store.path, self._store.owner.name)
        is_left = self._course.ending is Status.INTERRUPTED and self._course.unfinished > 0
        status = Status.INTERRUPTED if is_left else self._final_status()
        try:
            self._recorder.read_all_spools(self.states)
            duration_s = CLOCK.monotonic() - started
            if is_left:
                self._commit(duration_s=duration_s)
                # Before another may go on with the run, and write its own.
                shutil.rmtree(spool_folder / record.id, ignore_errors=True)
                writer.release(self._why_interrupted)
                return status
            left = self._find_left_over()
            self._recorder.replace(left if status is Status.COMPLETED else ())
            ended = {"status": status, "error": self.error, "ended_at": CLOCK.now(), "duration_s": duration_s}
            self._commit(unreached=left, **ended)
        except BaseException as exc:
            self._give_up(exc, CLOCK.monotonic() - started)
            raise
        shutil.rmtree(spool_folder / record.id, ignore_errors=True)
        return status

    def _find_left_over(self) -> list[int]:
        """Ids of step runs from before the run was resumed that no node has the place of: nobody made them again."""
        if self._resumption is None:
            return []
        return [self._growth.first_id + position for position in self._resumption.left_over(self.states)]

    def _wake(self) -> None:
        self._inbox.put(lambda: None)

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
        self._inbox.put(event)

    def _final_status(self) -> Status:
        if self._course.ending is not None and self._course.ending is not Status.INTERRUPTED:
            return self._course.ending
        return Status.FAILED if self.failed is not None else Status.COMPLETED

    def _give_up(self, error: BaseException, duration_s: float) -> None:
        self._returns.abandon()
        why = self._course.error = self.error or _reason_of(error)
        ended = {"status": Status.FAILED, "error": why, "duration_s": duration_s}
        # Also what cannot be written now is wanted: the steps that are done need not be done again.
        use_reserve(self._store.path)
        with contextlib.suppress(Exception):
            self._commit(ended_at=CLOCK.now(), **ended)
            return
        try:
            self._recorder.give_up(**ended)
        except StorageError:
            self._store.owner.note_failure(self._recorder.run_id, why)
        except PipeliteError:
            # It belongs to another by now.
            return

    # The loop.

    def _loop(self) -> None:
        while self._go_on():
            self._wait()

    def _go_on(self) -> bool:
        """Plan and send what can be; gives whether there is anything to wait for."""
        if not self._course.unfinished:
            return False
        self._course.arrived.extend(self._flight.bring_back())
        self._settle()
        if self._course.ending is None:
            for state in self._course.take_delayed():
                self._dispatcher.queue.appendleft(state)
            if self._dispatcher.queue and not self._is_asked_to_end:
                self._prepare()
                self._dispatcher.dispatch()
        else:
            self._dispatcher.queue.clear()
            if not self._dispatcher.running_count():
                if self._course.ending is not Status.INTERRUPTED:
                    self._skip_rest()
                return False
        self._dispatcher.release_idle()
        return self._course.unfinished > 0

    def _settle(self, waiting: int = 0) -> None:
        """Plan nodes whose inputs are there, until there is something to send; a reused one brings others to that point.

        In portions, so that the slots work on the first of many while the rest is planned. `waiting` are the nodes that
        wait for a slot anyway.
        """
        while self._course.ending is None and not self._is_asked_to_end:
            if self._growth.pending:
                self._growth.deliver()
            if not self._course.arrived and self._growth.follow_logs():
                continue
            if not self._course.arrived or len(self._dispatcher.queue) > waiting:
                return
            states = [self._course.arrived.popleft() for _ in range(min(self._portion, len(self._course.arrived)))]
            self._portion = min(2 * self._portion, LARGEST_PORTION)
            with collector_paused():
                states = self._growth.take_special(states)
                self._planner.plan(states)
                self._follow_decisions(states)
            if self._recorder.is_due():
                # A run that reuses everything comes by here only.
                self._commit()
            if CLOCK.monotonic() - self._last_poll > POLL_S:
                self._poll()

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
                self._course.reuse(state, decision.result, now)
            elif state.key in self._recorder.unwritten and decision.is_shared:
                unwritten.append(state)
            elif not self._course.follows_another(state):
                if decision.waits_for is None:
                    self._dispatcher.queue.append(state)
                else:
                    self._wait_for(state, decision.waits_for)
        if unwritten:
            self._commit()
            self._course.arrived.extendleft(unwritten)

    def _claim(self, batch: list[NodeRun]) -> list[NodeRun]:
        """The steps of a batch that nobody else is at, claimed; the others wait, or take what was stored meanwhile."""
        refusals = self._flight.claim(batch)
        if refusals is NONE_REFUSED:
            return batch
        sent = []
        for state in batch:
            key = state.key or ""
            if key in refusals.stored:
                self._course.arrived.append(state)
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
        """Whether this run had done a node before it was resumed, and its record stays as it is; or it has to wait."""
        if resumption.is_done(state):
            self._course.finish(state, 0.0, None)
            return True
        if self._growth.holds(state):
            return True
        if resumption.takes_place(state):
            self._recorder.replace([state.id])
        state.attempts = state.earlier_attempts = resumption.attempts_of(state)
        return False

    def _prepare(self) -> None:
        """Before the first step is sent: make sure that all that may follow can be sent too."""
        if not self._sender.is_ready:
            self._sender.ship_all([state.node.step for state in self.states if not state.is_final])
            self._commit()
        elif self._recorder.has_made:
            # What a step is started for is kept before it starts: a resume has to make it again.
            self._commit()

    def _wait(self) -> None:
        """Take in what has happened; wait for something if nothing has."""
        if self._recorder.is_due():
            self._commit()
        timeout = POLL_S
        if self._course.delayed:
            timeout = min(timeout, max(0.0, self._course.delayed[0][0] - CLOCK.monotonic()))
        timeout = self._flight.seconds_to_look(timeout)
        if not self._inbox.take_in():
            if self._has_to_plan() and self._course.ending is None and not self._is_asked_to_end:
                # There is more to plan than to wait for.
                self._settle(len(self._dispatcher.queue))
                return
            if self._recorder.is_worth_it():
                self._commit()
            self._inbox.wait(timeout)
            self._inbox.take_in()
        if CLOCK.monotonic() - self._last_poll > POLL_S:
            self._poll()

    def _has_to_plan(self) -> bool:
        return bool(self._course.arrived or self._growth.pending)

    def _commit(self, **run: Any) -> None:
        self._recorder.add_printed(self.states)
        for ref in self._sender.stored_constants:
            self._recorder.add_artifact(ref)
        self._sender.stored_constants.clear()
        uses = self._planner.take_uses()
        if uses:
            run["uses"] = uses
        self._recorder.commit(**self._first, **run)
        self._first = {}

    # What comes back.

    def _hear_return(self, lease: Lease, batch: list[NodeRun], future: Future[bytes]) -> None:
        def event() -> None:
            self._returns.take_in(lease, batch, future)

        if self._may_go_on_here(lease, future):
            self._inbox.put_here(event, self._go_on_here)
        else:
            self._inbox.put(event)

    def _may_go_on_here(self, lease: Lease, future: Future[bytes]) -> bool:
        """Whether the thread that brings a result may take the turn: it comes from a local worker, and all is well."""
        return (
            lease.worker is not None
            and not self._is_asked_to_end
            and not self._growth.has_bodies
            and not self._dispatcher.is_inline
            and not future.cancelled()
            and future.exception() is None
        )

    def _go_on_here(self) -> None:
        """Take a turn in the thread that brought a result, and leave what takes longer to the coordinator's own."""
        leave_thread_alone()
        try:
            with self._store.database.lent(self._connection):
                self._inbox.take_in()
                goes_on = self._go_on()
            if (
                not goes_on
                or self._has_to_plan()
                or self._recorder.is_due()
                or self._recorder.is_worth_it()
                # These it waits for less long.
                or self._course.delayed
                or self._flight.is_anybody_parked
            ):
                self._inbox.ring()
        except BaseException as exc:
            self._inbox.put(functools.partial(_throw, exc))

    # What goes wrong.

    def _end_early(self, status: Status) -> None:
        """Start nothing more; steps that run go on."""
        if self._course.ending is None or _ENDINGS.index(status) > _ENDINGS.index(self._course.ending):
            self._course.ending = status
            if status is Status.CANCELED:
                self._commit(status=Status.CANCELING)
        self._is_asked_to_end = True
        for lease in self._dispatcher.leases:
            if lease.batches:
                lease.hold_back()

    def _end_now(self, status: Status) -> None:
        """End the steps that run, too."""
        self._end_early(status)
        self._returns.end_all(status)

    def _skip_rest(self) -> None:
        why = "the run was canceled" if self._course.ending is Status.CANCELED else "another step failed"
        for state in self.states:
            if state.status in FINAL:
                continue
            if state.status is Status.RUNNING and state.node.step.is_expander and not is_transparent(state.node):
                self._course.cancel(state, f"{why} before it had ended")
            else:
                self._course.skip(state, f"{why} before it started")

    # What expanders ask for.

    def arrive(self, state: NodeRun) -> None:
        self._course.arrived.append(state)

    def add(self, states: list[NodeRun], codes: list[CodeFingerprint]) -> None:
        self._course.add(states)
        if codes:
            # Rows of step runs refer to the code: it goes with the next commit.
            self._first["codes"] = [*self._first.get("codes", ()), *codes]

    def settle(self, state: NodeRun) -> None:
        self._course.unfinished -= 1
        self._recorder.set_total(self.progress.total)

    def skip(self, state: NodeRun, reason: str) -> None:
        self._course.skip(state, reason)
        self._course.skip_dependents(state)

    def fail(self, state: NodeRun, failure: Failure) -> None:
        state.status, state.failure = Status.FAILED, failure
        self.progress.running.pop(state.node.name, None)
        self._recorder.add_ended(state)
        self._course.fail(state)

    def begin(self, state: NodeRun) -> None:
        state.status = Status.RUNNING
        state.attempts = 1
        self._grown.begin(state, self._recorder)
        self.progress.running[state.node.name] = CLOCK.time()

    def complete(self, state: NodeRun, value: Any, duration_s: float) -> None:
        self._grown.complete(state, value, duration_s, self._recorder)
        self.progress.running.pop(state.node.name, None)
        state.status = Status.COMPLETED
        self._course.finish(state, duration_s, None)

    def stop_step(self, state: NodeRun, reason: str) -> None:
        self._returns.stop_step(state, reason)

    def keep(self, state: NodeRun, status: Status) -> None:
        state.status = status
        self._course.count(state, 0.0, None)
        self._course.skip_dependents(state)

    def record(self, state: NodeRun, kind: str, value: Any) -> None:
        self._recorder.add_growth(state, kind, value)

    def note_outputs(self) -> None:
        self._recorder.set_outputs(self.graph.outputs)

    def logged_by(self, state: NodeRun) -> list[tuple[str, Any, int | None]]:
        # What it was reused from may be a step run of this run.
        self._commit()
        return get_logged(self._store, state.id)

    # What goes on meanwhile.

    def _poll(self) -> None:
        self._last_poll = CLOCK.monotonic()
        self._returns.look(takes_deaths=self._inbox.is_empty())
        waits_for = self._dispatcher.find_wait()
        if waits_for != self.progress.waits_for:
            self.progress.waits_for = waits_for
            self._recorder.set_waits({"for": waits_for} if waits_for else {})
        if self._writer.look() and self._course.ending is not Status.CANCELED:
            self._end_now(Status.CANCELED)
        if self._recorder.is_due():
            self._commit()


#: What may end a run early; a later one takes the place of an earlier one.
_ENDINGS = (Status.FAILED, Status.INTERRUPTED, Status.CANCELED)


def _throw(error: BaseException) -> None:
    raise error


def _reason_of(error: BaseException) -> str:
    """Why a run could not go on: for a person where it is the disk's doing, else as it came."""
    told = explain(error) if isinstance(error, OSError) else error
    if isinstance(told, StorageError):
        return str(told)
    return f"the run could not go on: {type(error).__name__}: {error}"
