"""Environments: the packages that a step runs with, and the virtual environments that are made of them."""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from pipelite.clock import CLOCK
from pipelite.errors import DefinitionError, EnvironmentFailed, NotFoundError
from pipelite.execute import LIBRARY_VARIABLE, Interpreter, find_engine
from pipelite.fingerprint import digest
from pipelite.steps.images import prepare_image
from pipelite.steps.installing import OLDEST_MINOR, OWN_MINOR, PATH_LINE, install, is_older, lend_library, make_venv
from pipelite.steps.requirements import find_missing, read_conda, read_requirements
from pipelite.store import FileLock, remove_tree

#: Below the workspace: a folder for each environment.
FOLDER = "environments"
#: Written into such a folder when all is there; says what is.
_READY = "environment.json"
#: Beside such a folder: one lock for who makes it, and one that all who use it share.
_MAKING, _IN_USE = ".lock", ".used"
#: Characters of a list of requirements that are shown.
_SHOWN_CHARS = 200


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(each, str) and each.strip() for each in value):
        raise DefinitionError(f'Environment: packages={value!r} is wrong; it takes a list such as ["pandas==2.2.3"]')
    return tuple(sorted({each.strip() for each in value}))


def _path(value: Any) -> str | None:
    return None if value is None else os.path.abspath(value)


def _version(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and re.fullmatch(r"3\.\d+", value)):
        return value
    raise DefinitionError(f'Environment: python={value!r} is wrong; it takes a minor version, such as "3.12"')


def _image(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value.strip() and not value.startswith("-")):
        return value
    raise DefinitionError(f'Environment: image={value!r} is wrong; it takes a name such as "python:3.12-slim"')


def _variables(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise DefinitionError(f'Environment: variables={value!r} is wrong; it takes a dict such as {{"MODE": "fast"}}')
    return tuple(sorted(value.items()))


@attrs.frozen(kw_only=True)
class Environment:
    """The packages that a step runs with: `@step(environment=Environment(packages=["pandas==2.2.3"]))`.

    Parameters
    ----------
    packages : list of str
        Requirements as pip takes them.
    python : str, optional
        Its minor version, such as "3.12"; by default that of the pipeline. In another one functions run that are
        imported by name, and scripts.
    requirements : path, optional
        A requirements file. Its lines count, not its name.
    conda_file : path, optional
        A conda environment file: what it lists under `pip` counts, the rest is named in a warning.
    image : str, optional
        A container image, in place of all of these: scripts, commands and functions that are imported by name run in a
        container of it.
    network : bool
        Whether that container reaches the network.
    variables : dict
        Environment variables.
    """

    packages: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    python: str | None = attrs.field(default=None, converter=_version)
    requirements: str | None = attrs.field(default=None, converter=_path)
    conda_file: str | None = attrs.field(default=None, converter=_path)
    image: str | None = attrs.field(default=None, converter=_image)
    network: bool = False
    variables: tuple[tuple[str, str], ...] = attrs.field(factory=dict, converter=_variables)

    def __attrs_post_init__(self) -> None:
        if self.image is not None and (self.packages or self.python or self.requirements or self.conda_file):
            raise DefinitionError(
                f"Environment: image={self.image!r} brings its own Python and packages; leave packages, python, "
                "requirements and conda_file out"
            )
        if self.network and self.image is None:
            raise DefinitionError("Environment: network=True is for an image; all else has the network of this machine")
        if self.conda_file is not None and os.path.exists(self.conda_file):
            unused = read_conda(self.conda_file, for_pip=False)
            if unused:
                warnings.warn(
                    f"of the conda file {self.conda_file!r} only what is listed under pip is installed, and not "
                    f"{', '.join(unused)}",
                    stacklevel=2,
                )

    def identity(self) -> str:
        """What a step's key has for its environment: Python, requirements and variables, or an image."""
        if self.image is not None:
            found = find_engine().image_id(self.image)
            content = digest("image", found.encode(), str(self.network).encode(), json.dumps(self.variables).encode())
            return f"image {self.image} ({content[:32]})"
        content = digest("environment", self._content().encode(), json.dumps(self.variables).encode())
        # For people, who are told when it changed; the digest is what tells two apart. Values of variables may be secret.
        shown = ", ".join([*sorted(self._lines()), *(f"{name}=..." for name, _ in self.variables)])
        return f"python {self._minor()} with {shown[:_SHOWN_CHARS]} ({content[:32]})"

    def takes_by_value(self, mode: str) -> bool:
        """Whether functions run in it that travel by value: their code is that of one minor version of Python."""
        return mode == "off" or (self.image is None and self._minor() == OWN_MINOR)

    def prepare(self, root: Path, mode: str) -> Interpreter:
        """The interpreter that serves; makes it below the workspace if need be. It is in use until it is released.

        Raises
        ------
        EnvironmentFailed
            If it cannot be made; gives the installer's reason.
        """
        variables = dict(self.variables)
        if self.image is not None and mode != "off":
            return prepare_image(root / FOLDER, self.image, has_network=self.network, variables=variables)
        minor = self._minor()
        missing = find_missing(self._lines()) if mode == "check" and minor == OWN_MINOR else []
        if mode == "off" or (mode == "check" and minor == OWN_MINOR and not missing):
            return Interpreter(python=sys.executable, variables=variables)
        if is_older(minor, OLDEST_MINOR):
            raise EnvironmentFailed(f"the environment takes Python {minor}; pipelite needs {OLDEST_MINOR} or later")
        folder = root / FOLDER / self.name
        lock = _use(folder)
        try:
            python = self._build(folder)
            library = lend_library(folder.parent, python, minor)
        except EnvironmentFailed as exc:
            lock.release()
            if not missing:
                raise
            raise EnvironmentFailed(
                f"this Python does not have {', '.join(missing)}; {exc}\n"
                "Where it will do all the same: pipelite environments mode off"
            ) from exc
        except BaseException:
            lock.release()
            raise
        return Interpreter(python=str(python), variables={**variables, LIBRARY_VARIABLE: library}, lock=lock)

    @property
    def name(self) -> str:
        """What the folder of its virtual environment is called."""
        return digest("virtual environment", self._content().encode())[:16]

    def _content(self) -> str:
        return json.dumps({"python": self._minor(), "requirements": sorted(self._lines())})

    def _minor(self) -> str:
        return self.python or OWN_MINOR

    def _lines(self) -> list[str]:
        lines = [*self.packages]
        if self.requirements is not None:
            lines += read_requirements(self.requirements)
        if self.conda_file is not None:
            lines += read_conda(self.conda_file)
        return lines

    def _build(self, folder: Path) -> Path:
        python = folder / "venv" / "bin" / "python"
        if (folder / _READY).exists():
            return python
        lock = FileLock(folder.with_suffix(_MAKING))
        lock.wait()
        try:
            if not (folder / _READY).exists():
                self._make(folder)
        finally:
            lock.release()
        return python

    def _make(self, folder: Path) -> None:
        # Made where it stays, since the programs in it name its path; who finds no note that it is ready makes it anew.
        remove_tree(folder)
        folder.mkdir()
        lines = self._lines()
        sys.stdout.write(f"pipelite: making environment {self.name}: {', '.join(lines) or 'no packages'}\n")
        try:
            make_venv(folder / "venv", self._minor())
            if lines:
                self._install(folder / "venv")
            site = next((folder / "venv" / "lib").glob("python*/site-packages"))
            (site / "pipelite_library.pth").write_text(PATH_LINE)
            note = {"python": self._minor(), "requirements": lines, "made_at": CLOCK.now().isoformat()}
            (folder / "note").write_text(json.dumps(note))
            os.replace(folder / "note", folder / _READY)
        except BaseException:
            remove_tree(folder)
            raise

    def _install(self, venv: Path) -> None:
        words = [*self.packages]
        # The files themselves, so that what they name is found beside them.
        if self.requirements is not None:
            words += ["-r", self.requirements]
        if self.conda_file is not None:
            for line in read_conda(self.conda_file):
                words += line.split(None, 1) if line.startswith("-") else [line]
        beside = os.path.dirname(self.requirements or self.conda_file or os.getcwd())
        what = f"environment with {', '.join(self._lines())}"
        install(venv / "bin" / "python", words, beside=beside, what=what)


@attrs.frozen(kw_only=True)
class BuiltEnvironment:
    """A virtual environment of a workspace."""

    name: str
    python: str
    requirements: tuple[str, ...]
    #: UTC, ISO text.
    made_at: str
    #: When a step last began to run in it.
    last_used_at: str
    size_bytes: int


def list_environments(root: Path) -> list[BuiltEnvironment]:
    """Those that a workspace has, the oldest first."""
    found = []
    for path in (root / FOLDER).glob(f"*/{_READY}"):
        note = json.loads(path.read_text())
        used_at = datetime.fromtimestamp(path.parent.with_suffix(_IN_USE).stat().st_mtime, UTC)
        found.append(
            BuiltEnvironment(
                name=path.parent.name,
                python=note["python"],
                requirements=tuple(note["requirements"]),
                made_at=note["made_at"],
                last_used_at=used_at.isoformat(),
                size_bytes=sum(each.lstat().st_size for each in path.parent.rglob("*")),
            )
        )
    return sorted(found, key=lambda each: each.made_at)


def remove_environment(root: Path, name: str) -> None:
    """Remove one; a step that needs it makes it again.

    Raises
    ------
    NotFoundError
        If there is none of that name.
    EnvironmentFailed
        If a step is running in it, or it is being made.
    """
    if name not in {each.name for each in list_environments(root)}:
        raise NotFoundError(
            f"there is no environment {name!r} in this workspace; `pipelite environments list` names them"
        )
    folder = root / FOLDER / name
    lock = FileLock(folder.with_suffix(_IN_USE))
    if not lock.acquire(exclusive=True):
        raise EnvironmentFailed(
            f"environment {name!r} is in use by a step that is running; remove it when that is done, or cancel its run"
        )
    try:
        remove_tree(folder)
    finally:
        lock.release()


def _use(folder: Path) -> FileLock:
    """A share in an environment, which is not removed while there is one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(_IN_USE))
    # Whoever holds it alone is removing the environment.
    lock.acquire(exclusive=False, timeout_s=float("inf"))
    os.utime(lock.path)
    return lock
