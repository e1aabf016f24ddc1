"""`azureml.core.script_run_config`: a script on its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelite.azureml._notices import note_ignored
from pipelite.azureml.core.environment import Environment
from pipelite.azureml.core.runconfig import RunConfiguration
from pipelite.azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from pipelite.azureml.core.workspace import Workspace
    from pipelite.azureml.pipeline.core.pipeline import Pipeline


class ScriptRunConfig:
    """A script or a command, and how it is run; `Experiment.submit` runs it as a pipeline of one step."""

    def __init__(
        self,
        source_directory: str | os.PathLike[str],
        script: str | None = None,
        arguments: Sequence[Any] | None = None,
        run_config: RunConfiguration | None = None,
        compute_target: Any = None,
        environment: Environment | None = None,
        distributed_job_config: Any = None,
        resume_from: Any = None,
        max_run_duration_seconds: int = 2592000,
        command: Any = None,
        docker_runtime_config: Any = None,
    ) -> None:
        if (script is None) == (command is None):
            raise UserErrorException("ScriptRunConfig takes script= or command=, and not both")
        self.source_directory = os.fspath(source_directory)
        self.script = script
        self.command = command
        self.arguments = list(arguments or [])
        self.run_config = run_config or RunConfiguration()
        if distributed_job_config is not None:
            note_ignored("distributed_job_config= of a script (it runs once, as one process)")
        if resume_from is not None:
            note_ignored("resume_from= of a script")
        if compute_target is not None:
            self.run_config.target = compute_target
        if environment is not None:
            self.run_config.environment = environment

    def as_pipeline(self, workspace: Workspace) -> Pipeline:
        """A pipeline of one step that runs it, every time anew."""
        from pipelite.azureml.pipeline.core.pipeline import Pipeline
        from pipelite.azureml.pipeline.steps.scripts import CommandStep, PythonScriptStep

        if self.script is not None:
            step: Any = PythonScriptStep(
                self.script,
                arguments=self.arguments,
                runconfig=self.run_config,
                source_directory=self.source_directory,
                allow_reuse=False,
            )
        else:
            step = CommandStep(
                self.command, runconfig=self.run_config, source_directory=self.source_directory, allow_reuse=False
            )
        return Pipeline(workspace, [step])
