"""Identity of files and folders: what is in them and what they are called, not where they are or when they were made."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from blake3 import blake3

from pipelite.clock import CLOCK
from pipelite.errors import FingerprintError, UnhashableError
from pipelite.fingerprint.digests import combine, digest

#: A file changed this recently may change again within the resolution of its modification time.
SETTLED_NS = 2_000_000_000

#: How often a file that changes while it is read is read again.
ATTEMPTS = 3

CHUNK_BYTES = 1 << 20


class FileCache(Protocol):
    """Remembers the digests of files by what `stat` says about them, so that an unchanged big file is read once."""

    def get(self, path: str, size: int, mtime_ns: int, inode: int) -> str | None:
        """The digest that was put for exactly this path, size, time and inode."""

    def get_many(self, paths: Sequence[str]) -> Mapping[str, tuple[int, int, int, str]]:
        """Size, time, inode and digest of those of many files that were put, by path."""

    def put(self, path: str, size: int, mtime_ns: int, inode: int, digest: str) -> None:
        """Remember a digest."""


def identify_path(path: Path, files: FileCache | None = None) -> str:
    """Identity of the file or folder at `path`: its content and the last part of its name.

    Raises
    ------
    UnhashableError
        If nothing is there, or something that has no content of its own (a socket, a device, a pipe).
    """
    name = os.path.basename(os.path.abspath(path))
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            return file_identity(name, digest_file(path, files))
        if stat.S_ISDIR(mode):
            return folder_identity(name, digest_folder(path, files))
    except FileNotFoundError as exc:
        raise UnhashableError(f"the path {str(path)!r} does not exist{_seen_from(path)}; correct it") from exc
    except OSError as exc:
        raise UnhashableError(f"{exc.filename or str(path)!r} cannot be read ({exc.strerror})") from exc
    raise UnhashableError(f"{str(path)!r} is neither a file nor a folder, so it has no content that could be tracked")


def file_identity(name: str, content: str) -> str:
    """Identity of a file called `name` whose bytes have this blake3 digest."""
    return combine("file", (_portable(name), content))


def folder_identity(name: str, content: str) -> str:
    """Identity of a folder called `name` whose entries have this digest (see `digest_folder`)."""
    return combine("folder", (_portable(name), content))


def digest_file(path: str | Path, files: FileCache | None = None) -> str:
    """blake3 hex digest of the bytes of a file, from the cache where the file is unchanged.

    Raises
    ------
    FingerprintError
        If the file keeps changing while it is read.
    OSError
        If it is missing or cannot be read.
    """
    full = os.path.abspath(path)
    for _ in range(ATTEMPTS):
        before = os.stat(full)
        settled = CLOCK.time_ns() - before.st_mtime_ns >= SETTLED_NS
        if files is not None and settled:
            known = files.get(full, before.st_size, before.st_mtime_ns, before.st_ino)
            if known is not None:
                return known
        found, after = _digest_once(full)
        if _stamp(before) == _stamp(after):
            if files is not None and settled:
                files.put(full, after.st_size, after.st_mtime_ns, after.st_ino, found)
            return found
    raise FingerprintError(
        f"the file {full!r} changed while it was read, {ATTEMPTS} times in a row; wait until nothing writes to it"
    )


def digest_folder(path: str | Path, files: FileCache | None = None) -> str:
    """Digest of everything below a folder: relative names and contents, whatever the order on disk."""
    return digest("folder", *(part for entry in sorted(iter_entries(path, files)) for part in entry))


def iter_entries(path: str | Path, files: FileCache | None = None) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield (relative name with forward slashes, kind, content) of everything below a folder.

    Links are followed; one that leads back to a folder it lies in, or to nothing, counts as its target's text.
    """
    root = os.stat(path)
    yield from _iter_below(os.fspath(path), "", ((root.st_dev, root.st_ino),), files)


def _iter_below(
    folder: str, prefix: str, above: tuple[tuple[int, int], ...], files: FileCache | None
) -> Iterator[tuple[bytes, bytes, bytes]]:
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        name = os.fsencode(prefix + entry.name)
        try:
            status = entry.stat()
        except OSError:
            if not entry.is_symlink():
                raise
            yield name, b"link", os.fsencode(os.readlink(entry.path))
            continue
        if stat.S_ISREG(status.st_mode):
            yield name, b"file", digest_file(entry.path, files).encode()
        elif stat.S_ISDIR(status.st_mode):
            place = os.stat(entry.path)
            if (place.st_dev, place.st_ino) in above:
                yield name, b"link", os.fsencode(os.readlink(entry.path))
                continue
            yield name, b"folder", b""
            below = (*above, (place.st_dev, place.st_ino))
            yield from _iter_below(entry.path, f"{prefix}{entry.name}/", below, files)
        else:
            raise UnhashableError(
                f"{entry.path!r} is neither a file nor a folder, so it has no content that could be tracked; "
                "remove it from the folder"
            )


def _digest_once(path: str) -> tuple[str, os.stat_result]:
    # Read, not mapped: a mapped file that somebody truncates kills the process with SIGBUS.
    hasher = blake3()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(buffer[:count])
        return hasher.hexdigest(), os.fstat(file.fileno())


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _portable(name: str) -> str:
    """A file name as text that any database takes: names that are no valid text keep their bytes in hex."""
    if name.isascii():
        return name
    try:
        return name.encode().decode()
    except UnicodeEncodeError:
        return "bytes " + os.fsencode(name).hex()


def _seen_from(path: Path) -> str:
    return "" if os.path.isabs(path) else f" (seen from {os.getcwd()})"
