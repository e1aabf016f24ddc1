"""`azureml.core.experiment`: a name that groups runs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipelite.azureml.core.run import PARENT, SCRIPT_RUN, Run, view_of
from pipelite.azureml.core.run_records import has
from pipelite.azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from pipelite.azureml.core.logged_run import LoggedRun
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
        include_children : also the steps of each, or the runs below it, behind it
        """
        for native in self.workspace.native.runs(experiment=self.name, limit=None):
            run = view_of(self, native)
            if PARENT in native.tags:
                continue
            if type in (None, run.type) and has(run.tags, tags) and has(run.properties, properties):
                yield run
                if include_children:
                    yield from run.get_children(recursive=True)

    def start_logging(
        self,
        *,
        outputs: str | os.PathLike[str] | bool | None = None,
        snapshot_directory: str | os.PathLike[str] | None = None,
        display_name: str | None = None,
        **others: Any,
    ) -> LoggedRun:
        """Begin a run of this process itself, which logs to it and ends it.

        Parameters
        ----------
        outputs : a folder whose files are kept when it completes
        snapshot_directory : a folder of which the run keeps a copy

        Raises
        ------
        TypeError
            If it is given anything else.
        """
        unknown = [each for each in others if not each.startswith("_")]
        if unknown:
            raise TypeError(f"start_logging() takes no {unknown[0]!r}")
        from pipelite.azureml.core.logged_run import start

        return start(self, name=display_name, outputs=outputs, snapshot_directory=snapshot_directory)

    def __repr__(self) -> str:
        return f"Experiment(Name: {self.name},\nWorkspace: {self.workspace.name})"


def _tagged(run: Run, tags: Mapping[str, str] | None) -> Run:
    if tags:
        run.set_tags(tags)
    return run
