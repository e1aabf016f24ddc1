"""Stored values on their way to workers that do not see the workspace, and back, through a folder that both see."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from pipelite.records import ArtifactRef
from pipelite.store import PARTS, iter_parts, remove_tree


class Exchange:
    """Copies artifacts between the workspace and a shared folder, where they have the same names.

    Artifacts never change, so one that is there need not be looked at again.
    """

    def __init__(self, workspace: Path, shared: Path, prefix: str) -> None:
        self._workspace = workspace
        self.shared = shared
        #: Of temporary names: what is left behind by an owner that died is known by it.
        self._prefix = prefix
        self._same_on_both: set[str] = set()

    def send(self, refs: Iterable[ArtifactRef]) -> None:
        """Have stored values where the workers find them."""
        for ref in refs:
            if ref.kind == PARTS and ref.inline is not None:
                self.send(iter_parts(ref.inline))
            elif ref.path is not None:
                self._copy(ref.path, ref.kind, self._workspace, self.shared)

    def fetch(self, path: str, kind: str) -> None:
        """Have what a worker stored in the workspace."""
        self._copy(path, kind, self.shared, self._workspace)

    def _copy(self, path: str, kind: str, source: Path, target: Path) -> None:
        # A file or folder of the user's lies in a folder of its own, which is what has the name of the content.
        name = os.path.dirname(path) if kind in ("file", "folder") else path
        if name in self._same_on_both:
            return
        here, there = source / "artifacts" / name, target / "artifacts" / name
        if not there.exists():
            temporary = target / "tmp" / f"{self._prefix}{os.urandom(8).hex()}"
            for folder in (temporary.parent, there.parent):
                folder.mkdir(parents=True, exist_ok=True)
            try:
                if here.is_dir():
                    shutil.copytree(here, temporary, symlinks=True)
                else:
                    shutil.copy2(here, temporary)
                _rename(temporary, there)
            finally:
                remove_tree(temporary)
        self._same_on_both.add(name)


def _rename(temporary: Path, target: Path) -> None:
    mode = temporary.stat().st_mode
    if temporary.is_dir():
        # A folder without the right to write cannot be renamed on every system.
        os.chmod(temporary, 0o700)
    try:
        os.replace(temporary, target)
    except OSError:
        # Another run put the same folder there just now.
        if not target.is_dir():
            raise
    else:
        os.chmod(target, mode)
