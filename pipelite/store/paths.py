"""Files and folders that steps return: taken into the store, read-only, under their own name."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs

from pipelite.fingerprint.files import digest_file, digest_folder, file_identity, folder_identity
from pipelite.store.sink import HashingFile

_READ_BYTES = 1 << 20

#: Linux's request to share the blocks of a file until one of the two is changed.
_FICLONE = 0x40049409


class CannotTake(Exception):
    """A path cannot become an artifact; the message says why and what to do."""


@attrs.frozen(kw_only=True)
class Taken:
    """A file or folder that was taken."""

    kind: str
    identity: str
    digest: str
    size_bytes: int


def take(source: Path, target: Path, *, move: bool) -> Taken:
    """Move or copy a file or folder to `target`, make it read-only and hash it there."""
    kind = _kind(source)
    if not (move and _can_move(source) and _moved(source, target)):
        if kind == "file":
            _copy_file(source, target)
        else:
            _copy_folder(source, target, (_place(source),))
    set_read_only(target)
    return describe(target, kind)


def describe(path: Path, kind: str) -> Taken:
    """Identity, digest and size of a file or folder in the store."""
    if kind == "file":
        digest = digest_file(path)
        return Taken(
            kind=kind, identity=file_identity(path.name, digest), digest=digest, size_bytes=path.stat().st_size
        )
    digest = digest_folder(path)
    size = sum(entry.stat().st_size for entry in iter_files(path))
    return Taken(kind=kind, identity=folder_identity(path.name, digest), digest=digest, size_bytes=size)


def iter_files(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """Every file below a folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from iter_files(entry.path)
            else:
                yield entry


def set_read_only(path: Path) -> None:
    """Take the right to write from a file, or from a folder and everything in it."""
    if path.is_dir():
        for folder, _, names in os.walk(path, topdown=False):
            for name in names:
                forbid_writing(os.path.join(folder, name))
            forbid_writing(folder)
    else:
        forbid_writing(path)


def remove_tree(path: Path) -> None:
    """Remove a file or folder, also a read-only one; nothing happens if it is not there."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    import shutil  # Late, because it brings every compression there is.

    os.chmod(path, 0o700)
    for folder, names, _ in os.walk(path):
        for name in names:
            inner = os.path.join(folder, name)
            # What a link leads to is not this tree's.
            if not os.path.islink(inner):
                with contextlib.suppress(FileNotFoundError):
                    os.chmod(inner, 0o700)
    shutil.rmtree(path)


def forbid_writing(path: str | Path) -> None:
    """Take the right to write from one file, or from one folder itself."""
    mode = os.stat(path).st_mode
    os.chmod(path, 0o555 if stat.S_ISDIR(mode) else 0o444 | (mode & 0o111))


def _kind(source: Path) -> str:
    try:
        mode = source.stat().st_mode
    except FileNotFoundError:
        raise CannotTake(f"nothing is at the path {str(source)!r}; return a path that the step has written") from None
    except OSError as exc:
        raise CannotTake(f"{str(source)!r} cannot be read ({exc.strerror})") from exc
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    raise CannotTake(f"{str(source)!r} is neither a file nor a folder; return one of these")


def _can_move(source: Path) -> bool:
    """Whether a path holds all of its content itself: a link would lead out of the store."""
    if source.is_symlink():
        return False
    return not source.is_dir() or all(entry.is_file(follow_symlinks=False) for entry in iter_files(source))


def _moved(source: Path, target: Path) -> bool:
    try:
        os.rename(source, target)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        return False
    return True


def _copy_folder(source: Path, target: Path, above: tuple[tuple[int, int], ...]) -> None:
    target.mkdir()
    for entry in sorted(source.iterdir()):
        try:
            kind = _kind(entry)
        except CannotTake as exc:
            raise CannotTake(f"the folder {str(source)!r} cannot be copied: {exc}") from None
        if kind == "file":
            _copy_file(entry, target / entry.name)
        elif _place(entry) in above:
            raise CannotTake(f"{str(entry)!r} is a link to a folder that it lies in; remove it from the folder")
        else:
            _copy_folder(entry, target / entry.name, (*above, _place(entry)))


def _copy_file(source: Path, target: Path) -> None:
    with open(source, "rb", buffering=0) as reading:
        if _clone(reading.fileno(), target):
            return
        buffer = memoryview(bytearray(_READ_BYTES))
        with HashingFile(target) as writing:
            while count := reading.readinto(buffer):
                writing.write(buffer[:count])
    os.chmod(target, stat.S_IMODE(source.stat().st_mode))


def _clone(source: int, target: Path) -> bool:
    """Copy without copying, on file systems that share blocks; not a hard link: that would change with the source."""
    try:
        import fcntl
    except ImportError:
        return False
    with open(target, "xb") as writing:
        try:
            fcntl.ioctl(writing.fileno(), _FICLONE, source)
        except OSError:
            os.unlink(target)
            return False
    return True


def _place(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
