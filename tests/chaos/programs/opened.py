"""Asks the kernel what is done with a file or a folder."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

#: Read, written, its attributes changed, opened, and for what is in a folder also made, moved or removed.
_ANYTHING = 0x001 | 0x002 | 0x004 | 0x020 | 0x040 | 0x080 | 0x100 | 0x200


class Watch:
    """Counts what any process does with some files; as a context."""

    def __init__(self, *paths: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for path in paths:
            if self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), _ANYTHING) < 0:
                raise OSError(ctypes.get_errno(), str(path))

    def events(self) -> int:
        """Bytes of what the kernel tells since the last time: 0 where nothing was done."""
        try:
            return len(os.read(self._descriptor, 1 << 16))
        except BlockingIOError:
            return 0

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
