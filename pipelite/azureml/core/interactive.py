"""A run of this process itself: what `Experiment.start_logging` gives."""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipelite.api import pipeline
from pipelite.azureml.core.run import SCRIPT_RUN, Run
from pipelite.azureml.core.run_records import remember
from pipelite.azureml.core.script_run import ChildRun, LoggingRun, as_files
from pipelite.clock import CLOCK
from pipelite.define import step
from pipelite.execute import StepContext, current_run

if TYPE_CHECKING:
    from pipelite.azureml.core.experiment import Experiment

#: How often the step of a run looks whether this process ends.
_LOOKS_EVERY_S = 0.2

_open: dict[str, _Session] = {}


class InteractiveRunError(Exception):
    """A run of this process was said to have failed."""


class _Session:
    """Where the step of such a run, which is a thread of this process, and the process meet."""

    def __init__(self) -> None:
        self.context: queue.SimpleQueue[StepContext] = queue.SimpleQueue()
        self.is_over = threading.Event()
        self.error: str | None = None


@step(cache=False, compute="threads")
def interactive(session: str) -> None:
    """Be there until the process says that its run is over, or ends."""
    here = _open[session]
    here.context.put(current_run())
    while not here.is_over.wait(_LOOKS_EVERY_S):
        # Private, and the only sign that comes before the interpreter waits for runs: that of the script's end.
        if getattr(threading, "_SHUTTING_DOWN", False):
            # It did not say how its run did: well, as for v1.
            return
    if here.error is not None:
        raise InteractiveRunError(here.error)


@pipeline
def interactive_run(session: str) -> None:
    """A run with one step, which waits."""
    interactive(session)


class InteractiveRun(Run, LoggingRun):
    """A run that this process logs to until it calls `complete` or `fail`; a `with` block calls them."""

    def __init__(self, experiment: Experiment) -> None:
        name = uuid.uuid4().hex
        self._session = _open[name] = _Session()
        experiment.workspace.remember()
        native = interactive_run.with_options(
            name=experiment.name, experiment=experiment.name, tags={SCRIPT_RUN: "true"}
        ).submit(session=name)
        super().__init__(experiment, native.id)
        self._here = self._session.context.get()
        del _open[name]
        self._metrics: dict[str, Any] = {}
        self._children: list[ChildRun] = []

    def complete(self, _set_status: bool = True) -> None:
        """End it well."""
        self._end(None)

    def fail(self, error_details: Any = None, error_code: Any = None, _set_status: bool = True) -> None:
        """End it as failed."""
        self._end(str(error_details or "the run was said to have failed"))

    def cancel(self) -> None:
        """End it as canceled."""
        super().cancel()
        # It is, as soon as the coordinator has heard so; a step that ends before would have the run end well.
        while self._native.status == "running":
            CLOCK.sleep(0.01)
        self._session.is_over.set()
        self.wait_for_completion(raise_on_error=False)

    def _end(self, error: str | None) -> None:
        if not self._session.is_over.is_set():
            self._session.error = error
            self._session.is_over.set()
            self.wait_for_completion(raise_on_error=False)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self.complete()
        else:
            self.fail(f"{kind.__name__}: {error}")

    def child_run(self, name: str | None = None, run_id: str | None = None, outputs: Any = None) -> ChildRun:
        child = super().child_run(name, run_id, outputs)
        self._children.append(child)
        return child

    def get_children(self, recursive: bool = False, tags: Any = None, properties: Any = None) -> Iterator[Any]:
        return iter(self._children)

    def submit_child(self, config: Any, tags: Any = None, **others: Any) -> Any:
        """Start a run that is tagged with the id of this one."""
        return self.experiment.submit(config, tags={**(tags or {}), "parent_run_id": self.id}, **others)

    def get_metrics(self, name: str | None = None, *others: Any, **more: Any) -> dict[str, Any]:
        """What it logged: at once, where others see it within a second."""
        return {key: value for key, value in self._metrics.items() if name in (None, key)}

    def _tell(self, what: str, name: str, *values: Any, **named: Any) -> None:
        given: Sequence[Any] = list(as_files(self._here, what, name, values))
        getattr(self._here, what)(name, *given, **named)
        remember(self._metrics, what, name, values, named)
