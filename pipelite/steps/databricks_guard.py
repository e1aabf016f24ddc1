"""Who cancels a run on Databricks when the step run that follows it was killed: a small process beside it.

Timeouts and cancels end a worker by SIGKILL, which leaves it no time to tell anybody. Its guard is no child of it, knows
the run there from before it was submitted, and hears of the worker's end by the end of a pipe. It then looks up why: where
the owner of the run has gone too, or the run was interrupted, the run there goes on, and `resume` follows it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelite.errors import CommandError, NotFoundError, PipeliteError
from pipelite.execute import StepContext, start_outliving
from pipelite.execute.framing import is_readable
from pipelite.records import FINAL, Status
from pipelite.steps.databricks_client import Client
from pipelite.steps.running import library_variables
from pipelite.store import Store, get_run, get_step_run, is_alive
from pipelite.store.workspace import DATABASE

#: A worker ends a moment before its owner writes down why; after this long it has died by itself.
_REASON_WITHIN_S = 5.0
_LOOK_S = 0.1
#: How long the worker waits for its guard, which needs a second to import the SDK and one to be heard.
_GUARD_WITHIN_S = 60.0
#: What was uploaded is in use until the run has ended.
_END_WITHIN_S = 120.0
_NOTE_BYTES = 1024

_CODE = "from pipelite.steps.databricks_guard import stand_by\nstand_by()"


class Note:
    """A file that says which run on Databricks a step run has under way; it is there only as long as there is one.

    It is locked by the step run that has the run, and by its guard: who comes next waits until both are done.
    """

    def __init__(self, here: StepContext) -> None:
        described = step_run_of(here)
        #: None outside of a run, and away from its workspace: then nobody goes on with it.
        self.path: Path | None = None
        self.descriptor: int | None = None
        #: What an earlier step run that was interrupted has left under way.
        self.earlier: dict[str, Any] | None = None
        if described is not None:
            self.path = Path(described["workspace"], "remote", f"{described['run_id']}-{described['position']}.json")

    def __enter__(self) -> Note:
        if self.path is None:
            return self
        self.path.parent.mkdir(exist_ok=True)
        while True:
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waits until the run before is canceled")
                fcntl.flock(self.descriptor, fcntl.LOCK_EX)
            if os.fstat(self.descriptor).st_nlink:
                break
            # The one before was done with it.
            os.close(self.descriptor)
        text = self.path.read_text(encoding="utf-8")
        self.earlier = json.loads(text) if text else None
        return self

    def __exit__(self, *error: object) -> None:
        if self.descriptor is not None:
            if not os.fstat(self.descriptor).st_size:
                self.remove()
            os.close(self.descriptor)

    def write(self, content: Mapping[str, Any]) -> None:
        if self.descriptor is not None:
            # Of a fixed size, and in one piece.
            os.pwrite(self.descriptor, json.dumps(content).ljust(_NOTE_BYTES).encode(), 0)

    def remove(self) -> None:
        """Remove it: nothing is under way any more."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class Guard:
    """The guard of one run, as the worker knows it."""

    def __init__(
        self,
        connection: Mapping[str, Any],
        request: Mapping[str, Any],
        note: Note,
        step_run: Mapping[str, Any] | None,
        uploads: str | None,
    ) -> None:
        held = () if note.descriptor is None else (note.descriptor,)
        self._process = start_outliving(_CODE, more_variables=library_variables(), pass_fds=held)
        told = {
            "connection": dict(connection),
            "request": dict(request),
            "note": None if note.path is None else [str(note.path), note.descriptor],
            "step_run": step_run,
            "uploads": uploads,
        }
        self.tell(json.dumps(told))

    def tell(self, line: str) -> None:
        """Say what is about to be done."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise CommandError("the process that cancels a run on Databricks was killed; run the step again") from None

    def dismiss(self) -> None:
        """It is not needed any more: the run has ended."""
        self._end("dismiss")

    def cancel(self) -> None:
        """Have it cancel the run, if there is one, and say so in the log."""
        said = self._end("cancel")
        if said:
            say(said)

    def _end(self, order: str) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            self.tell(order)
        except CommandError:
            return "the run on Databricks was not canceled: the process that does it was killed"
        finally:
            with contextlib.suppress(BrokenPipeError):
                stdin.close()
        with stdout:
            return stdout.readline().decode().strip() if is_readable(stdout.fileno(), _GUARD_WITHIN_S) else ""


def step_run_of(here: StepContext) -> dict[str, Any] | None:
    """Which step run this is, where its workspace is on this machine; else None."""
    address = None if here._sink is None else here._sink.address()
    if address is None or not Path(address["root"], DATABASE).is_file():
        return None
    return {
        "workspace": address["root"],
        "owner": address["prefix"].partition("-")[0],
        "run_id": here._run_id,
        "step": here.name,
        "position": here._position,
        "attempt": here.attempt,
    }


def stand_by() -> None:
    """The guard: wait for the worker's end, and cancel its run if nobody is to follow it."""
    first = sys.stdin.readline()
    if not first:
        return
    told = json.loads(first)
    is_submitted, run_id, order = False, None, ""
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        is_submitted = is_submitted or word in ("submitting", "run")
        run_id = int(rest) if word == "run" else run_id
        order = word
    if order == "dismiss" or (order != "cancel" and _goes_on(told["step_run"])):
        return
    try:
        said = _cancel(told, run_id) if is_submitted else ""
    except PipeliteError as exc:
        said = f"its run on Databricks could not be canceled, and may go on: {exc}"
    else:
        if told["note"] is not None:
            path, descriptor = told["note"]
            Path(path).unlink(missing_ok=True)
            os.close(descriptor)
    try:
        sys.stdout.write(" ".join(said.split()) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The worker was killed; nobody hears it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if told["uploads"] is not None:
        _remove_uploads(told, run_id)


def _goes_on(step_run: Mapping[str, Any] | None) -> bool:
    """Whether the run there is to go on although its worker has ended: its step run was interrupted, not canceled."""
    if step_run is None:
        return False
    try:
        store = Store.open(step_run["workspace"], create=False)
    except PipeliteError:
        return False
    until = time.monotonic() + _REASON_WITHIN_S
    try:
        while time.monotonic() < until:
            run = get_run(store, step_run["run_id"])
            if run.status is Status.INTERRUPTED:
                return True
            if run.status in FINAL:
                return False
            if run.owner != step_run["owner"] or not is_alive(store.path, step_run["owner"]):
                return True
            found = get_step_run(store, step_run["run_id"], step_run["step"])
            if found.status is Status.INTERRUPTED:
                return True
            if found.status in FINAL or found.attempts != step_run["attempt"]:
                return False
            time.sleep(_LOOK_S)
    except NotFoundError:
        pass
    finally:
        store.close()
    return False


def _cancel(told: Mapping[str, Any], run_id: int | None) -> str:
    client = Client(told["connection"])
    with client.explaining("cancel"):
        # Where the answer to the submission was not heard, the same token finds the run, or makes it.
        return cancel(client, submit(client, told["request"]) if run_id is None else run_id)


def _remove_uploads(told: Mapping[str, Any], run_id: int | None) -> None:
    try:
        client = Client(told["connection"])
        with client.explaining("remove"):
            until = time.monotonic() + _END_WITHIN_S
            while run_id is not None and time.monotonic() < until:
                if client.sdk.jobs.get_run(run_id).end_time:
                    break
                time.sleep(1.0)
            client.sdk.workspace.delete(told["uploads"], recursive=True)
    except PipeliteError:
        # It is a small folder, named like the run, in the user's own home there.
        return


def submit(client: Client, request: Mapping[str, Any]) -> int:
    """Submit a run, or find the one that was submitted with the same token."""
    from databricks.sdk.service.jobs import SubmitTask

    tasks = [SubmitTask.from_dict(task) for task in request["tasks"]]
    return int(client.sdk.jobs.submit(**{**request, "tasks": tasks}).run_id)


def cancel(client: Client, run_id: int) -> str:
    """Cancel a run, which may have gone meanwhile; gives what became of it."""
    from databricks.sdk.errors import InvalidParameterValue, NotFound

    try:
        client.sdk.jobs.cancel_run(run_id)
    except (InvalidParameterValue, NotFound) as exc:
        return f"run {run_id} is not canceled: {client.show(str(exc))}"
    return f"canceled run {run_id}"


def say(line: str) -> None:
    """Put a line into the log of the step."""
    sys.stdout.write(f"databricks: {line}\n")
    sys.stdout.flush()
