"""From a definition to files of this machine with their digests; objects of other stores are fetched once."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path

import attrs
from blake3 import blake3

from pipelite._optional import require
from pipelite.clock import CLOCK
from pipelite.data.databases import Parameters, ask_file, ask_server
from pipelite.data.datastores import Datastore, Datastores, open_url
from pipelite.data.definition import Definition, Source
from pipelite.data.known import KnownDigests, remember
from pipelite.data.locations import TEMPORARY, Entry, LocalFolder
from pipelite.data.paths import compile_pattern, depth_of, has_wildcard, split_pattern
from pipelite.errors import DatasetError
from pipelite.fingerprint import FileCache, digest_file
from pipelite.fingerprint.files import ATTEMPTS, SETTLED_NS
from pipelite.records import ArtifactRef
from pipelite.store import CACHE, Store

_log = logging.getLogger("pipelite.data")


@attrs.frozen(slots=True)
class FoundFile:
    """One file of a dataset, as it was looked at: also the bytes of a remote one are here."""

    #: Relative to the folder before the first wildcard, with forward slashes.
    name: str
    #: Where the bytes are on this machine.
    place: str
    digest: str
    size_bytes: int
    mtime_ns: int
    inode: int
    #: Whether its last change was long enough ago, when it was read, for a further one to show in its time.
    is_settled: bool

    @property
    def stamp(self) -> tuple[int, int, int]:
        """What `stat` said of it."""
        return self.size_bytes, self.mtime_ns, self.inode

    def is_unchanged(self) -> bool:
        """Whether the file is as it was looked at."""
        try:
            status = os.stat(self.place)
        except OSError:
            return False
        if self.is_settled and (status.st_size, status.st_mtime_ns, status.st_ino) == self.stamp:
            return True
        # It may have been touched, or copied to its place again.
        return status.st_size == self.size_bytes and digest_file(self.place) == self.digest


class Finder:
    """Finds the files of definitions in one workspace.

    `needs_bytes` is false where only digests matter: then an object whose digest is known is not fetched.
    """

    def __init__(self, store: Store, files: FileCache | None = None, *, needs_bytes: bool = True) -> None:
        self._store = store
        self._needs_bytes = needs_bytes
        self._files = files if files is not None else store.file_cache
        self._datastores = Datastores(store)

    def find(self, definition: Definition, *, dataset: str, known: Sequence[FoundFile] = ()) -> list[FoundFile]:
        """All files of a definition, those of one source by name.

        Parameters
        ----------
        dataset : str
            What it is called, for messages.
        known : sequence of FoundFile
            Found before; one that is as it was is not read again.

        Raises
        ------
        DatasetError
            If a path or pattern finds nothing, or a file cannot be read.
        DatastoreError
            If a store refuses or goes away.
        """
        remembered = {each.place: each for each in known}
        found: list[FoundFile] = []
        for source in definition.sources:
            try:
                if definition.is_on_server:
                    found.append(self._ask(definition, source.path, dataset))
                else:
                    more = self._find_source(source, dataset, remembered)
                    if not more and source.artifact is None and not definition.options.get("missing_ok"):
                        raise DatasetError(_nothing(source, dataset), dataset=dataset)
                    found += more
            except OSError as exc:
                raise DatasetError(
                    f"dataset {dataset}: {exc.filename or str(source)!r} cannot be read ({exc.strerror or exc}); "
                    "look at its permissions, and at the disk",
                    dataset=dataset,
                ) from exc
        return found

    def _find_source(self, source: Source, dataset: str, known: dict[str, FoundFile]) -> list[FoundFile]:
        if source.artifact is not None:
            return self._find_artifact(source, dataset, known)
        if source.datastore is not None:
            datastore = self._datastores[source.datastore]
            location = datastore.location
            if isinstance(location, LocalFolder):
                return self._find_local(location.root, source, location, dataset, known)
            return self._find_remote(datastore, source.path, source, dataset)
        if "://" in source.path:
            datastore, pattern = open_url(source.path, folder=self._store.path)
            return self._find_remote(datastore, pattern, source, dataset)
        return self._find_local("/", source, None, dataset, known)

    # Files of this machine.

    def _find_local(
        self, root: str, source: Source, location: LocalFolder | None, dataset: str, known: dict[str, FoundFile]
    ) -> list[FoundFile]:
        pattern = source.path.lstrip("/")
        listed: list[tuple[str, str, os.stat_result]] = []
        if not has_wildcard(pattern):
            place = location.place(pattern) if location is not None else os.path.join(root, pattern)
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if os.path.isdir(place):
                    listed = _list_folder(place, depth=None, location=location, prefix=pattern)
                else:
                    listed = [(os.path.basename(place), place, os.stat(place))]
        else:
            folder, rest = split_pattern(pattern)
            place = location.place(folder) if location is not None else os.path.join(root, folder)
            matches = compile_pattern(rest).match
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                everything = _list_folder(place, depth=depth_of(rest), location=location, prefix=folder)
                listed = [each for each in everything if matches(each[0])]
        if not listed:
            return []
        if source.names is not None:
            by_name = {each[0]: each for each in listed}
            listed = [by_name[name] for name in _checked_names(source, by_name, dataset)]
        return self._digest(listed, known)

    def _digest(
        self, listed: Sequence[tuple[str, str, os.stat_result]], known: dict[str, FoundFile]
    ) -> list[FoundFile]:
        stored = self._files.get_many([place for _, place, _ in listed if place not in known])
        now = CLOCK.time_ns()
        found = []
        for name, place, status in listed:
            size, mtime_ns, inode = stamp = status.st_size, status.st_mtime_ns, status.st_ino
            before = known.get(place)
            row = stored.get(place)
            if before is not None and before.is_settled and before.stamp == stamp:
                found.append(attrs.evolve(before, name=name))
                continue
            if row is not None and row[:3] == stamp:
                content = row[3]
            else:
                content, (size, mtime_ns, inode) = self._read(place, stamp)
            found.append(FoundFile(name, place, content, size, mtime_ns, inode, now - mtime_ns >= SETTLED_NS))
        return found

    def _read(self, place: str, stamp: tuple[int, int, int]) -> tuple[str, tuple[int, int, int]]:
        """Digest of a file, and what `stat` says of just these bytes."""
        for _ in range(ATTEMPTS):
            content = digest_file(place, self._files)
            status = os.stat(place)
            before, stamp = stamp, (status.st_size, status.st_mtime_ns, status.st_ino)
            if before == stamp:
                return content, stamp
        raise DatasetError(f"the file {place!r} changes again and again; wait until nothing writes to it")

    def _find_artifact(self, source: Source, dataset: str, known: dict[str, FoundFile]) -> list[FoundFile]:
        ref = ArtifactRef(**dict(source.artifact or {}))
        place = str(self._store.artifacts.path(ref))
        if not self._store.artifacts.is_intact(ref):
            raise DatasetError(
                f"dataset {dataset}: the output {source.path!r} that it was made from is missing or damaged; "
                "run the pipeline again that computes it, and register it again",
                dataset=dataset,
            )
        if ref.kind == "folder":
            return self._digest(_list_folder(place, depth=None, location=None, prefix=""), known)
        return self._digest([(os.path.basename(place), place, os.stat(place))], known)

    # Objects of other stores.

    def _find_remote(self, datastore: Datastore, path: str, source: Source, dataset: str) -> list[FoundFile]:
        entries = datastore.list(path)
        if not entries:
            return []
        if has_wildcard(path):
            base = split_pattern(path)[0]
        else:
            base = path if entries[0].path != path else path.rpartition("/")[0]
        start = len(base) + 1 if base else 0
        if source.names is not None:
            by_name = {entry.path[start:]: entry for entry in entries}
            entries = [by_name[name] for name in _checked_names(source, by_name, dataset)]
        unknown = [entry.path for entry in entries if entry.validator is None]
        if unknown:
            _log.warning(
                "dataset %s: datastore %r does not say whether %r changes, so it is fetched on every use",
                dataset,
                datastore.name,
                unknown[0],
            )
        digests = KnownDigests(self._store, datastore, [entry.path for entry in entries])
        return [self._fetch(datastore, entry, entry.path[start:], digests.get(entry)) for entry in entries]

    def _fetch(self, datastore: Datastore, entry: Entry, name: str, known: str | None) -> FoundFile:
        """The local copy of an object; its bytes are read from the store unless its digest is known."""
        if known is not None:
            if not self._needs_bytes:
                return file_elsewhere(self._store, name, known, entry.size_bytes)
            copy = self._look_at_copy(name, known)
            if copy is not None:
                return copy
        content = self._keep_copy(name, lambda partial: datastore.fetch(entry, str(partial)))
        # Only if it was the same before and after is what was read what the validator stands for.
        after = datastore.find(entry.path)
        if entry.validator is not None and after is not None and after.validator == entry.validator:
            remember(self._store, [(datastore, entry, content)])
        copy = self._look_at_copy(name, content)
        assert copy is not None
        return copy

    def _keep_copy(self, name: str, write: Callable[[Path], None]) -> str:
        """Keep what `write` writes to a path, under its digest, which is given."""
        folder = self._store.path / CACHE
        folder.mkdir(exist_ok=True)
        partial = folder / f"{TEMPORARY}{os.getpid()}-{os.urandom(6).hex()}"
        try:
            write(partial)
            content = digest_file(partial)
            place = copy_of(self._store, content)
            if self._look_at_copy(name, content) is None:
                place.parent.mkdir(exist_ok=True)
                partial.chmod(0o444)
                os.replace(partial, place)
        finally:
            partial.unlink(missing_ok=True)
        return content

    def _ask(self, definition: Definition, url: str, dataset: str) -> FoundFile:
        """The rows that a query gives on a server now, as a file of the cache."""
        options = definition.options
        _log.warning("dataset %s: a server does not say whether its rows change, so it is asked on every use", dataset)
        table = ask_server(
            url,
            options["query"],
            options["parameters"],
            options.get("credentials", {}),
            dataset=dataset,
            folder=self._store.path,
        )
        parquet = require("pyarrow.parquet", extra="data")
        content = self._keep_copy("rows.parquet", lambda partial: parquet.write_table(table, partial))
        copy = self._look_at_copy("rows.parquet", content)
        assert copy is not None
        return copy

    def _look_at_copy(self, name: str, content: str) -> FoundFile | None:
        """The copy with this digest, if it is there and nobody has changed it."""
        place = copy_of(self._store, content)
        try:
            status = os.stat(place)
            if digest_file(place, self._files) != content:
                return None
        except OSError:
            return None
        # Nobody writes to it.
        return FoundFile(name, str(place), content, status.st_size, status.st_mtime_ns, status.st_ino, is_settled=True)


def copy_of(store: Store, content: str) -> Path:
    """Where the local copy of an object with this digest is, if there is one."""
    return store.path / CACHE / content[:2] / content


def file_elsewhere(store: Store, name: str, content: str, size_bytes: int) -> FoundFile:
    """A file of another store whose digest is known, and whose bytes need not be here."""
    return FoundFile(name, str(copy_of(store, content)), content, size_bytes, 0, 0, is_settled=False)


def _checked_names(source: Source, there: Container[str], dataset: str) -> Sequence[str]:
    """The names of a source that has some, if all of them are there."""
    assert source.names is not None
    missing = [name for name in source.names if name not in there]
    if missing:
        raise DatasetError(
            f"dataset {dataset}: of its files {len(missing)} are gone, such as {missing[0]!r} in {str(source)!r}; "
            "have it made again",
            dataset=dataset,
        )
    return source.names


def query_result(store: Store, database: FoundFile, query: str, parameters: Parameters, *, dataset: str) -> Path:
    """The rows that a query gives, as a Parquet file in the cache; the query is run once per content of the database.

    Raises
    ------
    DatasetError
        If the query is wrong, with what the database says of it.
    """
    asked = blake3(json.dumps([database.digest, query, parameters], sort_keys=True).encode()).hexdigest()
    place = store.path / CACHE / "queries" / f"{asked}.parquet"
    if place.exists():
        return place
    parquet = require("pyarrow.parquet", extra="data")
    table = ask_file(database.place, query, parameters, dataset=dataset)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f"{TEMPORARY}{os.getpid()}-{os.urandom(6).hex()}")
    try:
        parquet.write_table(table, partial)
        os.replace(partial, place)
    finally:
        partial.unlink(missing_ok=True)
    return place


def _list_folder(
    folder: str, *, depth: int | None, location: LocalFolder | None, prefix: str
) -> list[tuple[str, str, os.stat_result]]:
    """(name relative to the folder, place, status) of the files in a folder and so many levels below it, by name."""
    found: list[tuple[str, str, os.stat_result]] = []
    _collect(folder, "", found, depth=depth, location=location, prefix=prefix)
    found.sort(key=lambda each: each[0])
    return found


def _collect(
    folder: str,
    name: str,
    found: list[tuple[str, str, os.stat_result]],
    *,
    depth: int | None,
    location: LocalFolder | None,
    prefix: str,
) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(TEMPORARY):
                continue
            relative = name + entry.name
            if location is not None and entry.is_symlink():
                location.place(f"{prefix}/{relative}")
            if entry.is_file():
                found.append((relative, entry.path, entry.stat()))
            elif depth != 0 and entry.is_dir(follow_symlinks=False):
                below = None if depth is None else depth - 1
                _collect(entry.path, f"{relative}/", found, depth=below, location=location, prefix=prefix)


def _nothing(source: Source, dataset: str) -> str:
    what = "no file matches" if has_wildcard(source.path) else "there is no file or folder"
    if source.datastore is None and source.path.startswith(("http://", "https://")):
        # A server that does not answer has no files, either.
        return f"dataset {dataset}: {what} {str(source)!r} that its server gives; correct the URL, or see that it can be reached"
    return f"dataset {dataset}: {what} {str(source)!r}; correct the path, or put the files there"


def total_size(files: Iterable[FoundFile]) -> int:
    """Bytes of all files together."""
    return sum(each.size_bytes for each in files)
