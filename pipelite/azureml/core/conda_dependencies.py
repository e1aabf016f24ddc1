"""`azureml.core.conda_dependencies`: the packages of an environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any


class CondaDependencies:
    """Packages for pip, and for conda; what conda would install is recorded and not installed."""

    def __init__(self, conda_dependencies_file_path: str | os.PathLike[str] | None = None, **others: Any) -> None:
        self._pip: list[str] = []
        self._conda: list[str] = []
        self._python: str | None = None
        if conda_dependencies_file_path is not None:
            self.read(conda_dependencies_file_path)

    @staticmethod
    def create(
        pip_indexurl: str | None = None,
        pip_packages: Iterable[str] | None = None,
        conda_packages: Iterable[str] | None = None,
        python_version: str | None = None,
        pin_sdk_version: bool = True,
        **others: Any,
    ) -> CondaDependencies:
        made = CondaDependencies()
        made._pip = list(pip_packages or [])
        if not any(each.startswith("azureml-defaults") for each in made._pip):
            made._pip.append("azureml-defaults")
        made._conda = list(conda_packages or [])
        made._python = python_version
        return made

    def add_pip_package(self, pip_package: str) -> None:
        self._pip.append(pip_package)

    def add_conda_package(self, conda_package: str) -> None:
        self._conda.append(conda_package)

    def remove_pip_package(self, pip_package: str) -> None:
        self._pip = [each for each in self._pip if each.partition("=")[0] != pip_package]

    def set_python_version(self, version: str) -> None:
        self._python = version

    def add_channel(self, channel: str) -> None:
        """Nothing: conda is not asked."""

    @property
    def pip_packages(self) -> list[str]:
        return list(self._pip)

    @property
    def conda_packages(self) -> list[str]:
        return list(self._conda)

    @property
    def python_version(self) -> str | None:
        return self._python

    def serialize_to_string(self) -> str:
        lines = ["name: project_environment", "dependencies:"]
        lines += [f"- python={self._python}"] if self._python else []
        lines += [f"- {each}" for each in self._conda]
        lines += ["- pip:", *(f"  - {each}" for each in self._pip)] if self._pip else []
        return "\n".join(lines) + "\n"

    def save(self, path: str | os.PathLike[str] | None = None) -> str:
        target = os.fspath(path or "conda_dependencies.yml")
        with open(target, "w", encoding="utf-8") as file:
            file.write(self.serialize_to_string())
        return target

    save_to_file = save

    def read(self, path: str | os.PathLike[str]) -> None:
        """Take what stands in a file of conda's."""
        from pipelite._optional import require

        yaml = require("yaml", extra="environments")
        with open(path, encoding="utf-8") as file:
            self.take(yaml.safe_load(file) or {})

    def take(self, fields: Mapping[str, Any]) -> None:
        """Take what stands in such a file."""
        for each in fields.get("dependencies") or []:
            if isinstance(each, dict):
                self._pip += [str(line) for line in each.get("pip") or []]
            elif str(each).replace(" ", "").startswith("python="):
                self._python = str(each).rpartition("=")[2]
            else:
                self._conda.append(str(each))

    def to_fields(self) -> dict[str, Any]:
        """What such a file says of it."""
        lines: list[Any] = [f"python={self._python}"] if self._python else []
        lines += self._conda
        lines += [{"pip": list(self._pip)}] if self._pip else []
        return {"name": "project_environment", "dependencies": lines}
