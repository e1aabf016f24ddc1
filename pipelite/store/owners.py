"""Who owns a run: a name that lives exactly as long as its process."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from pipelite.errors import WorkspaceError
from pipelite.store.locks import FileLock, is_locked


class OwnerLock:
    """A name under which this process owns runs, for as long as it lives.

    The kernel gives the lock up at the process's death, however it dies; ids of processes are used again, and mean
    nothing across containers.
    """

    def __init__(self, workspace: Path) -> None:
        self.name = os.urandom(16).hex()
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
            self._lock.path.unlink(missing_ok=True)
            self._lock.release()


def owner_path(workspace: Path, owner: str) -> Path:
    """Return the lock file of an owner."""
    return workspace / "owners" / f"{owner}.lock"


def is_alive(workspace: Path, owner: str) -> bool:
    """Whether the process that goes by this name still lives."""
    return is_locked(owner_path(workspace, owner))
