"""The workspace folder: where it is, what lies in it, and the object that holds it open."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType

from pipelite.errors import StorageError, WorkspaceError
from pipelite.records import StoredResult
from pipelite.store.artifacts import ArtifactStore
from pipelite.store.database import Database
from pipelite.store.disk import hold_reserve, use_reserve
from pipelite.store.filesystems import find_network_file_system
from pipelite.store.identities import ItemIdentities, StoredFileCache
from pipelite.store.owners import OwnerLock, temporary_prefix
from pipelite.store.results import find_results
from pipelite.store.schema import CURRENT, Schema

FOLDER = ".pipelite"
DATABASE = "pipelite.db"
VARIABLE = "PIPELITE_WORKSPACE"

#: artifacts: stored outputs; logs: what steps printed; spool: what workers logged and the owner has not stored yet;
#: owners: a lock for each living owner of runs; slots: a lock for each slot of the machine; tmp: files on their way to
#: their name, on the same file system.
AREAS = ("artifacts", "logs", "spool", "owners", "slots", "tmp")

#: Copies of objects of other stores, by digest; made on first use.
CACHE = "cache"
#: What the datastore `local` holds, unless it is registered otherwise; made on first use.
LOCAL_DATA = "data"


_default: ContextVar[Path | None] = ContextVar("pipelite-workspace", default=None)


def find_workspace(path: str | os.PathLike[str] | None = None) -> Path:
    """Return the workspace folder, which need not exist yet.

    The given one, else the one of `Store.as_default`, else that of the environment variable PIPELITE_WORKSPACE, else the
    nearest `.pipelite` in the working directory or above it, else `.pipelite` in the working directory.
    """
    given = path if path is not None else _default.get() or os.environ.get(VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    here = Path.cwd()
    for folder in (here, *here.parents):
        # A file of that name is met when it is opened, with an error that says so.
        if (folder / FOLDER).exists():
            return folder / FOLDER
    return here / FOLDER


class Store:
    """A workspace held open; many processes and threads may do so at once."""

    def __init__(self, path: Path, database: Database) -> None:
        self.path = path
        self.database = database
        self.artifacts = ArtifactStore(path, prefix=lambda: temporary_prefix(self.owner.name))
        self.file_cache = StoredFileCache(database)
        self._items = ItemIdentities(database)
        self._owner: OwnerLock | None = None
        self._guard = threading.Lock()

    @classmethod
    def open(
        cls, path: str | os.PathLike[str] | None = None, *, create: bool = True, schema: Schema = CURRENT
    ) -> Store:
        """Open the workspace at a path, or the one that `find_workspace` finds; a missing one is made.

        Raises
        ------
        WorkspaceError
            If it is missing and is not to be made, cannot be written, lies on a network file system, or is of a newer
            schema.
        """
        folder = find_workspace(path)
        database = folder / DATABASE
        if not create and not database.exists():
            raise WorkspaceError(
                f"there is no workspace at {folder}; run a pipeline first, or point {VARIABLE} at a workspace"
            )
        _refuse_network(folder)
        _make_folders(folder)
        try:
            store = cls(folder, Database(database, schema=schema))
        except StorageError:
            # Also to read it takes some space, for what the processes that have it open share.
            if not use_reserve(folder):
                raise
            return cls(folder, Database(database, schema=schema))
        hold_reserve(folder)
        return store

    @property
    def owner(self) -> OwnerLock:
        """The name under which this process owns runs; taken at the first use."""
        # A forked child has lost the lock of its parent and is an owner of its own.
        with self._guard:
            if self._owner is None or not self._owner.is_held:
                self._owner = OwnerLock(self.path)
            return self._owner

    def find_results(self, keys: Iterable[str]) -> dict[str, list[StoredResult]]:
        """Return what is stored under each of many keys, newest first; a key with nothing is left out."""
        return find_results(self.database, keys)

    def find_item_identity(self, whole: str, item: str) -> str | None:
        """Return the identity of a part of an output, by the identity of the whole and the place within it."""
        return self._items.find(whole, item)

    def keep_item_identity(self, whole: str, item: str, identity: str) -> None:
        """Remember the identity of a part of an output."""
        self._items.keep(whole, item, identity)

    def write_new_identities(self, connection: sqlite3.Connection) -> None:
        """Write the identities of files and items that were found since the last time, as part of a transaction."""
        self.file_cache.write_new(connection)
        self._items.write_new(connection)

    def flush(self) -> None:
        """Write what is only collected so far."""
        if self.file_cache.has_new or self._items.has_new:
            with self.database.write() as connection:
                self.write_new_identities(connection)

    def close(self) -> None:
        """Write what is only collected, and let go of files and locks; runs that are still owned count as interrupted."""
        # What is lost here is found again by hashing: no reason to fail.
        with contextlib.suppress(WorkspaceError):
            self.flush()
        if self._owner is not None:
            self._owner.release()
        self.database.close()

    def __enter__(self) -> Store:
        return self

    @contextlib.contextmanager
    def as_default(self) -> Iterator[None]:
        """What is looked up without naming a workspace is looked up in this one: datasets that are given by name."""
        token = _default.set(self.path)
        try:
            yield
        finally:
            _default.reset(token)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


_held: dict[Path, tuple[Store, int]] = {}
_holding = threading.Lock()


def hold_store(path: str | os.PathLike[str] | None = None, *, create: bool = True) -> Store:
    """The workspace folder, held open once a process."""
    folder = find_workspace(path).resolve()
    with _holding:
        found = _held.get(folder)
        if found is not None and found[1] == _inode(folder):
            return found[0]
        # The folder was removed, and perhaps made anew, under this process.
        if found is not None:
            found[0].close()
        store = Store.open(folder, create=create)
        _held[folder] = store, _inode(folder)
        return store


def _inode(folder: Path) -> int:
    try:
        return (folder / DATABASE).stat().st_ino
    except FileNotFoundError:
        return 0


def _refuse_network(folder: Path) -> None:
    kind = find_network_file_system(folder.resolve())
    if kind is not None:
        raise WorkspaceError(
            f"the workspace {folder} lies on a network file system ({kind}), where a shared database gets damaged; "
            f"point {VARIABLE} at a folder on a local disk"
        )


def _make_folders(folder: Path) -> None:
    try:
        for area in AREAS:
            (folder / area).mkdir(parents=True, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except (FileExistsError, NotADirectoryError) as exc:
        places = (*(folder / area for area in AREAS), folder, *folder.parents)
        in_the_way = next((place for place in places if place.exists() and not place.is_dir()), exc.filename)
        raise WorkspaceError(
            f"the workspace {folder} cannot be made: {in_the_way} is not a folder; "
            f"move it away or point {VARIABLE} at another folder"
        ) from exc
    except OSError as exc:
        raise WorkspaceError(
            f"the workspace {folder} cannot be written: {exc.strerror}; point {VARIABLE} at a folder that can"
        ) from exc
