"""A run and its step runs, as the user holds them: read from the workspace, whoever is running it."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipelite.api.artifact import Artifact
from pipelite.api.interrupts import canceled_by_ctrl_c
from pipelite.define import ListOutput, Output
from pipelite.errors import NotFoundError, PipeliteError, RunCanceled, StepFailed
from pipelite.execute import Coordinator, Progress, collect_sources, load_exception, local_target
from pipelite.plan import load_outputs
from pipelite.records import FINAL, RESULT, MetricRecord, RunRecord, Status, StepRunRecord
from pipelite.store import (
    RunWriter,
    Store,
    create_run,
    dumps_value,
    find_known,
    get_metrics,
    get_parameters_pickle,
    get_run,
    get_step_run,
    get_step_runs,
    loads_value,
    read_log,
)

if TYPE_CHECKING:
    from pipelite.api.pipelines import Pipeline

#: Seconds between two looks at a run of another process.
_POLL_S = 0.2
_ENDED = FINAL | {Status.INTERRUPTED}


class Run:
    """One tracked execution of a pipeline. Made by `Pipeline.run`, `Pipeline.submit` and `Workspace.run`."""

    def __init__(self, store: Store, id: str, execution: _Execution | None = None) -> None:
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
        if record.status in FINAL:
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
        """The artifact of one output.

        Raises
        ------
        NotFoundError
            If the pipeline returned no output of that name, or it was not computed.
        """
        place = Outputs(self)._place(name)
        if "step" not in place or place.get("path"):
            raise NotFoundError(f"output {name!r} is put together from several stored ones; use run.outputs[{name!r}]")
        step_run = self._step_run(place["step"])
        found = step_run.record.outputs.get(place["output"] or RESULT)
        if found is None:
            raise NotFoundError(
                f"output {name!r} of run {self._id} was not computed: step {step_run.name!r} is {step_run.status}"
            )
        return Artifact(self._store, found, name)

    def wait(self, timeout: float | None = None) -> Run:
        """Wait for its end; gives the run, also a canceled one.

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
        until = None if timeout is None else time.monotonic() + timeout
        if self._execution is not None:
            self._execution.join(timeout)
        while self.record.status not in _ENDED:
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"run {self._id} has not ended after {timeout:g} s; it is {self.status}")
            if self._execution is not None and not self._execution.is_alive():
                self._execution.raise_error()
            time.sleep(_POLL_S)
        if self.record.status is Status.FAILED:
            raise self._failure()
        return self

    def cancel(self) -> None:
        """End it at once, with the steps that are running; nothing happens to a run that has ended."""
        if self.record.status in _ENDED:
            return
        if self._execution is None:
            raise PipeliteError(
                f"run {self._id} belongs to another process; press Ctrl-C there: "
                "cancelling from outside comes in a later version"
            )
        self._execution.coordinator.stop()

    def rerun(self) -> Run:
        """Run the same pipeline again, with the same parameters and the source that this run kept.

        Raises
        ------
        PipeliteError
            If the pipeline cannot be imported again (a notebook's, one inside of a function).
        """
        from pipelite.api.replay import rerun

        return rerun(self._store, self.record)

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

    def _failure(self) -> StepFailed:
        if self._execution is not None:
            return self._execution.failure()
        failed = next((step for step in self.steps.values() if step.status == Status.FAILED), None)
        text = (failed.error if failed is not None else None) or self.error or "the run failed"
        return StepFailed(
            f"{text}\n\n{_advice(self._id, failed.name if failed else None)}",
            step=failed.name if failed else None,
            run_id=self._id,
        )

    def _wait_in_foreground(self) -> Run:
        """Wait for its end; Ctrl-C lets running steps finish, a second one ends them."""
        execution = self._execution
        assert execution is not None
        with canceled_by_ctrl_c(execution.coordinator):
            execution.join(None)
        execution.raise_error()
        status = self.record.status
        if status is Status.FAILED:
            raise execution.failure()
        if status is Status.CANCELED:
            raise RunCanceled(f"run {self._id} was canceled", run_id=self._id)
        return self

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


class Metrics(Mapping[str, Any]):
    """Logged values. A name gives the last value, if one step logged it; "step/name" gives that step's."""

    def __init__(self, records: list[MetricRecord]) -> None:
        self._records = records

    def __getitem__(self, name: str) -> Any:
        return self._find(name)[-1].value

    def __iter__(self) -> Iterator[str]:
        steps: dict[str, set[str]] = {}
        for record in self._records:
            steps.setdefault(record.name, set()).add(record.step_run)
        for name, logged_by in steps.items():
            if len(logged_by) == 1:
                yield name
            else:
                yield from (f"{step}/{name}" for step in sorted(logged_by))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def series(self, name: str) -> list[tuple[int | None, Any]]:
        """All values under a name, as pairs of step number and value."""
        return [(record.step, record.value) for record in self._find(name)]

    def records(self) -> list[MetricRecord]:
        """Everything logged, with kinds and times."""
        return list(self._records)

    def _find(self, name: str) -> list[MetricRecord]:
        found = [record for record in self._records if record.name == name]
        steps = dict.fromkeys(record.step_run for record in found)
        if len(steps) > 1:
            names = ", ".join(f"{step}/{name}" for step in sorted(steps))
            raise NotFoundError(f"metric {name!r} was logged by {len(steps)} steps; say which: {names}")
        if not found:
            found = [record for record in self._records if f"{record.step_run}/{record.name}" == name]
        if not found:
            names = ", ".join(self) or "none"
            raise NotFoundError(f"there is no metric {name!r}; logged were: {names}")
        return found

    def __repr__(self) -> str:
        return repr(dict(self))


class Outputs(Mapping[str, Any]):
    """Outputs of a run by name; each is loaded when it is asked for."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._places = run.record.outputs

    def __getitem__(self, name: str) -> Any:
        return self._load(self._place(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _place(self, name: str) -> Mapping[str, Any]:
        if name not in self._places:
            names = ", ".join(self._places) or "none"
            raise NotFoundError(f"run {self._run.id} has no output {name!r}; the pipeline returned: {names}")
        return self._places[name]  # type: ignore[no-any-return]

    def _load(self, place: Mapping[str, Any]) -> Any:
        if "list" in place:
            return [self._load(part) for part in place["list"]]
        if "tuple" in place:
            return tuple(self._load(part) for part in place["tuple"])
        if "dict" in place:
            return {key: self._load(part) for key, part in place["dict"].items()}
        if "value" in place:
            return place["value"]
        record = self._run._step_run(place["step"]).record
        if not record.outputs:
            return None
        value = load_outputs(self._run._store, dict(record.outputs), record.form, place["output"])
        for part in place["path"]:
            value = value[part]
        return value

    def __repr__(self) -> str:
        return f"<outputs {', '.join(self._places)}>"


class _Execution:
    """The thread of this process that runs a run."""

    def __init__(self, coordinator: Coordinator, record: RunRecord) -> None:
        self.coordinator = coordinator
        self._record = record
        self._error: BaseException | None = None
        # Not `Thread.join`: one that Ctrl-C interrupted may take a living thread for an ended one.
        self._ended = threading.Event()

    def start(self, body: Any) -> None:
        def run() -> None:
            try:
                body()
            except BaseException as exc:
                self._error = exc
            finally:
                self._ended.set()

        # Not a daemon: the interpreter waits for it at exit.
        threading.Thread(target=run, name=f"pipelite-run-{self._record.id}").start()

    def join(self, timeout: float | None) -> None:
        self._ended.wait(timeout)

    def is_alive(self) -> bool:
        return not self._ended.is_set()

    def raise_error(self) -> None:
        """Pass on what went wrong with the run itself, not with a step of it."""
        if self._error is not None:
            raise self._error

    def failure(self) -> StepFailed:
        state = self.coordinator.failed
        assert state is not None
        assert state.failure is not None
        name, failure = state.node.name, state.failure
        trace = f"\n\n{failure.traceback.rstrip()}" if failure.traceback else ""
        error = StepFailed(
            f"step {name!r} failed: {failure.type_name}: {failure.message}{trace}\n\n{_advice(self._record.id, name)}",
            step=name,
            run_id=self._record.id,
        )
        error.__cause__ = load_exception(failure)
        return error


def start_run(
    pipeline: Pipeline[Any, Any],
    values: Mapping[str, Any],
    coordinator: Coordinator,
    *,
    shows_progress: bool,
    rerun_of: str | None = None,
) -> Run:
    """Store a new run and start it in a thread of its own."""
    store = coordinator.store
    options = pipeline.options
    shown, pickled = _encode_parameters(values)
    codes = list(coordinator.codes())
    places, files = collect_sources(codes, store.file_cache)
    unknown = set(files) - find_known(store, "sources", list(files))
    record = create_run(
        store,
        pipeline=pipeline.name,
        experiment=options.experiment,
        owner=store.owner.name,
        target=pipeline.target,
        description=options.description,
        parameters=shown,
        parameters_pickle=pickled,
        options={
            "keep_going": options.keep_going,
            "regenerate_outputs": options.regenerate_outputs,
            "steps": len(coordinator.graph.nodes),
        },
        outputs={name: _place_of(value) for name, value in coordinator.graph.outputs.items()},
        tags=options.tags,
        rerun_of=rerun_of,
        working_directory=os.getcwd(),
        git_commit=find_git_commit(os.getcwd()),
        packages=_packages_of(codes),
        sources=places,
    )
    execution = _Execution(coordinator, record)
    run = Run(store, record.id, execution)
    display = _make_display(coordinator.progress, pipeline, record) if shows_progress and not options.quiet else None

    def body() -> None:
        status = None
        try:
            status = coordinator.run(
                record,
                RunWriter(store, record.id, store.owner.name),
                local_target(),
                sources={digest: files[digest].read_bytes() for digest in unknown},
            )
        finally:
            if display is not None:
                ended = run.record
                display.stop(status or Status.FAILED, ended.duration_s or 0.0, ended.error)
        _call_hooks(pipeline, run, status)

    if display is not None:
        display.start()
    execution.start(body)
    return run


def _make_display(progress: Progress, pipeline: Pipeline[Any, Any], record: RunRecord) -> Any:
    from pipelite.observe import ProgressDisplay

    return ProgressDisplay(progress, pipeline=pipeline.name, run_id=record.id)


def _call_hooks(pipeline: Pipeline[Any, Any], run: Run, status: Status) -> None:
    hooks = {Status.COMPLETED: pipeline.options.on_success, Status.FAILED: pipeline.options.on_failure}
    hook = hooks.get(status)
    if hook is None:
        return
    try:
        hook(run)
    except Exception as exc:
        # The run has ended as it has; a hook that fails must not make it look otherwise.
        warnings.warn(
            f"the {'on_success' if status is Status.COMPLETED else 'on_failure'} function of pipeline "
            f"{pipeline.name!r} raised {type(exc).__name__}: {exc}",
            RuntimeWarning,
            stacklevel=1,
        )


def _encode_parameters(values: Mapping[str, Any]) -> tuple[dict[str, Any], bytes | None]:
    """Parameters for people, and as they are where JSON does not bring them back the same."""
    shown: dict[str, Any] = {}
    plain = True
    for name, value in values.items():
        if _is_plain(value):
            shown[name] = value
        else:
            plain = False
            shown[name] = str(value) if isinstance(value, os.PathLike | date) else _short_repr(value)
    if plain:
        return shown, None
    try:
        return shown, dumps_value(dict(values))
    except Exception:
        # It can be used by this run all the same: steps receive it by value or not at all. It cannot be run again.
        return shown, None


def _is_plain(value: Any) -> bool:
    """Whether JSON brings a value back as it was."""
    if value is None or type(value) in (bool, int, float, str):
        return value == value and value not in (float("inf"), float("-inf"))
    if type(value) is list:
        return all(_is_plain(part) for part in value)
    if type(value) is dict:
        return all(type(key) is str and _is_plain(part) for key, part in value.items())
    return False


def _short_repr(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _place_of(value: Any) -> dict[str, Any]:
    """Where one output of a pipeline comes from, as plain JSON."""
    if isinstance(value, Output):
        return {"step": value.node.name, "output": value.output, "path": list(value.path)}
    if isinstance(value, list | ListOutput):
        return {"list": [_place_of(part) for part in value]}
    if isinstance(value, tuple):
        return {"tuple": [_place_of(part) for part in value]}
    if isinstance(value, dict):
        return {"dict": {str(key): _place_of(part) for key, part in value.items()}}
    json.dumps(value)
    return {"value": value}


def _packages_of(codes: list[Any]) -> dict[str, str]:
    """Versions of the packages that the steps reach, and of this one."""
    from pipelite import __version__

    packages = {
        part.removeprefix("package "): version
        for code in codes
        for part, version in code.parts.items()
        if part.startswith("package ")
    }
    return {"pipelite": __version__, **dict(sorted(packages.items()))}


def _advice(run_id: str, step: str | None) -> str:
    logs = (
        f"`pipelite runs logs {run_id} {step}` shows what it printed" if step else f"see `pipelite runs show {run_id}`"
    )
    return f"{logs}; after a fix, run the pipeline again: what had finished is reused."


def find_git_commit(folder: str) -> str | None:
    """Commit that is checked out where a run was started; read from the files, since starting git costs milliseconds."""
    for place in (folder, *_parents(folder)):
        git = os.path.join(place, ".git")
        if os.path.isfile(git):
            git = os.path.join(place, _read(git).removeprefix("gitdir:").strip())
        if not os.path.isdir(git):
            continue
        head = _read(os.path.join(git, "HEAD")).strip()
        if not head.startswith("ref:"):
            return head or None
        ref = head.removeprefix("ref:").strip()
        common = _read(os.path.join(git, "commondir")).strip()
        for root in (git, os.path.join(git, common) if common else git):
            commit = _read(os.path.join(root, ref)).strip()
            if commit:
                return commit
            for line in _read(os.path.join(root, "packed-refs")).splitlines():
                if line.endswith(f" {ref}"):
                    return line.partition(" ")[0]
        return None
    return None


def _parents(folder: str) -> Iterator[str]:
    parent = os.path.dirname(folder)
    while parent != folder:
        yield parent
        folder, parent = parent, os.path.dirname(parent)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
