"""Steps whose environment is not this process's: which interpreter serves, and the process that runs them in it."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from pipelite.clock import CLOCK
from pipelite.errors import EnvironmentFailed, PipeliteError
from pipelite.execute.badges import VARIABLE as BADGE_VARIABLE
from pipelite.execute.badges import make_badge, make_owner
from pipelite.execute.child import IDLE_S
from pipelite.execute.containers import Container
from pipelite.execute.deaths import describe_exit, describe_memory, read_peak
from pipelite.execute.ending import end_trees, wear
from pipelite.execute.framing import is_readable, receive, send
from pipelite.execute.functions import describe_import_error, import_unchecked
from pipelite.execute.messages import Outcome, RunSetup, ShippedFunction, WorkItem
from pipelite.execute.spool import SpoolWriter
from pipelite.execute.threads import STEP_SLOTS_VARIABLE
from pipelite.execute.worker import Worker, become_worker, failed_before_start
from pipelite.fingerprint import is_own_path
from pipelite.records import Failure
from pipelite.store import ArtifactStore, FileLock, loads_value, refuse_code

#: The environment variable that says where an environment's interpreter finds this library.
LIBRARY_VARIABLE = "PIPELITE_LIBRARY"
#: Seconds between two looks at whether a process that is running a step is still there.
_LOOK_S = 0.1
#: Seconds that a process which is not needed any more has to leave.
_LEAVE_S = 1.0
_LEAVE_CONTAINER_S = 5.0
_START = "from pipelite.execute.interpreters import main; main()"


@attrs.frozen(kw_only=True)
class Interpreter:
    """The Python that a step runs in."""

    #: Path of the executable.
    python: str
    #: Environment variables that its processes have besides.
    variables: dict[str, str]
    #: Held as long as it is in use, if somebody could remove it.
    lock: FileLock | None = attrs.field(default=None, eq=False)
    #: What each of its processes runs in; None if it runs beside this one.
    container: Container | None = None

    @property
    def is_current(self) -> bool:
        """Whether this very process would do."""
        return self.python == sys.executable and not self.variables and self.container is None

    def start(
        self,
        command: Sequence[str],
        *,
        folder: str,
        variables: Mapping[str, str],
        writes: Iterable[str],
        reads: Iterable[str],
        **streams: Any,
    ) -> subprocess.Popen[bytes]:
        """Start a command in a folder, with its own programs first.

        `variables` are those around it, `writes` and `reads` the paths that a container has to see.
        """
        variables = {**variables, **self.variables}
        if self.container is not None:
            return self.container.start(
                command, folder=folder, variables=variables, own=self.variables, writes=writes, reads=reads, **streams
            )
        variables["PATH"] = f"{os.path.dirname(self.python)}{os.pathsep}{variables.get('PATH', '')}"
        return subprocess.Popen(command, cwd=folder, env=variables, **streams)

    def release(self) -> None:
        """It is not in use any more."""
        if self.lock is not None:
            self.lock.release()


class _NoMark:
    """The worker that waits has marked the step."""

    def set(self, position: int, attempt: int, log_start: int, name: str) -> float:
        return CLOCK.time()


class EnvironmentWorker(Worker):
    """A worker in the interpreter of an environment, for one run; its files are those of the worker that waits for it."""

    def __init__(self, badges: str, setup: RunSetup, address: dict[str, str]) -> None:
        super().__init__(badges)
        self.setup = setup
        self.store = ArtifactStore(Path(setup.root), prefix=lambda: setup.prefix)
        self.spool = SpoolWriter(Path(address["spool"]), locks=False)
        self.mark: Any = _NoMark()
        self.scratch_stem = Path(setup.folder or setup.root) / "tmp" / f"{setup.prefix}scratch-"
        self.output.open(Path(address["log"]), "")

    def run_one(self, item: WorkItem) -> Outcome:
        """Run a step. Between two of them the worker that waits may have run others, which print to the same file."""
        self.log_end = self.output.end()
        return self._run_here(item)

    def _find(self, number: int) -> Any:
        if number not in self.received:
            shipped = self.functions[number]
            try:
                self.received[number] = (
                    loads_value(shipped.pickled) if shipped.pickled is not None else import_unchecked(shipped)
                )
            except PipeliteError:
                raise
            except Exception as exc:
                # Most likely the module imports at its top what the environment does not have.
                raise describe_import_error(shipped, exc) from exc
        return self.received[number]


class InterpreterProcess:
    """A process of another interpreter, which a worker keeps for further steps of that environment."""

    def __init__(self, worker: Worker, interpreter: Interpreter, item: WorkItem) -> None:
        assert worker.setup is not None
        self._setup, self._interpreter = worker.setup, interpreter
        self._functions: set[int] = set()
        # Within that of the worker, whose end is then also the end of this process.
        self._badge = make_badge(make_owner(), 1)
        #: Its largest size so far, as far as known.
        self.memory: int | None = None
        worker.output.flush()
        address, own = worker.address(), _own_places(worker.setup)
        self._process = interpreter.start(
            [interpreter.python, "-c", _START if interpreter.container is not None else _start_code()],
            folder=os.getcwd(),
            variables={**wear(os.environ, self._badge), STEP_SLOTS_VARIABLE: str(item.cpus)},
            writes=(
                worker.setup.root,
                str(worker.scratch_stem.parent),
                os.path.dirname(address["spool"]),
                os.path.dirname(address["log"]),
            ),
            reads=(*own, *item.input_paths),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._process.pid
        self._used_at = CLOCK.monotonic()
        self._first = pickle.dumps((worker.setup, address, own, sys.version_info[:2]), pickle.HIGHEST_PROTOCOL)

    def serves(self, worker: Worker, interpreter: Interpreter) -> bool:
        """Whether it can run a step; one that has been idle may be about to leave."""
        return (
            self._setup is worker.setup
            # A container sees the inputs of one step.
            and interpreter.container is None
            and self._interpreter == interpreter
            and CLOCK.monotonic() - self._used_at < IDLE_S / 2
            and self._process.poll() is None
        )

    def run(self, shipped: ShippedFunction, item: WorkItem) -> tuple[Outcome, bool] | None:
        """Run a step; gives also whether another process had better take its place. None if it died."""
        # What only a worker of the same interpreter makes use of may not even be there in another one.
        news = None if shipped.id in self._functions else attrs.evolve(shipped, environment=None, tracking={})
        self._functions.add(shipped.id)
        assert self._process.stdin is not None
        try:
            if self._first:
                send(self._process.stdin.fileno(), self._first)
                self._first = b""
            send(self._process.stdin.fileno(), pickle.dumps((news, item), pickle.HIGHEST_PROTOCOL))
        except BrokenPipeError:
            return None
        answer = self._receive()
        self._used_at = CLOCK.monotonic()
        return None if answer is None else pickle.loads(answer)

    def _receive(self) -> bytes | None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        # What a step has forked holds the pipe open too: its end alone does not tell of a death.
        while not is_readable(descriptor, _LOOK_S):
            if self._interpreter.container is None:
                self.memory = read_peak(self.pid) or self.memory
            if self._process.poll() is not None and not is_readable(descriptor, 0):
                return None
        return receive(descriptor)

    def end(self) -> int:
        """End it with all that it started; gives its exit code."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            # On its own it also cleans up, as every Python does.
            self._process.wait(_LEAVE_S if self._interpreter.container is None else _LEAVE_CONTAINER_S)
        end_trees([self.pid] if self._process.poll() is None else [], [self._badge])
        return self._process.wait()


#: The process that this worker keeps. What looks for processes that a step left running takes it for a helper.
_kept: InterpreterProcess | None = None


def run_elsewhere(worker: Worker, interpreter: Interpreter, item: WorkItem) -> Outcome:
    """Run a step in a process of another interpreter; that it died is the step's failure, and no other's."""
    global _kept
    if interpreter.container is not None and interpreter.container.misfit:
        raise EnvironmentFailed(f"a function cannot run in the image: {interpreter.container.misfit}")
    if _kept is not None and not _kept.serves(worker, interpreter):
        _kept.end()
        _kept = None
    if _kept is None:
        _kept = InterpreterProcess(worker, interpreter, item)
    ran = _kept.run(worker.functions[item.function], item)
    if ran is not None and not ran[1] and interpreter.container is None:
        return ran[0]
    process, _kept = _kept, None
    exit_code = process.end()
    if ran is not None:
        return ran[0]
    died = Failure(
        type_name="WorkerDied", message=describe_exit(exit_code, describe_memory(process.memory)), traceback=""
    )
    return failed_before_start(item, died)._replace(peak_memory_bytes=process.memory)


def _own_places(setup: RunSetup) -> list[str]:
    """Where the user's own modules are: another interpreter does not tell its standard library from this one's."""
    return [place for place in setup.sys_path if is_own_path(os.path.join(place, "module.py"))]


def _start_code() -> str:
    # Where this library lies in a folder of its own, it need not be found otherwise.
    root = Path(__file__).resolve().parents[2]
    found = f"import sys; sys.path.append({str(root)!r}); " if is_own_path(__file__) else ""
    return found + _START


def main() -> None:
    """In the environment's interpreter: run the steps that come in on the standard input, until it is closed."""
    requests, answers = os.dup(0), os.dup(1)
    become_worker(os.getppid())
    setup, address, own, minor = pickle.loads(receive(requests) or b"")
    if minor != sys.version_info[:2]:
        refuse_code(".".join(map(str, minor)))
    sys.path[:] = [*own, *(place for place in sys.path if place and place not in own)]
    worker = EnvironmentWorker(os.environ[BADGE_VARIABLE], setup, address)
    while is_readable(requests, IDLE_S):
        payload = receive(requests)
        if payload is None:
            return
        shipped, item = pickle.loads(payload)
        if shipped is not None:
            worker.functions[shipped.id] = shipped
        outcome = worker.run_one(item)
        send(answers, pickle.dumps((outcome, worker.is_spent), pickle.HIGHEST_PROTOCOL))
