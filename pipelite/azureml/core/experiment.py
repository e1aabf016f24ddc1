"""`azureml.core.experiment`: a name that groups runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipelite.azureml._notices import note_ignored
from pipelite.azureml.core.run import SCRIPT_RUN, Run, view_of
from pipelite.azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from pipelite.azureml.core.workspace import Workspace

_NAME = re.compile(r"[a-zA-Z0-9][\w-]{0,254}\Z", re.ASCII)


class Experiment:
    """A name that groups runs; it is there as soon as one of them is.

    Raises
    ------
    UserErrorException
        If the name is none.
    """

    def __init__(self, workspace: Workspace, name: str, **others: Any) -> None:
        if not _NAME.match(str(name)):
            raise UserErrorException(
                f"an experiment cannot be called {name!r}; a letter or digit, then letters, digits, _ and - are taken"
            )
        self.workspace = workspace
        self.name = name

    @property
    def id(self) -> str:
        from pipelite.azureml._state import make_id

        return make_id("experiment", self.name)

    @staticmethod
    def list(workspace: Workspace, **others: Any) -> list[Experiment]:
        return [Experiment(workspace, name) for name in workspace.native.experiments]

    def submit(self, config: Any, tags: Mapping[str, str] | None = None, **kwargs: Any) -> Any:
        """Start a run of a pipeline, a published pipeline, an endpoint, or the configuration of a script.

        Raises
        ------
        UserErrorException
            If it is nothing that can be run.
        """
        from pipelite.azureml.pipeline.core.published import PipelineEndpoint, PublishedPipeline

        if isinstance(config, PublishedPipeline):
            return _tagged(config.submit(self.workspace, self.name, **kwargs), tags)
        if isinstance(config, PipelineEndpoint):
            return _tagged(config.submit(self.name, **kwargs), tags)
        if hasattr(config, "as_pipeline"):
            # A script on its own is a pipeline of one step.
            pipeline = config.as_pipeline(self.workspace)
            submitted = pipeline.submit(self.name, tags={**(tags or {}), SCRIPT_RUN: "true"}, **kwargs)
            run = Run(self, submitted.id)
            if hasattr(config, "run_config"):
                run.keep_environment(config.run_config.environment)
            return run
        if not hasattr(config, "submit"):
            raise UserErrorException(
                f"{config!r} cannot be submitted; a Pipeline, a ScriptRunConfig and an Estimator can, and so can what was "
                "published"
            )
        return config.submit(self.name, tags=tags, **kwargs)

    def get_runs(
        self,
        type: str | None = None,
        tags: Any = None,
        properties: Any = None,
        include_children: bool = False,
    ) -> Iterator[Any]:
        """Its runs, the newest first.

        Parameters
        ----------
        type : such as "azureml.PipelineRun"
        tags, properties : a name, or a dict of names and values, that a run has to have
        include_children : also the steps of each, behind it
        """
        for native in self.workspace.native.runs(experiment=self.name, limit=None):
            run = view_of(self, native)
            if type in (None, run.type) and _has(run.tags, tags) and _has(run.properties, properties):
                yield run
                if include_children:
                    yield from run.get_children()

    def start_logging(self, *args: Any, **kwargs: Any) -> Any:
        """A run of this process itself, until its `complete()` or the end of the process."""
        from pipelite.azureml.core.interactive import InteractiveRun

        for setting in (*(["outputs"] if args else []), *kwargs):
            note_ignored(f"{setting}= of start_logging")
        return InteractiveRun(self)

    def __repr__(self) -> str:
        return f"Experiment(Name: {self.name},\nWorkspace: {self.workspace.name})"


def _tagged(run: Run, tags: Mapping[str, str] | None) -> Run:
    if tags:
        run.set_tags(tags)
    return run


def _has(given: Mapping[str, str], wanted: Any) -> bool:
    asked = {wanted: None} if isinstance(wanted, str) else dict(wanted or {})
    return all(key in given and value in (None, given[key]) for key, value in asked.items())
