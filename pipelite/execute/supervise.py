"""What runs in a worker of somebody else's executor: it has a child process of its own run the steps, and watches it.

So time-outs, cancels, captured output and memory figures hold whatever kind of worker it is: a process of a pool, a
daemonic process of a Dask worker, a thread. A child is kept for the next batch.

The coordinator and the supervisor meet in the spool folder of the run, which both see. A file there says who took a
batch, so that an executor which sends the batch of a lost worker to another one does not run it twice; a second file
asks for the end of a batch; a third is touched now and then as long as the coordinator lives.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

import attrs

from pipelite.clock import CLOCK
from pipelite.errors import ComputeTargetError
from pipelite.execute.deaths import describe_exit, describe_memory, read_peak
from pipelite.execute.ending import end_trees, make_badge, wear
from pipelite.execute.framing import is_readable, receive, send
from pipelite.execute.logs import cap_log
from pipelite.execute.messages import CANCELED, Batch, Outcome, Returned, RunSetup
from pipelite.execute.spool import Mark, MarkFile
from pipelite.execute.threads import make_worker_environment
from pipelite.execute.worker import to_text
from pipelite.records import Failure
from pipelite.store import LOG_CAP_BYTES

#: Seconds between two looks at what a child does.
LOOK_S = 0.1
#: A coordinator that has not been heard of for so long is gone, and so is the reason for its steps.
SILENCE_S = 10.0
#: The file that the coordinator touches.
BEAT = "beat"
BEAT_EVERY_S = 1.0
#: What a stop file says: end also what has started, or only do not start.
NOW, WAITING = "now", "waiting"


class Task(NamedTuple):
    """One batch on its way to a supervisor."""

    #: Name of this sending of the batch.
    token: str
    #: The coordinator's process: numbers of setups and functions hold within it, and children are kept for it.
    sender: str
    #: The spool folder of the run.
    meeting: str
    #: Whether the worker keeps logs and spool in a folder of its own and returns them.
    collects: bool
    batch: Batch


class Child:
    """A worker process and what it holds already."""

    def __init__(self, sender: str) -> None:
        self.sender = sender
        self._badge = make_badge()
        code = f"import sys; sys.path[:] = {sys.path!r}; from pipelite.execute.child import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=wear(make_worker_environment(os.environ), self._badge),
        )
        self.pid = self._process.pid
        #: Pids come again, and other machines have the same ones.
        self.name = f"{os.urandom(4).hex()}-{self.pid}"
        self.setup: RunSetup | None = None
        self.functions: set[int] = set()
        self.sources: dict[str, str] = {}
        self.folder: str | None = None

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send(self, batch: Batch) -> None:
        assert self._process.stdin is not None
        send(self._process.stdin.fileno(), pickle.dumps(batch, pickle.HIGHEST_PROTOCOL))

    def receive(self, timeout_s: float) -> bytes | None:
        """Its answer, if it comes in time; b"" if it is gone."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        if not is_readable(descriptor, timeout_s):
            return None
        return receive(descriptor) or b""

    def end(self) -> int:
        """End it with all that it started; gives its exit code."""
        end_trees([self.pid] if self.is_alive() else [], [self._badge])
        return self._process.wait()

    def discard(self) -> None:
        """End it, and remove what is left of it."""
        self.end()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class Children:
    """The idle children of this process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._idle: list[Child] = []
        self._pid = os.getpid()

    def take(self, task: Task) -> Child:
        """An idle child that suits, or a new one; those that do not suit any more are ended."""
        with self._guard:
            if self._pid != os.getpid():
                # A fork: the children are another process's.
                self._idle, self._pid = [], os.getpid()
            idle, self._idle = self._idle, []
        found = None
        for child in idle:
            if not child.is_alive() or (child.sender == task.sender and _is_stale(child, task)):
                child.discard()
            elif found is None and child.sender == task.sender:
                found = child
            else:
                self.give_back(child)
        return found or Child(task.sender)

    def give_back(self, child: Child) -> None:
        with self._guard:
            self._idle.append(child)

    def close(self) -> None:
        """End them: this process, which could use them again, comes to its end."""
        if self._pid == os.getpid():
            while self._idle:
                self._idle.pop().discard()


_children = Children()
atexit.register(_children.close)


def _is_stale(child: Child, task: Task) -> bool:
    """Whether a child holds an older version of the code."""
    return any(
        child.sources.get(path, digest) != digest
        for shipped in task.batch.functions
        for path, digest in shipped.code.sources.items()
    )


def run_supervised(payload: bytes) -> bytes:
    """Run a pickled `Task`; gives a pickled `Returned`."""
    return pickle.dumps(_run(pickle.loads(payload)), pickle.HIGHEST_PROTOCOL)


def _run(task: Task) -> Returned:
    meeting = Path(task.meeting)
    if not meeting.is_dir():
        raise ComputeTargetError(
            f"a worker on {socket.gethostname()} does not see {task.meeting}; give the compute target "
            'a folder that it does see, by its setting "shared"'
        )
    if (meeting / f"{task.token}.stop").exists():
        return Returned((), None, "")
    claim = meeting / f"{task.token}.taken"
    while True:
        child = _children.take(task)
        try:
            taken_by = _claim(claim, child)
            if taken_by is not None:
                _children.give_back(child)
                return Returned((), None, "", loss=f"the worker that ran it ({taken_by}) was lost")
            returned = _run_in(child, task)
        except BaseException:
            # A signal to the executor's worker, or a disk that is full: nothing may go on unwatched.
            child.discard()
            raise
        if returned is not None:
            return returned
        # The child had left after a time without work, just before the batch came.
        claim.unlink()


def _run_in(child: Child, task: Task) -> Returned | None:
    """Run a batch in a child; None if the child had left."""
    news = _only_news(task, child)
    with contextlib.closing(_Watch(task, child)) as watch:
        try:
            child.send(news)
        except BrokenPipeError:
            returned = watch.describe_end(None)
        else:
            returned = watch.wait()
        if child.is_alive() and not watch.must_replace:
            _children.give_back(child)
            return returned
        has_left = child.end() == 0 and not watch.has_begun()
        child.discard()
        return None if has_left else returned


def _claim(path: Path, child: Child) -> str | None:
    """Take a batch; who has it, if another worker does."""
    try:
        with path.open("x") as file:
            file.write(f"{child.name}\n{socket.gethostname()}, process {os.getpid()}")
    except FileExistsError:
        return path.read_text().partition("\n")[2] or "another one"
    return None


def _only_news(task: Task, child: Child) -> Batch:
    """The batch without what the child has already."""
    batch = task.batch
    assert batch.setup is not None
    setup = None
    if child.setup is None or child.setup.id != batch.setup.id:
        if task.collects and child.folder is None:
            child.folder = tempfile.mkdtemp(prefix="pipelite-worker-", dir=_own_folder())
        # The same child may serve runs of both kinds.
        folder = child.folder if task.collects else None
        setup = child.setup = attrs.evolve(batch.setup, worker=child.name, folder=folder)
    functions = tuple(shipped for shipped in batch.functions if shipped.id not in child.functions)
    for shipped in functions:
        child.functions.add(shipped.id)
        child.sources.update(shipped.code.sources)
    return batch._replace(setup=setup, functions=functions)


def _own_folder() -> str | None:
    """Where a Dask worker keeps its files; elsewhere the system's place for temporary ones."""
    if "distributed" in sys.modules:
        from distributed import get_worker

        try:
            return str(get_worker().local_directory)
        except ValueError:
            return None
    return None


class _Watch:
    """Looks after one batch in one child."""

    def __init__(self, task: Task, child: Child) -> None:
        self._task = task
        self._child = child
        self._meeting = Path(task.meeting)
        assert task.batch.setup is not None
        run_id = task.batch.setup.run_id
        assert child.setup is not None
        self._root = Path(child.setup.folder or child.setup.root)
        self._name = f"{run_id}/{child.name}"
        self._log = self._root / "logs" / f"{self._name}.log"
        self._spool = self._root / "spool" / f"{self._name}.jsonl"
        self._log_from, self._spool_from = _size_of(self._log), _size_of(self._spool)
        self._items = {item.position: item for item in task.batch.items}
        self._mark_path = self._root / "spool" / f"{self._name}.mark"
        self._mark_file: MarkFile | None = None
        self._first_mark = 0
        first = self._read_mark()
        self._first_mark = first.number if first is not None else 0
        self._memory: int | None = None
        #: The last sign of life of the coordinator, and when it was new.
        self._beat: tuple[bytes, float] = (b"", CLOCK.monotonic())
        #: Whether the child cannot serve another batch: it holds an older version of a step's code, or is spent.
        self.must_replace = False

    def wait(self) -> Returned:
        """The result, whatever happens."""
        while True:
            answer = self._child.receive(LOOK_S)
            if answer:
                return self._collect(pickle.loads(answer))
            if answer == b"":
                return self.describe_end(None)
            why = self._look()
            if why is not None:
                return self.describe_end(why)

    def close(self) -> None:
        if self._mark_file is not None:
            self._mark_file.close()

    def has_begun(self) -> bool:
        """Whether the child has started a step of this batch."""
        return self._read_mark() is not None

    def describe_end(self, why: tuple[str, str] | None) -> Returned:
        """End the child; gives a result that charges the step it was at. The coordinator sends the others again."""
        exit_code = self._child.end()
        mark = self._read_mark()
        first = self._task.batch.items[0]
        item = first if mark is None else self._items.get(mark.position, first)
        started_at = mark.started_at if mark is not None else CLOCK.time()
        kind, message = why or ("WorkerDied", describe_exit(exit_code, describe_memory(self._memory)))
        log_end = _size_of(self._log)
        outcome = Outcome(
            position=item.position,
            attempt=item.attempt,
            failure=Failure(type_name=kind, message=message, traceback=""),
            outputs="{}",
            form="value",
            artifacts=(),
            returned_none=False,
            reads=(),
            started_at=to_text(started_at),
            ended_at=to_text(CLOCK.time()),
            duration_s=max(0.0, CLOCK.time() - started_at),
            cpu_s=0.0,
            peak_memory_bytes=self._memory,
            log_start=mark.log_start if mark is not None else log_end,
            log_end=log_end,
            spool_end=_size_of(self._spool),
        )
        return self._collect(Returned((outcome,), f"{self._name}.log", f"{self._name}.jsonl"))

    def _look(self) -> tuple[str, str] | None:
        """Whether the batch is to be ended: type and message of the failure."""
        now = CLOCK.monotonic()
        try:
            beat = (self._meeting / BEAT).read_bytes()
        except OSError:
            return CANCELED, "its run is over"
        if beat != self._beat[0]:
            self._beat = beat, now
        elif now - self._beat[1] > SILENCE_S:
            return CANCELED, f"nothing was heard of its run for {SILENCE_S:g} s"
        try:
            if (self._meeting / f"{self._task.token}.stop").read_text() == NOW:
                return CANCELED, "it was canceled"
        except OSError:
            pass
        self._memory = read_peak(self._child.pid) or self._memory
        mark = self._read_mark()
        if mark is None:
            return None
        cap_log(self._log, mark.log_start)
        item = self._items.get(mark.position)
        if item is not None and item.timeout_s is not None and CLOCK.time() - mark.started_at > item.timeout_s:
            return "TimeoutError", f"it took longer than its timeout of {item.timeout_s:g} s and was ended"
        return None

    def _read_mark(self) -> Mark | None:
        """The step of this batch that the child is at; None before the first."""
        if self._mark_file is None:
            if not self._mark_path.exists():
                return None
            self._mark_file = MarkFile(self._mark_path)
        mark = self._mark_file.get()
        return mark if mark.number > self._first_mark else None

    def _collect(self, returned: Returned) -> Returned:
        """Add what the worker wrote into files of its own."""
        self.must_replace = returned.is_spent or any(
            outcome.failure is not None and outcome.failure.type_name == "StaleWorkerError"
            for outcome in returned.outcomes
        )
        if not self._task.collects:
            return returned
        return returned._replace(
            log_parts=_read_ends(self._log, self._log_from), spool_part=_read_from(self._spool, self._spool_from)
        )


def _read_ends(path: Path, start: int) -> tuple[tuple[int, bytes], ...]:
    """What was appended to a log; of very much only the first and the last part."""
    half = LOG_CAP_BYTES // 2
    size = _size_of(path)
    if size <= start:
        return ()
    if size - start <= 2 * half:
        return ((start, _read_from(path, start)),)
    return (start, _read_from(path, start, half)), (size - half, _read_from(path, size - half))


def _read_from(path: Path, start: int, limit: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(limit)
    except FileNotFoundError:
        return b""


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
