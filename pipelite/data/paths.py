"""Paths inside of a datastore: relative, with forward slashes, never out of its root; and patterns of them."""

from __future__ import annotations

import functools
import os
import re
from pathlib import PurePath

from pipelite.errors import DatastoreError

_MAGIC = re.compile(r"[*?\[]")


def checked(path: str | PurePath, *, datastore: str) -> str:
    """A path below the root of a datastore, normalized; the root itself is empty.

    Raises
    ------
    DatastoreError
        If it is absolute or climbs out by `..`.
    """
    text = path.as_posix() if isinstance(path, PurePath) else str(path)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if text.startswith(("/", "~")) or "\\" in text or "\0" in text:
        raise DatastoreError(
            f"the path {text!r} is not relative to the root of datastore {datastore!r}; give one such as 'raw/2026.csv'",
            datastore=datastore,
        )
    if ".." in parts:
        raise DatastoreError(
            f"the path {text!r} leads out of the root of datastore {datastore!r}; leave '..' away", datastore=datastore
        )
    return "/".join(parts)


def inside(root: str, path: str, *, datastore: str) -> str:
    """The place of a checked path below a local folder, after a look at where its links lead.

    Raises
    ------
    DatastoreError
        If a link leads out of the folder.
    """
    place = os.path.join(root, path) if path else root
    real, real_root = os.path.realpath(place), os.path.realpath(root)
    if real != real_root and not real.startswith(real_root.rstrip(os.sep) + os.sep):
        raise DatastoreError(
            f"the path {path!r} of datastore {datastore!r} is a link that leads out of its root {root}; "
            "remove the link, or register a datastore for the folder that it leads to",
            datastore=datastore,
        )
    return place


def split_pattern(pattern: str) -> tuple[str, str]:
    """The folder before the first part with a wildcard, and the rest; a path without one is its folder and its name."""
    parts = pattern.split("/")
    first = next((number for number, part in enumerate(parts) if _MAGIC.search(part)), len(parts) - 1)
    return "/".join(parts[:first]), "/".join(parts[first:])


def has_wildcard(path: str) -> bool:
    """Whether a path is a pattern: it holds `*`, `?` or `[`."""
    return _MAGIC.search(path) is not None


@functools.lru_cache(256)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A pattern of relative paths: `*` and `?` stay within a part, `**` stands for any number of folders."""
    text = ""
    parts = pattern.split("/")
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        if part == "**":
            text += ".*" if is_last else "(?:[^/]+/)*"
            continue
        text += _part(part) + ("" if is_last else "/")
    return re.compile(text + r"\Z", re.DOTALL)


def _part(part: str) -> str:
    text, at = "", 0
    while at < len(part):
        letter = part[at]
        at += 1
        if letter == "*":
            text += "[^/]*"
        elif letter == "?":
            text += "[^/]"
        elif letter == "[" and "]" in part[at + 1 :]:
            end = part.index("]", at + 1)
            chosen = part[at:end].replace("\\", "\\\\").replace("[", "\\[")
            text += f"[^{chosen[1:]}]" if chosen.startswith("!") else f"[{chosen}]"
            at = end + 1
        else:
            text += re.escape(letter)
    return text


def depth_of(pattern: str) -> int | None:
    """How many levels of folders below its own a pattern reaches into, 0 for none; None for any number."""
    parts = pattern.split("/")
    return None if "**" in parts else len(parts) - 1
