"""What runs inside a worker process: batches of steps, one after the other.

The worker puts outputs into the store, appends what steps log to its spool, and sends back small records. It never
writes the database.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import itertools
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pipelite.execute.functions as functions_module
from pipelite.clock import CLOCK
from pipelite.define import rebuild
from pipelite.errors import PipeliteError, SerializationError, StorageError
from pipelite.execute import context
from pipelite.execute.badges import VARIABLE as BADGE_VARIABLE
from pipelite.execute.capture import OutputFile, silence
from pipelite.execute.ending import adopt_orphans, own_badge
from pipelite.execute.failures import describe_exception
from pipelite.execute.functions import describe_import_error, import_module, receive_function
from pipelite.execute.inherited import keep_file
from pipelite.execute.leftovers import end_leftovers, has_children
from pipelite.execute.messages import (
    Batch,
    Nested,
    Outcome,
    Packed,
    Returned,
    RunSetup,
    ShippedFunction,
    Stored,
    WorkItem,
)
from pipelite.execute.reads import ReadRecorder
from pipelite.execute.spool import MarkFile, SpoolWriter
from pipelite.execute.threads import STEP_WORKERS_VARIABLE, use_threads
from pipelite.fingerprint import Fingerprinter
from pipelite.records import RESULT, ArtifactRef, Failure
from pipelite.store import AREAS, CACHE, ArtifactStore, encode_outputs, loads_value

#: Seconds between two looks at whether the parent is still there.
PARENT_POLL_S = 0.05
#: After a step that took longer than this a new memory mark is begun; shorter ones share theirs with those before.
MEMORY_FIGURE_FROM_S = 0.005

_OWN_FILES = (__file__, functions_module.__file__)


class Put(NamedTuple):
    """What became of the outputs of a step, as an `Outcome` tells it."""

    outputs: str
    form: str
    artifacts: tuple[tuple[Any, ...], ...]
    returned_none: bool


NOTHING_PUT = Put("{}", "value", (), False)


class Worker:
    """The state of this process between two batches.

    `badges` is what a process of its own wears in its environment; without, nothing that a step leaves behind is ended.
    """

    def __init__(self, badges: str | None = None) -> None:
        self.output = OutputFile()
        self.reads = ReadRecorder()
        self.fingerprinter = Fingerprinter()
        self.functions: dict[int, ShippedFunction] = {}
        self.received: dict[int, Callable[..., Any]] = {}
        #: The run that this process is prepared for, and the one that it was told to be.
        self.setup: RunSetup | None = None
        self.wanted: RunSetup
        self.store: ArtifactStore
        self.spool: SpoolWriter
        self.spool_file = ""
        self.mark: MarkFile
        self.scratch_stem: Path
        self.badges = badges
        #: Whether another worker had better take its place.
        self.is_spent = False
        #: Where the output of the last step ended, and the processor time of all finished children by then.
        self.log_end = 0
        self.children_cpu = 0.0

    def run(self, batch: Batch) -> Returned:
        """Run the items of a batch in order until its time is used up."""
        for shipped in batch.functions:
            self.functions[shipped.id] = shipped
        self.wanted = batch.setup or self.wanted
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
            if self.is_spent or CLOCK.monotonic() > until:
                break
        return Returned(tuple(outcomes), self.output.name, self.spool_file, self.is_spent)

    def append(self, record: dict[str, Any]) -> None:
        self.spool.append(record)

    def store_file(self, path: Path) -> dict[str, Any]:
        """Keep a file that a step logged; part of what `current_run()` needs."""
        return keep_file(self.store, path, self.fingerprinter.value)

    def address(self) -> dict[str, str]:
        """Where the records of this worker's steps go, for processes that a step starts."""
        assert self.setup is not None
        return {
            "spool": str(self.spool.path),
            "root": self.setup.root,
            "prefix": self.setup.prefix,
            "log": self._log_path(),
        }

    def _log_path(self) -> str:
        return str(self.output.path)

    def _begin(self, setup: RunSetup) -> None:
        """Make this process look like the one that started the run."""
        if self.setup is not None:
            self.setup = None
            self.spool.close()
            self.mark.close()
        self.fingerprinter = Fingerprinter()
        if setup.is_elsewhere:
            sys.path[:] = [*setup.sys_path, *(place for place in sys.path if place not in setup.sys_path)]
        else:
            os.environ.clear()
            sys.path[:] = setup.sys_path
        os.environ.update(setup.environment)
        if self.badges is not None:
            os.environ[BADGE_VARIABLE] = self.badges
        if not setup.is_elsewhere or os.path.isdir(setup.working_directory):
            os.chdir(setup.working_directory)
        self.store = ArtifactStore(Path(setup.root), prefix=lambda: setup.prefix)
        root = Path(setup.folder or setup.root)
        self.scratch_stem = root / "tmp" / f"{setup.prefix}{os.getpid()}-scratch-"
        name = f"{setup.run_id}/{setup.worker or os.getpid()}"
        os.environ[STEP_WORKERS_VARIABLE] = f"{setup.environment.get(STEP_WORKERS_VARIABLE, '')} {name}".lstrip()
        self.output.open(root / "logs" / f"{name}.log", f"{name}.log")
        self.log_end = self.output.end()
        self.spool_file = f"{name}.jsonl"
        self.spool = SpoolWriter(root / "spool" / self.spool_file)
        try:
            self.mark = MarkFile(root / "spool" / f"{name}.mark")
        except BaseException:
            self.spool.close()
            raise
        self.setup = setup

    def _run_item(self, item: WorkItem) -> Outcome:
        shipped = self.functions[item.function]
        if shipped.environment is None or shipped.starts_process:
            return self._run_here(item)
        started_at = self.mark.set(item.position, item.attempt, self.log_end, item.name)
        log_start = self.log_end
        interpreter = None
        try:
            interpreter = shipped.environment.prepare(self._root(), shipped.environments)
            if interpreter.is_current:
                return self._run_here(item)
            from pipelite.execute.interpreters import run_elsewhere

            ran = run_elsewhere(self, interpreter, item)
            self._end_leftovers(item)
        except BaseException as exc:
            # As for a step that runs here.
            self._end_leftovers(item)
            ran = failed_before_start(item, describe_exception(exc, skip_files=_OWN_FILES))
        finally:
            if interpreter is not None:
                interpreter.release()
        self.log_end = self.output.end()
        if self.log_end > log_start:
            self._note_log(item, log_start)
        duration = CLOCK.time() - started_at
        return ran._replace(
            started_at=to_text(started_at),
            ended_at=to_text(started_at + duration),
            duration_s=duration,
            log_start=log_start,
            log_end=self.log_end,
            spool_end=self.spool.end,
        )

    def _root(self) -> Path:
        """Where environments are."""
        assert self.setup is not None
        return Path(self.setup.folder or self.setup.root)

    def _run_here(self, item: WorkItem) -> Outcome:
        setup = self.setup
        assert setup is not None
        log_start, children_cpu = self.log_end, self.children_cpu
        here = self._make_context(item, setup)
        failure, put = None, NOTHING_PUT
        reads: tuple[tuple[str, str], ...] = ()
        context.enter(here)
        started_at = self.mark.set(item.position, item.attempt, log_start, item.name)
        started_cpu, started = CLOCK.process_time(), CLOCK.monotonic()
        duration: float | None = None
        try:
            function = self._find(item.function)
            here._interpreter = self._prepare_for_process(self.functions[item.function])
            args, kwargs = self._load_inputs(item)
            use_threads(item.cpus, setup.environment)
            if item.records_reads:
                self.reads.start()
            started = CLOCK.monotonic()
            value = function(*args, **kwargs)
            duration = CLOCK.monotonic() - started
            # Before the outputs are stored: nothing may go on writing to them.
            self._end_leftovers(item)
            if item.records_reads:
                reads = self.reads.stop(working_directory=setup.working_directory, ignored=self._ignored_reads(item))
            # The inputs are not needed any more: an output may be as large as memory allows.
            del args, kwargs
            put = self._store_outputs(item, value, here)
            self.output.check()
        except BaseException as exc:
            # The worker boundary: one bad step, also one that calls sys.exit, must not end the process.
            if duration is None:
                duration = CLOCK.monotonic() - started
            failure = describe_exception(exc, skip_files=_OWN_FILES)
            # Where memory ran out, what the step or its libraries have left of themselves may be anything.
            self.is_spent = self.is_spent or isinstance(exc, MemoryError)
            self._end_leftovers(item)
        finally:
            if item.records_reads:
                self.reads.stop(working_directory="", ignored=())
            context.leave()
        self.log_end = self.output.end()
        if self.log_end > log_start:
            self._note_log(item, log_start)
        self.children_cpu = _children_cpu()
        cpu = CLOCK.process_time() - started_cpu + self.children_cpu - children_cpu
        peak = _read_peak_memory()
        if duration > MEMORY_FIGURE_FROM_S:
            _reset_peak_memory()
        return make_outcome(
            item,
            failure,
            put,
            reads=reads,
            started_at=started_at,
            duration_s=duration,
            cpu_s=cpu,
            peak_memory_bytes=peak,
            log=(log_start, self.log_end),
            spool_end=self.spool.end,
        )

    def _make_context(self, item: WorkItem, setup: RunSetup) -> context.StepContext:
        return context.StepContext(
            run_id=setup.run_id,
            pipeline=setup.pipeline,
            step=item.name,
            position=item.position,
            attempt=item.attempt,
            sink=self,
            scratch_stem=self.scratch_stem,
        )

    def _prepare_for_process(self, shipped: ShippedFunction) -> Any:
        """The interpreter for what a step's function starts; None if it asks for none."""
        if shipped.environment is None or not shipped.starts_process:
            return None
        return shipped.environment.prepare(self._root(), shipped.environments)

    def _note_log(self, item: WorkItem, log_start: int) -> None:
        """Leave word of what a step printed, for the case that the owner dies before it records that."""
        # It matters after a death only; a disk that does not take it is told by what does matter.
        with contextlib.suppress(StorageError):
            self.spool.append(
                {
                    "position": item.position,
                    "of": item.name,
                    "kind": "printed",
                    "attempt": item.attempt,
                    "start": log_start,
                    "end": self.log_end,
                    "at": to_text(CLOCK.time()),
                }
            )

    def _end_leftovers(self, item: WorkItem) -> None:
        if self.badges is not None and has_children() and not end_leftovers(item.name, own_badge(self.badges)):
            self.is_spent = True

    def _find(self, number: int) -> Callable[..., Any]:
        function = self.received.get(number)
        if function is None:
            shipped = self.functions[number]
            try:
                function = receive_function(shipped, is_fresh=not self.received)
            except PipeliteError:
                raise
            except Exception as exc:
                raise describe_import_error(shipped, exc) from exc
            self.received[number] = function
        return function

    def _load_inputs(self, item: WorkItem) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args = tuple([value if type(value) in _PLAIN else self._load(value) for value in item.args])
        if not item.kwargs:
            return args, {}
        return args, {name: self._load(value) for name, value in item.kwargs.items()}

    def _load(self, value: Any) -> Any:
        kind = type(value)
        if kind is Stored:
            if value.ref.kind in ("pickle", "parts"):
                self._import_script()
            loaded = self.store.load(value.ref)
            for part in value.path:
                loaded = loaded[part]
            return loaded
        if kind is Packed:
            self._import_script()
            return loads_value(value.pickled)
        if kind is Nested:
            self._import_script()
            return self._load_nested(loads_value(value.pickled))
        return value

    def _load_nested(self, value: Any) -> Any:
        if type(value) is Stored:
            return self._load(value)
        return rebuild(value, self._load_nested)

    def _import_script(self) -> None:
        """Have the running script at hand under its own name: a pickled value may be of one of its classes."""
        if self.setup is not None and self.setup.main is not None:
            file, name = self.setup.main
            import_module(name, file)

    def _store_outputs(self, item: WorkItem, value: Any, here: context.StepContext) -> Put:
        if not item.outputs:
            refs = {RESULT: self._put(item, RESULT, value, here._scratch)}
            form = "value"
        else:
            form, parts = split_outputs(item.name, item.outputs, value)
            scratch = None if _overlap(parts.values()) else here._scratch
            refs = {name: self._put(item, name, part, scratch) for name, part in parts.items()}
        artifacts = tuple(
            (ref.digest, ref.kind, ref.path, ref.size_bytes, ref.mtime_ns, ref.file_digest, ref.type_name)
            for ref in refs.values()
            if ref.inline is None
        )
        returned_none = all(ref.inline == "null" for ref in refs.values())
        return Put(encode_outputs(refs), form, artifacts, returned_none)

    def _put(self, item: WorkItem, name: str, value: Any, scratch: Path | None) -> ArtifactRef:
        return self.store.put(value, output=name, step=item.name, identify=self.fingerprinter.value, scratch=scratch)

    def _ignored_reads(self, item: WorkItem) -> tuple[str, ...]:
        assert self.setup is not None
        root = self.setup.root
        return (*item.input_paths, *[f"{root}{os.sep}{area}" for area in (*AREAS, CACHE)])


_PLAIN = frozenset({int, float, str, bool, type(None)})


def split_outputs(step: str, names: tuple[str, ...], value: Any) -> tuple[str, dict[str, Any]]:
    """Match what a function returned with the names of its step's outputs."""
    if isinstance(value, dict):
        if set(value) == set(names):
            return "dict", {name: value[name] for name in names}
        raise SerializationError(
            f"step {step!r} names the outputs {', '.join(names)}, but returned a dict with the keys "
            f"{', '.join(map(str, value)) or '(none)'}; return exactly these keys, or a tuple in that order",
            step=step,
        )
    if isinstance(value, tuple | list) and len(value) == len(names):
        return "tuple", dict(zip(names, value, strict=True))
    what = f"{len(value)} values" if isinstance(value, tuple | list) else f"one {type(value).__qualname__}"
    raise SerializationError(
        f"step {step!r} names {len(names)} outputs ({', '.join(names)}), but returned {what}; "
        "return a tuple in that order, or a dict with these keys",
        step=step,
    )


def _overlap(values: Iterable[Any]) -> bool:
    """Whether one of several paths lies in another, or twice among them: then none may be moved away."""
    paths = [path.absolute() for path in values if isinstance(path, Path)]
    return any(one == other or one in other.parents for one, other in itertools.permutations(paths, 2))


def failed_before_start(item: WorkItem, error: BaseException | Failure) -> Outcome:
    """The outcome of a step whose worker could not be prepared, for example because the disk is full."""
    failure = error if isinstance(error, Failure) else describe_exception(error, skip_files=_OWN_FILES)
    return make_outcome(item, failure, NOTHING_PUT, started_at=CLOCK.time())


def make_outcome(
    item: WorkItem,
    failure: Failure | None,
    put: Put,
    *,
    started_at: float,
    duration_s: float = 0.0,
    reads: tuple[tuple[str, str], ...] = (),
    cpu_s: float = 0.0,
    peak_memory_bytes: int | None = 0,
    log: tuple[int | None, int | None] = (None, None),
    spool_end: int = 0,
) -> Outcome:
    """How a step ended; without figures, one that was not started."""
    return Outcome(
        position=item.position,
        attempt=item.attempt,
        failure=failure,
        outputs=put.outputs,
        form=put.form,
        artifacts=put.artifacts,
        returned_none=put.returned_none,
        reads=reads,
        started_at=to_text(started_at),
        ended_at=to_text(started_at + duration_s),
        duration_s=duration_s,
        cpu_s=cpu_s,
        peak_memory_bytes=peak_memory_bytes,
        log_start=log[0],
        log_end=log[1],
        spool_end=spool_end,
    )


_worker: Worker | None = None
_pool_script: ModuleType | None = None


def start_pool_worker(parent: int) -> None:
    """Prepare a fresh worker process of loky, as its initializer."""
    from joblib.externals.loky import process_executor

    # It starts a new process where one has grown by 300 MB; that one would not know the run and its functions.
    process_executor._MAX_MEMORY_LEAK_SIZE = float("inf")
    start_worker(parent)


def start_worker(parent: int) -> None:
    """Prepare a fresh worker process."""
    global _worker
    become_worker(parent)
    _worker = Worker(os.environ[BADGE_VARIABLE])


def become_worker(parent: int) -> None:
    """Make this process one that runs steps for its parent, and ends with it."""
    # Ctrl-C reaches the whole group; the coordinator decides what becomes of the steps.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The pool has made its own way of starting processes the default here, which the children of a step do not know.
    multiprocessing.set_start_method(None, force=True)
    _pass_over_sigterm()
    silence()
    if "PYTHONFAULTHANDLER" not in os.environ:
        # A crash in C code says where, in the step's log.
        faulthandler.enable()
    adopt_orphans()
    _become_nobodys_script()
    threading.Thread(target=_leave_with_parent, args=(parent,), daemon=True, name="pipelite-parent-watch").start()


def _pass_over_sigterm() -> None:
    """What a service manager sends to all processes at once is the coordinator's to answer; steps have time to finish.

    Not ignored, since what a step starts would inherit that; forked processes get the usual meaning back.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def _become_nobodys_script() -> None:
    """Put an empty module in the place of the pool's own start-up script.

    What is looked up in `__main__` is looked up for the user: a notebook's classes, the name of the running script. The
    pool's script is kept, as code of it is still running.
    """
    global _pool_script
    _pool_script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")


def run_batch(payload: bytes) -> bytes:
    """Run a pickled `Batch`; gives a pickled `Returned`.

    Bytes in, bytes out: the pool then has nothing to look into, and plain pickle is faster than its own.
    """
    assert _worker is not None
    try:
        returned = _worker.run(pickle.loads(payload))
    except Exception as exc:
        # Around the steps, not in one: memory that does not suffice for the batch, for example.
        returned = Returned((), None, None, is_spent=True, loss=f"its worker could not go on: {exc!r}")
    return pickle.dumps(returned, pickle.HIGHEST_PROTOCOL)


class _PoolCall:
    """`run_batch` as loky is given it.

    It is pickled by its name at once; of a function cloudpickle would find out with each call how to pickle it, which
    takes longer than all the rest of the call.
    """

    def __call__(self, payload: bytes) -> bytes:
        return run_batch(payload)

    def __reduce__(self) -> str:
        return "pool_call"


pool_call = _PoolCall()


def _leave_with_parent(parent: int) -> None:
    # The pool's workers outlive a parent that got SIGKILL by up to a minute, and finish its steps meanwhile. The watcher
    # ends them sooner, also where C code keeps this thread from running; this is for the case that it was killed itself.
    while os.getppid() == parent:
        CLOCK.sleep(PARENT_POLL_S)
    os._exit(1)


def to_text(seconds: float) -> str:
    """Seconds since the epoch as times stand in rows."""
    whole, rest = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_second_to_text(whole)}.{rest:06d}+00:00"


@functools.lru_cache(maxsize=4)
def _second_to_text(second: int) -> str:
    # Once a second, and not twice a step.
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _reset_peak_memory() -> None:
    """Start a new high-water mark of resident memory; Linux only, elsewhere the mark is that of the process."""
    try:
        descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY)
    except OSError:
        return
    try:
        os.write(descriptor, b"5")
    except OSError:
        pass  # A hardened kernel: the mark stays that of the process.
    finally:
        os.close(descriptor)


def _read_peak_memory() -> int:
    """Bytes of the high-water mark of resident memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
