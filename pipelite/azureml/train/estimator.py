"""`azureml.train.estimator`: a script to train with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelite.azureml._notices import note_ignored
from pipelite.azureml.core.conda_dependencies import CondaDependencies
from pipelite.azureml.core.environment import Environment
from pipelite.azureml.core.runconfig import RunConfiguration
from pipelite.azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from pipelite.azureml.core.workspace import Workspace
    from pipelite.azureml.pipeline.core.pipeline import Pipeline


#: Settings of machines, containers and clusters.
_NOT_USED = (
    "vm_size",
    "vm_priority",
    "process_count_per_node",
    "distributed_backend",
    "distributed_training",
    "worker_count",
    "parameter_server_count",
    "use_gpu",
    "use_docker",
    "custom_docker_base_image",
    "custom_docker_image",
    "image_registry_details",
    "user_managed",
    "framework_version",
    "source_directory_data_store",
    "shm_size",
    "max_run_duration_seconds",
)


class Estimator:
    """A training script, its parameters, and the packages that it needs."""

    def __init__(
        self,
        source_directory: str | os.PathLike[str],
        *,
        compute_target: Any = None,
        entry_script: str | None = None,
        script_params: Mapping[str, Any] | None = None,
        node_count: int = 1,
        conda_packages: Sequence[str] | None = None,
        pip_packages: Sequence[str] | None = None,
        environment_definition: Any = None,
        environment_variables: Mapping[str, str] | None = None,
        inputs: Sequence[Any] | None = None,
        conda_dependencies_file: str | None = None,
        pip_requirements_file: str | None = None,
        **others: Any,
    ) -> None:
        if not entry_script:
            raise UserErrorException("an Estimator needs entry_script=")
        for setting in others:
            if setting not in _NOT_USED:
                raise TypeError(f"{type(self).__name__}() got an unexpected keyword argument {setting!r}")
            note_ignored(f"{setting}= of an estimator")
        if node_count != 1:
            note_ignored("node_count= of an estimator")
        self.source_directory = os.fspath(source_directory)
        self.entry_script = entry_script
        self.compute_target = compute_target
        self.script_params = dict(script_params or {})
        self.inputs = list(inputs or [])
        self.node_count = node_count
        self.run_config = RunConfiguration()
        if environment_definition is not None:
            self.run_config.environment = environment_definition
        elif conda_dependencies_file is not None:
            self.run_config.environment.python.conda_dependencies = CondaDependencies(conda_dependencies_file)
        elif pip_requirements_file is not None:
            self.run_config.environment = Environment.from_pip_requirements("estimator", pip_requirements_file)
        elif conda_packages or pip_packages:
            self.run_config.environment.python.conda_dependencies = CondaDependencies.create(
                pip_packages=pip_packages, conda_packages=conda_packages
            )
        self.run_config.environment_variables = dict(environment_variables or {})
        if compute_target is not None:
            self.run_config.target = compute_target

    def as_pipeline(self, workspace: Workspace) -> Pipeline:
        """A pipeline of one step that runs it, every time anew."""
        from pipelite.azureml.pipeline.core.pipeline import Pipeline
        from pipelite.azureml.pipeline.steps.scripts import PythonScriptStep

        arguments = [part for name, value in self.script_params.items() for part in (name, value) if part != ""]
        step = PythonScriptStep(
            self.entry_script,
            arguments=arguments,
            inputs=self.inputs,
            runconfig=self.run_config,
            source_directory=self.source_directory,
            allow_reuse=False,
        )
        return Pipeline(workspace, [step])
