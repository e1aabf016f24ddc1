"""Frozen copies of source folders: what scripts run from, and what a run that is run again starts from."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from pipelite.errors import ArtifactError, FingerprintError, SourceChangedError
from pipelite.fingerprint import FileCache, digest, digest_file
from pipelite.fingerprint.files import folder_identity
from pipelite.records import ArtifactRef
from pipelite.store.artifacts import ArtifactStore
from pipelite.store.ignoring import NAMES, Rules, built_in, read_rules
from pipelite.store.sizes import size_text

#: What every snapshot is called, so that it does not matter what its source folder is called.
SNAPSHOT_NAME = "source"
#: What the list of a run's snapshots is called among the source files that it keeps.
KEPT_SNAPSHOTS = ".pipelite-snapshots.json"
#: How many files an error about a folder that is too big names.
_NAMED = 5


@attrs.frozen
class SourceFolder:
    """A folder whose files, as they are when a run starts, go with a step."""

    #: Absolute.
    path: str
    #: A file below it that has to be there, with forward slashes; empty for none.
    needed: str
    #: The most that its files may have together.
    limit_bytes: int
    #: The most files that it may have; None for any number.
    limit_files: int | None = None
    #: The first of these that is there says what is left out.
    ignore_files: tuple[str, ...] = NAMES
    #: Whether folders below bring rules of their own.
    is_ignored_below: bool = True
    #: Whether a folder `outputs` of it is a folder like any other.
    takes_outputs: bool = False


@attrs.frozen(kw_only=True)
class Snapshot:
    """What a source folder held at one moment."""

    #: The artifact that it is, or becomes when it is needed.
    ref: ArtifactRef
    #: Name below the folder, with forward slashes, to the digest of the file; None if only the artifact is known.
    files: dict[str, str] | None


#: In a process that runs a run again: path of each source folder of that run to the artifact that it became.
_kept: dict[str, ArtifactRef] = {}
#: Where the kept source files of that run lie now.
_kept_source: str | None = None


def take_snapshot(folder: SourceFolder, files: FileCache | None = None) -> Snapshot:
    """Look at all files of a source folder; nothing is copied.

    Raises
    ------
    FingerprintError
        If the folder or the file that is needed is not there, if it is over its limit, or holds what cannot be copied.
    """
    kept = _find_kept(folder.path)
    if kept is not None:
        return Snapshot(ref=kept, files=None)
    if not os.path.isdir(folder.path):
        what = "is not a folder" if os.path.exists(folder.path) else "does not exist"
        raise FingerprintError(f"the source directory {folder.path!r} {what}; relative ones start at {os.getcwd()}")
    rules = ((built_in(takes_outputs=folder.takes_outputs), 0),)
    found = list(_iter_files(folder, folder.path, os.path.realpath(folder.path), "", rules))
    _check_limit(folder, found)
    if folder.needed and all(name != folder.needed for name, _, _ in found):
        raise FingerprintError(_describe_missing(folder))
    digests = {name: digest_file(path, files) for name, path, _ in found}
    content = _digest_files(digests)
    identity = folder_identity(SNAPSHOT_NAME, content)
    place = digest("path", identity.encode())
    ref = ArtifactRef(
        digest=identity,
        kind="folder",
        path=f"{place[:2]}/{place}/{SNAPSHOT_NAME}",
        size_bytes=sum(size for _, _, size in found),
        mtime_ns=0,
        file_digest=content,
        type_name="pathlib.Path",
    )
    return Snapshot(ref=ref, files=digests)


def keep_snapshot(folder: SourceFolder, snapshot: Snapshot, artifacts: ArtifactStore) -> None:
    """Have the files of a snapshot in the store; quick if they are there.

    Raises
    ------
    SourceChangedError
        If a file is not what it was when the snapshot was taken.
    ArtifactError
        If it is that of an earlier run, and gone.
    """
    if artifacts.is_intact(snapshot.ref):
        return
    if snapshot.files is None:
        raise ArtifactError(
            f"the snapshot of {folder.path!r} that the earlier run kept is missing or damaged; run the pipeline anew"
        )
    with artifacts.temporary_path() as temporary:
        copy = temporary / SNAPSHOT_NAME
        copy.mkdir(parents=True)
        for name in snapshot.files:
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copy(os.path.join(folder.path, name), target)
            except FileNotFoundError:
                raise _changed(folder, name) from None
        for name, content in snapshot.files.items():
            if digest_file(copy / name) != content:
                raise _changed(folder, name)
        artifacts.put(copy, output="source_directory", step="a snapshot", identify=str, scratch=temporary)


def describe_kept(snapshots: Mapping[SourceFolder, Snapshot]) -> bytes:
    """What a run keeps of its snapshots: a file `KEPT_SNAPSHOTS` beside its source files."""
    refs = {folder.path: attrs.asdict(each.ref) for folder, each in snapshots.items()}
    return json.dumps(refs, sort_keys=True).encode()


def use_kept(source: Path) -> None:
    """Take the snapshots that an earlier run kept for its source folders, from now on and in this process.

    `source` is where its kept source files lie: a folder beside one of them is found by what follows.
    """
    global _kept_source
    description = source / KEPT_SNAPSHOTS
    if description.exists():
        _kept.update({path: ArtifactRef(**ref) for path, ref in json.loads(description.read_bytes()).items()})
        _kept_source = str(source)


def _find_kept(path: str) -> ArtifactRef | None:
    if path in _kept or _kept_source is None:
        return _kept.get(path)
    for source in (_kept_source, os.path.realpath(_kept_source)):
        if path == source or path.startswith(source + os.sep):
            ending = path[len(source) :]
            return next((ref for kept, ref in _kept.items() if kept.endswith(ending)), None)
    return None


def _iter_files(
    source: SourceFolder, folder: str, root: str, prefix: str, rules: tuple[tuple[Rules, int], ...]
) -> Iterator[tuple[str, str, int]]:
    """Yield name below the root, path and bytes of each file that is not left out.

    `rules` has those of the folders around, each with the length of the prefix that its names do not have.
    """
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    names = [entry.name for entry in entries]
    if "pyvenv.cfg" in names and prefix:
        # An environment, whatever it is called.
        return
    wanted = source.ignore_files if not prefix or source.is_ignored_below else ()
    own = None if set(wanted).isdisjoint(names) else read_rules(folder, names, wanted)
    if own is not None:
        rules = (*rules, (own, len(prefix)))
    for entry in entries:
        name = prefix + entry.name
        is_folder = entry.is_dir()
        if _is_left_out(f"{name}/" if is_folder else name, rules):
            continue
        if entry.is_symlink():
            _check_link(entry, root, source.ignore_files[0], is_folder=is_folder)
        if is_folder:
            yield from _iter_files(source, entry.path, root, f"{name}/", rules)
            continue
        status = entry.stat()
        if not stat.S_ISREG(status.st_mode):
            raise FingerprintError(
                f"{entry.path!r} is neither a file nor a folder; remove it from the source directory, or list it in "
                f"{source.ignore_files[0]}"
            )
        yield name, entry.path, status.st_size


def _is_left_out(name: str, rules: Sequence[tuple[Rules, int]]) -> bool:
    for each, start in reversed(rules):
        decision = each.decide(name[start:])
        if decision is not None:
            return decision
    return False


def _check_link(entry: os.DirEntry[str], root: str, ignore_file: str, *, is_folder: bool) -> None:
    target = os.path.realpath(entry.path)
    if not os.path.exists(target):
        raise FingerprintError(
            f"{entry.path!r} is a link to {target!r}, which does not exist; remove it, or list it in {ignore_file}"
        )
    if is_folder or not target.startswith(root + os.sep):
        raise FingerprintError(
            f"{entry.path!r} is a link to {'the folder ' if is_folder else ''}{target!r}, which a snapshot does not "
            f"follow; list it in {ignore_file}, and pass data to the step as an input"
        )


def _check_limit(folder: SourceFolder, found: Sequence[tuple[str, str, int]]) -> None:
    ignore_file = folder.ignore_files[0]
    if folder.limit_files is not None and len(found) > folder.limit_files:
        tops = Counter(name.split("/")[0] + "/" for name, _, _ in found if "/" in name)
        listed = "".join(f", {count} of them in {top}" for top, count in tops.most_common(1))
        raise FingerprintError(
            f"the source directory {folder.path!r} has {len(found)} files{listed}, and its limit is {folder.limit_files}. "
            f"List what the step does not need in {ignore_file}, or pass data as an input"
        )
    total = sum(size for _, _, size in found)
    if total <= folder.limit_bytes:
        return
    biggest = sorted(found, key=lambda each: -each[2])[:_NAMED]
    listed = ", ".join(f"{name} ({size_text(size)})" for name, _, size in biggest)
    raise FingerprintError(
        f"the source directory {folder.path!r} has {size_text(total)}, and its limit is {size_text(folder.limit_bytes)}; "
        f"the biggest files are {listed}. List what the step does not need in {ignore_file}, pass data as an input, or "
        "raise size_limit_bytes="
    )


def _describe_missing(folder: SourceFolder) -> str:
    if os.path.exists(os.path.join(folder.path, folder.needed)):
        names = folder.ignore_files
        return (
            f"{folder.needed!r} is left out of the snapshot of {folder.path!r} by its {' or '.join(names)}, or by the "
            f"built-in rules; a line !{folder.needed} in {names[0]} takes it in"
        )
    return f"there is no file {folder.needed!r} in the source directory {folder.path!r}"


def _digest_files(digests: dict[str, str]) -> str:
    """The digest that a folder with these files has as an artifact."""
    entries = {(os.fsencode(name), b"file", content.encode()) for name, content in digests.items()}
    for name in digests:
        while name := name.rpartition("/")[0]:
            entries.add((os.fsencode(name), b"folder", b""))
    return digest("folder", *(part for entry in sorted(entries) for part in entry))


def _changed(folder: SourceFolder, name: str) -> SourceChangedError:
    return SourceChangedError(
        f"{os.path.join(folder.path, name)!r} was changed while the run started; run the pipeline again"
    )
