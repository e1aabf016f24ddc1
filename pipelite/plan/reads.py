"""Files that a step read besides its inputs: whether they are still the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipelite.fingerprint import FileCache, digest_file
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


def find_changed_read(
    reads: Sequence[FileRead], *, working_directory: str, files: FileCache | None = None
) -> str | None:
    """The first file that is not as it was read, in words; None if all are."""
    for read in reads:
        found = digest_read(os.path.join(working_directory, read.path), files)
        if found == read.digest:
            continue
        if read.digest == MISSING:
            return f"the file {read.path!r}, which it looked for, exists now"
        what = "is gone" if found is None or found == MISSING else "has changed"
        return f"the file {read.path!r}, which it read, {what}"
    return None
