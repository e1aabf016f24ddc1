"""Who owns a run: a name that lives exactly as long as its process."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelite.clock import CLOCK
from pipelite.errors import WorkspaceError
from pipelite.store.disk import tell
from pipelite.store.locks import FileLock, is_locked
from pipelite.store.paths import remove_tree

_NAME_LENGTH = 32

_NOTES_BYTES = 4096
_REASON_LENGTH = 600

#: Where Linux keeps named semaphores; other systems show them nowhere.
SEMAPHORES = Path("/dev/shm")  # noqa: S108 - nothing is written there

#: A lock file that is not locked yet.
_NEW = ".new"

#: How long that may take at most.
_NEW_S = 60.0


class OwnerLock:
    """A name under which this process owns runs, for as long as it lives.

    The kernel gives the lock up at the process's death, however it dies; ids of processes are used again, and mean
    nothing across containers.
    """

    def __init__(self, workspace: Path) -> None:
        clear_dead_owners(workspace)
        self.name = os.urandom(_NAME_LENGTH // 2).hex()
        self._workspace = workspace
        path = owner_path(workspace, self.name)
        # It gets the name that others look for when it is locked: one that is not locked then is a dead owner's.
        self._lock = FileLock(path.with_suffix(_NEW))
        self._who: dict[str, Any] = {"process": os.getpid(), "host": os.uname().nodename, "command": sys.argv}
        try:
            if not self._lock.acquire(exclusive=True):
                raise WorkspaceError(f"{self._lock.path} cannot be locked; is {workspace} on a local disk?")
            # Of a fixed size, so that something can be added on a disk that has no space left.
            self._lock.path.write_text(json.dumps(self._who)[:_NOTES_BYTES].ljust(_NOTES_BYTES))
            self._lock.rename(path)
        except OSError as exc:
            self._lock.path.unlink(missing_ok=True)
            self._lock.close()
            tell(exc, path)

    @property
    def is_held(self) -> bool:
        """Whether this process holds it; a forked child does not."""
        return self._lock.is_held

    def note_failure(self, run_id: str, reason: str) -> None:
        """Leave word of how a run ended that the database did not take; it counts once this process is gone."""
        self._who.setdefault("failed", {})[run_id] = reason[:_REASON_LENGTH]
        notes = json.dumps(self._who).encode()
        if len(notes) <= _NOTES_BYTES:
            with contextlib.suppress(OSError), self._lock.path.open("r+b", buffering=0) as file:
                file.write(notes.ljust(_NOTES_BYTES))

    def release(self) -> None:
        """Give the name up; runs that it still owns count as interrupted from now on."""
        if self._lock.is_held:
            clear_after(self._workspace, self.name)
            self._lock.release()


def read_failures(workspace: Path, owner: str) -> dict[str, str]:
    """Return why runs of an owner failed that it could not store: run id to reason."""
    try:
        return dict(json.loads(owner_path(workspace, owner).read_text()).get("failed", {}))
    except (OSError, ValueError):
        return {}


def owner_path(workspace: Path, owner: str) -> Path:
    """Return the lock file of an owner."""
    return workspace / "owners" / f"{owner}.lock"


def temporary_prefix(owner: str) -> str:
    """Return what the names below `tmp/` begin with that an owner and its workers give: it tells whose they were."""
    return f"{owner}-"


def clear_after(workspace: Path, owner: str) -> None:
    """Remove what an owner that is gone has left behind: semaphores, temporary files, and last its lock file."""
    _clear_semaphores(owner_path(workspace, owner))
    for path in (workspace / "tmp").glob(f"{temporary_prefix(owner)}*"):
        with contextlib.suppress(OSError):
            remove_tree(path)
    owner_path(workspace, owner).unlink(missing_ok=True)
    owner_path(workspace, owner).with_suffix(_NEW).unlink(missing_ok=True)


def clear_dead_workers(workspace: Path, owner: str) -> None:
    """Remove the temporary files of workers that have died, while their owner goes on; those of others are in use."""
    prefix = temporary_prefix(owner)
    for path in (workspace / "tmp").glob(f"{prefix}[0-9]*"):
        worker = path.name.removeprefix(prefix).partition("-")[0]
        try:
            os.kill(int(worker), 0)
        except ProcessLookupError:
            with contextlib.suppress(OSError):
                remove_tree(path)
        except (PermissionError, ValueError, OverflowError):
            continue


def clear_dead_owners(workspace: Path) -> None:
    """Remove what owners that are gone have left behind; what their runs are to become is another matter."""
    for path in list(iter_dead_locks(workspace)):
        clear_after(workspace, path.stem)
    # A worker that had not yet noticed may have begun something after that.
    names = {name.partition("-")[0] for name in os.listdir(workspace / "tmp")}
    for name in names:
        if len(name) == _NAME_LENGTH and not is_alive(workspace, name):
            clear_after(workspace, name)


def _clear_semaphores(lock: Path) -> None:
    """Remove the named semaphores of the pools of a process that is gone.

    loky has a process of its own for that; where it was killed together with all others, they stay in memory.
    """
    try:
        who = json.loads(lock.read_text())
        process = int(who["process"])
        if who["host"] != os.uname().nodename:
            return
        os.kill(process, 0)
    except ProcessLookupError:
        for path in SEMAPHORES.glob(f"sem.loky-{process}-*"):
            with contextlib.suppress(OSError):
                path.unlink()
    except (OSError, ValueError, KeyError):
        # It goes on, another process has that number now, or nobody wrote it down.
        return


def is_alive(workspace: Path, owner: str) -> bool:
    """Whether the process that goes by this name still lives."""
    return is_locked(owner_path(workspace, owner))


def iter_dead_locks(workspace: Path) -> Iterator[Path]:
    """Yield the lock files that processes left behind when they died."""
    for name in os.listdir(workspace / "owners"):
        path = workspace / "owners" / name
        if name.endswith(_NEW):
            if _age_s(path) > _NEW_S:
                yield path
        elif not is_locked(path):
            yield path


def _age_s(path: Path) -> float:
    try:
        return CLOCK.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
