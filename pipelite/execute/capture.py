"""Everything a worker prints goes to one file, whoever printed it: Python, C code, child processes."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from pipelite.store import disk


class OutputFile:
    """File descriptors 1 and 2 of this process, pointed at a log file.

    A step's output is the part of the file between two offsets. The file is opened for appending, so that what child
    processes write through the inherited descriptor lands at its end too.
    """

    def __init__(self) -> None:
        self._flush_c_streams = _find_c_flush()
        self.name = ""
        self.path: Path | None = None

    def open(self, path: Path, name: str) -> None:
        """Send all further output to `path`; `name` is what the records call it."""
        self.flush()
        disk.make_folder(path.parent)
        descriptor = disk.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        self.name = name
        self.path = path

    def flush(self) -> OSError | None:
        """Bring what Python and C code hold in buffers to the file; gives what kept it from getting there, if anything."""
        error = None
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, ValueError, OSError) as exc:
                # A step may close or replace its streams; the next one gets fresh ones.
                error = exc if isinstance(exc, OSError) and exc.errno in disk.REASONS else None
                attach_streams()
                break
        self._flush_c_streams(None)
        return error

    def check(self) -> None:
        """Make sure that everything printed so far is in the file.

        Raises
        ------
        StorageError
            If the disk did not take it.
        """
        error = self.flush()
        if error is not None:
            disk.tell(error, self.path)

    def end(self) -> int:
        """Bytes in the file, everything printed so far included."""
        self.flush()
        return os.fstat(1).st_size


def silence() -> None:
    """Point the standard streams of a worker at nothing.

    They are the terminal or the pipe of whoever started the run: a worker that outlives its parent for a moment would
    keep a reader of that pipe waiting.
    """
    descriptor = os.open(os.devnull, os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(descriptor, target)
    os.close(descriptor)
    attach_streams()


def attach_streams() -> None:
    """Give Python line-buffered streams on descriptors 1 and 2, which never fail on a character."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        stream = _open_stream(descriptor)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _open_stream(descriptor: int) -> TextIO:
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _find_c_flush() -> Callable[[None], Any]:
    """The C library's fflush: printf to a file is held back until then."""
    try:
        return ctypes.CDLL(None).fflush
    except (OSError, AttributeError, TypeError):
        return lambda stream: None
