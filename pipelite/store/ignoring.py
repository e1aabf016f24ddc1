"""Which files of a source folder are left out of its snapshot, by the rules of `.gitignore` files.

https://git-scm.com/docs/gitignore: the last rule that fits decides, and what is in a folder that is left out is not
looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

#: The first of these that a folder holds is read.
NAMES = (".pipeliteignore", ".gitignore")

#: What earlier scripts left.
OUTPUTS = "/outputs/"
#: What no script needs, unless a rule says otherwise: histories, caches, environments, and what earlier scripts left.
ALWAYS = (
    ".git",
    ".hg",
    ".svn",
    ".bzr",
    "__pycache__",
    "*.py[co]",
    ".ipynb_checkpoints",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
    ".tox",
    ".nox",
    ".venv",
    ".eggs",
    "*.egg-info",
    "node_modules",
    ".pipelite",
    ".idea",
    ".vscode",
    ".DS_Store",
    OUTPUTS,
)


class Rules:
    """The rules of one ignore file, for names below its folder."""

    def __init__(self, lines: Iterable[str]) -> None:
        #: Alternatives of rules that follow each other and say the same, the last ones first.
        self._groups: list[tuple[bool, re.Pattern[str]]] = []
        groups: list[tuple[bool, list[str]]] = []
        for line in lines:
            rule = _translate(line)
            if rule is not None:
                is_left_out, pattern = rule
                if groups and groups[-1][0] == is_left_out:
                    groups[-1][1].append(pattern)
                else:
                    groups.append((is_left_out, [pattern]))
        self._groups = [(sign, re.compile("|".join(patterns), re.DOTALL)) for sign, patterns in reversed(groups)]

    def decide(self, name: str) -> bool | None:
        """Whether a name is left out, seen from the folder and with a "/" at its end if it is one; None if no rule fits."""
        for is_left_out, pattern in self._groups:
            if pattern.fullmatch(name):
                return is_left_out
        return None


@lru_cache(maxsize=2)
def built_in(*, takes_outputs: bool = False) -> Rules:
    """The rules that stand before all others; `takes_outputs` is for those who knew a folder of that name as any other."""
    return Rules(rule for rule in ALWAYS if rule != OUTPUTS or not takes_outputs)


def read_rules(folder: str, names: Sequence[str], wanted: Sequence[str] = NAMES) -> Rules | None:
    """The rules that a folder brings along; `names` are those of its entries, and the first of `wanted` is read."""
    for name in wanted:
        if name in names:
            text = Path(os.path.join(folder, name)).read_text(encoding="utf-8", errors="surrogateescape")
            return Rules(text.splitlines())
    return None


def _translate(line: str) -> tuple[bool, str] | None:
    """One line as whether it leaves out, and a regular expression for names with forward slashes."""
    text = line.rstrip("\r\n")
    # Spaces at the end do not count, unless the last one is quoted.
    while text.endswith(" ") and not text.endswith("\\ "):
        text = text[:-1]
    if not text or text.startswith("#"):
        return None
    is_left_out = not text.startswith("!")
    text = text if is_left_out else text[1:]
    only_folders = text.endswith("/")
    text = text.removesuffix("/")
    if not text:
        return None
    is_anchored = "/" in text
    pattern = _translate_path(text.removeprefix("/"))
    return is_left_out, f"{'' if is_anchored else '(?:.*/)?'}{pattern}{'/' if only_folders else '/?'}"


def _translate_path(text: str) -> str:
    pieces = []
    place = 0
    while place < len(text):
        rest = text[place:]
        if rest.startswith("**/") and text[:place] in ("", text[:place].rstrip("*")):
            pieces.append("(?:.*/)?")
            place += 3
        elif rest == "**" and text[:place].endswith("/"):
            pieces.append(".+")
            place += 2
        elif rest.startswith("*"):
            is_alone = text[place - 1 : place] in ("", "/") and rest[1:2] in ("", "/")
            pieces.append("[^/]+" if is_alone else "[^/]*")
            place += 1
        elif rest.startswith("?"):
            pieces.append("[^/]")
            place += 1
        elif rest.startswith("["):
            found, length = _translate_set(rest)
            pieces.append(found)
            place += length
        else:
            if rest.startswith("\\") and len(rest) > 1:
                place += 1
            pieces.append(re.escape(text[place]))
            place += 1
    return "".join(pieces)


def _translate_set(text: str) -> tuple[str, int]:
    """A set of characters such as [a-z] or [!0-9]; a bracket that is never closed stands for itself."""
    end = text.find("]", 3 if text[1:2] in ("!", "^") else 2)
    if end < 0:
        return re.escape("["), 1
    inside = text[1:end]
    sign = "^" if inside[:1] in ("!", "^") else ""
    inside = inside[1:] if sign else inside
    escaped = inside.replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
    try:
        re.compile(f"[{sign}{escaped}]")
    except re.error:
        return re.escape(text[: end + 1]), end + 1
    return f"(?!/)[{sign}{escaped}]", end + 1
