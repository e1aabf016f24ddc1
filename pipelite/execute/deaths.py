"""What a worker was at when it died or had to be ended, and how to say it."""

from __future__ import annotations

import signal
from concurrent.futures import BrokenExecutor

import attrs

from pipelite.clock import CLOCK
from pipelite.execute.dispatch import Doom, Lease
from pipelite.execute.ending import WorkerProcess, end_workers
from pipelite.execute.spool import Mark
from pipelite.execute.state import NodeRun
from pipelite.records import Failure, Status

#: A worker that dies before it starts what it was sent is nobody's fault, but not for ever.
FALSE_STARTS = 3
#: What a worker may take before it starts a step, over and above the step's timeout: it has to import things.
START_S = 30.0


@attrs.frozen(kw_only=True)
class Death:
    """How a worker ended, and which step that concerns."""

    #: The step it was at; None if it died before it started one.
    guilty: NodeRun | None
    mark: Mark | None
    peak_memory_bytes: int | None
    #: What the step failed with.
    failure: Failure
    #: What the step is, if it was ended for the run's sake; None if it failed.
    ended_as: Status | None


def take_in(lease: Lease, batch: list[NodeRun], error: BaseException | None = None) -> Death:
    """Make sure that a worker is gone, with all that it started, and tell whom to charge.

    `error` is what came instead of a result.
    """
    worker = lease.worker
    assert worker is not None
    doom = lease.doom
    if error is None or isinstance(error, BrokenExecutor):
        # Its exit code may be on its way.
        worker.wait(0.5)
    was_alive = worker.is_alive
    end_workers([worker])
    worker.wait(0.5)
    mark = lease.read_mark()
    current = find_marked(batch, mark)
    guilty, peak = current, worker.peak_at_exit or lease.memory_seen
    ended_as = None
    if doom is not None and isinstance(doom.why, Status):
        ended_as, what = doom.why, "it was stopped"
        if doom.step not in (None, current):
            # The worker had gone on to the next step, which nobody stopped.
            guilty = None
    elif doom is not None:
        what = doom.why
        # It was done, and the worker at the next step, when the order came; what it had done was not sent back yet.
        guilty = doom.step if current in (None, doom.step) else None
    else:
        what = (
            f"its worker could not go on: {error!r}"
            if was_alive and error
            else describe_exit(worker.exitcode, describe_memory(lease.memory_seen, worker))
        )
        if current is None:
            guilty, what = _count_false_start(batch[0], what)
    type_name = "TimeoutError" if doom is not None else "WorkerDied"
    return Death(
        guilty=guilty,
        mark=mark if current is not None and current is guilty else None,
        peak_memory_bytes=peak,
        failure=Failure(type_name=type_name, message=what, traceback=""),
        ended_as=ended_as,
    )


def _count_false_start(state: NodeRun, what: str) -> tuple[NodeRun | None, str]:
    state.false_starts += 1
    if state.false_starts < FALSE_STARTS:
        return None, what
    return state, f"{what}, for the {FALSE_STARTS}rd time before it had started the step"


def describe_exit(code: int | None, memory: str) -> str:
    """Say how a worker ended, by its exit code, which is minus the signal where one ended it; and of its memory."""
    if code is None:
        return "its worker process ended"
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        text = f"its worker process was ended by {name}"
        if name == "SIGKILL":
            text += ", which is what the system sends when memory runs out"
    else:
        text = f"its worker process exited with code {code}"
    return f"{text}; {memory}" if memory else text


def describe_memory(seen: int | None, worker: WorkerProcess | None = None) -> str:
    """Say how large a worker was that has ended, as far as known."""
    if worker is not None and worker.peak_at_exit:
        return f"its memory peaked at {worker.peak_at_exit / 2**20:.0f} MiB"
    if seen:
        return f"its memory was last seen at {seen / 2**20:.0f} MiB"
    if worker is not None and worker.size_at_exit:
        return f"its memory stayed below {worker.size_at_exit / 2**20:.0f} MiB"
    return ""


def look(lease: Lease) -> bool:
    """Note the worker's largest size so far; gives whether it has died.

    Its pool may not have noticed: it waits for a pipe, which processes that the step forked hold open too.
    """
    worker = lease.worker
    assert worker is not None
    peak = read_peak(worker.pid)
    if peak is None:
        return not worker.is_alive
    lease.memory_seen = peak
    return False


def find_overdue(lease: Lease) -> Doom | None:
    """The step that has used up its time on a worker, or that a worker does not get to, and what to say of it.

    The clock is the worker's own: it starts when the worker starts the step.
    """
    first = lease.batches[0]
    mark = lease.read_mark()
    current = find_marked([state for batch in lease.batches for state in batch], mark)
    if current is not None and mark is not None:
        lease.first_in_line = None
        timeout_s = current.node.step.options.timeout_s
        if timeout_s is None or CLOCK.time() - mark.started_at <= timeout_s:
            return None
        return Doom(f"it took longer than its timeout of {timeout_s:g} s and was ended", current)
    if lease.first_in_line is None or lease.first_in_line[0] is not first:
        lease.first_in_line = first, CLOCK.monotonic()
        return None
    timeout_s = first[0].node.step.options.timeout_s
    if timeout_s is None or CLOCK.monotonic() - lease.first_in_line[1] <= timeout_s + START_S:
        return None
    return Doom(
        f"its worker process did not start it within its timeout of {timeout_s:g} s and {START_S:g} s more", first[0]
    )


def find_marked(states: list[NodeRun], mark: Mark | None) -> NodeRun | None:
    """The step that a worker's mark stands at, if it is one of these; a mark may be of an earlier step or attempt."""
    if mark is not None:
        for state in states:
            if state.node.position == mark.position and state.attempts == mark.attempt:
                return state
    return None


def find_behind(lease: Lease, current: NodeRun) -> list[NodeRun]:
    """The steps that a worker was sent and comes to after the one it is at."""
    states = [state for batch in lease.batches for state in batch]
    return states[states.index(current) + 1 :]


def read_peak(process: int) -> int | None:
    """The kernel's high-water mark of a process's resident size, which knows what happened between two looks."""
    try:
        with open(f"/proc/{process}/status", "rb") as file:
            _, found, rest = file.read().partition(b"\nVmHWM:")
    except OSError:
        return None
    return int(rest.split(None, 1)[0]) * 1024 if found else None
