"""The run that `Experiment.start_logging` gives: of this process itself, as long as it says so.

It is a run like all others: of a pipeline of one step, which is executed in a thread of this process and does nothing but
wait for the word that the run is over.
"""

from __future__ import annotations

import contextlib
import os
import threading
import traceback
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.api import Run as NativeRun
from pipelite.api import pipeline
from pipelite.api.starting import call_before_waiting
from pipelite.azureml.core.run import NAME, PARENT, SCRIPT_RUN, Run, wait_for_end
from pipelite.azureml.core.run_records import remember, texts
from pipelite.azureml.core.script_run import as_files, wait_for_files
from pipelite.azureml.exceptions import AzureMLException, UserErrorException
from pipelite.azureml.script_steps import SIZE_LIMIT_BYTES, SNAPSHOT
from pipelite.define import step
from pipelite.execute import StepContext, StepEnded, current_run
from pipelite.steps.commands import source_folder

if TYPE_CHECKING:
    from pipelite.azureml.core.experiment import Experiment

#: How often it is looked whether the run is to end by other means than its own methods.
_LOOK_S = 0.05


class RunFailed(AzureMLException):
    """What a script gave as the reason for the failure of its run."""


class _Session:
    """What passes between a script and the step that stands for it."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.context: StepContext
        self.native: NativeRun
        self.failure: RunFailed | None = None
        self.has_begun = threading.Event()
        self.is_told = threading.Event()
        self.is_over = threading.Event()

    def attend(self) -> None:
        """Wait until the script says that the run is over, or others do."""
        self.context = current_run()
        self.has_begun.set()
        try:
            while not self.is_told.wait(_LOOK_S):
                if self.context._is_asked_to_end():
                    raise StepEnded
            if self.failure is not None:
                raise self.failure
        finally:
            self.is_over.set()
            _sessions.pop(self.token, None)

    def interrupt(self, why: str) -> None:
        """Leave it as it is."""
        execution = self.native._execution
        assert execution is not None
        execution.coordinator.interrupt(why, at_once=True)


#: Those of this process that go on, by what their steps are told.
_sessions: dict[str, _Session] = {}
os.register_at_fork(after_in_child=_sessions.clear)


def _leave_all() -> None:
    for session in [each for each in _sessions.values() if each.has_begun.is_set()]:
        session.interrupt("its script ended, and had not said how the run ended: by complete() or fail()")


@step(name="script", cache=False)
def attend(token: str, snapshot: Any) -> None:
    """Stand for a script; a snapshot is kept with the run because the step is given it."""
    _sessions[token].attend()


class LoggedRun(Run):
    """A run of this process, to which it logs until it calls `complete`, `fail` or `cancel`.

    If the process ends without a word the run is interrupted.
    """

    def __init__(self, experiment: Experiment, session: _Session, outputs: Path | None) -> None:
        self.experiment = experiment
        self.id = session.native.id
        self._native = session.native
        self._session = session
        self._outputs = outputs
        #: What was logged: it takes a moment until it is read from the workspace.
        self._metrics: dict[str, Any] = {}
        self._uploaded: set[str] = set()
        self._tags: dict[str, str] = {}

    # What the script says.

    def complete(self, _set_status: bool = True) -> None:
        """End it as completed; the files in the folder `outputs` are kept, if one was given."""
        if self._outputs is not None and self._outputs.is_dir() and not self._session.is_over.is_set():
            self.upload_folder(self._outputs.as_posix(), str(self._outputs))
        self._end()

    def fail(self, error_details: Any = None, error_code: Any = None, _set_status: bool = True) -> None:
        """End it as failed, for a reason."""
        why = "the script called fail()" if error_details is None else str(error_details)
        self._session.failure = RunFailed(why if error_code is None else f"{error_code}: {why}")
        self._end()

    def cancel(self) -> None:
        """End it as canceled."""
        self._native.cancel()
        self._wait()

    def _end(self) -> None:
        self._session.is_told.set()
        self._wait()

    def _wait(self) -> None:
        wait_for_end(self._native, None)
        # Without what executed it: a script may begin hundreds of them.
        self._native = self._session.native = self.experiment.workspace.native.run(self.id)

    def __exit__(self, *raised: Any) -> None:
        error = raised[1]
        if self._session.is_over.is_set():
            return
        if error is None:
            self.complete()
        else:
            self.fail("".join(traceback.format_exception(error)).rstrip())

    # Its children.

    def child_run(self, name: str | None = None, run_id: str | None = None, outputs: Any = None) -> LoggedRun:  # type: ignore[override]
        """A run of its own below this one."""
        self._check_is_open("child_run()")
        return start(self.experiment, name=name, parent=self.id, outputs=outputs)

    def create_children(  # type: ignore[override]
        self, count: int | None = None, tag_key: str | None = None, tag_values: Sequence[str] | None = None
    ) -> list[LoggedRun]:
        """Several of them: as many as a number says, or one for each value of a tag."""
        if tag_values is None:
            return [self.child_run() for _ in range(count or 0)]
        made = []
        for value in tag_values:
            child = self.child_run()
            child.tag(str(tag_key), value)
            made.append(child)
        return made

    def submit_child(self, config: Any, tags: Mapping[str, str] | None = None, **others: Any) -> Any:
        """Start a run of a script below this one."""
        self._check_is_open("submit_child()")
        return self.experiment.submit(config, tags={**(tags or {}), PARENT: self.id}, **others)

    # What it has, also what is not in the workspace yet.

    def tag(self, key: str, value: Any = None) -> None:
        self.set_tags({key: "" if value is None else value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        if self._session.is_over.is_set() or not self._labels.read("tags").keys().isdisjoint(tags):
            Run.set_tags(self, tags)
            return
        for key, value in texts(tags).items():
            self._tags[key] = value
            self._session.context.tag(key, value)

    def remove_tags(self, tags: Iterable[str]) -> None:
        for key in (given := list(tags)):
            self._tags.pop(key, None)
        Run.remove_tags(self, given)

    @property
    def tags(self) -> dict[str, str]:
        return {**super().tags, **self._tags}

    def get_metrics(
        self, name: str | None = None, recursive: bool = False, run_type: Any = None, populate: bool = False
    ) -> dict[str, Any]:
        """What was logged; with `recursive` also what its children logged, by the ids of runs."""
        if recursive or self._session.is_over.is_set():
            return super().get_metrics(name, recursive)
        return {key: value for key, value in self._metrics.items() if name in (None, key)}

    def _files(self) -> dict[str, Path]:
        return wait_for_files(super()._files, self._uploaded)

    def _tell(self, what: str, name: str, *values: Any, **named: Any) -> None:
        self._check_is_open(f"{what} {name!r}")
        here = self._session.context
        getattr(here, what)(name, *as_files(here, what, name, values), **named)
        remember(self._metrics, what, name, values, named)
        if what in ("upload_file", "log_image"):
            self._uploaded.add(name)

    def _check_is_open(self, what: str) -> None:
        if self._session.is_over.is_set():
            raise UserErrorException(
                f"{what}: run {self.id} has ended, it is {self.get_status()}; start_logging() begins another"
            )


def start(
    experiment: Experiment,
    *,
    name: str | None = None,
    parent: str | None = None,
    outputs: Any = None,
    snapshot_directory: Any = None,
) -> LoggedRun:
    """Begin a run of this process."""
    snapshot = None
    if snapshot_directory is not None:
        snapshot = source_folder(snapshot_directory, SIZE_LIMIT_BYTES, "start_logging()", **SNAPSHOT)
    token = uuid.uuid4().hex
    session = _sessions[token] = _Session(token)

    # Inside of a function: a run that is over with its process cannot be run again, and says so.
    @pipeline(name=experiment.name, experiment=experiment.name)
    def script() -> None:
        attend(token, snapshot)

    tags = {SCRIPT_RUN: "true", PARENT: parent, NAME: name}
    # A thread of its own: it is to take no slot from steps that work, nor from other runs of this kind.
    with_thread = script.with_options(
        compute=ThreadPoolExecutor(1, thread_name_prefix="pipelite-script"),
        tags={key: value for key, value in tags.items() if value is not None},
    )
    try:
        session.native = with_thread.submit()
        call_before_waiting(_leave_all)
        while not session.has_begun.wait(_LOOK_S):
            _check_goes_on(session.native)
    except BaseException:
        # Also Ctrl-C: nobody would ever say that it is over.
        session.failure = RunFailed("start_logging() came to no end")
        session.is_told.set()
        raise
    return LoggedRun(experiment, session, Path(outputs) if isinstance(outputs, str | os.PathLike) else None)


def _check_goes_on(native: NativeRun) -> None:
    """Say why a run cannot begin, if it cannot."""
    with contextlib.suppress(TimeoutError):
        native.wait(0)
        raise UserErrorException(f"run {native.id} was {native.status} before it had begun")
