"""`azureml.pipeline.core.pipeline_draft`: pipelines that are kept to be changed, submitted and published later."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelite.azureml import _state
from pipelite.azureml.exceptions import NotOnOneBoxError, UserErrorException
from pipelite.azureml.pipeline.core.pipeline import KeptPipeline, Pipeline

if TYPE_CHECKING:
    from pipelite.azureml.core.workspace import Workspace
    from pipelite.azureml.pipeline.core.published import PublishedPipeline
    from pipelite.azureml.pipeline.core.run import PipelineRun

_KIND = "draft"


class PipelineDraft:
    """A pipeline that is kept, with the experiment, the parameters and the tags that it is to be submitted with.

    The scripts of its steps are those that its source directories have when it is submitted or published.
    """

    def __init__(self, workspace: Workspace, id: str) -> None:
        self.workspace = workspace
        self.id = id
        self._kept: dict[str, Any] = _state.get(workspace.store, _KIND, id)
        if self._kept is None:
            raise UserErrorException(f"there is no pipeline draft with the id {id!r}")

    @staticmethod
    def create(
        workspace: Workspace,
        pipeline: Pipeline,
        name: str | None = None,
        description: str | None = None,
        experiment_name: str | None = None,
        pipeline_parameters: Mapping[str, Any] | None = None,
        continue_on_step_failure: bool | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        **others: Any,
    ) -> PipelineDraft:
        """Keep a pipeline."""
        draft_id = str(uuid.uuid4())
        kept = {
            "name": name or "Pipeline draft",
            "description": description,
            "experiment_name": experiment_name or "draft",
            "pipeline_parameters": _checked(pipeline, pipeline_parameters),
            "continue_on_step_failure": bool(continue_on_step_failure),
            "tags": dict(tags or {}),
            "properties": dict(properties or {}),
            "pipeline": pipeline.keep(),
        }
        _state.put(workspace.store, _KIND, draft_id, kept)
        return PipelineDraft(workspace, draft_id)

    @staticmethod
    def get(workspace: Workspace, id: str, **others: Any) -> PipelineDraft:
        """One by its id.

        Raises
        ------
        UserErrorException
            If there is none.
        """
        return PipelineDraft(workspace, id)

    @staticmethod
    def list(
        workspace: Workspace, tags: Mapping[str, str] | None = None, **others: Any
    ) -> builtins.list[PipelineDraft]:
        """All of them, or those that have some tags."""
        found = [PipelineDraft(workspace, each) for each in _state.get_all(workspace.store, _KIND)]
        return [each for each in found if (tags or {}).items() <= each.tags.items()]

    @staticmethod
    def clone_from_pipeline_run(workspace: Workspace, pipeline_run: Any, **others: Any) -> PipelineDraft:
        raise NotOnOneBoxError(
            f"clone_from_pipeline_run: run {pipeline_run.id} is published by publish_pipeline(), and run again by `pipelite runs "
            "rerun`; a draft is made of a Pipeline"
        )

    @staticmethod
    def clone_from_published_pipeline(workspace: Workspace, published_pipeline: Any, **others: Any) -> PipelineDraft:
        raise NotOnOneBoxError(
            "clone_from_published_pipeline: what is published is submitted as it is; a draft is made of a Pipeline"
        )

    @property
    def name(self) -> str:
        return str(self._kept["name"])

    @property
    def description(self) -> str | None:
        found: str | None = self._kept["description"]
        return found

    @property
    def experiment_name(self) -> str:
        return str(self._kept["experiment_name"])

    @property
    def tags(self) -> dict[str, str]:
        return dict(self._kept["tags"])

    @property
    def properties(self) -> dict[str, str]:
        return dict(self._kept["properties"])

    @property
    def pipeline_parameters(self) -> dict[str, Any]:
        """The values that it is submitted with, besides defaults."""
        return dict(self._kept["pipeline_parameters"])

    @property
    def continue_on_step_failure(self) -> bool:
        return bool(self._kept["continue_on_step_failure"])

    @property
    def _pipeline(self) -> KeptPipeline:
        return KeptPipeline(self.workspace, **self._kept["pipeline"])

    def update(
        self,
        name: str | None = None,
        description: str | None = None,
        experiment_name: str | None = None,
        pipeline_parameters: Mapping[str, Any] | None = None,
        continue_on_step_failure: bool | None = None,
        pipeline: Pipeline | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Change what is given."""
        known = self._pipeline if pipeline is None else pipeline
        changes = {
            "name": name,
            "description": description,
            "experiment_name": experiment_name,
            "pipeline_parameters": None if pipeline_parameters is None else _checked(known, pipeline_parameters),
            "continue_on_step_failure": continue_on_step_failure,
            "pipeline": None if pipeline is None else pipeline.keep(),
            "tags": None if tags is None else dict(tags),
            "properties": None if properties is None else dict(properties),
        }
        self._kept = {**self._kept, **{key: value for key, value in changes.items() if value is not None}}
        _state.put(self.workspace.store, _KIND, self.id, self._kept)

    def submit_run(self) -> PipelineRun:
        """Start a run; gives it at once."""
        run = self._pipeline.submit(
            self.experiment_name,
            pipeline_parameters=self.pipeline_parameters,
            continue_on_step_failure=self.continue_on_step_failure,
            tags=self.tags,
        )
        run.add_properties(self.properties)
        return run

    def publish(self) -> PublishedPipeline:
        """Publish it as it is now."""
        return self._pipeline.publish(
            self.name, self.description, continue_on_step_failure=self.continue_on_step_failure
        )

    def delete(self) -> None:
        """Forget it."""
        _state.remove(self.workspace.store, _KIND, self.id)

    def __repr__(self) -> str:
        return f"PipelineDraft(Name: {self.name}, Id: {self.id})"


def _checked(pipeline: Pipeline | KeptPipeline, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Values of parameters, which can be kept if they are texts and numbers."""
    for name, value in (given or {}).items():
        if not isinstance(value, str | int | float):
            raise UserErrorException(
                f"pipeline parameter {name!r} of a draft is {value!r}; texts and numbers are kept, and others are given to the "
                "Pipeline as defaults"
            )
    pipeline.values(given or {})
    return dict(given or {})
