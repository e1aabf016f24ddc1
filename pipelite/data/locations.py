"""What a datastore's folder can do: list, get, put, remove. One kind for local folders, one for all of fsspec.

Every write is atomic: under a temporary name that is then renamed, or by a store whose objects appear when they are
complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import re
import shutil
import stat
import tempfile
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Protocol

import attrs
from blake3 import blake3

from pipelite._optional import require
from pipelite.clock import CLOCK
from pipelite.data.credentials import merge
from pipelite.data.paths import inside
from pipelite.fingerprint.files import CHUNK_BYTES

#: Names on their way to their own begin with this; listings leave them out.
TEMPORARY = ".pipelite-part-"

#: Extra that installs what a protocol needs.
EXTRAS = {
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "abfs": ("adlfs", "azure"),
    "abfss": ("adlfs", "azure"),
    "az": ("adlfs", "azure"),
    "gcs": ("gcsfs", "gcs"),
    "gs": ("gcsfs", "gcs"),
    "sftp": ("paramiko", "sftp"),
    "ssh": ("paramiko", "sftp"),
    "http": ("aiohttp", "http"),
    "https": ("aiohttp", "http"),
    "memory": ("fsspec", "data"),
}

#: Their objects appear when they are complete, or not at all.
ATOMIC = frozenset({"s3", "s3a", "abfs", "abfss", "az", "gcs", "gs", "memory"})
#: There is one place that tries again (retries.py); what libraries try besides would multiply the time until an error.
_NO_RETRIES = {"config_kwargs": {"retries": {"max_attempts": 0}}}
_OPTIONS: dict[str, dict[str, Any]] = {"s3": _NO_RETRIES, "s3a": _NO_RETRIES}
#: A time with a resolution of a second says nothing of a change within the same second.
_SETTLED_S = 2.0
#: How often a folder is made that others may be making.
_ATTEMPTS = 3
#: Their connections serve one thread at a time.
_ONE_THREAD = frozenset({"sftp", "ssh"})

#: A larger file is hashed by a thread of its own while it is copied.
_LARGE_BYTES = 8 << 20
#: Blocks of it on their way from one thread to the other.
_BUFFERS = 4


@attrs.frozen(kw_only=True)
class Entry:
    """One file of a datastore."""

    #: Relative to the root, with forward slashes.
    path: str
    size_bytes: int
    #: UTC where the store says; None where it does not.
    modified_at: datetime | None = None
    #: Changes whenever the content does: version id, ETag, or size and time; None where the store offers nothing.
    validator: str | None = None
    #: MD5 of the content in hex, where the store knows it.
    md5: str | None = None
    #: The ETag if it has the form of an MD5: it is that of the content, unless the store encrypts.
    likely_md5: str | None = None


class Location(Protocol):
    """The root of a datastore. Paths are checked ones; errors are those of the library below."""

    def iter_files(self, folder: str, *, depth: int | None = None) -> Iterator[Entry]:
        """Files of a folder, which may be missing, and of so many levels of folders below it; None for all."""

    def find(self, path: str) -> Entry | None:
        """One file; None if there is none."""

    def get(self, path: str, target: str) -> None:
        """Copy a file to a local path, which is not there yet."""

    def put(self, source: str, path: str, *, verify: bool) -> Entry | None:
        """Put a local file in place, complete or not at all; `verify` compares what arrived with what was sent.

        Gives what arrived, where that can be told.
        """

    def remove(self, path: str) -> None:
        """Remove a file; nothing happens if there is none."""

    def reconnect(self) -> None:
        """Forget the connection, after it has failed."""


class Garbled(ConnectionError):
    """What arrived is not what was sent; trying again may help."""


class LocalFolder:
    """A folder of this machine."""

    def __init__(self, root: str, *, name: str) -> None:
        self.root = root
        self._name = name

    def place(self, path: str) -> str:
        """Where a file is."""
        return inside(self.root, path, datastore=self._name)

    def iter_files(self, folder: str, *, depth: int | None = None) -> Iterator[Entry]:
        try:
            yield from self._iter_below(self.place(folder), folder, depth)
        except (FileNotFoundError, NotADirectoryError):
            return

    def _iter_below(self, place: str, prefix: str, depth: int | None) -> Iterator[Entry]:
        with os.scandir(place) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            if entry.name.startswith(TEMPORARY):
                continue
            path = f"{prefix}/{entry.name}" if prefix else entry.name
            if entry.is_symlink():
                self.place(path)
            status = entry.stat()
            if stat.S_ISDIR(status.st_mode):
                # A link to a folder above would lead round in a circle.
                if depth != 0 and not entry.is_symlink():
                    yield from self._iter_below(entry.path, path, None if depth is None else depth - 1)
            elif stat.S_ISREG(status.st_mode):
                yield _local_entry(path, status)

    def find(self, path: str) -> Entry | None:
        try:
            status = os.stat(self.place(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return _local_entry(path, status) if stat.S_ISREG(status.st_mode) else None

    def get(self, path: str, target: str) -> None:
        shutil.copyfile(self.place(path), target)

    def put(self, source: str, path: str, *, verify: bool) -> Entry | None:
        copy_atomically(source, self.place(path), verify=verify)
        return self.find(path)

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.place(path))

    def reconnect(self) -> None:
        """Nothing to forget."""


class RemoteFolder:
    """A folder, bucket or container behind fsspec."""

    def __init__(self, url: str, options: Callable[[], Mapping[str, Any]]) -> None:
        self.protocol, _, rest = url.partition("://")
        self._url = url
        self._root = rest.strip("/")
        self._options = options
        self._kept: Any = SimpleNamespace() if self.is_shared else threading.local()
        self._guard = threading.RLock()

    @property
    def files(self) -> Any:
        """The file system, connected on first use; each thread has its own where one cannot serve several."""
        opened = getattr(self._kept, "files", None)
        if opened is not None:
            return opened
        if not self.is_shared:
            return self._connect()
        with self._guard:
            opened = getattr(self._kept, "files", None)
            return self._connect() if opened is None else opened

    def _connect(self) -> Any:
        fsspec = require("fsspec", extra="data")
        package, extra = EXTRAS.get(self.protocol, ("fsspec", "data"))
        require(package, extra=extra)
        kind = fsspec.get_filesystem_class(self.protocol)
        from_url = kind._get_kwargs_from_urls(self._url)
        # Kept by fsspec it would be shared with whoever asks with the same credentials, and outlive a reconnection.
        given = merge(_OPTIONS.get(self.protocol, {}), {**from_url, **self._options()})
        opened = kind(skip_instance_cache=True, **given)
        if self.protocol in ("s3", "s3a"):
            opened.retries = 1
        self._root = kind._strip_protocol(self._url).rstrip("/")
        self._kept.files = opened
        return opened

    @property
    def is_shared(self) -> bool:
        """Whether one connection serves several threads."""
        return self.protocol not in _ONE_THREAD

    def reconnect(self) -> None:
        client = getattr(getattr(self._kept, "files", None), "client", None)
        self._kept.files = None
        if self.protocol in ("sftp", "ssh") and client is not None:
            with contextlib.suppress(Exception):
                client.close()

    def _full(self, path: str) -> str:
        root = self._root
        return f"{root}/{path}" if path else root

    def _forget_listings(self) -> Any:
        files = self.files
        files.invalidate_cache()
        return files

    def iter_files(self, folder: str, *, depth: int | None = None) -> Iterator[Entry]:
        files = self._forget_listings()
        full = self._full(folder)
        try:
            found = files.find(full, detail=True, maxdepth=None if depth is None else depth + 1)
        except FileNotFoundError:
            return
        for name, details in sorted(found.items()):
            path = self._relative(name)
            if details.get("type") == "file" and path is not None and not _is_temporary(path) and path != folder:
                yield self._entry(path, details)

    def _relative(self, name: str) -> str | None:
        root = self._full("")
        name = str(name)
        if root and not name.startswith(root + "/"):
            return None
        return name[len(root) + 1 :] if root else name.lstrip("/")

    def find(self, path: str) -> Entry | None:
        files = self._forget_listings()
        try:
            details = files.info(self._full(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return self._entry(path, details) if details.get("type") == "file" else None

    def get(self, path: str, target: str) -> None:
        self.files.get_file(self._full(path), target)

    def put(self, source: str, path: str, *, verify: bool) -> Entry | None:
        files = self.files
        full = self._full(path)
        if self.protocol in ATOMIC:
            files.put_file(source, full)
            try:
                return self._verify(source, path, verify=verify)
            except BaseException:
                with contextlib.suppress(Exception):
                    files.rm_file(full)
                raise
        folder, _, name = full.rpartition("/")
        partial = f"{folder}/{TEMPORARY}{os.urandom(6).hex()}-{name}"
        try:
            self._make_folder(folder)
            files.put_file(source, partial)
            self._verify(source, self._relative(partial) or partial, verify=verify)
            files.mv(partial, full)
            return self.find(path)
        except BaseException:
            with contextlib.suppress(Exception):
                files.rm_file(partial)
            raise

    def _make_folder(self, folder: str) -> None:
        # Where two make the same folder at once, the library takes that it is there for a failure.
        for attempt in range(_ATTEMPTS):
            try:
                with self._guard:
                    self.files.makedirs(folder, exist_ok=True)
            except OSError:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    def _verify(self, source: str, path: str, *, verify: bool) -> Entry | None:
        arrived = self.find(path)
        size = os.path.getsize(source)
        is_whole = arrived is not None and arrived.size_bytes == size
        if is_whole and verify and arrived is not None:
            sent = md5_of_file(source)
            # Where the store does not say what it has, it is read back.
            is_whole = arrived.likely_md5 == sent or (arrived.md5 or self._md5_of(path)) == sent
        if not is_whole:
            raise Garbled(f"{path!r} did not arrive as it was sent")
        return arrived

    def _md5_of(self, path: str) -> str:
        with tempfile.TemporaryDirectory(prefix="pipelite-") as folder:
            copy = os.path.join(folder, "copy")
            self.get(path, copy)
            return md5_of_file(copy)

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.files.rm_file(self._full(path))

    def _entry(self, path: str, details: Mapping[str, Any]) -> Entry:
        modified = details.get("LastModified") or details.get("last_modified") or details.get("mtime")
        modified = modified or details.get("updated")
        moment = modified if isinstance(modified, datetime) else None
        size = int(details.get("size") or 0)
        return Entry(
            path=path,
            size_bytes=size,
            modified_at=moment,
            validator=_validator(self.protocol, details, size, moment),
            md5=_md5(self.protocol, details),
            likely_md5=_likely_md5(details),
        )


def copy_atomically(source: str, target: str, *, verify: bool = True, digest: str | None = None) -> str | None:
    """Copy a local file under a temporary name beside the target, compare, and rename.

    `digest` is that of the source, if it is known. Gives it, or None if nothing was compared.
    """
    folder = os.path.dirname(target)
    os.makedirs(folder, exist_ok=True)
    partial = os.path.join(folder, f"{TEMPORARY}{os.urandom(6).hex()}")
    try:
        if verify:
            read, written = _copy_and_hash(source, partial, digest)
            if read != written:
                raise Garbled(f"{target!r} was not written as it was read")
            digest = read
        else:
            shutil.copyfile(source, partial)
        os.replace(partial, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise
    return digest


def _copy_and_hash(source: str, target: str, digest: str | None) -> tuple[str, str]:
    """Copy the bytes of a file; gives the digests of what was read, unless it is given, and of what was written."""
    with open(source, "rb", buffering=0) as reading, open(target, "x+b", buffering=0) as writing:
        size = os.fstat(reading.fileno()).st_size
        hashing = _Hashing(writing.fileno(), hashes_source=digest is None)
        if size <= _LARGE_BYTES:
            # Most files are small, and to make a large buffer takes longer than to copy them.
            buffer = memoryview(bytearray(min(size + 1, CHUNK_BYTES)))
            while count := reading.readinto(buffer):
                _write(writing, buffer[:count])
                hashing.add(buffer[:count])
        else:
            with _Behind(hashing) as behind:
                while count := reading.readinto(buffer := behind.get_buffer()):
                    _write(writing, buffer[:count])
                    behind.add(buffer, count)
    return digest or hashing.source.hexdigest(), hashing.target.hexdigest()


def _write(file: Any, block: memoryview) -> None:
    while block:
        block = block[file.write(block) :]


class _Hashing:
    """Digests of the blocks of a file that were copied: as they were read, and as they are there now.

    They are read back from the copy, since what is there is what matters.
    """

    def __init__(self, copy: int, *, hashes_source: bool) -> None:
        self.source = blake3()
        self.target = blake3()
        self._copy = copy
        self._hashes_source = hashes_source
        self._place = 0
        self._buffer = memoryview(b"")

    def add(self, block: memoryview) -> None:
        if self._hashes_source:
            self.source.update(block)
        if len(self._buffer) < len(block):
            self._buffer = memoryview(bytearray(len(block)))
        count = os.preadv(self._copy, [self._buffer[: len(block)]], self._place)
        self.target.update(self._buffer[:count])
        self._place += count


class _Behind:
    """Hashes in a thread of its own, one block after the other, what is being copied meanwhile."""

    def __init__(self, hashing: _Hashing) -> None:
        self._hashing = hashing
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[tuple[memoryview, int] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="pipelite-hash", daemon=True)

    def __enter__(self) -> _Behind:
        for _ in range(_BUFFERS):
            self._free.put(memoryview(bytearray(CHUNK_BYTES)))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._full.put(None)
        self._thread.join()
        if self._error is not None and error[0] is None:
            raise self._error

    def get_buffer(self) -> memoryview:
        return self._free.get()

    def add(self, buffer: memoryview, count: int) -> None:
        self._full.put((buffer, count))

    def _run(self) -> None:
        while (item := self._full.get()) is not None:
            buffer, count = item
            try:
                if self._error is None:
                    self._hashing.add(buffer[:count])
            except BaseException as exc:
                self._error = exc
            self._free.put(buffer)


def md5_of_file(path: str) -> str:
    """MD5 in hex: what object stores compare by."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _local_entry(path: str, status: os.stat_result) -> Entry:
    return Entry(path=path, size_bytes=status.st_size, modified_at=datetime.fromtimestamp(status.st_mtime, UTC))


def _is_temporary(path: str) -> bool:
    return path.rpartition("/")[2].startswith(TEMPORARY)


def _validator(protocol: str, details: Mapping[str, Any], size: int, modified: datetime | None) -> str | None:
    for name in ("VersionId", "version_id", "generation", "ETag", "etag"):
        value = details.get(name)
        if value and value != "null":
            return f"{name.lower()}:{value}:{size}"
    if protocol in ("sftp", "ssh") and modified is not None:
        age = CLOCK.now() - modified.astimezone(UTC)
        return f"mtime:{modified.isoformat()}:{size}" if age.total_seconds() >= _SETTLED_S else None
    return None


def _likely_md5(details: Mapping[str, Any]) -> str | None:
    tag = str(details.get("ETag") or "").strip('"').lower()
    return tag if re.fullmatch("[0-9a-f]{32}", tag) else None


def _md5(protocol: str, details: Mapping[str, Any]) -> str | None:
    settings = details.get("content_settings")
    stored = settings.get("content_md5") if isinstance(settings, Mapping) else details.get("content_md5")
    if isinstance(stored, bytes | bytearray) and len(stored) == 16:
        return bytes(stored).hex()
    if protocol in ("gcs", "gs") and isinstance(details.get("md5Hash"), str):
        return b64decode(details["md5Hash"]).hex()
    return None
