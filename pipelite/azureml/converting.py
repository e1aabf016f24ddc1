"""Runs the definition of a script's pipelines, and writes them as a module that does without the SDK."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from pipelite.azureml.core.dataset import AbstractDataset
from pipelite.azureml.core.experiment import Experiment
from pipelite.azureml.core.script_run import _OfflineRun
from pipelite.azureml.data.datapath import DataPath
from pipelite.azureml.exceptions import AzureMLException
from pipelite.azureml.identities import counts_by_definition
from pipelite.azureml.pipeline.core.pipeline import Pipeline, WrittenPipeline
from pipelite.azureml.pipeline.core.pipeline_draft import PipelineDraft
from pipelite.azureml.pipeline.core.published import PipelineEndpoint, PublishedPipeline
from pipelite.azureml.pipeline.core.schedule import Schedule
from pipelite.azureml.running import run_file
from pipelite.azureml.widgets import RunDetails
from pipelite.azureml.writing import Writer, is_below, shown, to_identifier

#: A longer name says too much to be that of a function.
_LONGEST_NAME = 40
_PIPELINE = "azureml_pipeline"


class ConversionError(AzureMLException):
    """A script makes no pipeline that could be written."""

    exit_code = 2


@attrs.frozen
class Conversion:
    """A script as a module."""

    text: str
    #: Functions of the pipelines in it.
    pipelines: list[str]
    #: Why the script was not followed to its end; None if it was.
    stopped: str | None


@attrs.define(eq=False)
class _Noted:
    """A pipeline that the script made."""

    pipeline: Pipeline
    #: What it was submitted or published as, the first name first.
    names: list[str] = attrs.field(factory=list)
    experiment: str | None = None
    #: Parameters and options of each submission.
    submissions: list[tuple[Mapping[str, Any], dict[str, Any]]] = attrs.field(factory=list)


class _Stop(BaseException):
    """The script wants something that there is only when a pipeline has run; nothing in it is to catch that."""


def convert(file: str, output: str | None = None) -> Conversion:
    """The pipelines of a script or a notebook as a module.

    The script is executed: what it needs to define its pipelines happens, such as uploads and the registration of datasets.
    What would run or publish a pipeline is noted instead.

    Parameters
    ----------
    output : path, optional
        Where the module is going to lie, from where paths are seen; by default beside the script.

    Raises
    ------
    ConversionError
        If it makes no pipeline.
    """
    script = os.path.abspath(file)
    home = os.path.dirname(script)
    folder = home if output is None else os.path.dirname(os.path.abspath(output))
    # From another place altogether, a relative path would say no less of this machine than an absolute one.
    root = home if is_below(folder, home) else folder if is_below(home, folder) else None
    noted: dict[Pipeline, _Noted] = {}
    stopped = _follow(file, noted)
    chosen = [each for each in noted.values() if each.names] or list(noted.values())
    if not chosen:
        raise ConversionError(f"{file} makes no pipeline{f': it was followed up to {stopped}' if stopped else ''}")
    by_definition = counts_by_definition(chosen[0].pipeline.workspace.store)
    writer = Writer(by_definition=by_definition, folder=folder, root=root)
    functions = [writer.reserve(_name_of(each), each.pipeline.steps) for each in chosen]
    for function, each in zip(functions, chosen, strict=True):
        options = {} if each.experiment in (None, function) else {"name": each.experiment}
        each.pipeline.write(writer, function, **options)
    # To run the same twice is to run it once.
    main = dict.fromkeys(
        _call(writer, function, values, options)
        for function, each in zip(functions, chosen, strict=True)
        for values, options in each.submissions
    )
    descriptions = [each.pipeline.description for each in chosen if each.pipeline.description]
    description = descriptions[0] if descriptions else f"The pipelines of {os.path.basename(file)}."
    return Conversion(writer.text(description, [*main]), functions, stopped)


def _follow(file: str, noted: dict[Pipeline, _Noted]) -> str | None:
    """Execute a script and note its pipelines; gives why that did not come to its end."""
    with _recording(noted):
        try:
            run_file(file)
        except _Stop as stop:
            return f"{_line_of(stop, file)}: {stop}"
        except (Exception, SystemExit) as exc:
            if isinstance(exc, SystemExit) and exc.code in (None, 0):
                return None
            if any(each.submissions for each in noted.values()):
                why = traceback.format_exception_only(exc)[0].strip()
                return f"{_line_of(exc, file)}: {why}; it may need what a pipeline leaves behind when it has run"
            if isinstance(exc, SystemExit):
                raise ConversionError(f"{file} ended itself with {exc.code!r}") from exc
            raise
    return None


def _name_of(noted: _Noted) -> str:
    for name in filter(None, (*noted.names, noted.pipeline.description)):
        made = to_identifier(name)
        if len(made) <= _LONGEST_NAME and name[0].isalpha():
            return made
    return _PIPELINE


def _call(writer: Writer, function: str, values: Mapping[str, Any], options: dict[str, Any]) -> str:
    def code(value: Any) -> Any:
        return writer.data(value) if isinstance(value, DataPath | AbstractDataset) else value

    given = ", ".join(f"{name}={shown(code(value))}" for name, value in values.items())
    changed = ", ".join(f"{name}={shown(value)}" for name, value in options.items())
    return f"{function}.with_options({changed}).run({given})" if changed else f"{function}.run({given})"


def _line_of(stop: BaseException, file: str) -> str:
    path, folder = os.path.abspath(file), os.path.basename(file)
    for frame in reversed(traceback.extract_tb(stop.__traceback__)):
        if os.path.abspath(frame.filename) == path:
            return f"{file}:{frame.lineno}"
        if frame.filename.startswith(f"{folder}, cell "):
            return f"{frame.filename}, line {frame.lineno}"
    return file


class _NotRun:
    """What a script gets in the place of a run, of something published, of a schedule, or of a draft."""

    id = name = "not-run"
    status = "Active"

    def __init__(self, noted: _Noted | None = None) -> None:
        self._noted = noted

    def wait_for_completion(self, *_: Any, **__: Any) -> str:
        return "Finished"

    def get_status(self) -> str:
        return "Finished"

    def get_steps(self) -> Iterator[Any]:
        return iter(())

    get_children = get_steps

    def publish_pipeline(self, name: str, *_: Any, **__: Any) -> _NotRun:
        if self._noted is not None:
            self._noted.names.append(name)
        return self

    def update(self, *_: Any, **__: Any) -> None:
        """Change nothing."""

    def submit_run(self) -> _NotRun:
        return self

    def publish(self) -> _NotRun:
        return self

    def __repr__(self) -> str:
        return "<not run>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise _Stop(f"{name!r} of what a run gives is not there before one has run")


@contextlib.contextmanager
def _recording(noted: dict[Pipeline, _Noted]) -> Iterator[None]:
    """Have pipelines noted instead of run, published and scheduled, and what only a run could serve end the script."""
    make, start = Pipeline.__init__, Experiment.submit

    def init(self: Pipeline, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        noted[self] = _Noted(self)

    def submit(
        self: Pipeline,
        experiment_name: str,
        pipeline_parameters: Mapping[str, Any] | None = None,
        continue_on_step_failure: bool = False,
        regenerate_outputs: bool = False,
        **others: Any,
    ) -> _NotRun:
        values = pipeline_parameters or others.get("pipeline_params") or {}
        self.values(values)
        each = noted[self]
        each.names.append(experiment_name)
        each.experiment = each.experiment or experiment_name
        options = {"keep_going": continue_on_step_failure, "regenerate_outputs": regenerate_outputs}
        each.submissions.append((values, {name: True for name, value in options.items() if value}))
        return _NotRun(each)

    def submit_any(self: Experiment, config: Any, tags: Any = None, **kwargs: Any) -> Any:
        if isinstance(config, PublishedPipeline | PipelineEndpoint | _NotRun):
            return _NotRun()
        if hasattr(config, "as_pipeline"):
            return config.as_pipeline(self.workspace).submit(self.name)
        return start(self, config, tags, **kwargs)

    def publish(self: Pipeline, name: str | None = None, *_: Any, **__: Any) -> _NotRun:
        noted[self].names.append(name or "Pipeline")
        return _NotRun(noted[self])

    def publish_endpoint(workspace: Any, name: str, description: str, pipeline: Any, **_: Any) -> Any:
        return pipeline.publish(name) if isinstance(pipeline, Pipeline) else pipeline

    def add(self: PipelineEndpoint, pipeline: Any) -> None:
        publish_endpoint(None, self.name, "", pipeline)

    def keep_draft(workspace: Any, pipeline: Pipeline, name: str | None = None, *_: Any, **__: Any) -> Any:
        return pipeline.publish(name)

    def start_nothing(*_: Any, **__: Any) -> _NotRun:
        return _NotRun()

    replaced: list[tuple[Any, str, Any]] = [
        (Experiment, "submit", submit_any),
        (Experiment, "start_logging", lambda *_, **__: _OfflineRun()),
        (Pipeline, "__init__", init),
        (WrittenPipeline, "submit", submit),
        (WrittenPipeline, "publish", publish),
        (PipelineDraft, "create", staticmethod(keep_draft)),
        (PipelineDraft, "get", staticmethod(start_nothing)),
        (PipelineDraft, "list", staticmethod(start_nothing)),
        (PublishedPipeline, "submit", start_nothing),
        (PipelineEndpoint, "publish", staticmethod(publish_endpoint)),
        (PipelineEndpoint, "add", add),
        (PipelineEndpoint, "add_default", add),
        (Schedule, "create", staticmethod(start_nothing)),
        (Schedule, "create_for_pipeline_endpoint", staticmethod(start_nothing)),
        (RunDetails, "show", start_nothing),
    ]
    with contextlib.ExitStack() as stack:
        for owner, name, function in replaced:
            stack.callback(setattr, owner, name, owner.__dict__[name])
            setattr(owner, name, function)
        yield
