"""A file that is hashed while it is written."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from blake3 import blake3

from pipelite.errors import StorageError
from pipelite.store import disk

#: Buffers from this size on are hashed on a thread of their own while they are written.
PARALLEL_BYTES = 1 << 20

#: Pieces of a large buffer that are handed to the system at once.
CHUNK_BYTES = 8 << 20

#: Small writes are collected up to this size.
COLLECT_BYTES = 1 << 16


class HashingFile:
    """Writes a new file and hashes it on the way: what is stored is what was hashed, and it is read by nobody twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = disk.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        self._hasher = blake3()
        self._collected = bytearray()
        #: Bytes that were given to `write`.
        self.size_bytes = 0
        #: Bytes that reached the system: tells a slow writer from one that is stuck.
        self.written_bytes = 0
        self._offset = 0
        #: What the system answered to a write that failed, to tell it from errors of the value itself.
        self.error: StorageError | OSError | None = None

    def write(self, data: Any) -> int:
        """Append bytes or any contiguous buffer."""
        view = memoryview(data)
        view = view if view.ndim == 1 and view.itemsize == 1 else view.cast("B")
        self.size_bytes += len(view)
        if len(view) + len(self._collected) < COLLECT_BYTES:
            self._collected += view
        else:
            self._flush()
            self._write_through(view)
        return len(view)

    def align(self, boundary: int) -> int:
        """Fill up with zeros to a multiple of `boundary` and return the position."""
        self.write(bytes(-self.size_bytes % boundary))
        return self.size_bytes

    def hexdigest(self) -> str:
        """blake3 digest of everything written so far."""
        self._flush()
        return self._hasher.hexdigest()

    def rewind(self) -> None:
        """Forget everything that was written."""
        self._collected.clear()
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._hasher = blake3()
        self.size_bytes = 0
        self._offset = 0

    def close(self) -> None:
        if self._descriptor >= 0:
            try:
                self._flush()
            finally:
                os.close(self._descriptor)
                self._descriptor = -1

    def __enter__(self) -> HashingFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is not None:
            self._collected.clear()
        self.close()

    def _flush(self) -> None:
        if self._collected:
            collected, self._collected = self._collected, bytearray()
            self._hasher.update(collected)
            self._write_all(memoryview(collected))

    def _write_through(self, view: memoryview) -> None:
        if len(view) < PARALLEL_BYTES:
            self._hasher.update(view)
            self._write_all(view)
            return
        self._reserve(len(view))
        # Both give up the interpreter lock: the one waits for memory, the other for the system.
        hashing = threading.Thread(target=self._hasher.update, args=(view,), name="pipelite-hash")
        hashing.start()
        try:
            self._write_all(view)
        finally:
            hashing.join()

    def _reserve(self, size: int) -> None:
        """Claim the space first: blocks in one go take a third of the time, and a full disk is known at once."""
        try:
            disk.reserve(self._descriptor, self._offset, size, self._path)
        except (StorageError, OSError) as exc:
            self.error = exc
            raise

    def _write_all(self, view: memoryview) -> None:
        while view:
            try:
                count = disk.write(self._descriptor, view[:CHUNK_BYTES], self._path)
            except (StorageError, OSError) as exc:
                self.error = exc
                raise
            self._offset += count
            self.written_bytes += count
            view = view[count:]
