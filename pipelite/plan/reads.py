"""Files that a step read besides its inputs: whether they are still the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pipelite.errors import PipeliteError
from pipelite.fingerprint import FileCache, digest_file
from pipelite.fingerprint.tracked import READ_PREFIX
from pipelite.records import FileRead

#: What a read of a file that does not exist is recorded as.
MISSING = "missing"


def digest_read(path: str, files: FileCache | None = None) -> str | None:
    """Digest of a regular file, `MISSING`, or None for what is no file (a folder, a device) or may not be read."""
    try:
        if not os.path.isfile(path):
            return None if os.path.exists(path) else MISSING
        return digest_file(Path(path), files)
    except PermissionError:
        return None


def uses_of(position: int, reads: Iterable[str]) -> list[tuple[int, str, int]]:
    """(position, name, version) of each registered dataset among what a step read."""
    found = []
    for read in reads:
        name, _, version = read.removeprefix(READ_PREFIX).partition(":")
        if read.startswith(READ_PREFIX) and not name.startswith("?") and version:
            found.append((position, name, int(version)))
    return found


def _find_change(read: FileRead, identify_read: Callable[[str], str] | None) -> str | None:
    what = _describe_data(read.path.removeprefix(READ_PREFIX))
    if identify_read is None:
        return f"{what} is not looked at here"
    try:
        return None if identify_read(read.path) == read.digest else f"{what} has changed"
    except PipeliteError as exc:
        return f"{what} cannot be read any more: {exc}"


def _describe_data(name: str) -> str:
    if not name.startswith("?"):
        return f"the dataset {name!r}, which it read,"
    sources = json.loads(name[1:])["sources"]
    places = [repr("/".join(filter(None, (each.get("datastore"), each["path"])))) for each in sources]
    return f"the data in {', '.join(places)}, which it read or wrote,"


def find_changed_read(
    reads: Sequence[FileRead],
    *,
    working_directory: str,
    files: FileCache | None = None,
    identify_read: Callable[[str], str] | None = None,
) -> str | None:
    """The first file or dataset that is not as it was read, in words; None if all are.

    `identify_read` gives the identity that a dataset has now, by the name under which a read of it is recorded.
    """
    for read in reads:
        if read.path.startswith(READ_PREFIX):
            obstacle = _find_change(read, identify_read)
            if obstacle is not None:
                return obstacle
            continue
        found = digest_read(os.path.join(working_directory, read.path), files)
        if found == read.digest:
            continue
        if read.digest == MISSING:
            return f"the file {read.path!r}, which it looked for, exists now"
        what = "is gone" if found is None or found == MISSING else "has changed"
        return f"the file {read.path!r}, which it read, {what}"
    return None
