"""What files there are that a trigger looks at, and how each is now: its stamp, which changes with its content.

Folders of this machine are listed by `scandir`, all other stores by fsspec.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import Protocol

from pipelite.clock import CLOCK
from pipelite.data import Datastore, Datastores, Entry, Source
from pipelite.data.datastores import open_url
from pipelite.data.locations import TEMPORARY, LocalFolder
from pipelite.data.paths import compile_pattern, depth_of, has_wildcard, split_pattern
from pipelite.store import Store

#: A file whose time is so near may be in the middle of being written, also where its writer has closed it before.
_FRESH_S = 0.05


class Place(Protocol):
    """The files of one path or pattern, by names that stay the same."""

    #: Whether files appear when they are complete, or not at all.
    is_atomic: bool

    def scan(self) -> dict[str, str]:
        """The stamps of all files."""

    def look_at(self, names: Iterable[str]) -> dict[str, str]:
        """The stamps of those of some files that are there."""

    def show(self, name: str) -> str:
        """A file as a pipeline is told of it: its absolute path, `DATASTORE/PATH`, or its URL."""


def open_place(store: Store, source: Source) -> Place:
    """Where the files of a source are.

    Raises
    ------
    UnknownNameError
        If there is no such datastore.
    DatastoreError
        If its path leads out of it, or it cannot be reached.
    """
    if source.datastore is not None:
        datastore = Datastores(store)[source.datastore]
        if isinstance(datastore.location, LocalFolder):
            return LocalPlace(
                datastore.location.root, source.path, location=datastore.location, skipped=str(store.path)
            )
        return RemotePlace(datastore, source.path, base=source.datastore)
    if "://" in source.path:
        datastore, path = open_url(source.path, folder=store.path)
        return RemotePlace(datastore, path, base=datastore.url)
    return LocalPlace("/", source.path.lstrip("/"), location=None, skipped=str(store.path))


class LocalPlace:
    """Files of this machine, by their path below a root."""

    is_atomic = False

    def __init__(self, root: str, path: str, *, location: LocalFolder | None, skipped: str) -> None:
        self._root = root.rstrip("/")
        self._path = path
        self._location = location
        #: The workspace, which changes all the time.
        self._skipped = skipped
        self._is_pattern = has_wildcard(path)
        folder, rest = split_pattern(path) if self._is_pattern else (path, "**")
        self._prefix = f"{folder}/" if folder else ""
        self._matches = compile_pattern(rest).match
        self._depth = depth_of(rest)

    def find_folder(self) -> tuple[str, bool] | None:
        """The folder in which files can appear, and whether those below it count, too; None if it is not there."""
        place = f"{self._root}/{self._prefix}"
        if os.path.isdir(place):
            return place.rstrip("/") or "/", self._depth != 0
        above = os.path.dirname(place.rstrip("/"))
        return (above, False) if not self._is_pattern and os.path.isdir(above) else None

    def name_of(self, place: str) -> str | None:
        """The name of the file at an absolute path; None if it does not count."""
        if not place.startswith(f"{self._root}/") or place.startswith(f"{self._skipped}/"):
            return None
        name = place[len(self._root) + 1 :]
        if name == self._path:
            return name
        rest = name[len(self._prefix) :]
        counts = name.startswith(self._prefix) and self._matches(rest) and not _is_temporary(rest) and _is_text(name)
        return name if counts else None

    def may_hold(self, folder: str) -> bool:
        """Whether there can be files that count below a folder, by its absolute path."""
        if f"{folder}/".startswith(f"{self._skipped}/"):
            return False
        base = f"{self._root}/{self._prefix}"
        return f"{folder}/" == base or (self._depth != 0 and folder.startswith(base))

    def show(self, name: str) -> str:
        return f"{self._root}/{name}"

    def scan(self) -> dict[str, str]:
        place = self._root + "/" + self._prefix.rstrip("/")
        if self._location is not None:
            self._location.place(self._prefix.rstrip("/"))
        found: dict[str, str] = {}
        if not self._is_pattern and self._path and not os.path.isdir(place):
            return self.look_at([self._path])
        self._collect(place, self._prefix, found, self._depth)
        return found

    def _collect(self, folder: str, prefix: str, found: dict[str, str], depth: int | None) -> None:
        start, matches = len(self._prefix), self._matches
        takes_all = not self._is_pattern
        try:
            entries = os.scandir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        with entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_symlink() and self._location is not None:
                    self._location.place(name)
                if entry.is_dir(follow_symlinks=False):
                    if depth != 0 and entry.path != self._skipped:
                        self._collect(entry.path, f"{name}/", found, None if depth is None else depth - 1)
                    continue
                if (not takes_all and not matches(name[start:])) or entry.name.startswith(TEMPORARY):
                    continue
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    # It has gone meanwhile, or is a link to nothing.
                    continue
                if stat.S_ISREG(status.st_mode) and _is_text(name):
                    found[name] = f"{status.st_size}:{status.st_mtime_ns}"

    def look_at(self, names: Iterable[str]) -> dict[str, str]:
        found = {}
        for name in names:
            try:
                status = os.stat(self._location.place(name) if self._location is not None else self.show(name))
            except (FileNotFoundError, NotADirectoryError):
                continue
            if stat.S_ISREG(status.st_mode):
                found[name] = f"{status.st_size}:{status.st_mtime_ns}"
        return found


class RemotePlace:
    """Objects of another store, by their path on it."""

    def __init__(self, datastore: Datastore, path: str, *, base: str) -> None:
        self._datastore = datastore
        self._path = path
        self._base = base.rstrip("/")
        self.is_atomic = datastore.is_atomic

    def scan(self) -> dict[str, str]:
        return {entry.path: _stamp(entry) for entry in self._datastore.list(self._path)}

    def look_at(self, names: Iterable[str]) -> dict[str, str]:
        # To ask for each may take longer than to ask for all.
        wanted = set(names)
        return {name: stamp for name, stamp in self.scan().items() if name in wanted}

    def show(self, name: str) -> str:
        return f"{self._base}/{name}"


def is_fresh(stamp: str) -> bool:
    """Whether a file of this machine was written to just now."""
    age_s = CLOCK.time() - int(stamp.rpartition(":")[2]) / 1e9
    return 0 <= age_s < _FRESH_S


def _stamp(entry: Entry) -> str:
    # What is made of a time that is not exact comes and goes with the age of the file.
    if entry.validator is not None and not entry.validator.startswith("mtime:"):
        return entry.validator
    return f"{entry.size_bytes}:{'' if entry.modified_at is None else entry.modified_at.isoformat()}"


def _is_temporary(path: str) -> bool:
    return path.rpartition("/")[2].startswith(TEMPORARY)


def _is_text(name: str) -> bool:
    """Whether a name can be kept: not every sequence of bytes is UTF-8."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
