"""Lists of packages: the lines of requirements and conda files, and whether the running interpreter meets them."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelite._optional import require
from pipelite.errors import EnvironmentFailed


def read_requirements(path: str, above: tuple[str, ...] = ()) -> list[str]:
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
            lines += read_requirements(inner, (*above, path))
    return lines


def read_conda(path: str, *, for_pip: bool = True) -> list[str]:
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


def find_missing(lines: Sequence[str]) -> list[str]:
    """What the running interpreter does not have of a list."""
    # A long list takes some 20 ms, and what is installed hardly ever changes; when it does, so does its folder.
    return [*_find_missing(tuple(lines), tuple(_changed_at(place) for place in sys.path))]


@functools.lru_cache(maxsize=64)
def _find_missing(lines: tuple[str, ...], changed_at: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(line for line in lines if not _is_met(line))


def _changed_at(folder: str) -> int:
    try:
        return os.stat(folder or ".").st_mtime_ns
    except OSError:
        return 0


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
