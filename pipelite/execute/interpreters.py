"""Steps whose environment is not this process's: which interpreter serves, and the process that runs one in it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs

from pipelite.errors import PipeliteError
from pipelite.execute.capture import OutputFile, attach_streams
from pipelite.execute.deaths import describe_exit
from pipelite.execute.functions import describe_import_error, import_unchecked
from pipelite.execute.messages import Outcome, RunSetup, ShippedFunction, WorkItem
from pipelite.execute.reads import ReadRecorder
from pipelite.execute.spool import SpoolWriter
from pipelite.execute.worker import Worker
from pipelite.fingerprint import Fingerprinter, is_own_path
from pipelite.store import ArtifactStore, loads_value

#: The environment variable that says where an environment's interpreter finds this library.
LIBRARY_VARIABLE = "PIPELITE_LIBRARY"


@attrs.frozen(kw_only=True)
class Interpreter:
    """The Python that a step runs in."""

    #: Path of the executable.
    python: str
    #: Environment variables that its processes have besides.
    variables: dict[str, str]

    @property
    def is_current(self) -> bool:
        """Whether this very process would do."""
        return self.python == sys.executable and not self.variables


class _NoMark:
    """The worker that waits has marked the step."""

    def set(self, position: int, attempt: int, log_start: int, name: str) -> float:
        return time.time()


class EnvironmentWorker(Worker):
    """A worker for one step, in the interpreter of its environment; its files are those of the worker that waits."""

    def __init__(self, setup: RunSetup, spool: str, log: str) -> None:
        self.output = OutputFile()
        self.output.path = Path(log) if log else None
        self.reads = ReadRecorder()
        self.fingerprinter = Fingerprinter()
        self.functions: dict[int, ShippedFunction] = {}
        self.received = {}
        self.setup = setup
        self.store = ArtifactStore(Path(setup.root), prefix=lambda: setup.prefix)
        self.spool = SpoolWriter(Path(spool), locks=False)
        self.mark: Any = _NoMark()
        self.scratch_stem = Path(setup.folder or setup.root) / "tmp" / f"{setup.prefix}scratch-"
        self.badges = None
        self.is_spent = False
        self.log_end = self.output.end()
        self.children_cpu = 0.0

    def _find(self, number: int) -> Any:
        shipped = self.functions[number]
        try:
            return loads_value(shipped.pickled) if shipped.pickled is not None else import_unchecked(shipped)
        except PipeliteError:
            raise
        except Exception as exc:
            # Most likely the module imports at its top what the environment does not have.
            raise describe_import_error(shipped, exc) from exc


def run_elsewhere(worker: Worker, interpreter: Interpreter, item: WorkItem) -> Outcome | str:
    """Run a step in a process of another interpreter; how the process died, if it did."""
    assert worker.setup is not None
    address = worker.address()
    shipped = attrs.evolve(worker.functions[item.function], environment=None)
    descriptor, answer = tempfile.mkstemp(dir=worker.scratch_stem.parent, prefix=f"{address['prefix']}answer-")
    os.close(descriptor)
    try:
        payload = pickle.dumps((worker.setup, shipped, item, address["spool"], address["log"], answer))
        worker.output.flush()
        process = subprocess.Popen(
            [interpreter.python, "-c", _start_code()],
            stdin=subprocess.PIPE,
            env={**os.environ, **interpreter.variables},
        )
        process.communicate(payload)
        content = Path(answer).read_bytes()
        return pickle.loads(content) if content else describe_exit(process.returncode, "")
    finally:
        os.unlink(answer)


def _start_code() -> str:
    # Where this library lies in a folder of its own, it need not be found otherwise.
    root = Path(__file__).resolve().parents[2]
    found = f"import sys; sys.path.append({str(root)!r}); " if is_own_path(__file__) else ""
    return f"{found}from pipelite.execute.interpreters import main; main()"


def main() -> None:
    """In the environment's interpreter: run the step that comes in on the standard input."""
    attach_streams()
    setup, shipped, item, spool, log, answer = pickle.load(sys.stdin.buffer)
    own = [place for place in setup.sys_path if is_own_path(os.path.join(place, "module.py"))]
    sys.path[:] = [*own, *(place for place in sys.path if place and place not in own)]
    worker = EnvironmentWorker(setup, spool, log)
    worker.functions[shipped.id] = shipped
    Path(answer).write_bytes(pickle.dumps(worker._run_item(item), pickle.HIGHEST_PROTOCOL))
