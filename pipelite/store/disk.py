"""The one way to the disk for what must not be lost: a failure comes as a reason that a person understands.

Values, spools, logs and names in the workspace all pass here, so that a test can make any one of these calls fail.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any, NoReturn

from pipelite.errors import StorageError

#: What the system answers when it is not the program's fault, and what that means.
REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file would be larger than this process may write (see `ulimit -f`)",
    errno.EIO: "the disk reports an input/output error",
    errno.EROFS: "the file system is read-only",
    errno.EMFILE: "this process has too many files open (see `ulimit -n`)",
    errno.ENFILE: "the system has too many files open",
}

#: Less free space than this is none, to a database that wants to grow.
_NO_SPACE_BYTES = 1 << 20

#: Space that is held for the day when there is no other: enough to write down how the runs ended.
_RESERVE_BYTES = 256 * 1024
_RESERVE = "reserve"


def open_file(path: Path, flags: int, mode: int = 0o644) -> int:
    """Open a file for writing; gives its descriptor, which no child process inherits."""
    try:
        return os.open(path, flags | os.O_CLOEXEC, mode)
    except OSError as exc:
        tell(exc, path)


def write(descriptor: int, data: Any, path: Path) -> int:
    """Write once; gives the number of bytes that were taken. `path` is for the message."""
    try:
        return os.write(descriptor, data)
    except OSError as exc:
        tell(exc, path)


def reserve(descriptor: int, offset: int, size_bytes: int, path: Path) -> None:
    """Claim space before it is written to; a file system that cannot is asked in vain."""
    try:
        os.posix_fallocate(descriptor, offset, size_bytes)
    except AttributeError:
        return
    except OSError as exc:
        if exc.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV, errno.ENOSYS):
            return
        tell(exc, path)


def replace(source: Path, target: Path) -> None:
    """Give what is complete its name."""
    try:
        os.replace(source, target)
    except OSError as exc:
        tell(exc, target)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless it is there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        tell(exc, path)


def tell(error: OSError, path: Path | None = None) -> NoReturn:
    """Raise the error that says why the disk did not take something; the same one if that was not the disk's doing."""
    told = explain(error, path)
    if told is None:
        raise error
    raise told from error


def explain(error: OSError, path: Path | None = None) -> StorageError | None:
    """The error that says why the disk did not take something; None if that was not the disk's doing."""
    reason = REASONS.get(error.errno or 0)
    if reason is None:
        return None
    what = error.filename or path
    return StorageError(
        f"{reason}: {what or 'a file'} could not be written; {_advice(error.errno or 0)}", errno=error.errno
    )


def explain_database(path: Path, name: str) -> StorageError:
    """The error for a database that SQLite could not write, `name` being SQLite's word for the reason."""
    code = errno.ENOSPC if name == "SQLITE_FULL" or _is_full(path.parent) else errno.EIO
    detail = "" if name == "SQLITE_FULL" else f" ({name})"
    return StorageError(
        f"{REASONS[code]}: the database {path} could not be written{detail}; {_advice(code)}", errno=code
    )


def hold_reserve(workspace: Path) -> None:
    """Set some space aside, as long as there is some."""
    path = workspace / _RESERVE
    if path.exists():
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _RESERVE_BYTES)
        finally:
            os.close(descriptor)
    except (AttributeError, OSError):
        # Then a full disk is told by an error alone, and the run is found to be interrupted later.
        path.unlink(missing_ok=True)


def use_reserve(workspace: Path) -> bool:
    """Give the space that was set aside to whoever writes next; false if it was used already."""
    try:
        (workspace / _RESERVE).unlink()
    except OSError:
        return False
    return True


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _NO_SPACE_BYTES
    except OSError:
        return False


def _advice(code: int) -> str:
    if code in (errno.ENOSPC, errno.EDQUOT):
        return "free some space and start again or resume the run: what was stored before is safe"
    return "put that right and start again or resume the run: what was stored before is safe"
