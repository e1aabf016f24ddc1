"""Which files a step opens for reading: part of what its result depends on, though no argument names them."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import threading
from collections.abc import Iterable
from typing import Any

from pipelite.fingerprint.tracked import add_listener
from pipelite.plan import digest_read

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class ReadRecorder:
    """Listens to every `open` of this process; an audit hook cannot be removed, so there is one a process."""

    def __init__(self) -> None:
        self._opened: dict[str, None] | None = None
        self._written: set[str] = set()
        self._data: dict[str, str] = {}
        #: The files of these data: they are no reads of their own.
        self._covered: set[str] = set()
        self._never = _places_that_are_no_data()
        sys.addaudithook(self._hear)

        add_listener(self)

    def start(self) -> None:
        self._opened = {}
        self._written = set()
        self._data = {}
        self._covered = set()

    @property
    def is_listening(self) -> bool:
        return self._opened is not None

    def hear(self, name: str, identity: str, paths: Iterable[str]) -> None:
        self._data[name] = identity
        self._covered.update(paths)

    def stop(self, *, working_directory: str, ignored: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """The data files and datasets read since `start`, with their digests, and stop listening."""
        opened, self._opened = self._opened, None
        data, self._data = self._data, {}
        if not opened:
            return tuple(sorted(data.items()))
        files = _digest_reads(opened, self._written, working_directory, (*ignored, *self._covered, *self._never))
        return (*files, *sorted(data.items()))

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        # Called for every audited event of the process: leave at once in all cases but one.
        if event != "open" or self._opened is None:
            return
        _note(arguments, self._opened, self._written)


class ThreadReads:
    """What one step opens in a process where several run at once, each in a thread.

    What a thread opens that is none of pipelite's counts for every step that runs meanwhile, since one of them may have
    started it: a result may then be computed once too often, but an old one is never taken for a new one.
    """

    def __init__(self) -> None:
        self._opened: dict[str, None] = {}
        self._written: set[str] = set()
        self.data: dict[str, str] = {}
        self.covered: set[str] = set()

    def __enter__(self) -> ThreadReads:
        with _lock:
            _listen()
            _running.append(self)
        _thread.reads = self
        return self

    def __exit__(self, *error: object) -> None:
        leave_thread_alone()
        with _lock:
            _running.remove(self)

    def digests(self, *, working_directory: str, ignored: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """The data files and datasets read so far, with their digests."""
        # Looking at them is not another read.
        _thread.reads = None
        data = sorted(self.data.items())
        if not self._opened:
            return tuple(data)
        places = (*ignored, *self.covered, *_places_that_are_no_data())
        return (*_digest_reads(list(self._opened), self._written, working_directory, places), *data)

    def hear(self, arguments: tuple[Any, ...]) -> None:
        _note(arguments, self._opened, self._written)


def leave_thread_alone() -> None:
    """What this thread opens is no step's read: it is one of pipelite's."""
    _thread.reads = None


_lock = threading.Lock()
_running: list[ThreadReads] = []
#: `reads`: whose reads those of this thread are; None for nobody's, missing where that is not known.
_thread = threading.local()
_listens = False


def _listen() -> None:
    global _listens
    if not _listens:
        _listens = True
        sys.addaudithook(_hear_thread)
        add_listener(_ThreadListener())


def _hear_thread(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _running:
        for reads in _concerned():
            reads.hear(arguments)


def _concerned() -> Iterable[ThreadReads]:
    """Whose reads those of this thread are."""
    try:
        reads = _thread.reads
    except AttributeError:
        return () if threading.get_ident() == threading.main_thread().ident else tuple(_running)
    return () if reads is None else (reads,)


class _ThreadListener:
    """Hears of the datasets that steps in threads read."""

    @property
    def is_listening(self) -> bool:
        return bool(_running) and bool(_concerned())

    def hear(self, name: str, identity: str, paths: Iterable[str]) -> None:
        for reads in _concerned():
            reads.data[name] = identity
            reads.covered.update(paths)


def _note(arguments: tuple[Any, ...], opened: dict[str, None], written: set[str]) -> None:
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
        written.add(place)
    else:
        opened[place] = None


def _digest_reads(
    opened: Iterable[str], written: set[str], working_directory: str, ignored: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    places = {place.rstrip(os.sep) for place in ignored}
    loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    reads = []
    for path in opened:
        if path in written or path in loaded or path.endswith(".pyc"):
            continue
        if not places.isdisjoint(_self_and_above(path)):
            continue
        found = digest_read(path)
        if found is not None:
            reads.append((_shorten(path, working_directory), found))
    return tuple(sorted(set(reads)))


def _self_and_above(path: str) -> Iterable[str]:
    # By looking each folder up: the files of a dataset, which are ignored, may be thousands.
    while path not in ("", os.sep):
        yield path
        path = os.path.dirname(path)


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
