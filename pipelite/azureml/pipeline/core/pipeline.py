"""`azureml.pipeline.core.pipeline`: steps put together."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.api import Pipeline as NativePipeline
from pipelite.api.publishing import STANDS_ALONE
from pipelite.azureml.core.dataset import AbstractDataset, place_of, to_kept
from pipelite.azureml.data.datapath import DataPath
from pipelite.azureml.exceptions import UserErrorException
from pipelite.azureml.identities import by_definition, counts_by_definition
from pipelite.azureml.pipeline.core import kept_forms, yaml_writing
from pipelite.azureml.pipeline.core.graph import PipelineParameter
from pipelite.azureml.pipeline.core.graph_views import Graph
from pipelite.azureml.pipeline.core.step import PipelineStep
from pipelite.azureml.writing import FUNCTION, Writer, collect_parameters
from pipelite.data import Dataset
from pipelite.errors import PipeliteError
from pipelite.fingerprint import digest

if TYPE_CHECKING:
    from pipelite.azureml.core.workspace import Workspace
    from pipelite.azureml.pipeline.core.published import PublishedPipeline
    from pipelite.azureml.pipeline.core.run import PipelineRun

#: Below the workspace: the modules that pipelines are written as.
_FOLDER = "azureml"


class StepSequence:
    """Steps of which each waits for the one before; an item may be a list of steps that go side by side."""

    def __init__(self, steps: Sequence[Any] | None = None) -> None:
        self.steps = list(steps or [])
        before: list[PipelineStep] = []
        for item in self.steps:
            now = list(iter_steps([item]))
            for step in now:
                for each in before:
                    step.run_after(each)
            before = now

    def __iter__(self) -> Iterator[Any]:
        return iter(self.steps)


class WrittenPipeline:
    """A pipeline that is written as a module, with which all else is done."""

    def __init__(self, workspace: Workspace, description: str | None) -> None:
        self.workspace = workspace
        self.description = description
        self._native: NativePipeline[Any, Any] | None = None

    @property
    def code(self) -> str:
        """The module that it is: an ordinary pipeline."""
        raise NotImplementedError

    @property
    def step_names(self) -> list[str]:
        """What its steps were called."""
        raise NotImplementedError

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Values of parameters, as the pipeline takes them."""
        raise NotImplementedError

    @property
    def native(self) -> NativePipeline[Any, Any]:
        """The pipeline of this library that it is."""
        if self._native is None:
            self.workspace.remember()
            self._native = load(self.workspace.native.path, self.code)
        return self._native

    def submit(
        self,
        experiment_name: str,
        pipeline_parameters: Mapping[str, Any] | None = None,
        continue_on_step_failure: bool = False,
        regenerate_outputs: bool = False,
        parent_run_id: str | None = None,
        credential_passthrough: Any = None,
        **kwargs: Any,
    ) -> PipelineRun:
        """Start a run; gives it at once."""
        from pipelite.azureml.core.experiment import Experiment
        from pipelite.azureml.pipeline.core.run import PipelineRun

        pipeline_parameters = pipeline_parameters or kwargs.pop("pipeline_params", None) or {}
        tags = {str(key): str(value) for key, value in (kwargs.pop("tags", None) or {}).items()}
        if kwargs:
            raise ValueError(f"submit() takes no {next(iter(kwargs))!r}")
        experiment = Experiment(self.workspace, experiment_name)
        values = self.values(pipeline_parameters)
        if parent_run_id is not None:
            tags["parent_run_id"] = parent_run_id
        native = self.native.with_options(
            name=experiment_name,
            experiment=experiment_name,
            description=self.description,
            keep_going=continue_on_step_failure,
            regenerate_outputs=regenerate_outputs,
            tags=tags,
        )
        for planned in native.plan(**values):
            is_new = planned.action != "reuse"
            print(f"Created step {planned.name} ({_PLANNED[is_new]})")
        run = native.submit(**values)
        print(f"Submitted PipelineRun {run.id}")
        made = PipelineRun(experiment, run.id, _run=run)
        datasets = self.datasets(pipeline_parameters)
        if datasets:
            made.keep_datasets(datasets)
        return made

    def publish(
        self,
        name: str | None = None,
        description: str | None = None,
        version: str | None = None,
        continue_on_step_failure: bool | None = None,
    ) -> PublishedPipeline:
        """Publish it as it is now."""
        from pipelite.azureml.pipeline.core.published import native_name, publish

        name = name or "Pipeline"
        native = self.native.with_options(
            # What lists of runs call them.
            name=native_name(name),
            keep_going=bool(continue_on_step_failure),
            description=self.description,
        )
        return publish(
            self.workspace,
            native.publish,
            name=name,
            version=version,
            description=description,
            steps=self.step_names,
        )

    def datasets(self, given: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
        """The datasets that steps are given, by the names of the steps and as plain JSON, as far as that is known."""
        return {}

    def keep(self) -> dict[str, Any]:
        """It as plain JSON: what a `KeptPipeline` is made of."""
        return {"code": self.code, "description": self.description, "steps": self.step_names}


class KeptPipeline(WrittenPipeline):
    """A pipeline as it was written before; `keep` of the other gave what it is made of."""

    def __init__(self, workspace: Workspace, code: str, description: str | None, steps: Sequence[str]) -> None:
        super().__init__(workspace, description)
        self._code = code
        self._steps = list(steps)

    @property
    def code(self) -> str:
        return self._code

    @property
    def step_names(self) -> list[str]:
        return self._steps

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return dict(given)


class Pipeline(WrittenPipeline):
    """Steps and what they wait for.

    Raises
    ------
    ValueError
        If a script is not there, or two parameters of one name differ.
    """

    def __init__(
        self,
        workspace: Workspace,
        steps: Any,
        description: str | None = None,
        default_datastore: Any = None,
        default_source_directory: str | os.PathLike[str] | None = None,
        resolve_closure: bool = True,
        **kwargs: Any,
    ) -> None:
        unknown = [name for name in kwargs if not name.startswith("_workflow")]
        if unknown:
            raise ValueError(f"Pipeline() takes no {unknown[0]!r}")
        super().__init__(workspace, description)
        self.default_datastore = default_datastore
        given = list(dict.fromkeys(iter_steps(steps)))
        if not given:
            raise ValueError("a pipeline needs a step")
        self.steps, self._circles = _in_order(given, resolve_closure=resolve_closure)
        for step in self.steps:
            if hasattr(step, "default_source_directory"):
                step.default_source_directory = (
                    None if default_source_directory is None else os.fspath(default_source_directory)
                )
            step.workspace = workspace
            step.check()
        self._parameters = {each.name: each for each in collect_parameters(self.steps)}

    @property
    def step_names(self) -> list[str]:
        return [each.name for each in self.steps]

    @property
    def code(self) -> str:
        """The module that it is: an ordinary pipeline.

        Raises
        ------
        ValueError
            If steps wait for each other in a circle, or one reads what no step writes.
        """
        writer = Writer(by_definition=counts_by_definition(self.workspace.store))
        self.write(writer, writer.reserve(FUNCTION, self.steps))
        return writer.text(self.description)

    def write(self, writer: Writer, function: str, **options: Any) -> None:
        """Write it as a function of a module; raises as `code` does."""
        if self._circles:
            raise ValueError(self._circles[0])
        writer.add(self.steps, function, **options)

    @property
    def native(self) -> NativePipeline[Any, Any]:
        is_new = self._native is None
        native = super().native
        if is_new:
            kept_forms.keep(self.workspace.store, native.target, yaml_writing.to_form(self))
        return native

    @property
    def graph(self) -> Graph:
        """Its steps and data as nodes, and what connects them."""
        return Graph(self.description or "Pipeline", yaml_writing.to_form(self))

    @staticmethod
    def load_yaml(
        workspace: Workspace,
        filename: str | os.PathLike[str],
        _workflow_provider: Any = None,
        _service_endpoint: Any = None,
    ) -> Pipeline:
        """Make one of a file of YAML.

        Relative paths in it are seen from the working directory, and where there is nothing from the file.

        Raises
        ------
        ValueError
            Naming the file, the step and the key that is wrong.
        MissingExtraError
            If PyYAML is not installed, which comes with the extra `environments`.
        """
        from pipelite.azureml.pipeline.core.yaml_reading import load_pipeline

        return load_pipeline(workspace, filename)

    def _set_experiment_name(self, name: str) -> None:
        """Nothing: a run belongs to the experiment that it is submitted to. Scripts in use touch this name of v1's own."""

    def datasets(self, given: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for step in self.steps:
            for port in step.input_ports:
                source = port.source
                if isinstance(source, PipelineParameter):
                    source = given.get(source.name, source.default_value)
                if isinstance(source, AbstractDataset):
                    mode = "Direct" if port.is_direct else "Mount"
                    kept = {"name": port.name, "mode": mode, "dataset": to_kept(source)}
                    found.setdefault(step.name, []).append(kept)
        return found

    def validate(self) -> list[Any]:
        """What is wrong with it, such as steps that wait for each other or read what no step writes; nothing is run."""
        try:
            self.native.trace(**self.values({}))
        except (ValueError, PipeliteError) as exc:
            return [exc]
        return []

    def values(self, given: Mapping[str, Any], *, is_text: bool = False) -> dict[str, Any]:
        """Values of parameters, checked as `Experiment.submit` does.

        Raises
        ------
        UserErrorException
            If there is no such parameter, or a value is of another type than the default.
        """
        found: dict[str, Any] = {}
        for name, value in given.items():
            parameter = self._parameters.get(name)
            if parameter is None:
                known = ", ".join(self._parameters) or "none"
                raise UserErrorException(f"pipeline parameter {name!r} does not exist; there are: {known}")
            native = checked(parameter, value)
            is_data = isinstance(native, Dataset) and counts_by_definition(self.workspace.store)
            found[name] = by_definition(native) if is_data else native
        return found


_PLANNED = {
    False: "This step is eligible to reuse a previous run's output",
    True: "This step will run and generate new outputs",
}


def iter_steps(given: Any) -> Iterator[PipelineStep]:
    """All steps in a step, a list, a list of lists or a sequence."""
    if isinstance(given, PipelineStep):
        yield given
    elif isinstance(given, list | tuple | StepSequence):
        for each in given:
            yield from iter_steps(each)
    else:
        raise ValueError(f"{given!r} is no step; a pipeline takes steps, lists of steps and StepSequence")


def _in_order(given: Sequence[PipelineStep], *, resolve_closure: bool) -> tuple[list[PipelineStep], list[str]]:
    """The steps, and what they read if that is asked for, each behind what it waits for."""
    done: dict[PipelineStep, bool] = {}
    found: list[PipelineStep] = []
    circles: list[str] = []

    def visit(step: PipelineStep) -> None:
        if step in done:
            if not done[step]:
                circles.append(f"step {step.name!r} waits for itself, by way of others")
            return
        done[step] = False
        for earlier in step.earlier:
            if resolve_closure or earlier in given:
                visit(earlier)
        done[step] = True
        found.append(step)

    for step in given:
        visit(step)
    return found, circles


def checked(parameter: PipelineParameter, value: Any) -> Any:
    """A value as `Experiment.submit` takes it: of the type of the default.

    Raises
    ------
    UserErrorException
        If it is of another.
    """
    default = parameter.default_value
    if isinstance(default, DataPath):
        if isinstance(value, DataPath):
            return Dataset.from_files(place_of(value), missing_ok=True)
        raise _wrong(parameter, value, "DataPath")
    if isinstance(default, AbstractDataset):
        if isinstance(value, AbstractDataset):
            return value.native
        raise _wrong(parameter, value, "Dataset")
    expected = type(default)
    # For Python a truth value is a number, and so it was for v1; a float of numpy's is one of Python's.
    if isinstance(value, expected):
        return expected(value)
    raise _wrong(parameter, value, expected.__name__)


def _wrong(parameter: PipelineParameter, value: Any, expected: str) -> UserErrorException:
    return UserErrorException(
        f"pipeline parameter {parameter.name!r} is {value!r}, of type {type(value).__name__}; its default is of type "
        f"{expected}, and so is what it takes"
    )


def load(workspace: Path, code: str) -> NativePipeline[Any, Any]:
    """The pipeline of a module that was written; the same text is the same module.

    It is kept in the workspace: a run or a published version of it keeps it, as it keeps the modules of any pipeline.
    """
    name = f"azureml_{digest('azureml pipeline', code.encode())[:12]}"
    known = sys.modules.get(name)
    if known is None:
        path = workspace / _FOLDER / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            draft = path.with_name(f".{name}.{os.getpid()}")
            draft.write_text(code, encoding="utf-8")
            os.replace(draft, path)
        spec = spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        known = sys.modules[name] = module_from_spec(spec)
        setattr(known, STANDS_ALONE, True)
        try:
            spec.loader.exec_module(known)
        except BaseException:
            del sys.modules[name]
            raise
    found: NativePipeline[Any, Any] = getattr(known, FUNCTION)
    return found
