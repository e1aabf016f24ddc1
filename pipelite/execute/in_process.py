"""Steps in threads of the coordinator's process: `threads`, a thread pool of the user's, and `inline`.

Nothing stands between such a step and the process: what it prints goes to the terminal, its memory is the process's,
and nothing can end it. Inputs and outputs pass through the store as everywhere, so that a step gets copies of its own.
"""

from __future__ import annotations

import itertools
import os
import pickle
import queue
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pipelite.execute.worker as worker_module
from pipelite.clock import CLOCK
from pipelite.errors import PipeliteError
from pipelite.execute import context
from pipelite.execute.failures import describe_exception
from pipelite.execute.free_slots import FreeSlots
from pipelite.execute.messages import CANCELED, Batch, Outcome, Returned, RunSetup, ShippedFunction, StepEnded, WorkItem
from pipelite.execute.reads import ThreadReads, leave_thread_alone
from pipelite.execute.slots import count_slots
from pipelite.execute.spool import MarkFile, SpoolWriter
from pipelite.execute.worker import NOTHING_PUT, Worker, failed_before_start, make_outcome
from pipelite.fingerprint import Fingerprinter
from pipelite.records import Failure
from pipelite.store import ArtifactStore

_OWN_FILES = (__file__, worker_module.__file__)
_numbers = itertools.count(1)


class ThreadWorker(Worker):
    """What a `Worker` does, without changing anything of the process around it."""

    def __init__(self) -> None:
        self.name = f"thread-{os.getpid()}-{next(_numbers)}"
        self.fingerprinter = Fingerprinter()
        self.held: dict[int, Callable[..., Any]] = {}
        self.functions: dict[int, ShippedFunction] = {}
        self.setup: RunSetup | None = None
        self.wanted: RunSetup
        #: Set when what it runs is asked to end.
        self.asked_to_end = threading.Event()

    def run(self, batch: Batch) -> Returned:
        """Run the items of a batch in order until its time is used up."""
        if batch.setup is not None:
            self.wanted = batch.setup
            self.held.clear()
            self.functions.clear()
        for shipped in batch.functions:
            assert shipped.held is not None
            self.held[shipped.id] = shipped.held
            self.functions[shipped.id] = shipped
        if self.setup is not self.wanted:
            try:
                self._begin(self.wanted)
            except (PipeliteError, OSError) as exc:
                # The next batch tries again.
                return Returned((failed_before_start(batch.items[0], exc),), None, None)
        until = CLOCK.monotonic() + batch.budget_s
        outcomes = []
        for item in batch.items:
            if self.mark.is_stopped():
                break
            outcomes.append(self._run_item(item))
            if CLOCK.monotonic() > until:
                break
        return Returned(tuple(outcomes), None, self.spool_file)

    def close(self) -> None:
        """Let go of the files of a run."""
        if self.setup is not None:
            self.setup = None
            self.spool.close()
            self.mark.close()

    def _begin(self, setup: RunSetup) -> None:
        self.close()
        self.fingerprinter = Fingerprinter()
        root = Path(setup.root)
        self.store = ArtifactStore(root, prefix=lambda: setup.prefix)
        self.scratch_stem = root / "tmp" / f"{setup.prefix}scratch-"
        self.spool_file = f"{setup.run_id}/{self.name}.jsonl"
        self.spool = SpoolWriter(root / "spool" / self.spool_file)
        try:
            self.mark = MarkFile(root / "spool" / setup.run_id / f"{self.name}.mark")
        except BaseException:
            self.spool.close()
            raise
        self.setup = setup

    def _run_item(self, item: WorkItem) -> Outcome:
        setup = self.setup
        assert setup is not None
        here = self._make_context(item, setup)
        here._is_asked_to_end = self.asked_to_end.is_set
        failure, put = None, NOTHING_PUT
        reads: tuple[tuple[str, str], ...] = ()
        started_at = self.mark.set(item.position, item.attempt, 0, item.name)
        started_cpu, started = CLOCK.thread_time(), CLOCK.monotonic()
        duration: float | None = None
        with context.entered_here(here):
            try:
                function = self.held[item.function]
                here._interpreter = self._prepare_for_process(self.functions[item.function])
                args, kwargs = self._load_inputs(item)
                started = CLOCK.monotonic()
                if item.records_reads:
                    with ThreadReads() as recorder:
                        value = function(*args, **kwargs)
                        duration = CLOCK.monotonic() - started
                        reads = recorder.digests(
                            working_directory=setup.working_directory, ignored=self._ignored_reads(item)
                        )
                else:
                    leave_thread_alone()
                    value = function(*args, **kwargs)
                    duration = CLOCK.monotonic() - started
                del args, kwargs
                put = self._store_outputs(item, value, here)
            except StepEnded:
                duration = CLOCK.monotonic() - started
                failure = Failure(type_name=CANCELED, message="it ended when it was asked to", traceback="")
            except BaseException as exc:
                # The worker boundary: one bad step, also one that calls sys.exit, must not end the run.
                if duration is None:
                    duration = CLOCK.monotonic() - started
                failure = describe_exception(exc, skip_files=_OWN_FILES)
        return make_outcome(
            item,
            failure,
            put,
            reads=reads,
            started_at=started_at,
            duration_s=duration,
            cpu_s=CLOCK.thread_time() - started_cpu,
            peak_memory_bytes=None,
            spool_end=self.spool.end,
        )

    def _log_path(self) -> str:
        """None: what is printed goes to the terminal."""
        return ""

    def _import_script(self) -> None:
        """Nothing: the running script is this process's own."""


class InlineSlot:
    """Runs what it is sent in the thread that sends it."""

    worker = None

    def __init__(self) -> None:
        self.setup: int | None = None
        self.functions: set[int] = set()
        self.sources: dict[str, str] = {}
        self._worker = ThreadWorker()

    def submit(self, batch: Batch) -> Future[bytes]:
        future: Future[bytes] = Future()
        self._fill(future, batch)
        return future

    def files_name(self) -> str | None:
        return self._worker.name

    def cancel(self, *, now: bool) -> None:
        """Nothing: a thread cannot be ended from outside."""

    def replace(self) -> None:
        """Nothing: the code of this process is the one that the run was planned with."""

    def _fill(self, future: Future[bytes], batch: Batch) -> None:
        try:
            returned = pickle.dumps(self._run(batch), pickle.HIGHEST_PROTOCOL)
        except BaseException as exc:
            future.set_exception(exc)
        else:
            future.set_result(returned)

    def _run(self, batch: Batch) -> Returned:
        if batch.setup is not None:
            self.functions = {shipped.id for shipped in batch.functions}
        return self._worker.run(batch)


class ThreadSlot(InlineSlot):
    """Runs what it is sent in a thread of its own.

    Not one of a `ThreadPoolExecutor`: those take nothing more once the main thread has ended, while a submitted run
    goes on. A daemon, since an idle one must not keep the process.
    """

    def __init__(self) -> None:
        super().__init__()
        self._work: queue.SimpleQueue[tuple[Future[bytes], Batch]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, batch: Batch) -> Future[bytes]:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=f"pipelite-{self._worker.name}", daemon=True)
            self._thread.start()
        future: Future[bytes] = Future()
        self._work.put((future, batch))
        return future

    def _serve(self) -> None:
        leave_thread_alone()
        while True:
            self._fill(*self._work.get())


class PooledSlot(InlineSlot):
    """Runs what it is sent in a thread of the user's pool."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        super().__init__()
        self._executor = executor
        self._future: Future[bytes] | None = None

    def submit(self, batch: Batch) -> Future[bytes]:
        self._worker.asked_to_end.clear()
        try:
            self._future = self._executor.submit(
                lambda: pickle.dumps(self._run(batch), pickle.HIGHEST_PROTOCOL),
            )
        except RuntimeError as exc:
            self._future = Future()
            self._future.set_exception(exc)
        return self._future

    def cancel(self, *, now: bool) -> None:
        """Take back what no thread has begun with; a step that runs is asked to end."""
        if self._future is not None:
            self._future.cancel()
        if now:
            self._worker.asked_to_end.set()

    def close(self) -> None:
        """Let go of the files of the run, unless a step is still at them."""
        if self._future is None or self._future.done():
            self._worker.close()


class InProcessTarget(FreeSlots):
    """Slots in this process."""

    can_end_steps = False
    is_in_process = True

    def explain_loss(self, future: Future[bytes]) -> Failure | None:
        """Why a batch did not come back; None if it was taken back before it began."""
        if future.cancelled() or isinstance(future.exception(), CancelledError):
            return None
        error = future.exception()
        return Failure(
            type_name="ComputeTargetError",
            message=f"compute target {self.name!r} does not take steps: {type(error).__name__}: {error}",
            traceback="",
        )


class InlineTarget(InProcessTarget):
    """The coordinator's own thread: one step at a time, for debugging."""

    is_inline = True

    def __init__(self, name: str) -> None:
        super().__init__(name, 1, InlineSlot)


class ThreadPoolTarget(InProcessTarget):
    """A thread pool of the user's."""

    def __init__(self, name: str, executor: ThreadPoolExecutor) -> None:
        super().__init__(name, executor._max_workers, lambda: PooledSlot(executor))

    def finish_run(self) -> None:
        """Let go of its files: the next run has a target of its own for the same pool."""
        for slot in self._free:
            slot.close()


_threads: dict[tuple[int, int], InProcessTarget] = {}
_threads_guard = threading.Lock()


def threads_target(name: str, size: int | None) -> InProcessTarget:
    """Threads of this process, shared by all of its runs; as many as there are slots, if nothing else is said."""
    with _threads_guard:
        # A forked child has none of its parent's threads.
        key = os.getpid(), size or count_slots()
        if key not in _threads:
            _threads[key] = InProcessTarget(name, key[1], ThreadSlot)
        return _threads[key]
