"""Which commit a run was started from."""

from __future__ import annotations

import os
from collections.abc import Iterator


def find_git_commit(folder: str) -> str | None:
    """Commit that is checked out where a run was started; read from the files, since starting git costs milliseconds."""
    for place in (folder, *_parents(folder)):
        git = os.path.join(place, ".git")
        if os.path.isfile(git):
            git = os.path.join(place, _read(git).removeprefix("gitdir:").strip())
        if not os.path.isdir(git):
            continue
        head = _read(os.path.join(git, "HEAD")).strip()
        if not head.startswith("ref:"):
            return head or None
        ref = head.removeprefix("ref:").strip()
        common = _read(os.path.join(git, "commondir")).strip()
        for root in (git, os.path.join(git, common) if common else git):
            commit = _read(os.path.join(root, ref)).strip()
            if commit:
                return commit
            for line in _read(os.path.join(root, "packed-refs")).splitlines():
                if line.endswith(f" {ref}"):
                    return line.partition(" ")[0]
        return None
    return None


def _parents(folder: str) -> Iterator[str]:
    parent = os.path.dirname(folder)
    while parent != folder:
        yield parent
        folder, parent = parent, os.path.dirname(parent)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
