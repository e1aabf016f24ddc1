"""Makes virtual environments: finds the Python for one, installs its packages, and lends it this library."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pipelite
from pipelite._optional import require
from pipelite.errors import EnvironmentFailed, MissingExtraError
from pipelite.execute import LIBRARY_VARIABLE
from pipelite.fingerprint import digest
from pipelite.store import remove_tree

OWN_MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
#: What this library itself needs at least.
OLDEST_MINOR = "3.11"
#: What this library needs comes last on an import path, behind what the environment has of its own.
PATH_LINE = f"import os, sys; sys.path.extend(filter(None, [os.environ.get({LIBRARY_VARIABLE!r})]))\n"

#: Lines of the installer's that an error shows.
_SHOWN_LINES = 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TELL_MINOR = "import sys; print('%d.%d' % sys.version_info[:2])"


def is_older(minor: str, other: str) -> bool:
    return _numbers(minor) < _numbers(other)


def find_uv() -> str | None:
    """The program uv: installed beside this library, or on the PATH."""
    with contextlib.suppress(MissingExtraError, FileNotFoundError):
        return str(require("uv", extra="environments").find_uv_bin())
    return shutil.which("uv")


def find_python(minor: str) -> str | None:
    """An interpreter of a minor version: this one, one on the PATH, or pyenv's newest."""
    if minor == OWN_MINOR:
        return sys.executable
    name = f"python{minor}"
    places = [Path(folder) / name for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    # Others, such as 3.13.0t, are variants that not every package is built for.
    versions = [path for path in root.glob(f"{minor}.*") if re.fullmatch(r"[\d.]+", path.name)]
    places += [path / "bin" / name for path in sorted(versions, key=lambda path: _numbers(path.name), reverse=True)]
    return next((str(place) for place in places if os.access(place, os.X_OK) and _is_minor(place, minor)), None)


def make_venv(folder: Path, minor: str) -> None:
    """Make a virtual environment without packages.

    Raises
    ------
    EnvironmentFailed
        If there is no such Python, or it cannot be made.
    """
    python, uv = find_python(minor), find_uv()
    if uv is not None:
        # One that uv has, or downloads where its own settings let it.
        chosen = ["--python", python] if python else ["--python-preference", "only-managed", "--python", minor]
        command = [uv, "venv", "--quiet", "--no-project", *chosen]
    elif python is not None:
        command = [python, "-m", "venv"]
    else:
        raise EnvironmentFailed(
            f"there is no Python {minor}: no python{minor} that runs is on the PATH or among pyenv's versions; install "
            "one, or install uv, which fetches it"
        )
    _run([*command, str(folder)], "/", f"virtual environment with Python {minor}")


def install(python: Path, words: list[str], *, beside: str, what: str) -> None:
    """Install packages for an interpreter; `words` are what pip takes, seen from the folder `beside`.

    Raises
    ------
    EnvironmentFailed
        If that fails; `what` says what cannot be made then.
    """
    uv = find_uv()
    if uv is None:
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    else:
        command = [uv, "pip", "install", "--quiet", "--python", str(python)]
    _run([*command, *words], beside, what)


def lend_library(folder: Path, python: Path, minor: str) -> str:
    """A folder with this library and all that it needs, and nothing else: links to what runs here.

    What is compiled fits one minor version of Python only: for another one it is installed there.

    Raises
    ------
    EnvironmentFailed
        If it cannot be installed.
    """
    links = library_links() if minor == OWN_MINOR else {"pipelite": os.path.dirname(pipelite.__file__)}
    lines = [] if minor == OWN_MINOR else list(_own_requirements())
    content = [f"{key}={links[key]}" for key in sorted(links)]
    name = digest("library", *(text.encode() for text in (minor, *content, *sorted(lines))))[:16]
    target = folder / f"library-{name}"
    if not target.is_dir():
        temporary = folder / f"library-{name}-{os.urandom(4).hex()}"
        temporary.mkdir(parents=True)
        try:
            if lines:
                what = f"installation of what pipelite needs in Python {minor}"
                install(python, ["--target", str(temporary), *lines], beside="/", what=what)
            for link, path in links.items():
                os.symlink(path, temporary / link)
            os.rename(temporary, target)
        except OSError:
            # Another process was faster.
            if not target.is_dir():
                raise
        finally:
            remove_tree(temporary)
    return str(target)


@functools.cache
def library_links() -> dict[str, str]:
    """Top-level names of this library and of what it requires, directly or not, to where they are."""
    links: dict[str, str] = {"pipelite": os.path.dirname(pipelite.__file__)}
    waiting, seen = [*_names(_own_requirements())], {"pipelite"}
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
        waiting += _names(_without_extras(found.requires or ()))
        links.update(_top_level(found))
    return links


def _own_requirements() -> Iterator[str]:
    return _without_extras(importlib.metadata.requires("pipelite") or ())


def _without_extras(requires: Iterable[str]) -> Iterator[str]:
    return (line for line in requires if not re.search(r";.*\bextra\b", line))


def _names(requires: Iterable[str]) -> Iterator[str]:
    for line in requires:
        found = _NAME.match(line)
        if found is not None:
            yield found[0]


def _top_level(distribution: importlib.metadata.Distribution) -> Iterator[tuple[str, str]]:
    for file in distribution.files or ():
        top = file.parts[0]
        if top not in ("..", "__pycache__", "bin"):
            yield top, str(distribution.locate_file(top))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def _is_minor(python: Path, minor: str) -> bool:
    # A shim of pyenv's may stand there for a version that is not chosen, and fails.
    done = subprocess.run([python, "-c", _TELL_MINOR], capture_output=True, text=True, check=False)
    return done.stdout.strip() == minor


def _run(command: list[str], folder: str, what: str) -> None:
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        said = done.stdout.decode("utf-8", "replace").strip().splitlines()[-_SHOWN_LINES:]
        name = os.path.basename(command[0])
        raise EnvironmentFailed(f"the {what} cannot be made; {name} said:\n" + "\n".join(said))
