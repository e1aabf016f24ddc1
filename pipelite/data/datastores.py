"""Datastores: named places for data, kept in the workspace."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import posixpath
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from pipelite.data.copying import Copier, Item, Progress, is_path_of_file, list_local
from pipelite.data.credentials import (
    check_options,
    check_references,
    check_url,
    hide,
    load_credentials,
    merge,
)
from pipelite.data.locations import (
    ATOMIC,
    EXTRAS,
    TEMPORARY,
    Entry,
    Garbled,
    LocalFolder,
    Location,
    RemoteFolder,
    md5_of_file,
)
from pipelite.data.paths import checked, compile_pattern, depth_of, has_wildcard, split_pattern
from pipelite.data.retries import is_passing, is_refusal, retrying
from pipelite.errors import DatastoreError, PipeliteError, UnknownNameError
from pipelite.store import LOCAL_DATA, Store, hold_store, now_text

T = TypeVar("T")

#: The datastore that is always there.
LOCAL = "local"
_NAME = re.compile(r"[A-Za-z_][\w-]{0,63}\Z")


@attrs.frozen(kw_only=True)
class DatastorePath:
    """A path, or a pattern of paths, on a datastore."""

    datastore: str
    path: str

    def __str__(self) -> str:
        return f"{self.datastore}/{self.path}"


class Datastore:
    """A named place for data: a folder, bucket or container, and how to get at it.

    Paths are relative to it, with forward slashes; one that leads out of it is refused.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        folder: Path,
        options: Mapping[str, Any] | None = None,
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        #: Where it is, without credentials.
        self.url = url
        #: What the library behind it is told.
        self.options: Mapping[str, Any] = dict(options or {})
        #: Where its credentials are: option to `env:NAME` or `file:PATH`.
        self.credentials: Mapping[str, str] = dict(credentials or {})
        self._folder = folder
        self._location: Location | None = None
        self._guard = threading.Lock()
        self._secrets: Mapping[str, Any] = {}

    @property
    def protocol(self) -> str:
        """ "file", "s3", "abfs", "gcs", "sftp", "http", "memory", or another that fsspec knows."""
        return self.url.partition("://")[0]

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return self.protocol == "file"

    @property
    def is_atomic(self) -> bool:
        """Whether its objects appear when they are complete, or not at all, whoever writes them."""
        return self.protocol in ATOMIC

    @property
    def location(self) -> Location:
        """What lists, opens and puts; for tools."""
        with self._guard:
            if self._location is None:
                if self.is_local:
                    self._location = LocalFolder(self.url.removeprefix("file://") or "/", name=self.name)
                else:
                    self._location = RemoteFolder(self.url, self._full_options)
            return self._location

    def _full_options(self) -> Mapping[str, Any]:
        self._secrets = load_credentials(self.name, self.credentials, self._folder)
        return merge(self.options, self._secrets)

    def path(self, path: str) -> DatastorePath:
        """A path or a pattern on it, for `Dataset.from_...`.

        Raises
        ------
        DatastoreError
            If it leads out of the datastore.
        """
        return DatastorePath(datastore=self.name, path=checked(path, datastore=self.name))

    def list(self, path: str = "") -> Sequence[Entry]:
        """Files below a folder, or that match a pattern (`*`, `?`, `[...]`, `**` for any folders), by name.

        Raises
        ------
        DatastoreError
            If the store refuses, is not there, or the path leads out of it.
        """
        path = checked(path, datastore=self.name)
        return self.ask(lambda: self._list(path), f"list {path or 'its root'}")

    def _list(self, path: str) -> Sequence[Entry]:
        if not has_wildcard(path):
            one = self.location.find(path) if path else None
            return [one] if one is not None else list(self.location.iter_files(path))
        folder, rest = split_pattern(path)
        matches = compile_pattern(rest).match
        start = len(folder) + 1 if folder else 0
        entries = self.location.iter_files(folder, depth=depth_of(rest))
        return [entry for entry in entries if matches(entry.path[start:])]

    def find(self, path: str) -> Entry | None:
        """One file; None if there is none."""
        path = checked(path, datastore=self.name)
        return self.ask(lambda: self.location.find(path), f"look for {path!r}")

    def upload(
        self,
        source: str | os.PathLike[str],
        target: str = "",
        *,
        overwrite: bool = False,
        show_progress: bool = False,
        verify: bool = True,
    ) -> Sequence[str]:
        """Put a file, or all files of a folder, into it; gives their paths.

        Each file appears when it is complete, or not at all. One that is there already is left as it is, so an upload
        that was interrupted goes on where it was. Several files are on their way at once.

        Parameters
        ----------
        target : str
            Folder to put them in; for one file, also its path if it has another name, such as ``raw/new.csv``.
        overwrite : bool
            Replace files that are there; those with the same content are not sent again.
        verify : bool
            Compare checksums after the transfer, not only sizes; where a store has none of its own, what arrived is read.

        Raises
        ------
        DatastoreError
            If the source is missing, the store refuses or goes away, or a path leads out.
        """
        items = self._items(Path(source), target)
        progress = Progress("uploaded", len(items), is_shown=show_progress)
        copier = Copier(None, self, store=hold_store(self._folder), keeps=not overwrite, verify=verify)
        return [copied.item.path for copied in copier.run(items, progress)]

    def _items(self, source: Path, target: str) -> Sequence[Item]:
        prefix = checked(target, datastore=self.name)
        try:
            files = list_local(source, whose=str(source))
        except FileNotFoundError:
            raise DatastoreError(
                f"there is no file or folder {str(source)!r} to upload to datastore {self.name!r} (seen from {os.getcwd()})",
                datastore=self.name,
            ) from None
        if source.is_file() and not target.endswith("/") and is_path_of_file(prefix, source.name):
            return [attrs.evolve(each, path=prefix) for each in files]
        return [
            attrs.evolve(each, path=checked(posixpath.join(prefix, each.path), datastore=self.name)) for each in files
        ]

    def download(
        self, path: str, folder: str | os.PathLike[str], *, overwrite: bool = False, show_progress: bool = False
    ) -> Sequence[Path]:
        """Copy a file, the files below a folder, or those that match a pattern, into a local folder; gives the copies.

        Each lies there under its path relative to the folder that was named, complete or not at all. One that is there
        already is left as it is; with `overwrite` it is replaced, unless it has the same content.

        Raises
        ------
        DatastoreError
            If nothing is there, the store refuses or goes away, or a name leads out of the folder.
        """
        path = checked(path, datastore=self.name)
        entries = self.list(path)
        if not entries:
            raise DatastoreError(self.nothing_at(path), datastore=self.name)
        base = self.base_of(path, entries)
        root = os.path.abspath(folder)
        os.makedirs(root, exist_ok=True)
        items = [self.item_of(entry, checked(entry.path[len(base) :], datastore=self.name)) for entry in entries]
        progress = Progress("downloaded", len(items), is_shown=show_progress)
        place = local_folder(root, folder=self._folder, name=str(folder))
        copier = Copier(self, place, store=hold_store(self._folder), keeps=not overwrite)
        return [Path(root, copied.item.path) for copied in copier.run(items, progress)]

    def item_of(self, entry: Entry, path: str) -> Item:
        """A file of it that is to be copied to a path; for tools."""
        if isinstance(self.location, LocalFolder):
            return Item(path=path, size_bytes=entry.size_bytes, place=self.location.place(entry.path))
        return Item(path=path, size_bytes=entry.size_bytes, entry=entry)

    @staticmethod
    def base_of(path: str, entries: Sequence[Entry]) -> str:
        """What the names of entries begin with that is not part of their names in a copy."""
        if has_wildcard(path):
            folder = split_pattern(path)[0]
        elif len(entries) == 1 and entries[0].path == path:
            folder = posixpath.dirname(path)
        else:
            folder = path
        return f"{folder}/" if folder else ""

    def fetch(self, entry: Entry, target: str) -> None:
        """Copy one file to a local path, complete or not at all.

        Raises
        ------
        DatastoreError
            If the store refuses or goes away.
        """
        self.ask(lambda: self._fetch(entry, target), f"read {entry.path!r}")

    def _fetch(self, entry: Entry, target: str) -> None:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        partial = os.path.join(os.path.dirname(target), f"{TEMPORARY}{os.urandom(6).hex()}")
        try:
            self.location.get(entry.path, partial)
            size = os.path.getsize(partial)
            # HTTP servers may not say how large a file is.
            is_whole = size == entry.size_bytes or (self.protocol in ("http", "https") and not entry.size_bytes)
            if not is_whole or not self._has_checksum(partial, entry):
                raise Garbled(
                    f"{entry.path!r} was cut off or changed while it was read: {size} of {entry.size_bytes} bytes"
                )
            os.replace(partial, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)
            raise

    def _has_checksum(self, copy: str, entry: Entry) -> bool:
        """Whether a copy has the checksum of its entry, as far as there is one."""
        expected = entry.md5 or entry.likely_md5
        if expected is None:
            return True
        found = md5_of_file(copy)
        if found == expected or entry.md5 is not None:
            return found == expected
        # The ETag of an encrypted object looks like an MD5, and is none: then another read gives the same bytes.
        again = f"{copy}-again"
        try:
            self.location.get(entry.path, again)
            return md5_of_file(again) == found
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(again)

    def put(self, source: str, path: str, *, verify: bool = True) -> Entry | None:
        """Put one local file in place, complete or not at all; gives what is there then, where that can be told.

        Raises
        ------
        DatastoreError
            If the store refuses or goes away, or the path leads out of it.
        """
        path = checked(path, datastore=self.name)
        return self.ask(functools.partial(self.location.put, source, path, verify=verify), f"write {path!r}")

    def remove(self, path: str) -> None:
        """Remove a file; nothing happens if there is none."""
        path = checked(path, datastore=self.name)
        self.ask(lambda: self.location.remove(path), f"remove {path!r}")

    def nothing_at(self, path: str) -> str:
        """What to say where nothing is found; for tools."""
        what = "no file matches" if has_wildcard(path) else "there is no file or folder"
        return f"{what} {path!r} on datastore {self.name!r} ({self.url}); `pipelite datastores show {self.name}` lists what is there"

    def ask(self, action: Callable[[], T], what: str) -> T:
        """Have the store do something, again if it fails for a moment, and explain it when it fails for good; for tools."""
        location = self.location
        try:
            return retrying(action, between=location.reconnect)
        except PipeliteError:
            raise
        except Exception as exc:
            location.reconnect()
            error = DatastoreError(self._explain(exc, what), datastore=self.name)
            # The library's own traceback may hold what it was given.
            raise error from (None if self._secrets else exc)

    def _explain(self, exc: Exception, what: str) -> str:
        said = " ".join(hide(f"{type(exc).__name__}: {exc}".rstrip(": "), self._secrets).split())
        where = f"datastore {self.name!r} ({self.url})"
        if is_passing(exc):
            return f"{where} cannot be reached to {what}, also after several tries ({said}); try again when it is there"
        if is_refusal(exc):
            if self.is_local:
                return f"{where} refuses to {what} ({said}); check the permissions of the folder"
            known = ", ".join(f"{option} from {place}" for option, place in self.credentials.items()) or "none"
            return f"{where} refuses to {what} ({said}); check its credentials ({known}) and what they may do"
        return f"{where} failed to {what} ({said})"

    def describe(self) -> dict[str, Any]:
        """Everything that may be shown; plain JSON."""
        return {
            "name": self.name,
            "url": self.url,
            "protocol": self.protocol,
            "options": dict(self.options),
            "credentials": dict(self.credentials),
        }

    def __repr__(self) -> str:
        return f"<datastore {self.name!r}: {self.url}>"

    def __reduce__(self) -> Any:
        raise TypeError(f"datastore {self.name!r} does not travel; pass its name, and open it where it is used")


#: By workspace, name and process, as long as nothing is changed: they keep their connections.
_opened: dict[tuple[Path, str, int], tuple[tuple[Any, ...], Datastore]] = {}


class Datastores(Mapping[str, Datastore]):
    """The datastores of a workspace, by name. `local`, a folder in the workspace, is always there."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def register(
        self,
        name: str,
        url: str | os.PathLike[str],
        *,
        options: Mapping[str, Any] | None = None,
        credentials: Mapping[str, str] | None = None,
    ) -> Datastore:
        """Add a datastore, or replace the one of that name.

        Parameters
        ----------
        url : str or Path
            A local folder, or the URL of one: ``s3://bucket/folder``, ``abfs://container/folder``, ``gcs://``,
            ``sftp://host/folder``, ``https://``, ``memory://``.
        options : mapping
            What the library behind it is told besides, such as ``{"endpoint_url": "http://127.0.0.1:9000"}``; kept in the
            database, so nothing secret.
        credentials : mapping of str to str
            Option to where its value is: ``env:NAME`` for an environment variable, ``file:PATH`` for a file with mode
            0600. An option inside of another is written with a dot: ``client_kwargs.token``.

        Raises
        ------
        DatastoreError
            If the name or the URL is wrong, or a secret would be kept in the database.
        """
        if not _NAME.match(name):
            raise DatastoreError(f"{name!r} is no name for a datastore; letters, digits, '_' and '-' are allowed")
        if name == LOCAL:
            raise DatastoreError(f"the datastore {LOCAL!r} is built in; choose another name")
        url = _checked_url(name, os.fspath(url))
        check_options(name, options or {})
        check_references(name, credentials or {})
        try:
            texts = json.dumps(dict(options or {}), sort_keys=True), json.dumps(dict(credentials or {}), sort_keys=True)
        except TypeError as exc:
            raise DatastoreError(
                f"datastore {name!r}: its options are kept as JSON, and these cannot be: {exc}"
            ) from None
        with self._store.database.write() as connection:
            connection.execute(
                "INSERT INTO datastores (name, url, options, credentials, created_at) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET url = excluded.url, options = excluded.options, "
                "credentials = excluded.credentials, created_at = excluded.created_at",
                (name, url, *texts, now_text()),
            )
        return self[name]

    def remove(self, name: str) -> None:
        """Forget a datastore; the data stay where they are.

        Raises
        ------
        UnknownNameError
            If there is none of that name.
        """
        if name == LOCAL:
            raise DatastoreError(f"the datastore {LOCAL!r} is built in and stays")
        self[name]
        with self._store.database.write() as connection:
            connection.execute("DELETE FROM datastores WHERE name = ?", (name,))

    def __getitem__(self, name: str) -> Datastore:
        """One datastore.

        Raises
        ------
        UnknownNameError
            If there is none of that name; it is a KeyError too.
        """
        if name == LOCAL:
            return Datastore(LOCAL, f"file://{self._store.path / LOCAL_DATA}", folder=self._store.path)
        rows = self._store.database.read("SELECT * FROM datastores WHERE name = ?", (name,))
        if not rows:
            raise UnknownNameError(
                f"there is no datastore {name!r}; there are {', '.join(self)}; `pipelite datastores add {name} URL` makes one"
            )
        stamp, place = tuple(rows[0]), (self._store.path, name, os.getpid())
        known = _opened.get(place)
        if known is None or known[0] != stamp:
            known = _opened[place] = stamp, _from_row(rows[0], self._store.path)
        return known[1]

    def __iter__(self) -> Iterator[str]:
        return iter(
            [LOCAL, *(row["name"] for row in self._store.database.read("SELECT name FROM datastores ORDER BY name"))]
        )

    def __len__(self) -> int:
        return 1 + int(self._store.database.read("SELECT count(*) FROM datastores")[0][0])

    def __repr__(self) -> str:
        return f"<datastores {', '.join(self)}>"


def open_url(url: str, *, folder: Path) -> tuple[Datastore, str]:
    """A datastore without a name for a URL, which needs no credentials of its own, and the path on it."""
    check_url("(none)", url)
    base, pattern = split_pattern(url.partition("://")[2])
    protocol = url.partition("://")[0]
    if not base:
        raise DatastoreError(f"the URL {url!r} names no file")
    return Datastore(f"{protocol}://{base}", f"{protocol}://{base}", folder=folder), pattern


def local_folder(root: str, *, folder: Path, name: str) -> Datastore:
    """A datastore without a name for a folder of this machine."""
    return Datastore(name, f"file://{root}", folder=folder)


def _from_row(row: sqlite3.Row, folder: Path) -> Datastore:
    return Datastore(
        row["name"],
        row["url"],
        folder=folder,
        options=json.loads(row["options"]),
        credentials=json.loads(row["credentials"]),
    )


def _checked_url(name: str, url: str) -> str:
    check_url(name, url)
    protocol, separator, rest = url.partition("://")
    if not separator:
        return f"file://{os.path.abspath(os.path.expanduser(url))}"
    if protocol == "file":
        return f"file://{os.path.abspath(rest)}"
    if protocol not in EXTRAS:
        from pipelite._optional import require

        known = require("fsspec", extra="data").available_protocols()
        if protocol not in known:
            raise DatastoreError(
                f"datastore {name!r}: nothing is known of {protocol!r}; use a folder, or one of {', '.join(EXTRAS)}",
                datastore=name,
            )
    if protocol != "memory" and not rest.strip("/"):
        raise DatastoreError(f"datastore {name!r}: {url!r} names no bucket, container or host", datastore=name)
    return url.rstrip("/") if rest else url
