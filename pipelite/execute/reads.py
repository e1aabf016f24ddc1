"""Which files a step opens for reading: part of what its result depends on, though no argument names them."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from typing import Any

from pipelite.plan import digest_read

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class ReadRecorder:
    """Listens to every `open` of this process; an audit hook cannot be removed, so there is one a process."""

    def __init__(self) -> None:
        self._opened: dict[str, None] | None = None
        self._written: set[str] = set()
        self._never = _places_that_are_no_data()
        sys.addaudithook(self._hear)

    def start(self) -> None:
        self._opened = {}
        self._written = set()

    def stop(self, *, working_directory: str, ignored: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """The data files read since `start`, with their digests, and stop listening."""
        opened, self._opened = self._opened, None
        if not opened:
            return ()
        ignored = (*ignored, *self._never)
        loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        reads = []
        for path in opened:
            if path in self._written or path in loaded or path.endswith(".pyc"):
                continue
            if any(path == place or path.startswith(place + os.sep) for place in ignored):
                continue
            found = digest_read(path)
            if found is not None:
                reads.append((_shorten(path, working_directory), found))
        return tuple(sorted(set(reads)))

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        # Called for every audited event of the process: leave at once in all cases but one.
        if event != "open" or self._opened is None:
            return
        path, _, flags = arguments
        # An integer is a descriptor that is open already; the import system opens code without flags.
        if isinstance(path, int) or not flags:
            return
        try:
            place = os.path.abspath(os.fsdecode(path))
        except (TypeError, ValueError):
            return
        # The flags say what is asked of the file; the mode is None for os.open.
        if flags & _WRITING:
            self._written.add(place)
        else:
            self._opened[place] = None


def _shorten(path: str, working_directory: str) -> str:
    if path.startswith(working_directory + os.sep):
        return path[len(working_directory) + 1 :]
    return path


def _places_that_are_no_data() -> tuple[str, ...]:
    """Installed code, the system's own view of itself, and caches: what changes there is no news about data."""
    paths = sysconfig.get_paths()
    places = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib") if name in paths}
    places.update(site.getsitepackages())
    places.add(site.getusersitepackages())
    for prefix in {sys.prefix, sys.base_prefix}:
        places.update((os.path.join(prefix, "share"), os.path.join(prefix, "etc"), os.path.join(prefix, "pyvenv.cfg")))
    places.update(("/proc", "/sys", "/dev", "/usr/share", "/etc"))
    places.add(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return tuple(place for place in places if place)
