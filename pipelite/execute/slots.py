"""The local compute target: slots, each a loky executor with a single worker.

One worker a slot, so that ending one step, or its death, touches no other.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from pipelite.clock import CLOCK
from pipelite.execute.ending import WorkerProcess, dismiss_watcher, end_workers, make_badge, wear
from pipelite.execute.exchange import Exchange
from pipelite.execute.messages import Batch, RunSetup
from pipelite.execute.threads import CORES_VARIABLE, STEP_SLOTS_VARIABLE, make_worker_environment
from pipelite.records import Failure

#: How many slots this machine has, where it should not be the number of its cores.
SLOTS_VARIABLE = "PIPELITE_SLOTS"

#: At the interpreter's end idle workers have this long to end by themselves.
GO_WITHIN_S = 2.0


class Slot:
    """One place where a step can run, and what its worker holds already."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._executor: Any = None
        self._call: Any = None
        #: Its worker, as soon as one was started.
        self.worker: WorkerProcess | None = None
        #: Number of the run setup that its worker has.
        self.setup: int | None = None
        #: Numbers of the functions that its worker has.
        self.functions: set[int] = set()
        #: Own source files that its worker has loaded, to the digest they had.
        self.sources: dict[str, str] = {}

    def submit(self, batch: Batch) -> Future[bytes]:
        """Send a batch; starts the worker if there is none.

        Raises
        ------
        RuntimeError
            If the worker died since the last batch; `replace` helps.
        """
        if self._executor is None:
            self._start()
        return self._executor.submit(self._call, pickle.dumps(batch, pickle.HIGHEST_PROTOCOL))  # type: ignore[no-any-return]

    def files_name(self) -> str | None:
        """Name of its worker's files."""
        return None if self.worker is None else str(self.worker.pid)

    def cancel(self, *, now: bool) -> None:
        """Nothing: the coordinator ends the worker's process itself."""

    def replace(self) -> None:
        """End the worker at once, with all it started; the next batch starts another."""
        worker, self.worker = self.worker, None
        if worker is not None:
            end_workers([worker])
        self.dismiss(kill_workers=True)
        self.setup = None
        self.functions = set()
        self.sources = {}

    def dismiss(self, *, kill_workers: bool = False) -> None:
        """Have the worker end by itself, once it has done what it was sent, or killed."""
        executor, self._executor = self._executor, None
        if executor is not None:
            if kill_workers:
                # The pool drops what waits, and its thread would then stumble over what was not handed on yet: the worker
                # would stay as a zombie.
                with contextlib.suppress(queue.Empty):
                    while True:
                        executor._work_ids.get_nowait()
            executor.shutdown(wait=False, kill_workers=kill_workers)

    def _start(self) -> None:
        """Start the worker, without waiting for it."""
        executors, worker = _import_executors()
        badge = make_badge()
        self._call = worker.pool_call
        self._executor = executor = executors.ProcessPoolExecutor(
            max_workers=1,
            initializer=worker.start_pool_worker,
            initargs=(os.getpid(),),
            env=wear(make_worker_environment(os.environ), badge),
        )
        executor._ensure_executor_running()
        # With a writer of our own the pool's reader would wait for ever for the rest of a result whose writer died.
        executor._result_queue._writer.close()
        process = next(iter(executor._processes.values()), None)
        if process is None:
            raise RuntimeError("a worker process ended as soon as it was started")
        self.worker = WorkerProcess(process, badge)


class LocalTarget:
    """The slots of this process, shared by all of its runs."""

    name = "local"
    can_end_steps = True
    takes_ahead = True
    is_in_process = False
    is_inline = False
    shares_slots = True
    exchange: Exchange | None = None

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self.slots = [Slot(number) for number in range(size)]
        self._free = self.slots[::-1]
        self._waiting: dict[int, Callable[[], None]] = {}
        self._tickets = itertools.count()

    def acquire(self, count: int) -> list[Slot] | None:
        """Take `count` slots, or none at all: None if fewer are free."""
        with self._lock:
            if len(self._free) < count:
                return None
            taken = self._free[-count:]
            del self._free[-count:]
            return taken[::-1]

    def release(self, slots: list[Slot]) -> None:
        """Give slots back, and wake whoever waits for one."""
        with self._lock:
            self._free.extend(slots)
            # The lowest number last, so that it is taken first: a small run then needs few workers.
            self._free.sort(key=lambda slot: -slot.number)
            waiting = list(self._waiting.values())
        for wake in waiting:
            wake()

    def explain_loss(self, future: Future[bytes]) -> Failure | None:
        """Nothing: its workers are children of this process, and how they died is known."""

    def adapt(self, setup: RunSetup) -> RunSetup:
        """What its workers are told of a run: nothing but what all are told."""
        return setup

    def finish_run(self) -> None:
        """Nothing: the workers are there for the next run."""

    def close(self) -> None:
        """End the workers of the slots that are free."""
        with self._lock:
            free = list(self._free)
            end_workers([slot.worker for slot in free if slot.worker is not None])
            for slot in free:
                slot.replace()

    def free_count(self) -> int:
        return len(self._free)

    def call_when_free(self, wake: Callable[[], None]) -> int:
        """Have `wake` called, from any thread, whenever slots come free; gives a ticket to end it with."""
        ticket = next(self._tickets)
        with self._lock:
            self._waiting[ticket] = wake
        return ticket

    def forget(self, ticket: int) -> None:
        with self._lock:
            self._waiting.pop(ticket, None)


_target: LocalTarget | None = None
_target_pid: int | None = None
_target_lock = threading.Lock()
_import_lock = threading.Lock()
_wait_for_runs: Callable[[], None] | None = None


def local_target() -> LocalTarget:
    """The slots of this process, made on first use."""
    global _target, _target_pid
    with _target_lock:
        # A forked child has none of its parent's workers.
        if _target is None or _target_pid != os.getpid():
            _target, _target_pid = LocalTarget(count_slots()), os.getpid()
        return _target


def close_local_target() -> None:
    """End the workers of this process, if it has any, and what stands by for them."""
    global _target
    with _target_lock:
        target, _target = _target, None
        if target is not None and _target_pid == os.getpid():
            target.close()
            dismiss_watcher()


def end_after(wait_for_runs: Callable[[], None]) -> None:
    """What to wait for, before workers go, when the main thread has ended."""
    global _wait_for_runs
    _wait_for_runs = wait_for_runs


def end_in_order() -> None:
    """Have the interpreter wait for runs when the main thread has ended, let workers go then, and end pools after that.

    Pools refuse work from the end of the main thread on, which is when `threading` calls what was registered with it, the
    last first; the functions of `atexit` would come too late. `concurrent.futures` registers so itself.
    """
    # These register theirs where they are imported, which fails once the main thread has ended.
    import concurrent.futures.process
    import concurrent.futures.thread  # noqa: F401

    # Private, and the only way; without it the functions of pools are called first.
    register = getattr(threading, "_register_atexit", lambda function: None)
    with contextlib.suppress(RuntimeError):
        # Refused if the main thread has ended: then the one that waits for this run is registered, and is being called.
        register(_end)


def _end() -> None:
    try:
        if _wait_for_runs is not None:
            _wait_for_runs()
    finally:
        _let_workers_go()
        executors: Any = sys.modules.get("joblib.externals.loky.process_executor")
        if executors is not None:
            executors._python_exit()


def _import_executors() -> tuple[Any, Any]:
    with _import_lock:
        # joblib's modules import each other in a ring: a second thread would find them half there.
        from joblib.externals.loky import process_executor

        from pipelite.execute import worker

        if process_executor.process_pool_executor_at_exit is not _end:
            # Else it registers a function of its own with each executor: they would be called before ours, and fail to
            # be registered where a worker is replaced after the end of the main thread.
            process_executor.process_pool_executor_at_exit = _end
            end_in_order()
        return process_executor, worker


def _let_workers_go() -> None:
    """Let workers end as programs do, but not for ever."""
    with _target_lock:
        if _target is None or _target_pid != os.getpid():
            return
        for slot in _target.slots:
            slot.dismiss()
        until = CLOCK.monotonic() + GO_WITHIN_S
        for slot in _target.slots:
            if slot.worker is not None:
                slot.worker.wait(max(0.0, until - CLOCK.monotonic()))
        _target.close()


def count_slots() -> int:
    """The number of slots: those of the step that this process runs, else as set, else the cores it may use."""
    within = os.environ.get(STEP_SLOTS_VARIABLE, "")
    if within.isdecimal() and int(within) > 0:
        return int(within)
    wanted = os.environ.get(SLOTS_VARIABLE)
    if wanted is not None:
        from pipelite.errors import ParameterError

        if not wanted.isdecimal() or int(wanted) < 1:
            raise ParameterError(f"{SLOTS_VARIABLE} is {wanted!r}; a whole number from 1 is expected")
        return int(wanted)
    limit = os.environ.get(CORES_VARIABLE, "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = min(cores, _cgroup_cores() or cores)
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) > 0 else cores


def _cgroup_cores() -> int | None:
    """Cores that a container may use; None without a limit."""
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, -(-int(quota) // int(period)))
