"""Starts a run: its record, its thread, its display."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from pipelite.api.compute import known_targets
from pipelite.api.git import find_git_commit
from pipelite.api.runs import Run, advise
from pipelite.api.sources import keep_sources
from pipelite.clock import CLOCK
from pipelite.define import describe_place
from pipelite.errors import PipeliteError, StepFailed
from pipelite.execute import Coordinator, Progress, Targets, end_after, load_exception
from pipelite.fingerprint.tracked import TrackedData
from pipelite.records import RunRecord, Status
from pipelite.store import RunWriter, create_run, dumps_value, take_over, take_queued

if TYPE_CHECKING:
    from pipelite.api.pipelines import Pipeline
    from pipelite.observe import ProgressDisplay


#: The main thread waits no longer at a time: a signal that comes just before it begins to wait does not wake it, and the
#: answer to that signal is called by the main thread only.
_LOOK_S = 0.05

#: Those of this process that have not ended.
_living: set[Execution] = set()
os.register_at_fork(after_in_child=_living.clear)


def living_executions() -> list[Execution]:
    """Runs that threads of this process are running now."""
    return list(_living)


#: Called when the main thread has ended, before its runs are waited for.
_first_at_end: list[Callable[[], None]] = []


def call_before_waiting(function: Callable[[], None]) -> None:
    """Have something called once the main thread has ended: a run that waits for it would keep it for ever."""
    if function not in _first_at_end:
        _first_at_end.append(function)


def _wait_for_runs() -> None:
    for function in _first_at_end:
        function()
    try:
        _join_all()
    except KeyboardInterrupt:
        for execution in living_executions():
            execution.coordinator.interrupt("Ctrl-C at the end of its script", at_once=True)
        _join_all()


def _join_all() -> None:
    # One may start another, by a hook.
    while _living:
        for execution in living_executions():
            execution.join(None)


class Execution:
    """The thread of this process that runs a run."""

    def __init__(self, coordinator: Coordinator, record: RunRecord) -> None:
        self.coordinator = coordinator
        self._record = record
        self._error: BaseException | None = None
        # Not `Thread.join`: one that Ctrl-C interrupted may take a living thread for an ended one.
        self._ended = threading.Event()

    def start(self, body: Callable[[], None]) -> None:
        def run() -> None:
            try:
                body()
            except BaseException as exc:
                self._error = exc
            finally:
                _living.discard(self)
                self._ended.set()

        _living.add(self)
        end_after(_wait_for_runs)
        # Not a daemon: the interpreter waits for it at exit.
        threading.Thread(target=run, name=f"pipelite-run-{self._record.id}").start()

    def join(self, timeout: float | None) -> None:
        until = None if timeout is None else CLOCK.monotonic() + timeout
        while not self._ended.wait(_LOOK_S if until is None else max(0.0, min(_LOOK_S, until - CLOCK.monotonic()))):
            if until is not None and CLOCK.monotonic() >= until:
                return

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
            f"step {name!r} failed: {failure.type_name}: {failure.message}{trace}\n\n{advise(self._record.id, name)}",
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
    targets = _find_targets(pipeline, coordinator)
    shown, pickled = _encode_parameters(values)
    codes = list(coordinator.codes())
    places, contents = keep_sources(store, codes, coordinator.planner.snapshots())
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
            "compute": options.compute if isinstance(options.compute, str) else None,
            "steps": coordinator.progress.total,
        },
        outputs={name: describe_place(value) for name, value in coordinator.graph.outputs.items()},
        tags=options.tags,
        rerun_of=rerun_of,
        working_directory=os.getcwd(),
        git_commit=find_git_commit(os.getcwd()),
        packages=packages_of(codes),
        sources=places,
    )
    return _launch(pipeline, coordinator, record, targets, shows_progress=shows_progress, sources=contents)


def resume_run(pipeline: Pipeline[Any, Any], parameters: Mapping[str, Any], record: RunRecord) -> Run:
    """Take over a run that has ended early, and go on with it in a thread of its own.

    Raises
    ------
    ResumeError
        If it cannot be resumed, or another process was faster.
    """
    regenerate = bool(record.options.get("regenerate_outputs", False))
    coordinator = pipeline.with_options(regenerate_outputs=regenerate)._prepare(parameters)[1]
    store = coordinator.store
    targets = _find_targets(pipeline, coordinator)
    # From here on it is ours: whatever goes wrong before this leaves it as it was.
    record = take_over(store, record.id, store.owner.name, found=record.status)
    coordinator.resume(record)
    outputs = {name: describe_place(value) for name, value in coordinator.graph.outputs.items()}
    return _launch(pipeline, coordinator, record, targets, shows_progress=True, outputs=outputs)


def start_queued(pipeline: Pipeline[Any, Any], parameters: Mapping[str, Any], record: RunRecord) -> Run:
    """Take a run from the queue, and run it in a thread of its own.

    Raises
    ------
    ResumeError
        If it waits no more: it was canceled, or another process was faster.
    """
    values, coordinator = pipeline._prepare(parameters)
    store = coordinator.store
    targets = _find_targets(pipeline, coordinator)
    shown, pickled = _encode_parameters(values)
    # From here on it is ours: whatever goes wrong before this leaves it as it was.
    record = take_queued(store, record.id, store.owner.name, parameters=shown, parameters_pickle=pickled)
    outputs = {name: describe_place(value) for name, value in coordinator.graph.outputs.items()}
    n_steps = coordinator.progress.total
    return _launch(pipeline, coordinator, record, targets, shows_progress=False, outputs=outputs, n_steps=n_steps)


def _find_targets(pipeline: Pipeline[Any, Any], coordinator: Coordinator) -> Targets:
    targets = Targets(pipeline.options.compute, known_targets(coordinator.store))
    targets.check(node.step for node in coordinator.graph.nodes)
    return targets


def _launch(
    pipeline: Pipeline[Any, Any],
    coordinator: Coordinator,
    record: RunRecord,
    targets: Targets,
    *,
    shows_progress: bool,
    **first: Any,
) -> Run:
    """Start the thread of a run that this process owns; `first` is what goes into its first commit."""
    store = coordinator.store
    execution = Execution(coordinator, record)
    run = Run(store, record.id, execution)
    options = pipeline.options
    display = None
    if shows_progress and not options.quiet:
        # What is drawn again and again would be in the way of what steps print, and of a debugger.
        prints_here = any(target.is_in_process for target in targets.all())
        display = _make_display(coordinator.progress, pipeline, record, in_lines=prints_here)

    def body() -> None:
        status = None
        try:
            status = coordinator.run(record, RunWriter(store, record.id, store.owner.name), targets, **first)
        finally:
            if display is not None:
                ended = run.record
                display.stop(status or Status.FAILED, ended.duration_s or 0.0, ended.error)
        if status is Status.COMPLETED:
            _register_outputs(run, options.register_outputs)
        _call_hooks(pipeline, run, status)

    if display is not None:
        display.start()
    execution.start(body)
    return run


def _register_outputs(run: Run, outputs: Mapping[str, str]) -> None:
    for output, name in outputs.items():
        try:
            run.output(output).register(name)
        except PipeliteError as exc:
            raise type(exc)(
                f"run {run.id} completed, but its output {output!r} did not become the dataset {name!r}: {exc}"
            ) from exc


def _make_display(
    progress: Progress, pipeline: Pipeline[Any, Any], record: RunRecord, *, in_lines: bool
) -> ProgressDisplay:
    from pipelite.observe import ProgressDisplay, find_mode

    mode = "plain" if in_lines and find_mode(None)[0] == "auto" else None
    return ProgressDisplay(progress, pipeline=pipeline.name, run_id=record.id, mode=mode)


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
            shown[name] = str(value) if isinstance(value, os.PathLike | date | TrackedData) else _short_repr(value)
    if plain:
        return shown, None
    try:
        return shown, dumps_value(
            {
                name: value.looked_at_again() if isinstance(value, TrackedData) else value
                for name, value in values.items()
            }
        )
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


def packages_of(codes: list[Any]) -> dict[str, str]:
    """Versions of the packages that the steps reach, and of this one."""
    from pipelite import __version__

    packages = {
        part.removeprefix("package "): version
        for code in codes
        for part, version in code.parts.items()
        if part.startswith("package ")
    }
    return {"pipelite": __version__, **dict(sorted(packages.items()))}
