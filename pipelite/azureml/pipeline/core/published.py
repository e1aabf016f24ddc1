"""Published pipelines, and endpoints that lead to one of several versions."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pipelite.automate import copy_version, find_version
from pipelite.azureml.exceptions import UserErrorException
from pipelite.errors import PipeliteError, PublishError

if TYPE_CHECKING:
    from pipelite.azureml.core.workspace import Workspace
    from pipelite.azureml.pipeline.core.run import PipelineRun

_STATUSES = {"active": "Active", "disabled": "Disabled", "archived": "Disabled"}


class PublishedPipeline:
    """A published version of a pipeline."""

    def __init__(self, workspace: Workspace, native: Any) -> None:
        self.workspace = workspace
        self._native = native

    @property
    def native(self) -> Any:
        """The published version of this library."""
        return self._native

    @property
    def id(self) -> str:
        return str(self._native.id)

    @property
    def name(self) -> str:
        return str(self._native.name)

    @property
    def description(self) -> str | None:
        found: str | None = self._native.description
        return found

    @property
    def version(self) -> str:
        return str(self._native.version)

    @property
    def status(self) -> str:
        return _STATUSES[self._native.status]

    @property
    def endpoint(self) -> str:
        """Where to send requests; `pipelite serve` answers them."""
        base, _, _ = self._native.endpoint.rpartition("/pipelines/")
        return f"{base}/PipelineRuns/PipelineSubmit/{self.id}"

    @staticmethod
    def get(workspace: Workspace, id: str) -> PublishedPipeline:
        for name in workspace.native.published:
            for each in workspace.native.published.versions(name):
                if each.id == id:
                    return PublishedPipeline(workspace, each)
        raise UserErrorException(f"there is no published pipeline with the id {id!r}")

    @staticmethod
    def list(
        workspace: Workspace, active_only: bool = True, _service_endpoint: Any = None
    ) -> builtins.list[PublishedPipeline]:
        """All of them, the newest first."""
        known = workspace.native.published
        found = [PublishedPipeline(workspace, each) for name in known for each in known.versions(name)]
        found.sort(key=lambda each: each.native.created_at, reverse=True)
        return [each for each in found if each.status == "Active" or not active_only]

    get_all = list

    def enable(self) -> None:
        self._native.enable()

    def disable(self) -> None:
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
        """Put a run into the queue, which `pipelite serve` or `pipelite daemon` executes."""
        from pipelite.azureml.core.experiment import Experiment
        from pipelite.azureml.pipeline.core.run import PipelineRun

        if self.status != "Active":
            raise UserErrorException(f"pipeline {self.name!r} {self.version} is disabled; enable() it to submit it")
        run = self._native.submit(experiment=experiment_name, **dict(pipeline_parameters or {}))
        print(f"Submitted PipelineRun {run.id}")
        return PipelineRun(Experiment(workspace, experiment_name), run.id, _run=run)

    def __repr__(self) -> str:
        return f"Pipeline(Name: {self.name}, Id: {self.id}, Status: {self.status}, Endpoint: {self.endpoint})"


class PipelineEndpoint:
    """A name that leads to the default one of several versions, which are texts that count from "0"."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.workspace = workspace
        self.name = name
        self._native = workspace.native.endpoints[name]

    @property
    def id(self) -> str:
        from pipelite.azureml._state import make_id

        return make_id("endpoint", self.name)

    @property
    def endpoint(self) -> str:
        base, _, _ = str(self._native.endpoint).rpartition("/pipelines/")
        return f"{base}/PipelineRuns/PipelineEndpointSubmit/Id/{self.id}"

    @property
    def status(self) -> str:
        return _STATUSES[self._native.default.status]

    @staticmethod
    def publish(workspace: Workspace, name: str, description: str, pipeline: Any, **others: Any) -> PipelineEndpoint:
        """Make an endpoint of a pipeline, which is its version "0".

        Raises
        ------
        ValueError
            If there is one of that name.
        """
        if name in workspace.native.endpoints:
            raise ValueError(f"there is a pipeline endpoint {name!r} already; add() another version to it")
        _add(workspace, name, "0", pipeline, description, make_default=True)
        return PipelineEndpoint(workspace, name)

    @staticmethod
    def get(workspace: Workspace, id: str | None = None, name: str | None = None, **others: Any) -> PipelineEndpoint:
        for known in workspace.native.endpoints:
            found = PipelineEndpoint(workspace, known)
            if known == name or (name is None and found.id == id):
                return found
        raise UserErrorException(f"there is no pipeline endpoint {name or id!r}")

    @staticmethod
    def list(workspace: Workspace, active_only: bool = True, max_results: int = 100) -> builtins.list[PipelineEndpoint]:
        found = [PipelineEndpoint(workspace, name) for name in workspace.native.endpoints]
        return [each for each in found if each.status == "Active" or not active_only][:max_results]

    def add(self, pipeline: Any) -> None:
        """Add a version; the default stays."""
        _add(self.workspace, self.name, self._next(), pipeline, None, make_default=False)

    def add_default(self, pipeline: Any) -> None:
        """Add a version, and make it the default."""
        _add(self.workspace, self.name, self._next(), pipeline, None, make_default=True)

    def set_default(self, pipeline: Any) -> None:
        """Make the version that a pipeline was added as the default.

        Raises
        ------
        ValueError
            If it was not added.
        """
        store = self.workspace.store
        wanted = find_version(store, pipeline.id).content
        for version in self._native.versions:
            if find_version(store, version.id).content == wanted:
                self._native.set_default(version.version)
                return
        raise ValueError(f"{pipeline!r} was not added to the endpoint {self.name!r}; add() it")

    def set_default_version(self, version: str) -> None:
        if str(version) not in self.list_versions_text():
            raise ValueError(f"the endpoint {self.name!r} has no version {version!r}")
        self._native.set_default(str(version))

    def get_default_version(self) -> str:
        return str(self._native.default.version)

    def get_pipeline(self, version: str | None = None) -> PublishedPipeline:
        for each in self._native.versions:
            if each.version == (version or self.get_default_version()):
                return PublishedPipeline(self.workspace, each)
        raise ValueError(f"the endpoint {self.name!r} has no version {version!r}")

    def list_versions_text(self) -> builtins.list[str]:
        """The versions, the oldest first."""
        return [str(each.version) for each in self._native.versions]

    def list_versions(self) -> builtins.list[tuple[str, str]]:
        """Pairs of a version and the id of its pipeline."""
        return [(str(each.version), str(each.id)) for each in self._native.versions]

    def list_pipelines(self) -> builtins.list[PublishedPipeline]:
        return [PublishedPipeline(self.workspace, each) for each in self._native.versions]

    def enable(self) -> None:
        for each in self._native.versions:
            each.enable()

    def disable(self) -> None:
        for each in self._native.versions:
            each.disable()

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
            self.workspace, experiment_name, pipeline_parameters, parent_run_id
        )

    def _next(self) -> str:
        return str(max((int(each) for each in self.list_versions_text() if each.isdigit()), default=-1) + 1)


def _add(
    workspace: Workspace, name: str, version: str, pipeline: Any, description: str | None, *, make_default: bool
) -> None:
    if isinstance(pipeline, PublishedPipeline):
        known = find_version(workspace.store, pipeline.id)
        copy_version(workspace.store, known, name, version, description=description, make_default=make_default)
    else:
        pipeline.native.publish(name=name, version=version, description=description, default=make_default)


def publish(
    workspace: Workspace,
    how: Callable[..., Any],
    *,
    name: str,
    version: str | None,
    description: str | None,
) -> PublishedPipeline:
    """Publish under a name and version. v1 let several pipelines have the same; here the later ones get a number more."""
    wanted = version or "1.0"
    number = 1
    while True:
        label = wanted if number == 1 else f"{wanted}-{number}"
        try:
            made = how(name=name, version=label, description=description, default=True)
        except PublishError as exc:
            if "already, with other content" not in str(exc):
                raise
            number += 1
            continue
        except PipeliteError as exc:
            raise UserErrorException(str(exc)) from exc
        return PublishedPipeline(workspace, made)
