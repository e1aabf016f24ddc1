"""`azureml.core.runconfig`: how a script is run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from pipelite.azureml.core import runconfig_files
from pipelite.azureml.core.conda_dependencies import CondaDependencies
from pipelite.azureml.core.databricks import EggLibrary, JarLibrary, MavenLibrary, PyPiLibrary, RCranLibrary
from pipelite.azureml.core.environment import DEFAULT_CPU_IMAGE, DEFAULT_GPU_IMAGE, Environment

__all__ = [
    "DEFAULT_CPU_IMAGE",
    "DEFAULT_GPU_IMAGE",
    "CondaDependencies",
    "DockerConfiguration",
    "EggLibrary",
    "JarLibrary",
    "MavenLibrary",
    "MpiConfiguration",
    "PyPiLibrary",
    "PyTorchConfiguration",
    "RCranLibrary",
    "RunConfiguration",
    "TensorflowConfiguration",
]


class DockerConfiguration:
    """Settings of containers: recorded, and not used."""

    def __init__(self, use_docker: bool = False, **settings: Any) -> None:
        self.use_docker = use_docker
        self.settings = settings


class MpiConfiguration:
    """Settings of MPI: recorded, and not used."""

    def __init__(self, process_count_per_node: int = 1, node_count: int = 1) -> None:
        self.process_count_per_node = process_count_per_node
        self.node_count = node_count


class PyTorchConfiguration:
    """Settings of processes of PyTorch: recorded, and not used."""

    def __init__(
        self, communication_backend: str = "Nccl", process_count: int | None = None, node_count: int = 1
    ) -> None:
        self.communication_backend = communication_backend
        self.process_count = process_count
        self.node_count = node_count


class TensorflowConfiguration:
    """Settings of processes of TensorFlow: recorded, and not used."""

    def __init__(self, worker_count: int = 1, parameter_server_count: int = 1) -> None:
        self.worker_count = worker_count
        self.parameter_server_count = parameter_server_count


class RunConfiguration:
    """How a script is run: its environment, variables, and on which compute target."""

    def __init__(
        self,
        script: str | None = None,
        arguments: Sequence[Any] | None = None,
        framework: str | None = None,
        communicator: str | None = None,
        conda_dependencies: CondaDependencies | None = None,
        _history_enabled: bool | None = None,
        _path: str | None = None,
        _name: str | None = None,
        command: Any = None,
    ) -> None:
        self.script = script
        self.arguments = list(arguments or [])
        self.command = command
        self.framework = framework or "Python"
        self.communicator = communicator or "None"
        self._target = "local"
        self.node_count = 1
        self.environment = Environment("project_environment")
        if conda_dependencies is not None:
            self.environment.python.conda_dependencies = conda_dependencies
        self.docker = DockerConfiguration()
        self.mpi = MpiConfiguration()
        self.environment_variables: dict[str, str] = {}
        self.max_run_duration_seconds: int | None = None
        #: Deprecated in v1 already, and looked at by nobody.
        self.auto_prepare_environment: bool | None = None

    @staticmethod
    def load(path: str | os.PathLike[str], name: str | None = None) -> RunConfiguration:
        """Read one from a file, or by its name below a folder.

        Raises
        ------
        UserErrorException
            If there is none, or it cannot be read.
        """
        found = runconfig_files.find(path, name)
        made = RunConfiguration()
        runconfig_files.fill(made, runconfig_files.read_file(found), os.path.dirname(found))
        return made

    def save(self, path: str | os.PathLike[str] | None = None, name: str | None = None, **others: Any) -> None:
        """Write it into a file; of a folder into `.azureml` below it, by a name."""
        target = os.fspath(path or ".")
        if name is not None or os.path.isdir(target):
            target = os.path.join(target, ".azureml", f"{name or 'default'}.runconfig")
        runconfig_files.write_file(self, target)

    @property
    def target(self) -> str:
        """The name of the cluster, also if that itself was given."""
        return self._target

    @target.setter
    def target(self, target: Any) -> None:
        self._target = str(getattr(target, "name", target))

    def all_variables(self) -> dict[str, str]:
        """Environment variables of the environment, and its own."""
        return {**self.environment.environment_variables, **self.environment_variables}
