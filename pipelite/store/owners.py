"""Who owns a run: a name that lives exactly as long as its process."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pipelite.errors import WorkspaceError
from pipelite.store.locks import FileLock, is_locked
from pipelite.store.paths import remove_tree

#: A lock file younger than this may be about to be locked by the process that has just made it.
_YOUNG_S = 60.0


class OwnerLock:
    """A name under which this process owns runs, for as long as it lives.

    The kernel gives the lock up at the process's death, however it dies; ids of processes are used again, and mean
    nothing across containers.
    """

    def __init__(self, workspace: Path) -> None:
        for path in iter_dead_locks(workspace):
            clear_after(workspace, path.stem)
        self.name = os.urandom(16).hex()
        self._workspace = workspace
        self._lock = FileLock(owner_path(workspace, self.name))
        # Waits for an instant at most, for one that asks whether it is locked.
        if not self._lock.acquire(exclusive=True, timeout_s=10.0):
            raise WorkspaceError(f"{self._lock.path} cannot be locked; is {workspace} on a local disk?")
        who = {"process": os.getpid(), "host": os.uname().nodename, "command": sys.argv}
        self._lock.path.write_text(json.dumps(who))

    @property
    def is_held(self) -> bool:
        """Whether this process holds it; a forked child does not."""
        return self._lock.is_held

    def release(self) -> None:
        """Give the name up; runs that it still owns count as interrupted from now on."""
        if self._lock.is_held:
            clear_after(self._workspace, self.name)
            self._lock.release()


def owner_path(workspace: Path, owner: str) -> Path:
    """Return the lock file of an owner."""
    return workspace / "owners" / f"{owner}.lock"


def temporary_prefix(owner: str) -> str:
    """Return what the names below `tmp/` begin with that an owner and its workers give: it tells whose they were."""
    return f"{owner}-"


def clear_after(workspace: Path, owner: str) -> None:
    """Remove what an owner that is gone has left behind: temporary files, and last its lock file."""
    for path in (workspace / "tmp").glob(f"{temporary_prefix(owner)}*"):
        with contextlib.suppress(OSError):
            remove_tree(path)
    owner_path(workspace, owner).unlink(missing_ok=True)


def is_alive(workspace: Path, owner: str) -> bool:
    """Whether the process that goes by this name still lives."""
    return is_locked(owner_path(workspace, owner))


def iter_dead_locks(workspace: Path) -> Iterator[Path]:
    """Yield the lock files that processes left behind when they died."""
    oldest = time.time() - _YOUNG_S
    for path in (workspace / "owners").glob("*.lock"):
        try:
            is_dead = path.stat().st_mtime < oldest and not is_locked(path)
        except FileNotFoundError:
            continue
        if is_dead:
            yield path
