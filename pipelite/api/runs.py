"""A run and its step runs, as the user holds them: read from the workspace, whoever is running it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipelite.api.artifact import Artifact
from pipelite.api.interrupts import ended_by_signals, exit_with_130_if_uncaught
from pipelite.api.metrics import Metrics
from pipelite.api.outputs import Outputs
from pipelite.api.workspace import close_dead_runs
from pipelite.clock import CLOCK
from pipelite.errors import NotFoundError, RunCanceled, StepFailed
from pipelite.plan import load_outputs
from pipelite.records import FINAL, RESULT, RunRecord, Status, StepRunRecord
from pipelite.store import (
    Store,
    get_metrics,
    get_parameters_pickle,
    get_run,
    get_step_run,
    get_step_runs,
    is_alive,
    loads_value,
    read_log,
    request_cancel,
)

if TYPE_CHECKING:
    from pipelite.api.publishing import PublishedPipeline
    from pipelite.api.starting import Execution

#: Seconds between two looks at a run of another process.
_POLL_S = 0.2
_ENDED = FINAL | {Status.INTERRUPTED}


class Run:
    """One tracked execution of a pipeline. Made by `Pipeline.run`, `Pipeline.submit` and `Workspace.run`."""

    def __init__(self, store: Store, id: str, execution: Execution | None = None) -> None:
        self._store = store
        self._id = id
        self._execution = execution
        self._final: RunRecord | None = None

    @property
    def id(self) -> str:
        """Such as "20261121-142501-7k3f9q": UTC time and six letters."""
        return self._id

    @property
    def record(self) -> RunRecord:
        """All that is stored of it besides its steps."""
        if self._final is not None:
            return self._final
        record = get_run(self._store, self._id)
        # Any other one may be resumed.
        if record.status is Status.COMPLETED:
            self._final = record
        return record

    @property
    def status(self) -> str:
        """One of queued, running, completed, failed, canceling, canceled, interrupted."""
        return self.record.status.value

    @property
    def pipeline(self) -> str:
        """Name of the pipeline."""
        return self.record.pipeline

    @property
    def experiment(self) -> str:
        return self.record.experiment

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The parameters it ran with, defaults filled in."""
        pickled = get_parameters_pickle(self._store, self._id)
        if pickled is None:
            return dict(self.record.parameters)
        values = loads_value(pickled)
        return dict(values)

    @property
    def tags(self) -> dict[str, str]:
        return dict(self.record.tags)

    @property
    def error(self) -> str | None:
        """What failed, in words; None if nothing did."""
        return self.record.error

    @property
    def started_at(self) -> datetime | None:
        """UTC."""
        return self.record.started_at

    @property
    def ended_at(self) -> datetime | None:
        """UTC."""
        return self.record.ended_at

    @property
    def duration_s(self) -> float | None:
        """Seconds by the monotonic clock; None before it has ended."""
        return self.record.duration_s

    @property
    def steps(self) -> Mapping[str, StepRun]:
        """Step runs by name, in the order of the graph; while it runs, those that have started."""
        return {record.name: StepRun(self._store, record) for record in get_step_runs(self._store, self._id)}

    @property
    def metrics(self) -> Metrics:
        """What its steps logged: by name where one step logged it, by "step/name" always."""
        return Metrics(get_metrics(self._store, self._id))

    @property
    def outputs(self) -> Outputs:
        """Output name to its loaded value; one that was skipped is None."""
        return Outputs(self)

    def output(self, name: str = RESULT) -> Artifact:
        """The artifact of one output: of the pipeline, or as "STEP/OUTPUT" of any of its steps.

        Raises
        ------
        NotFoundError
            If there is no output of that name, or it was not computed.
        """
        step, slash, output = name.rpartition("/")
        if slash and name not in self.record.outputs:
            return self._artifact(self._step_run(step), output, name)
        place = Outputs(self)._place(name)
        if "step" not in place or place.get("path"):
            raise NotFoundError(f"output {name!r} is put together from several stored ones; use run.outputs[{name!r}]")
        return self._artifact(self._step_run(place["step"]), place["output"] or RESULT, name)

    def _artifact(self, step_run: StepRun, output: str, name: str) -> Artifact:
        outputs = step_run.record.outputs
        if not outputs:
            raise NotFoundError(
                f"output {name!r} of run {self._id} was not computed: step {step_run.name!r} is {step_run.status}"
            )
        if output not in outputs:
            raise NotFoundError(f"step {step_run.name!r} has no output {output!r}; it has: {', '.join(outputs)}")
        return Artifact(self._store, outputs[output], name, made_by=(self._id, step_run.name))

    def wait(self, timeout: float | None = None) -> Run:
        """Wait for its end, whichever process runs it; gives the run, also a canceled or interrupted one.

        Parameters
        ----------
        timeout : seconds; None waits for ever

        Raises
        ------
        StepFailed
            If it failed.
        TimeoutError
            If it has not ended by then.
        """
        until = None if timeout is None else CLOCK.monotonic() + timeout
        if self._execution is not None:
            self._execution.join(timeout)
        while self.record.status not in _ENDED:
            if until is not None and CLOCK.monotonic() >= until:
                raise TimeoutError(f"run {self._id} has not ended after {timeout:g} s; it is {self.status}")
            if self._execution is not None and not self._execution.is_alive():
                self._execution.raise_error()
            self._look_after_owner()
            CLOCK.sleep(_POLL_S)
        if self.record.status is Status.FAILED:
            raise self._failure()
        return self

    def cancel(self) -> None:
        """Have it ended with the steps that are running, whichever process runs it; returns at once.

        It is `canceling` until its processes have ended, which takes two seconds at most, and then `canceled`. Nothing
        happens to a run that has ended; one that waits in the queue or was interrupted is `canceled` at once.
        """
        if self._execution is not None and self._execution.is_alive():
            self._execution.coordinator.stop()
            return
        # Nobody would hear the request to a process that is gone.
        close_dead_runs(self._store)
        request_cancel(self._store, self._id)

    def rerun(self) -> Run:
        """Run the same pipeline again, with the same parameters and the source that this run kept.

        Raises
        ------
        PipeliteError
            If the pipeline cannot be imported again (a notebook's, one inside of a function).
        """
        from pipelite.api.replay import rerun

        return rerun(self._store, self.record)

    def publish(
        self,
        name: str,
        *,
        version: str = "1.0",
        description: str | None = None,
        default: bool = False,
        keep_going: bool | None = None,
    ) -> PublishedPipeline:
        """Publish what this run kept: its source, never today's files, with its parameters as defaults.

        Parameters
        ----------
        keep_going : bool, optional
            Whether steps that do not need a failed one go on; by default as in this run.

        Raises
        ------
        PublishError
            If no import finds its pipeline, or the version is there already with other content.
        """
        from pipelite.api.publishing import publish_run

        return publish_run(
            self._store,
            self,
            name=name,
            version=version,
            description=description,
            default=default,
            keep_going=keep_going,
        )

    def resume(self) -> Run:
        """Go on with this run after it failed, was canceled or lost its process; blocks, and gives the run.

        It keeps its id, its parameters and the source that it kept. What it had finished is not done again, and steps
        that were running are started again.

        Raises
        ------
        ResumeError
            If it is running or complete, or another process is resuming it.
        PipeliteError
            If the pipeline cannot be imported again (a notebook's, one inside of a function).
        """
        from pipelite.api.replay import resume

        close_dead_runs(self._store)
        resume(self._store, self.record)
        self._execution = None
        return self

    def metric_series(self, name: str) -> list[tuple[int | None, Any]]:
        """All values logged under a name, as pairs of their `step` number and value, in the order of logging."""
        return self.metrics.series(name)

    def show(self) -> None:
        """Print the run and its steps."""
        sys.stdout.write(f"{self}\n")
        for name, step in self.steps.items():
            took = "" if step.duration_s is None else f"{step.duration_s:.2f} s"
            sys.stdout.write(f"  {name:<30} {step.status:<10} {took}\n")

    def _step_run(self, name: str) -> StepRun:
        return StepRun(self._store, get_step_run(self._store, self._id, name))

    def _look_after_owner(self) -> None:
        """Mark the run as interrupted if the process that ran it is gone."""
        owner = self.record.owner
        if owner is not None and not is_alive(self._store.path, owner):
            close_dead_runs(self._store)

    def _failure(self) -> StepFailed:
        if self._execution is not None and self._execution.coordinator.failed is not None:
            return self._execution.failure()
        failed = next((step for step in self.steps.values() if step.status == Status.FAILED), None)
        text = (failed.error if failed is not None else None) or self.error or "the run failed"
        return StepFailed(
            f"{text}\n\n{advise(self._id, failed.name if failed else None)}",
            step=failed.name if failed else None,
            run_id=self._id,
        )

    def _wait_in_foreground(self) -> Run:
        """Wait for its end; Ctrl-C or SIGTERM lets running steps finish, a second one ends them."""
        execution = self._execution
        assert execution is not None
        with ended_by_signals(execution):
            execution.join(None)
        execution.raise_error()
        status = self.record.status
        if status is Status.FAILED:
            raise self._failure()
        if status is Status.CANCELED:
            raise self._ended_early("was canceled")
        if status is Status.INTERRUPTED:
            raise self._ended_early(
                f"was interrupted: {self.record.error}; `pipelite runs resume {self._id}` goes on with it"
            )
        return self

    def _ended_early(self, how: str) -> RunCanceled:
        exit_with_130_if_uncaught()
        return RunCanceled(f"run {self._id} {how}", run_id=self._id)

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{escape(step.status)}</td>"
            f"<td>{'' if step.duration_s is None else f'{step.duration_s:.2f} s'}</td></tr>"
            for name, step in self.steps.items()
        )
        return f"<b>{escape(repr(self))}</b><table><tr><th>step</th><th>status</th><th>duration</th></tr>{rows}</table>"

    def __repr__(self) -> str:
        return f"<run {self._id} of {self.pipeline}: {self.status}>"


class StepRun:
    """One step of one run."""

    def __init__(self, store: Store, record: StepRunRecord) -> None:
        self._store = store
        #: All that is stored of it.
        self.record = record

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def status(self) -> str:
        """One of pending, running, completed, reused, failed, skipped, canceled, interrupted."""
        return self.record.status.value

    @property
    def reused(self) -> bool:
        """Whether its outputs came from an earlier equal step run."""
        return self.record.status is Status.REUSED

    @property
    def attempts(self) -> int:
        """How often its function was started; 0 for a reused one."""
        return self.record.attempts

    @property
    def duration_s(self) -> float | None:
        return self.record.duration_s

    @property
    def peak_memory_bytes(self) -> int | None:
        """Highest resident size of its process while it ran."""
        return self.record.peak_memory_bytes

    @property
    def error(self) -> str | None:
        """Step, message and traceback, if it failed."""
        return self.record.error

    @property
    def logs(self) -> str:
        """What it printed, from Python, C code or child processes; of a reused one, what the computed one printed."""
        return read_log(self._store, self.record).decode("utf-8", "replace")

    @property
    def metrics(self) -> Metrics:
        """What it logged, by name; the last value of each."""
        return Metrics(
            [metric for metric in get_metrics(self._store, self.record.run_id) if metric.step_run == self.name]
        )

    @property
    def outputs(self) -> dict[str, Any]:
        """Output name to its loaded value."""
        return {
            name: load_outputs(self._store, dict(self.record.outputs), self.record.form, name)
            for name in self.record.outputs
        }

    def __repr__(self) -> str:
        return f"<step run {self.name!r}: {self.status}>"


def advise(run_id: str, step: str | None) -> str:
    """What to do after a failure."""
    logs = (
        f"`pipelite runs logs {run_id} {step}` shows what it printed" if step else f"see `pipelite runs show {run_id}`"
    )
    return f"{logs}; after a fix, run the pipeline again: what had finished is reused."
