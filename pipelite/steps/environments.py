"""Environments: the packages that a step runs with, and the virtual environments that are made of them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

import pipelite
from pipelite._optional import require
from pipelite.errors import DefinitionError, EnvironmentFailed, MissingExtraError, NotFoundError
from pipelite.execute import LIBRARY_VARIABLE, Interpreter
from pipelite.fingerprint import digest
from pipelite.store import FileLock, remove_tree

#: Below the workspace: a folder for each environment.
FOLDER = "environments"
#: Written into such a folder when all is there; says what is.
_READY = "environment.json"
#: Characters of a list of requirements that are shown.
_SHOWN_CHARS = 200
#: Lines of the installer's that an error shows.
_SHOWN_LINES = 20
#: What pipelite itself needs comes last on the import path of an environment, behind what that has of its own.
_PATH_LINE = f"import os, sys; sys.path.extend(filter(None, [os.environ.get({LIBRARY_VARIABLE!r})]))\n"

_OWN_MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


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
        The minor version that it takes, such as "3.12": a pipeline that runs in another one is an error.
    requirements : path, optional
        A requirements file. Its lines count, not its name.
    conda_file : path, optional
        A conda environment file: what it lists under `pip` counts, the rest is named in a warning.
    variables : dict
        Environment variables.
    """

    packages: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    python: str | None = attrs.field(default=None, converter=_version)
    requirements: str | None = attrs.field(default=None, converter=_path)
    conda_file: str | None = attrs.field(default=None, converter=_path)
    variables: tuple[tuple[str, str], ...] = attrs.field(factory=dict, converter=_variables)

    def __attrs_post_init__(self) -> None:
        if self.conda_file is not None and os.path.exists(self.conda_file):
            unused = _read_conda(self.conda_file, for_pip=False)
            if unused:
                warnings.warn(
                    f"of the conda file {self.conda_file!r} only what is listed under pip is installed, and not "
                    f"{', '.join(unused)}",
                    stacklevel=2,
                )

    def identity(self) -> str:
        """What it adds to a step's key: its requirements, Python and variables."""
        content = digest("environment", self._content().encode(), json.dumps(self.variables).encode())
        # For people, who are told when it changed; the digest is what tells two apart. Values of variables may be secret.
        shown = ", ".join([*sorted(self._lines()), *(f"{name}=..." for name, _ in self.variables)])
        return f"with {shown[:_SHOWN_CHARS]} ({content[:32]})"

    def prepare(self, root: Path, mode: str) -> Interpreter:
        """The interpreter that serves; makes it below the workspace if need be.

        Raises
        ------
        EnvironmentFailed
            If it cannot be made; gives the installer's reason.
        """
        variables = dict(self.variables)
        if mode == "off":
            return Interpreter(python=sys.executable, variables=variables)
        if self._minor() != _OWN_MINOR:
            raise EnvironmentFailed(
                f"the environment takes Python {self.python}, and the pipeline runs in {_OWN_MINOR}; run it with "
                f"python{self.python}, or leave python= away"
            )
        missing = self._find_missing() if mode == "check" else []
        if mode == "check" and not missing:
            return Interpreter(python=sys.executable, variables=variables)
        try:
            python = self._build(root)
        except EnvironmentFailed as exc:
            if not missing:
                raise
            raise EnvironmentFailed(f"this Python does not have {', '.join(missing)}; {exc}") from exc
        library = _link_library(root / FOLDER)
        return Interpreter(python=python, variables={**variables, LIBRARY_VARIABLE: library})

    @property
    def name(self) -> str:
        """What the folder of its virtual environment is called."""
        return digest("virtual environment", self._content().encode())[:16]

    def _content(self) -> str:
        return json.dumps({"python": self._minor(), "requirements": sorted(self._lines())})

    def _minor(self) -> str:
        return self.python or _OWN_MINOR

    def _lines(self) -> list[str]:
        lines = [*self.packages]
        if self.requirements is not None:
            lines += _read_requirements(self.requirements)
        if self.conda_file is not None:
            lines += _read_conda(self.conda_file)
        return lines

    def _find_missing(self) -> list[str]:
        """What the running interpreter does not have of it."""
        return [line for line in self._lines() if not _is_met(line)]

    def _build(self, root: Path) -> str:
        folder = root / FOLDER / self.name
        python = str(folder / "venv" / "bin" / "python")
        if (folder / _READY).exists():
            return python
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_suffix(".lock"))
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
            _make_venv(folder / "venv")
            if lines:
                self._install(folder / "venv")
            site = next((folder / "venv" / "lib").glob("python*/site-packages"))
            (site / "pipelite_library.pth").write_text(_PATH_LINE)
            note = {"python": self._minor(), "requirements": lines, "made_at": datetime.now(UTC).isoformat()}
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
            for line in _read_conda(self.conda_file):
                words += line.split(None, 1) if line.startswith("-") else [line]
        beside = os.path.dirname(self.requirements or self.conda_file or os.getcwd())
        _run([*_installer(venv), *words], beside, f"environment with {', '.join(self._lines())}")


@attrs.frozen(kw_only=True)
class BuiltEnvironment:
    """A virtual environment of a workspace."""

    name: str
    python: str
    requirements: tuple[str, ...]
    #: UTC, ISO text.
    made_at: str


def list_environments(root: Path) -> list[BuiltEnvironment]:
    """Those that a workspace has, the oldest first."""
    found = []
    for path in (root / FOLDER).glob(f"*/{_READY}"):
        note = json.loads(path.read_text())
        requirements = tuple(note["requirements"])
        found.append(
            BuiltEnvironment(
                name=path.parent.name, python=note["python"], requirements=requirements, made_at=note["made_at"]
            )
        )
    return sorted(found, key=lambda each: each.made_at)


def remove_environment(root: Path, name: str) -> None:
    """Remove one; a step that needs it makes it again.

    Raises
    ------
    NotFoundError
        If there is none of that name.
    """
    if name not in {each.name for each in list_environments(root)}:
        raise NotFoundError(
            f"there is no environment {name!r} in this workspace; `pipelite environments list` names them"
        )
    folder = root / FOLDER / name
    lock = FileLock(folder.with_suffix(".lock"))
    lock.wait()
    try:
        remove_tree(folder)
    finally:
        lock.release()


def _read_requirements(path: str, above: tuple[str, ...] = ()) -> list[str]:
    """Lines of a requirements file, with those of the files that it names."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as exc:
        raise EnvironmentFailed(f"the requirements file {path!r} cannot be read: {exc.strerror}") from exc
    lines: list[str] = []
    for line in text.replace("\\\n", "").splitlines():
        stripped = re.sub(r"(^|\s)#.*$", "", line).strip()
        named = re.match(r"(?:-r|--requirement)[ =]*(.+)", stripped)
        if named is None:
            lines += [stripped] if stripped else []
            continue
        inner = os.path.join(os.path.dirname(path), named[1])
        if inner not in above:
            lines += _read_requirements(inner, (*above, path))
    return lines


def _read_conda(path: str, *, for_pip: bool = True) -> list[str]:
    """What a conda environment file lists for pip, or beside that."""
    yaml = require("yaml", extra="environments")
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as exc:
        raise EnvironmentFailed(f"the conda file {path!r} cannot be read: {exc.strerror}") from exc
    except yaml.YAMLError as exc:
        raise EnvironmentFailed(f"the conda file {path!r} is no YAML: {exc}") from exc
    listed = content.get("dependencies") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise EnvironmentFailed(f"the conda file {path!r} has no list of dependencies")
    if not for_pip:
        return [each for each in listed if isinstance(each, str) and each != "pip"]
    return [str(line) for each in listed if isinstance(each, dict) for line in each.get("pip") or ()]


def _is_met(line: str) -> bool:
    """Whether the running interpreter has what a line asks for."""
    if line.startswith("-"):
        # Where to look for packages is no package; a path to install from can only be installed.
        return not re.match(r"(-e|--editable)\b", line)
    requirements = require("packaging.requirements", extra="environments")
    try:
        wanted = requirements.Requirement(line.partition(" --")[0])
    except requirements.InvalidRequirement:
        return False
    if wanted.marker is not None and not wanted.marker.evaluate():
        return True
    if wanted.url is not None:
        return False
    try:
        found = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return bool(wanted.specifier.contains(found, prereleases=True))


def _find_uv() -> str | None:
    """The program uv: installed beside this library, or on the PATH."""
    with contextlib.suppress(MissingExtraError, FileNotFoundError):
        return str(require("uv", extra="environments").find_uv_bin())
    return shutil.which("uv")


def _make_venv(folder: Path) -> None:
    uv, python = _find_uv(), sys.executable
    command = [python, "-m", "venv"] if uv is None else [uv, "venv", "--quiet", "--no-project", "--python", python]
    _run([*command, str(folder)], "/", "virtual environment")


def _installer(venv: Path) -> list[str]:
    uv, python = _find_uv(), str(venv / "bin" / "python")
    if uv is None:
        return [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    return [uv, "pip", "install", "--quiet", "--python", python]


def _run(command: list[str], folder: str, what: str) -> None:
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        said = done.stdout.decode("utf-8", "replace").strip().splitlines()[-_SHOWN_LINES:]
        name = os.path.basename(command[0])
        raise EnvironmentFailed(f"the {what} cannot be made; {name} said:\n" + "\n".join(said))


def _link_library(folder: Path) -> str:
    """A folder with links to this library and all that it needs, and to nothing else that is installed here."""
    links = {"pipelite": os.path.dirname(pipelite.__file__), **_find_needed()}
    name = digest("library", *(f"{key}={links[key]}".encode() for key in sorted(links)))[:16]
    target = folder / f"library-{name}"
    if not target.is_dir():
        temporary = folder / f"library-{name}-{os.urandom(4).hex()}"
        temporary.mkdir(parents=True)
        for link, path in links.items():
            os.symlink(path, temporary / link)
        try:
            os.rename(temporary, target)
        except OSError:
            # Another process was faster.
            remove_tree(temporary)
    return str(target)


def _find_needed() -> dict[str, str]:
    """Top-level names of what this library requires, directly or not, to where they are."""
    links: dict[str, str] = {}
    waiting, seen = ["pipelite"], set()
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            # Needed elsewhere only, by its marker.
            continue
        waiting += _names(found.requires or ())
        if name != "pipelite":
            links.update(_top_level(found))
    return links


def _names(requires: Iterable[str]) -> Iterator[str]:
    for line in requires:
        found = _NAME.match(line)
        if found is not None and not re.search(r";.*\bextra\b", line):
            yield found[0]


def _top_level(distribution: importlib.metadata.Distribution) -> Iterator[tuple[str, str]]:
    for file in distribution.files or ():
        top = file.parts[0]
        if top not in ("..", "__pycache__", "bin"):
            yield top, str(distribution.locate_file(top))
