"""Any executor that the user hands in: each step runs in a child process that a worker of the executor supervises."""

from __future__ import annotations

import itertools
import os
import pickle
import shutil
import threading
import uuid
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from pipelite.errors import ComputeTargetError
from pipelite.execute.free_slots import FreeSlots
from pipelite.execute.messages import Batch, RunSetup
from pipelite.execute.slots import count_slots
from pipelite.execute.supervise import BEAT, BEAT_EVERY_S, NOW, WAITING, Task, run_supervised
from pipelite.records import Failure

#: Batches on their way to each worker: one that runs, and one at hand when it is done.
AHEAD = 2

_tokens = itertools.count(1)
#: Name of this process among those whose steps the same workers run, by process id: a forked child is another.
_senders: dict[int, str] = {}


def _sender() -> str:
    return _senders.setdefault(os.getpid(), uuid.uuid4().hex)


class ExecutorSlot:
    """One batch on its way through an executor. Which worker gets it is the executor's business."""

    #: None: it is no child of this process.
    worker = None

    def __init__(self, target: ExecutorTarget) -> None:
        self._target = target
        #: Nothing: any worker may get the next batch, so each brings all it needs along.
        self.setup: int | None = None
        self.sources: dict[str, str] = {}
        self._token = ""

    @property
    def functions(self) -> set[int]:
        """None: as above."""
        return set()

    def submit(self, batch: Batch) -> Future[bytes]:
        """Send a batch."""
        self.setup = None
        self._token = f"{os.getpid()}-{next(_tokens)}"
        return self._target.send(self._token, batch)

    def files_name(self) -> str | None:
        """Name of the files of the worker that took the batch."""
        return self._target.meeting.who_took(self._token) if self._target.exchange is None else None

    def cancel(self, *, now: bool) -> None:
        """Ask the worker not to start the batch, or to end it."""
        self._target.meeting.stop(self._token, now=now)

    def replace(self) -> None:
        """Nothing: the supervisor does so."""


class Meeting:
    """The coordinator's side of the folder where it meets the supervisors of one run."""

    def __init__(self, folder: Path, *, is_own: bool) -> None:
        self.folder = folder
        #: Whether nobody else removes the folder.
        self._is_own = is_own
        self._over = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)
        self._beat()
        # A thread, because the coordinator's own may be busy with an inline step.
        threading.Thread(target=self._keep_beating, name="pipelite-beat", daemon=True).start()

    def who_took(self, token: str) -> str | None:
        """Name of the worker that took a batch."""
        try:
            return (self.folder / f"{token}.taken").read_text().partition("\n")[0] or None
        except OSError:
            return None

    def stop(self, token: str, *, now: bool) -> None:
        """Ask for the end of a batch."""
        temporary = self.folder / f"{token}.stopping"
        temporary.write_text(NOW if now else WAITING)
        os.replace(temporary, self.folder / f"{token}.stop")

    def forget(self, token: str) -> None:
        """Remove what was said of a batch that came back."""
        for kind in ("taken", "stop"):
            (self.folder / f"{token}.{kind}").unlink(missing_ok=True)

    def close(self) -> None:
        """The run is over."""
        self._over.set()
        if self._is_own:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _keep_beating(self) -> None:
        while not self._over.wait(BEAT_EVERY_S):
            self._beat()

    def _beat(self) -> None:
        try:
            (self.folder / BEAT).write_bytes(os.urandom(4))
        except OSError:
            # The folder is gone with its run, or the disk is full, which the coordinator meets elsewhere.
            return


class ExecutorTarget(FreeSlots):
    """An executor, for one run. Its workers see the workspace."""

    meeting: Meeting

    def __init__(self, name: str, executor: Executor, size: int | None = None) -> None:
        workers = getattr(executor, "_max_workers", None)
        super().__init__(
            name, size or AHEAD * (workers if isinstance(workers, int) else count_slots()), lambda: ExecutorSlot(self)
        )
        self._executor = executor

    def adapt(self, setup: RunSetup) -> RunSetup:
        """What its workers are told of a run; opens the folder where the two sides meet."""
        self.meeting = Meeting(Path(setup.root) / "spool" / setup.run_id, is_own=self.exchange is not None)
        return setup

    def finish_run(self) -> None:
        self.meeting.close()

    def send(self, token: str, batch: Batch) -> Future[bytes]:
        """Submit a batch; an executor that takes nothing any more is an error of the future, not of the run."""
        task = Task(token, _sender(), str(self.meeting.folder), self.exchange is not None, batch)
        try:
            future = self._submit(pickle.dumps(task, pickle.HIGHEST_PROTOCOL))
        except Exception as exc:
            future = Future()
            future.set_exception(exc)
        future.add_done_callback(lambda done: self._tidy(token, done))
        return future

    def explain_loss(self, future: Future[bytes]) -> Failure | None:
        """Why a batch did not come back; None if it is no step's fault and is to be sent again."""
        error: BaseException | None = None if future.cancelled() else future.exception()
        if isinstance(error, ComputeTargetError):
            message = f"compute target {self.name!r}: {error}"
        else:
            said = "it was canceled there" if error is None else f"{type(error).__name__}: {error}"
            message = f"compute target {self.name!r} lost the step ({said}); run again with an executor that works"
        return Failure(type_name="ComputeTargetError", message=message, traceback="")

    def _submit(self, payload: bytes) -> Future[bytes]:
        return self._executor.submit(run_supervised, payload)

    def _tidy(self, token: str, future: Future[Any]) -> None:
        if future.cancelled():
            # It may go on where it is: nobody waits for it any more.
            self.meeting.stop(token, now=True)
        else:
            self.meeting.forget(token)
