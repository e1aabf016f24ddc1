"""`azureml.core.databricks`: what a cluster of Databricks is to install."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class _Library:
    #: As the Jobs API has it.
    native: dict[str, Any]


class PyPiLibrary(_Library):
    """A package of PyPI."""

    def __init__(self, package: str, repo: str | None = None) -> None:
        self.package = package
        self.native = {"pypi": _without_none(package=package, repo=repo)}


class MavenLibrary(_Library):
    """A package of Maven."""

    def __init__(self, coordinates: str, repo: str | None = None, exclusions: Sequence[str] | None = None) -> None:
        self.native = {"maven": _without_none(coordinates=coordinates, repo=repo, exclusions=exclusions)}


class RCranLibrary(_Library):
    """A package of CRAN."""

    def __init__(self, package: str, repo: str | None = None) -> None:
        self.native = {"cran": _without_none(package=package, repo=repo)}


class JarLibrary(_Library):
    """A JAR that lies where the cluster reaches it."""

    def __init__(self, library: str) -> None:
        self.native = {"jar": library}


class EggLibrary(_Library):
    """An egg that lies where the cluster reaches it."""

    def __init__(self, library: str) -> None:
        self.native = {"egg": library}


def _without_none(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
