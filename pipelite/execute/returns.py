"""What comes back from workers, and what does not: outcomes, losses, deaths, steps that take too long."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelite.clock import CLOCK
from pipelite.errors import ComputeTargetError
from pipelite.execute import deaths
from pipelite.execute.collecting import take_over
from pipelite.execute.course import Course
from pipelite.execute.dispatch import Doom, Lease, learn_durations
from pipelite.execute.ending import end_workers
from pipelite.execute.logs import cap_log, exceeds_cap
from pipelite.execute.messages import Outcome, Returned, is_canceled
from pipelite.execute.recording import Recorder
from pipelite.execute.routing import Router
from pipelite.execute.state import NodeRun
from pipelite.plan import Planner
from pipelite.records import Failure, Status
from pipelite.store import Store, clear_dead_workers, decode_outputs


class Returns:
    """The steps of one run that are in the hands of workers."""

    def __init__(self, course: Course, planner: Planner, recorder: Recorder, dispatcher: Router, store: Store) -> None:
        self._course = course
        self._planner = planner
        self._recorder = recorder
        self._dispatcher = dispatcher
        self._store = store
        self._log_folder = store.path / "logs"

    def take_in(self, lease: Lease, batch: list[NodeRun], future: Future[bytes]) -> None:
        """Take in the results of a batch, or what became of it instead."""
        if not lease.batches or lease.batches[0] is not batch:
            # It went back to the queue when its worker died with the batch before it.
            return
        if lease.worker is None and (future.cancelled() or future.exception() is not None):
            lease.batches.popleft()
            self._take_in_loss(batch, lease.target.explain_loss(future))
            return
        error = future.exception()
        if error is not None:
            self._take_in_death(lease, error)
            return
        lease.batches.popleft()
        returned: Returned = pickle.loads(future.result())
        if returned.loss is not None:
            if returned.is_spent:
                self._dismiss(lease)
            self._take_in_loss(batch, Failure(type_name="WorkerDied", message=returned.loss, traceback=""))
            return
        if lease.target.exchange is not None:
            take_over(returned, lease.target.exchange, self._log_folder, self._recorder, self._course.states)
        learn_durations(batch, returned)
        outcomes = {outcome.position: outcome for outcome in returned.outcomes}
        spool = returned.spool_file
        if spool is None:
            # The worker could not be prepared for the run.
            lease.slot.setup = None
        elif outcomes and returned.outcomes[-1].spool_end > self._recorder.spool_offset(spool):
            self._recorder.read_spool(spool, self._course.states)
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
        if state.node.position in self._course.unwanted:
            self._drop(state, self._course.unwanted[state.node.position])
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
        self._course.progress.running.pop(state.node.name, None)
        self._recorder.release_claim(state)
        if log_file is not None and exceeds_cap(outcome.log_start, outcome.log_end):
            # A fast printer may be through before anybody looked.
            cap_log(self._log_folder / log_file, outcome.log_start or 0, outcome.log_end)
        if outcome.failure is not None:
            if outcome.failure.type_name == "StaleWorkerError":
                self._dismiss(lease)
                self._hand_back(state)
            elif is_canceled(outcome.failure):
                self._take_canceled(state, outcome, log_file)
            elif not self._course.retry(state, outcome.failure):
                state.status, state.failure = Status.FAILED, outcome.failure
                self._recorder.add_computed(state, outcome, log_file, reason=_reason(state))
                self._course.fail(state)
            return
        state.status = Status.COMPLETED
        state.form = outcome.form
        if state.needs_outputs:
            state.outputs = decode_outputs(outcome.outputs)
        reason = _reason(state)
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
        state.drop_plan()
        self._course.finish(state, outcome.duration_s, reason)
        self._course.serve_followers(state, reusable=reusable, returned_none=outcome.returned_none)

    def _take_canceled(self, state: NodeRun, outcome: Outcome, log_file: str | None) -> None:
        """A target that ends steps itself has ended one."""
        unwanted = self._course.unwanted.get(state.node.position)
        if self._course.ending is None and unwanted is None:
            # Another step of its batch was meant, or the target took this process for dead, which only slept.
            self._hand_back(state)
            return
        state.status = Status.INTERRUPTED if self._course.ending is Status.INTERRUPTED else Status.CANCELED
        self._recorder.add_ended(
            state,
            reason=unwanted or _reason(state),
            started_at=outcome.started_at,
            duration_s=outcome.duration_s,
            peak_memory_bytes=outcome.peak_memory_bytes,
            log=(log_file, outcome.log_start, outcome.log_end),
        )
        if state.status is Status.CANCELED:
            self._end_stopped(state)

    def _take_in_loss(self, batch: list[NodeRun], failure: Failure | None) -> None:
        """What a worker elsewhere did not bring back; without a failure it is no step's fault."""
        is_lasting = failure is not None and failure.type_name == ComputeTargetError.__qualname__
        if failure is None or (len(batch) > 1 and not is_lasting):
            if failure is not None:
                self._dispatcher.send_singly(batch)
            for state in reversed(batch):
                self._hand_back(state)
            return
        for state in batch:
            self._course.progress.running.pop(state.node.name, None)
            self._recorder.release_claim(state)
            if is_lasting or not self._course.retry(state, failure):
                state.status, state.failure = Status.FAILED, failure
                self._recorder.add_ended(state, reason=_reason(state))
                self._course.fail(state)

    def _take_in_death(self, lease: Lease, error: BaseException | None = None) -> None:
        """A worker died: the step it was at is charged, the others that it had been sent go back to the queue."""
        batch = [state for sent in lease.batches for state in sent]
        lease.batches.clear()
        death = deaths.take_in(lease, batch, error)
        lease.doom = None
        log_file = f"{lease.name}.log"
        self._recorder.read_grown_spools([f"{lease.name}.jsonl"], self._course.states)
        lease.slot.replace()
        clear_dead_workers(self._store.path, self._store.owner.name)
        for state in reversed(batch):
            if state is not death.guilty:
                self._hand_back(state)
        if death.guilty is not None:
            self._charge(death.guilty, death, log_file)

    def _charge(self, state: NodeRun, death: deaths.Death, log_file: str) -> None:
        self._course.progress.running.pop(state.node.name, None)
        self._recorder.release_claim(state)
        if death.ended_as is None and self._course.retry(state, death.failure):
            return
        state.status = death.ended_as or Status.FAILED
        if death.ended_as is None:
            state.failure = death.failure
        figures: dict[str, Any] = {"peak_memory_bytes": death.peak_memory_bytes}
        mark = death.mark
        if mark is not None:
            figures.update(
                started_at=datetime.fromtimestamp(mark.started_at, UTC).isoformat(timespec="microseconds"),
                duration_s=max(0.0, CLOCK.time() - mark.started_at),
                log=(log_file, mark.log_start, _size_of(self._log_folder / log_file)),
            )
        reason = self._course.unwanted.get(state.node.position) if death.ended_as is Status.CANCELED else None
        self._recorder.add_ended(state, reason=reason or _reason(state), **figures)
        if state.status is Status.FAILED:
            self._course.fail(state)
        elif state.status is Status.CANCELED:
            self._end_stopped(state)

    def _end_stopped(self, state: NodeRun) -> None:
        """A step was ended in the hands of its worker."""
        self._course.count(state, 0.0, "canceled")
        if self._course.ending is None:
            # It was stopped alone.
            self._course.let_followers_go(state)
            self._course.skip_dependents(state)

    def end_all(self, status: Status) -> None:
        """End all steps that run; they come back as what the run ends as."""
        workers = []
        for lease in self._dispatcher.leases:
            if lease.batches and lease.worker is None:
                lease.slot.cancel(now=True)
            elif lease.batches and lease.worker is not None and lease.doom is None:
                lease.doom = Doom(status, None)
                workers.append(lease.worker)
        end_workers(workers)

    def abandon(self) -> None:
        """End all steps that run; nothing of them will be taken in."""
        for lease in self._dispatcher.leases:
            if lease.batches:
                lease.slot.cancel(now=True)
                lease.batches.clear()
                lease.slot.replace()

    def stop_step(self, state: NodeRun, reason: str) -> None:
        """End one step, wherever it is."""
        if state.is_final:
            return
        lease = next((each for each in self._dispatcher.leases if any(state in batch for batch in each.batches)), None)
        if lease is None:
            self._drop(state, reason)
            return
        self._course.unwanted[state.node.position] = reason
        if len(lease.batches) == 1 and lease.batches[0] == [state]:
            self._end(lease, Doom(Status.CANCELED, state))

    def _end(self, lease: Lease, doom: Doom) -> None:
        """End the worker of a lease; its batch comes back as a death."""
        if lease.worker is None:
            lease.slot.cancel(now=True)
        elif lease.doom is None:
            lease.doom = doom
            end_workers([lease.worker])

    def look(self, *, takes_deaths: bool) -> None:
        """See to everything that is in the hands of a worker now; `takes_deaths` if no result waits to be taken in."""
        for lease in list(self._dispatcher.leases):
            if lease.batches:
                self._look_at(lease, takes_deaths=takes_deaths)

    def _look_at(self, lease: Lease, *, takes_deaths: bool) -> None:
        if lease.worker is not None:
            # A result that waits for its turn is not lost with its worker.
            if takes_deaths and deaths.look(lease):
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
        self._recorder.read_grown_spools([f"{lease.name}.jsonl"], self._course.states)
        if lease.seen is not None and lease.seen.number == mark.number:
            # It has been at the same step for two looks: that is worth a record of its own.
            log_file = f"{lease.name}.log"
            noted = (mark.number, len(lease.batches))
            if lease.recorded != noted:
                lease.recorded = noted
                self._course.progress.running[state.node.name] = mark.started_at
                state.status = Status.RUNNING
                self._recorder.add_running(state, mark.started_at, log_file, mark.log_start)
                for behind in deaths.find_behind(lease, state):
                    self._recorder.add_behind(
                        behind, log_file, f"comes after step {state.node.name!r} in the same worker"
                    )
            if state.node.position in self._course.unwanted:
                self._end(lease, Doom(Status.CANCELED, state))
            if lease.worker is not None:
                cap_log(self._log_folder / log_file, mark.log_start)
        lease.seen = mark

    def _drop(self, state: NodeRun, reason: str) -> None:
        """End a step that is in no worker's hands."""
        if state in self._dispatcher.queue:
            self._dispatcher.queue.remove(state)
        self._course.forget(state)
        self._course.cancel(state, reason)
        self._course.skip_dependents(state)


def _reason(state: NodeRun) -> str | None:
    return state.decision.reason if state.decision is not None else None


def _size_of(path: Path) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
