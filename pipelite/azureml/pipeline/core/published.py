"""Published pipelines, and endpoints that lead to one of several versions."""

from __future__ import annotations

import builtins
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs

from pipelite import automate
from pipelite.api.publishing import Endpoint, find_server, warn_if_not_served
from pipelite.api.publishing import PublishedPipeline as NativePublished
from pipelite.automate import NumberedEndpoint
from pipelite.azureml import _state
from pipelite.azureml.core.dataset import AbstractDataset, save
from pipelite.azureml.data.datapath import DataPath
from pipelite.azureml.exceptions import UserErrorException
from pipelite.azureml.pipeline.core import kept_forms, yaml_writing
from pipelite.azureml.pipeline.core.graph_views import Graph
from pipelite.errors import NotFoundError, PipeliteError, PublishError

if TYPE_CHECKING:
    from pipelite.azureml.core.workspace import Workspace
    from pipelite.azureml.pipeline.core.run import PipelineRun

_STATUSES = {"active": "Active", "disabled": "Disabled", "archived": "Disabled"}
_KIND = "published"
_MOST_LETTERS = 260


class PublishedPipeline:
    """A published version of a pipeline. Several may have one name and one version; their ids tell them apart."""

    def __init__(self, workspace: Workspace, native: Any) -> None:
        self.workspace = workspace
        self._native = native
        #: What it was called, as far as the names of this library are others.
        self._kept: Mapping[str, Any] = _state.get(workspace.store, _KIND, native.id) or {}

    @property
    def native(self) -> Any:
        """The published version of this library."""
        return self._native

    @property
    def _record(self) -> automate.PublishedVersion:
        return automate.find_version(self.workspace.store, self.id)

    @property
    def id(self) -> str:
        return str(self._native.id)

    @property
    def name(self) -> str:
        return str(self._kept.get("name", self._native.name))

    @property
    def description(self) -> str | None:
        found: str | None = self._native.description
        return found

    @property
    def version(self) -> str:
        return str(self._kept.get("version", self._native.version))

    @property
    def status(self) -> str:
        return _STATUSES[self._native.status]

    @property
    def endpoint(self) -> str:
        """Where to send requests; `pipelite serve` answers them."""
        return f"{find_server(self.workspace.store)}/PipelineRuns/PipelineSubmit/{self.id}"

    @property
    def graph_id(self) -> str:
        """The same for the same content."""
        return _state.make_id("graph", self._record.content)

    @property
    def total_run_steps(self) -> int:
        return len(self.get_step_names())

    @property
    def continue_on_step_failure(self) -> bool:
        return bool(self._record.options.get("keep_going"))

    def get_step_names(self) -> builtins.list[str]:
        """The names of its steps; none for one that was published by other means than v1's."""
        return list(self._kept.get("steps", ()))

    @property
    def _form(self) -> dict[str, Any]:
        return kept_forms.find(self.workspace.store, self._record.target, f"published pipeline {self.name!r}")

    def get_graph(self) -> Graph:
        """Its steps and data as nodes, and what connects them."""
        return Graph(self.name, self._form)

    def save(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write it as YAML, which `Pipeline.load_yaml` reads.

        Parameters
        ----------
        path : a file, or a folder for `pipeline.yml`; by default the working directory
        """
        yaml_writing.write(self._form, self.name, path)

    @staticmethod
    def get(workspace: Workspace, id: str, **others: Any) -> PublishedPipeline:
        """The one with an id.

        Raises
        ------
        UserErrorException
            If there is none.
        """
        try:
            found = automate.find_version(workspace.store, id)
        except NotFoundError:
            found = None
        if found is None or found.id != id:
            raise UserErrorException(f"there is no published pipeline with the id {id!r}")
        return PublishedPipeline(workspace, NativePublished(workspace.store, found))

    @staticmethod
    def list(
        workspace: Workspace, active_only: bool = True, _service_endpoint: Any = None
    ) -> builtins.list[PublishedPipeline]:
        """All of them, the newest first."""
        store = workspace.store
        natives = [NativePublished(store, each) for each in reversed(automate.list_versions(store))]
        return [PublishedPipeline(workspace, each) for each in natives if each.status == "active" or not active_only]

    get_all = list

    def enable(self) -> None:
        self._native.enable()

    def disable(self) -> None:
        """Have it refuse to be submitted."""
        self._native.disable()

    def submit(
        self,
        workspace: Workspace,
        experiment_name: str,
        pipeline_parameters: Mapping[str, Any] | None = None,
        parent_run_id: str | None = None,
        continue_on_step_failure: bool | None = None,
        **others: Any,
    ) -> PipelineRun:
        """Put a run into the queue, which `pipelite serve` or `pipelite daemon` executes.

        Numbers may be given as text.

        Raises
        ------
        UserErrorException
            If it is disabled, or a parameter is unknown or of the wrong type.
        """
        from pipelite.azureml.core.experiment import Experiment
        from pipelite.azureml.pipeline.core.run import PipelineRun

        given = pipeline_parameters or others.pop("pipeline_params", None) or {}
        tags = {str(key): str(value) for key, value in (others.pop("tags", None) or {}).items()}
        if others:
            raise TypeError(f"submit() got an unexpected keyword argument {next(iter(others))!r}")
        if self.status != "Active":
            raise UserErrorException(f"pipeline {self.name!r} {self.version} is disabled; enable() it to submit it")
        experiment = Experiment(workspace, experiment_name)
        if parent_run_id is not None:
            tags["parent_run_id"] = parent_run_id
        store = workspace.store
        record = self._record
        try:
            made, _ = automate.submit(
                store,
                record,
                automate.read_loosely(record, to_values(given)),
                experiment=experiment_name,
                keep_going=continue_on_step_failure,
                tags=tags,
            )
        except PipeliteError as exc:
            raise UserErrorException(str(exc)) from exc
        warn_if_not_served(store, made.id)
        print(f"Submitted PipelineRun {made.id}")
        return PipelineRun(experiment, made.id)

    def __repr__(self) -> str:
        return f"Pipeline(Name: {self.name}, Id: {self.id}, Status: {self.status}, Endpoint: {self.endpoint})"


@attrs.frozen
class PipelineIdVersion:
    """A version of an endpoint, and the pipeline that it is."""

    version: str
    pipeline: PublishedPipeline

    @property
    def pipeline_id(self) -> str:
        return self.pipeline.id


class PipelineEndpoint:
    """A name that leads to the default one of several versions, which are texts that count from "0"."""

    def __init__(self, workspace: Workspace, id: str, **others: Any) -> None:
        self.workspace = workspace
        self.id = id

    @property
    def _record(self) -> NumberedEndpoint:
        return automate.find_numbered(self.workspace.store, id=self.id)

    @property
    def native(self) -> Any:
        """The endpoint of this library that leads to the default version."""
        return Endpoint(self.workspace.store, self.id)

    @property
    def name(self) -> str:
        return self._record.name

    @property
    def description(self) -> str | None:
        return self._record.description

    @property
    def endpoint(self) -> str:
        """Where to send requests for the default version; `/<version>` behind it asks for another."""
        return f"{find_server(self.workspace.store)}/PipelineRuns/PipelineEndpointSubmit/Id/{quote(self.id)}"

    @property
    def status(self) -> str:
        return "Active" if self._record.is_active else "Disabled"

    @property
    def default_version(self) -> str:
        return self.get_default_version()

    @staticmethod
    def publish(
        workspace: Workspace, name: str, description: str | None = None, pipeline: Any = None, **others: Any
    ) -> PipelineEndpoint:
        """Make an endpoint of a pipeline, which is its version "0".

        Raises
        ------
        ValueError
            If there is one of that name.
        """
        _check_name(name)
        if any(each.name == name for each in automate.list_numbered(workspace.store)):
            raise ValueError(f"there is a pipeline endpoint {name!r} already; add() another version to it")
        version = _published(pipeline, name, description)
        try:
            made = automate.add_numbered(workspace.store, name, version._record, description=description)
        except PublishError as exc:
            raise ValueError(str(exc)) from exc
        return PipelineEndpoint(workspace, made.id)

    @staticmethod
    def get(workspace: Workspace, id: str | None = None, name: str | None = None, **others: Any) -> PipelineEndpoint:
        """One by its id or its name.

        Raises
        ------
        UserErrorException
            If there is none.
        """
        try:
            return PipelineEndpoint(workspace, automate.find_numbered(workspace.store, id=id, name=name).id)
        except NotFoundError as exc:
            raise UserErrorException(str(exc)) from exc

    @staticmethod
    def list(
        workspace: Workspace, active_only: bool = True, max_results: int = 100, **others: Any
    ) -> builtins.list[PipelineEndpoint]:
        """All of them, by name."""
        known = automate.list_numbered(workspace.store)
        found = [PipelineEndpoint(workspace, each.id) for each in known if each.is_active or not active_only]
        return found[:max_results]

    get_all = list

    def add(self, pipeline: Any) -> None:
        """Add a version; the default stays."""
        self._change(add=_published(pipeline, self.name, None)._record)

    def add_default(self, pipeline: Any) -> None:
        """Add a version, and make it the default."""
        self._change(add=_published(pipeline, self.name, None)._record, default=-1)

    def set_default(self, pipeline: Any) -> None:
        """Make the version that a published pipeline was added as the default; the latest of several.

        Raises
        ------
        ValueError
            If it was not added.
        """
        versions = self._record.versions
        places = [place for place, each in enumerate(versions) if each == getattr(pipeline, "id", None)]
        if not places:
            raise ValueError(f"{pipeline!r} was not added to the endpoint {self.name!r}; add() it")
        self._change(default=places[-1])

    def set_default_version(self, version: str) -> None:
        """Make a version the default.

        Raises
        ------
        ValueError
            If there is no such version.
        """
        self._change(default=int(self._find(version).version))

    def get_default_version(self) -> str:
        return str(self._record.default)

    def get_pipeline(self, version: str | None = None) -> PublishedPipeline:
        """The published pipeline that is a version, by default the default one.

        Raises
        ------
        ValueError
            If there is no such version.
        """
        return self._find(self.get_default_version() if version is None else version).pipeline

    def list_versions(self) -> builtins.list[PipelineIdVersion]:
        """The versions, the oldest first."""
        versions = enumerate(self._record.versions)
        return [PipelineIdVersion(str(place), PublishedPipeline.get(self.workspace, each)) for place, each in versions]

    def list_pipelines(self, active_only: bool = True) -> builtins.list[PublishedPipeline]:
        """The published pipelines that are its versions, the oldest first."""
        return [each.pipeline for each in self.list_versions() if each.pipeline.status == "Active" or not active_only]

    def set_name(self, name: str) -> None:
        """Call it something else; its id stays.

        Raises
        ------
        ValueError
            If another is called so.
        """
        _check_name(name)
        self._change(name=name)

    def set_description(self, description: str) -> None:
        self._change(description=description)

    def enable(self) -> None:
        self._change(is_active=True)

    def disable(self) -> None:
        """Have it lead nowhere: requests and schedules are refused."""
        self._change(is_active=False)

    def archive(self) -> None:
        """Disable it, and free its name: it goes by its id."""
        self._change(is_active=False, name=self.id)

    def reactivate(self, name: str) -> None:
        """Enable an archived one under a name.

        Raises
        ------
        ValueError
            If another is called so.
        """
        _check_name(name)
        self._change(is_active=True, name=name)

    def submit(
        self,
        experiment_name: str,
        pipeline_parameters: Mapping[str, Any] | None = None,
        parent_run_id: str | None = None,
        pipeline_version: str | None = None,
        **others: Any,
    ) -> PipelineRun:
        """Put a run of the default version, or of one, into the queue."""
        if self.status != "Active":
            raise UserErrorException(f"the pipeline endpoint {self.name!r} is disabled; enable() it to submit it")
        return self.get_pipeline(pipeline_version).submit(
            self.workspace, experiment_name, pipeline_parameters, parent_run_id, **others
        )

    def _find(self, version: str) -> PipelineIdVersion:
        for each in self.list_versions():
            if each.version == str(version):
                return each
        raise ValueError(f"the endpoint {self.name!r} has no version {version!r}")

    def _change(self, **changes: Any) -> None:
        try:
            automate.change_numbered(self.workspace.store, self.id, **changes)
        except PublishError as exc:
            raise ValueError(str(exc)) from exc

    def __repr__(self) -> str:
        return f"PipelineEndpoint(Name: {self.name}, Id: {self.id}, Status: {self.status}, Endpoint: {self.endpoint})"


def _published(pipeline: Any, name: str, description: str | None) -> PublishedPipeline:
    """A pipeline as a published one."""
    if isinstance(pipeline, PublishedPipeline):
        return pipeline
    if not hasattr(pipeline, "publish"):
        raise ValueError(f"{pipeline!r} is neither a Pipeline nor a PublishedPipeline")
    made: PublishedPipeline = pipeline.publish(name=name, description=description)
    return made


def _check_name(name: str) -> None:
    if not name.strip() or not name.isprintable() or len(name) > _MOST_LETTERS:
        raise ValueError(
            f"a pipeline endpoint cannot be called {name!r}; a text of at most {_MOST_LETTERS} letters is expected"
        )


def publish(
    workspace: Workspace,
    how: Callable[..., Any],
    *,
    name: str,
    version: str | None,
    description: str | None,
    steps: Sequence[str] = (),
) -> PublishedPipeline:
    """Publish under a name and version that others may have too: here each gets one that is free."""
    called, wanted = native_name(name), _native_version(version)
    while True:
        taken = {each.version for each in automate.list_versions(workspace.store, called)}
        label, number = wanted, 2
        while label in taken:
            label, number = f"{wanted}-{number}", number + 1
        try:
            made = how(name=called, version=label, description=description, default=True)
        except PublishError as exc:
            if "already, with other content" in str(exc):
                # Another process was faster.
                continue
            raise UserErrorException(str(exc)) from exc
        except PipeliteError as exc:
            raise UserErrorException(str(exc)) from exc
        kept = {"name": name, "version": version or wanted, "steps": list(steps)}
        _state.put(workspace.store, _KIND, made.id, kept)
        return PublishedPipeline(workspace, made)


def native_name(name: str) -> str:
    """A name as this library takes it: letters, digits, spaces and _ . -, with a letter or digit first."""
    text = re.sub(r"[^\w. -]+", "_", name)[:120].strip()
    return text if text and text[0] not in "_.-" else f"p{text}"


def _native_version(version: str | None) -> str:
    text = re.sub(r"[^\w.+-]+", "_", version or "1.0")[:56]
    return text if text and text[0] not in "_.+-" else f"v{text}"


def to_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of parameters as a request carries them: paths and datasets as text.

    Raises
    ------
    UserErrorException
        If one is a dataset that is not registered, and its data are not there.
    """
    return {name: _to_value(name, value) for name, value in given.items()}


def _to_value(name: str, value: Any) -> Any:
    if isinstance(value, DataPath):
        return f"{value.datastore_name}/{value.path_on_datastore.strip('/')}"
    if not isinstance(value, AbstractDataset):
        return value
    native = value.native
    sources = native.definition.sources
    if (
        native.name is None
        and native.definition.format == "files"
        and len(sources) == 1
        and sources[0].datastore is not None
    ):
        return f"{sources[0].datastore}/{sources[0].path}"
    try:
        return str(save(value))
    except PipeliteError as exc:
        raise UserErrorException(f"pipeline parameter {name!r}: {exc}") from exc
