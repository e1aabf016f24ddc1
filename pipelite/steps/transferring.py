"""What a transfer copies, and where to; and what runs in the worker for it."""

from __future__ import annotations

import itertools
import os
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from pipelite import define
from pipelite.data import Dataset, Datastore, DatastorePath, Datastores, Definition, Source
from pipelite.data.copying import Copied, Copier, Item, Progress, is_path_of_file, list_local
from pipelite.data.datastores import local_folder, open_url
from pipelite.data.finding import FoundFile, file_elsewhere
from pipelite.data.locations import LocalFolder
from pipelite.data.paths import checked, has_wildcard
from pipelite.data.staging import Staging
from pipelite.errors import DatasetError, DatastoreError, DefinitionError
from pipelite.execute import current_run
from pipelite.steps.placeholders import Input
from pipelite.store import Store, hold_store

SOURCE, TARGET = "source of the transfer", "target of the transfer"


def shown(value: Any) -> str:
    """A source or a target as messages name it."""
    # The text of a handle is not known.
    return "..." if isinstance(value, define.Output) else repr(value if isinstance(value, Input) else str(value))


def encode_source(source: Any, where: str) -> dict[str, Any]:
    """A source as it stands in the graph: an input, a value that counts by its content, or an address that is read there.

    Raises
    ------
    DefinitionError
        If it is none.
    DatastoreError
        If it leads out of its datastore.
    """
    if isinstance(source, Input):
        return {"input": source.name}
    if isinstance(source, define.Output | Dataset | Path):
        return {"value": source}
    if not isinstance(source, str | DatastorePath | tuple):
        raise DefinitionError(
            f"{where}: the source is {shown(source)} of type {type(source).__qualname__!r}; it takes a path on a "
            'datastore, such as lake.path("raw"), a Path, a URL, a Dataset, an Input or the output of a step'
        )
    found = _place_of(source, where)
    if found.datastore is None and "://" not in found.path:
        # A file of this machine is an input like any other: it counts by its content.
        return {"value": Dataset.from_files(source) if has_wildcard(found.path) else Path(found.path)}
    return {"address": {"datastore": found.datastore, "path": found.path}}


def encode_target(target: Any, where: str) -> dict[str, Any]:
    """A target as it stands in the graph; raises as `encode_source` does."""
    if not isinstance(target, str | Path | DatastorePath | tuple):
        raise DefinitionError(
            f"{where}: the target is {shown(target)} of type {type(target).__qualname__!r}; it takes a path on a datastore, "
            'such as lake.path("copy"), or a path of this machine'
        )
    text = target[-1] if isinstance(target, tuple) else str(target)
    found = _place_of(target, where)
    if found.datastore is None and "://" in found.path:
        raise DefinitionError(f"{where}: the target is a URL; register a datastore for it, and give a path on that")
    if has_wildcard(found.path):
        raise DefinitionError(f"{where}: the target is a pattern; it takes the path of one file or folder")
    return {"datastore": found.datastore, "path": found.path, "is_folder": text.endswith("/")}


def _place_of(given: str | Path | DatastorePath | tuple[Any, ...], where: str) -> Source:
    sources = Dataset.from_files(given).definition.sources
    if len(sources) != 1:
        raise DefinitionError(
            f"{where}: {given!r} is no pair of a datastore's name and a path; several paths are a Dataset.from_files([...])"
        )
    return sources[0]


# What runs in the worker.


_AS_FILES = Definition(format="files", sources=())


@attrs.frozen(kw_only=True)
class _Origin:
    """What is to be copied."""

    #: `path` is the name of each below the target.
    items: Sequence[Item]
    #: Whether it is one file, and not a folder with one.
    is_file: bool
    #: The folder of this machine that they are in, if they are one.
    folder: str | None = None
    #: How the copy is read.
    definition: Definition = _AS_FILES
    #: Where it is fetched from; None for what is on this machine.
    datastore: Datastore | None = None
    #: What it was read by, unless it is an input of the step.
    read: Source | None = None


@attrs.frozen(kw_only=True)
class _Goal:
    """Where it goes."""

    datastore: Datastore
    #: Path of the folder, or of the file if it is one.
    path: str
    is_file: bool
    #: By what the copy is found again, but for the names of its files.
    source: Source


def run_transfer(**inputs: Any) -> Dataset:
    """Copy the source to the target; gives the dataset of the copy."""
    encoded, target = inputs.pop(SOURCE), inputs.pop(TARGET)
    if "input" in encoded:
        given = inputs[encoded["input"]]
        encoded = encode_source(given, f"input {encoded['input']!r}")
        if isinstance(given, str) and "value" in encoded:
            # The input counted as a text, so what is there is read here.
            encoded = {"address": {"datastore": None, "path": _place_of(given, "").path}}
    store, here = hold_store(), current_run()
    origin = _find_address(encoded["address"], store) if "address" in encoded else _find_value(encoded["value"])
    goal = _find_goal(target, origin, store)
    items = [attrs.evolve(item, path=_path_of(goal, item)) for item in origin.items]
    _refuse_overlap(origin, goal)
    progress = Progress("transferred", len(items), is_shown=here.id is not None)
    try:
        copied = _copy(items, origin, goal, store, progress)
    finally:
        here.log("files", progress.files_sent)
        here.log("bytes", progress.bytes_sent)
        here.log("files_skipped", progress.files_skipped)
        here.log("bytes_skipped", progress.bytes_skipped)
    names = [item.path for item in origin.items]
    if origin.read is not None:
        found = [_read_file(name, each, store) for name, each in zip(names, copied, strict=True)]
        Dataset.from_found(attrs.evolve(_AS_FILES, sources=(origin.read,)), found).note_use()
    written = [_written_file(name, each, goal, store) for name, each in zip(names, copied, strict=True)]
    source = goal.source if goal.is_file else attrs.evolve(goal.source, names=tuple(names))
    result = Dataset.from_found(attrs.evolve(origin.definition, sources=(source,)), written)
    # With that the step is reused only as long as this is what is there.
    result.note_use()
    return result


def _find_value(value: Any) -> _Origin:
    if isinstance(value, Dataset):
        if value.definition.format == "frame":
            raise DatasetError(
                f"the source {value!r} is a DataFrame; a transfer takes files: write it to one, and return its Path"
            )
        files = value.local_files("transfer")
        items = [
            Item(path=each.name, size_bytes=each.size_bytes, place=each.place, digest=each.digest) for each in files
        ]
        is_file = len(items) == 1 and "/" not in items[0].path
        return _Origin(items=_checked(items, "dataset"), is_file=is_file, definition=value.definition)
    if isinstance(value, Path):
        try:
            items = list_local(value, whose=str(value))
        except FileNotFoundError:
            raise DatasetError(f"the source {str(value)!r} is not there (seen from {os.getcwd()})") from None
        folder = os.path.realpath(value) if value.is_dir() else None
        return _Origin(items=_checked(items, str(value)), is_file=folder is None, folder=folder)
    raise DatasetError(
        f"the source is a value of type {type(value).__qualname__!r}; a transfer takes files: have the step that makes it "
        "return the Path of a file or a folder, or a Dataset"
    )


def _find_address(address: Mapping[str, Any], store: Store) -> _Origin:
    read = Source(datastore=address["datastore"], path=address["path"])
    if read.datastore is None and "://" in read.path:
        datastore, path = open_url(read.path, folder=store.path)
    elif read.datastore is None:
        datastore, path = local_folder("/", folder=store.path, name=read.path), read.path.lstrip("/")
    else:
        datastore, path = Datastores(store)[read.datastore], read.path
    entries = datastore.list(path)
    if not entries:
        raise DatastoreError(datastore.nothing_at(path), datastore=datastore.name)
    start = len(datastore.base_of(path, entries))
    items = [datastore.item_of(entry, entry.path[start:]) for entry in entries]
    location = datastore.location
    folder = None
    if isinstance(location, LocalFolder) and not has_wildcard(path) and os.path.isdir(location.place(path)):
        folder = os.path.realpath(location.place(path))
    return _Origin(
        items=_checked(items, datastore.name),
        is_file=len(entries) == 1 and entries[0].path == path,
        folder=folder,
        datastore=datastore,
        read=read,
    )


def _checked(items: Sequence[Item], datastore: str) -> list[Item]:
    """By name, as datasets have them, and none that leads out of the target."""
    found = sorted((attrs.evolve(item, path=checked(item.path, datastore=datastore)) for item in items), key=_name_of)
    if not found:
        raise DatasetError(f"the source {datastore!r} has no files, so there is nothing to transfer")
    for one, other in itertools.pairwise(found):
        if one.path == other.path:
            raise DatasetError(
                f"two files of the source are called {one.path!r}, {one.place!r} and {other.place!r}; transfer them one by one"
            )
    return found


def _name_of(item: Item) -> str:
    return item.path


def _find_goal(target: Mapping[str, Any], origin: _Origin, store: Store) -> _Goal:
    name, path = target["datastore"], target["path"]
    if name is None:
        datastore = local_folder("/", folder=store.path, name=path)
        prefix = path.lstrip("/")
    else:
        datastore, prefix = Datastores(store)[name], path
    location = datastore.location
    is_file_path = target.get("is_file", False) or is_path_of_file(prefix, origin.items[0].path)
    is_folder = target["is_folder"] or (isinstance(location, LocalFolder) and os.path.isdir(location.place(prefix)))
    if origin.is_file and (is_folder or not is_file_path):
        prefix = posixpath.join(prefix, origin.items[0].path)
    if name is None:
        # What is checked for links that lead out is the folder that was given.
        folder, last = os.path.split(f"/{prefix}") if origin.is_file else (path, "")
        datastore, source = local_folder(folder, folder=store.path, name=path), Source(path=f"/{prefix}")
        return _Goal(datastore=datastore, path=last, is_file=origin.is_file, source=source)
    return _Goal(datastore=datastore, path=prefix, is_file=origin.is_file, source=Source(datastore=name, path=prefix))


def _path_of(goal: _Goal, item: Item) -> str:
    return goal.path if goal.is_file else posixpath.join(goal.path, item.path)


def _refuse_overlap(origin: _Origin, goal: _Goal) -> None:
    """A folder is not copied into itself: the copy would be part of the source."""
    location = goal.datastore.location
    if origin.folder is None or not isinstance(location, LocalFolder):
        return
    target = os.path.realpath(os.path.join(location.root, goal.path))
    if f"{target}/".startswith(f"{origin.folder}/"):
        raise DatastoreError(
            f"the target {target!r} lies in the source {origin.folder!r}; choose a target beside the source",
            datastore=goal.datastore.name,
        )


def _copy(items: Sequence[Item], origin: _Origin, goal: _Goal, store: Store, progress: Progress) -> Sequence[Copied]:
    datastore, paths = goal.datastore, [item.path for item in items]
    location = datastore.location
    if not isinstance(location, LocalFolder):
        return Copier(origin.datastore, datastore, store=store, keeps=False).run(items, progress)
    location.place(posixpath.dirname(goal.path) if goal.is_file else goal.path)

    def gather() -> Sequence[Copied]:
        with Staging(location.root, goal.path, is_file=goal.is_file) as staging:
            staging.keep_only(paths)
            copier = Copier(origin.datastore, datastore, store=store, keeps=False, staging=staging)
            copied = copier.run(items, progress)
            staging.finish(paths)
            return copied

    return datastore.ask(gather, f"write {goal.path or 'its root'!r}")


def _read_file(name: str, copied: Copied, store: Store) -> FoundFile:
    item, digest = copied.item, copied.digest or ""
    if item.place is None:
        return file_elsewhere(store, name, digest, item.size_bytes)
    return _local_file(name, item.place, digest)


def _written_file(name: str, copied: Copied, goal: _Goal, store: Store) -> FoundFile:
    location, digest = goal.datastore.location, copied.digest or ""
    if not isinstance(location, LocalFolder):
        return file_elsewhere(
            store, name if not goal.is_file else posixpath.basename(goal.path), digest, copied.item.size_bytes
        )
    place = os.path.join(location.root, copied.item.path)
    return _local_file(name if not goal.is_file else os.path.basename(place), place, digest)


def _local_file(name: str, place: str, digest: str) -> FoundFile:
    status = os.stat(place)
    return FoundFile(name, place, digest, status.st_size, status.st_mtime_ns, status.st_ino, is_settled=False)
