"""Where the files of a transfer are gathered on their way to a folder of this machine, until all are there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable

from pipelite.data.locations import TEMPORARY


class Staging:
    """A hidden folder beside the target, or in it where that is a folder already: always on the same disk.

    It has the same name for every transfer to the target. What an interrupted one gathered is there for the next, and two
    at once wait for each other.

    Parameters
    ----------
    root : str
        Folder of the target's datastore.
    prefix : str
        Path of the target on it.
    is_file : bool
        Whether the target is one file.
    """

    def __init__(self, root: str, prefix: str, *, is_file: bool) -> None:
        self._target = os.path.join(root, prefix) if prefix else root.rstrip(os.sep)
        self._prefix = prefix
        self._is_file = is_file
        above, name = os.path.split(self._target)
        if not is_file and os.path.isdir(self._target):
            above, name = self._target, "all"
        self._folder = os.path.join(above, f"{TEMPORARY}{name}")
        self._lock = -1

    def __enter__(self) -> Staging:
        while True:
            os.makedirs(self._folder, exist_ok=True)
            self._lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            # Another transfer may have finished meanwhile, and taken the folder away.
            if os.path.isdir(self._folder) and os.path.samestat(os.fstat(self._lock), os.stat(self._folder)):
                return self
            os.close(self._lock)

    def __exit__(self, *error: object) -> None:
        # What was gathered stays for the next attempt.
        with contextlib.suppress(OSError):
            os.rmdir(self._folder)
        os.close(self._lock)

    def place(self, path: str) -> str:
        """Where a file of the target is gathered."""
        return os.path.join(self._folder, self._relative(path))

    def keep_only(self, paths: Iterable[str]) -> None:
        """Remove what another transfer left that is none of these files."""
        wanted = {self.place(path) for path in paths}
        for top, _, names in os.walk(self._folder, topdown=False):
            for name in names:
                if os.path.join(top, name) not in wanted:
                    os.unlink(os.path.join(top, name))
            if top != self._folder and not os.listdir(top):
                os.rmdir(top)

    def finish(self, paths: Iterable[str]) -> None:
        """Put all that was gathered in place: by one renaming if the target is a folder that is not there yet."""
        if not self._is_file and not os.path.lexists(self._target):
            try:
                os.rename(self._folder, self._target)
            except OSError:
                # Somebody made the folder just now.
                if not os.path.isdir(self._target):
                    raise
            else:
                return
        for path in paths:
            if os.path.lexists(self.place(path)):
                final = self._target if self._is_file else os.path.join(self._target, self._relative(path))
                os.makedirs(os.path.dirname(final), exist_ok=True)
                os.replace(self.place(path), final)
        shutil.rmtree(self._folder)

    def _relative(self, path: str) -> str:
        if self._is_file:
            return os.path.basename(path)
        return path[len(self._prefix) + 1 :] if self._prefix else path
