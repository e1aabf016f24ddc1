"""`azureml.core.environment`: the packages and variables that a script runs with."""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.azureml import _state
from pipelite.azureml._notices import note_ignored
from pipelite.azureml.core.conda_dependencies import CondaDependencies
from pipelite.azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from pipelite.azureml.core.workspace import Workspace

_KIND = "environment"
DEFAULT_CPU_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04"
DEFAULT_GPU_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-cuda11.1-cudnn8-ubuntu20.04"
#: Packages of the SDK itself, whose place this one takes.
_SDK = "azureml"


class DockerSection:
    """Settings of containers: recorded, and not used. A step runs in a container by an environment of this library."""

    def __init__(self) -> None:
        self.enabled = False
        self.base_image: str | None = None
        self.base_dockerfile: str | None = None
        self.shared_volumes = True
        self.arguments: builtins.list[str] = []
        self.shm_size: str | None = None
        self.base_image_registry: Any = None


class PythonSection:
    """Settings of Python."""

    def __init__(self) -> None:
        self.user_managed_dependencies = False
        self.interpreter_path = "python"
        self.conda_dependencies: CondaDependencies | None = CondaDependencies()
        self.conda_dependencies_file: str | None = None


class SparkSection:
    """Settings of Spark: recorded, and not used."""

    def __init__(self) -> None:
        self.repositories: builtins.list[str] = []
        self.packages: builtins.list[Any] = []
        self.precache_packages = False


class Environment:
    """An environment by its name.

    What it asks of pip follows the workspace's setting `environments`: by default this Python serves if it has that, else a
    virtual environment is made.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.version: str | None = None
        self.docker = DockerSection()
        self.python = PythonSection()
        self.spark = SparkSection()
        self.environment_variables: dict[str, str] = {}
        self.inferencing_stack_version: str | None = None

    @staticmethod
    def from_conda_specification(name: str, file_path: str) -> Environment:
        made = Environment(name)
        made.python.conda_dependencies = CondaDependencies(file_path)
        return made

    @staticmethod
    def from_pip_requirements(name: str, file_path: str, pip_version: str | None = None) -> Environment:
        lines = [line.strip() for line in Path(file_path).read_text(encoding="utf-8").splitlines()]
        made = Environment(name)
        made.python.conda_dependencies = CondaDependencies.create(
            pip_packages=[line for line in lines if line and not line.startswith(("#", "-"))]
        )
        return made

    @staticmethod
    def from_existing_conda_environment(name: str, conda_environment_name: str) -> Environment:
        note_ignored("a conda environment of this machine")
        made = Environment(name)
        made.python.user_managed_dependencies = True
        return made

    @staticmethod
    def from_docker_image(name: str, image: str, **others: Any) -> Environment:
        made = Environment(name)
        made.docker.base_image = image
        return made

    @staticmethod
    def from_dockerfile(
        name: str,
        dockerfile: str,
        conda_specification: str | None = None,
        pip_requirements: str | None = None,
        **others: Any,
    ) -> Environment:
        """What pip is asked for beside a Dockerfile, which is recorded: its path, or its text."""
        if conda_specification is not None:
            made = Environment.from_conda_specification(name, conda_specification)
        elif pip_requirements is not None:
            made = Environment.from_pip_requirements(name, pip_requirements)
        else:
            made = Environment(name)
        is_path = "\n" not in dockerfile and os.path.isfile(dockerfile)
        made.docker.base_dockerfile = Path(dockerfile).read_text(encoding="utf-8") if is_path else dockerfile
        made.docker.base_image = None
        return made

    @staticmethod
    def get(workspace: Workspace, name: str, version: str | None = None, label: str | None = None) -> Environment:
        """A registered one; those of Azure, whose names begin with `AzureML-`, are always there.

        Raises
        ------
        UserErrorException
            If there is none of that name, or no such version.
        """
        versions = _state.get(workspace.store, _KIND, name)
        if versions is None:
            if name.startswith("AzureML-"):
                return Environment(name)
            raise UserErrorException(
                f"there is no environment {name!r}; Environment({name!r}).register(workspace) makes one"
            )
        number = int(version) if version is not None else len(versions)
        if not 1 <= number <= len(versions):
            raise UserErrorException(f"environment {name!r} has no version {version}; the latest is {len(versions)}")
        return _from_state(name, number, versions[number - 1])

    @staticmethod
    def list(workspace: Workspace) -> Mapping[str, Environment]:
        return {name: Environment.get(workspace, name) for name in registered_names(workspace)}

    def register(self, workspace: Workspace) -> Environment:
        """Keep it; the same as the latest version is that version."""
        versions = _state.get(workspace.store, _KIND, self.name) or []
        state = self._to_state()
        if not versions or versions[-1] != state:
            versions.append(state)
            _state.put(workspace.store, _KIND, self.name, versions)
        self.version = str(len(versions))
        return self

    def clone(self, new_name: str) -> Environment:
        return _from_state(new_name, 1, self._to_state())

    def build(self, workspace: Workspace, **others: Any) -> Any:
        note_ignored("building the image of an environment")

    @property
    def packages(self) -> builtins.list[str]:
        """What pip is asked for, without the SDK."""
        if self.python.user_managed_dependencies or self.python.conda_dependencies is None:
            return []
        return [each for each in self.python.conda_dependencies.pip_packages if not each.lower().startswith(_SDK)]

    def native_code(self) -> str | None:
        """The expression for the environment of a step; None if this Python serves."""
        docker = self.docker
        is_own = docker.base_image not in (None, DEFAULT_CPU_IMAGE, DEFAULT_GPU_IMAGE)
        if docker.enabled or is_own or docker.base_dockerfile is not None:
            note_ignored("the container image of an environment")
        conda = self.python.conda_dependencies
        if not self.python.user_managed_dependencies and conda is not None:
            others = [each for each in conda.conda_packages if each.partition("=")[0] != "pip"]
            if others:
                note_ignored("what conda is asked for (what pip is asked for is looked at)")
        return f"Environment(packages={self.packages!r})" if self.packages else None

    def _to_state(self) -> dict[str, Any]:
        conda = self.python.conda_dependencies
        return {
            "pip": [] if conda is None else conda.pip_packages,
            "conda": [] if conda is None else conda.conda_packages,
            "python": None if conda is None else conda.python_version,
            "user_managed": self.python.user_managed_dependencies,
            "image": self.docker.base_image,
            "dockerfile": self.docker.base_dockerfile,
            "variables": self.environment_variables,
        }

    def to_kept(self) -> dict[str, Any]:
        """It as plain JSON, for `from_kept`."""
        return {"name": self.name, "version": self.version, "state": self._to_state()}

    def save_to_directory(self, path: str, overwrite: bool = False) -> None:
        os.makedirs(path, exist_ok=overwrite)
        if self.python.conda_dependencies is not None:
            self.python.conda_dependencies.save(os.path.join(path, "conda_dependencies.yml"))

    def __repr__(self) -> str:
        return f"<environment {self.name!r}>"


def registered_names(workspace: Workspace) -> Iterator[str]:
    """All that were registered."""
    return iter(_state.get_all(workspace.store, _KIND))


def from_kept(kept: Mapping[str, Any]) -> Environment:
    """What `to_kept` was called on."""
    made = _from_state(kept["name"], 1, kept["state"])
    made.version = kept["version"]
    return made


def _from_state(name: str, number: int, state: Mapping[str, Any]) -> Environment:
    made = Environment(name)
    made.version = str(number)
    made.python.user_managed_dependencies = state["user_managed"]
    conda = CondaDependencies()
    conda._pip, conda._conda, conda._python = list(state["pip"]), list(state["conda"]), state["python"]
    made.python.conda_dependencies = conda
    made.docker.base_image = state["image"]
    made.docker.base_dockerfile = state.get("dockerfile")
    made.environment_variables = dict(state["variables"])
    return made
