"""Values that stand for data in files: their identity is that of the data, and what a step reads of them is heard."""

from __future__ import annotations

import contextlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from pipelite.fingerprint.files import FileCache
from pipelite.fingerprint.rules import Walk, rule_for

#: What the names of datasets that a step read are recorded with; no path of a file begins like this.
READ_PREFIX = "dataset://"
#: The environment variable that tells a process which a step started where to write down what data it reads.
READS_VARIABLE = "PIPELITE_READS"


class TrackedData(ABC):
    """A value whose content lies in files. As an input of a step it counts by that content."""

    @abstractmethod
    def identity(self, files: FileCache | None) -> str:
        """Look at the data as they are now and give their identity; what is sent to a step reads just these."""

    @abstractmethod
    def changed_file(self) -> str | None:
        """A file that is not as it was when the identity was given last."""

    @abstractmethod
    def local_paths(self) -> tuple[str, ...]:
        """The files of this machine that are read for it."""

    @abstractmethod
    def looked_at_again(self) -> TrackedData:
        """The same, to be looked at as it is then; what was seen before is left out."""

    @property
    @abstractmethod
    def registered_as(self) -> tuple[str, int] | None:
        """Name and version, if it has them."""


@rule_for("pipelite.fingerprint.tracked.TrackedData", family=True)
def _identify_tracked(value: TrackedData, walk: Walk) -> str:
    return value.identity(walk.files)


class Listener(Protocol):
    """Who wants to know what data a step reads."""

    @property
    def is_listening(self) -> bool:
        """Whether a step is running here whose reads count."""

    def hear(self, name: str, identity: str, paths: Iterable[str]) -> None:
        """A step reads what has this name and identity, and lies in these files."""


class _Notes:
    """Writes down what data this process reads, for the worker that waits for it."""

    is_listening = True

    def __init__(self, path: str) -> None:
        self._path = path

    def hear(self, name: str, identity: str, paths: Iterable[str]) -> None:
        # A line a write: several processes may be at it. One that outlives the step has nobody to tell.
        with contextlib.suppress(FileNotFoundError), open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps([name, identity]) + "\n")


_listeners: list[Listener] = [_Notes(os.environ[READS_VARIABLE])] if os.environ.get(READS_VARIABLE) else []


def add_listener(listener: Listener) -> None:
    """Tell somebody of every read from now on."""
    _listeners.append(listener)


def is_heard() -> bool:
    """Whether somebody listens now."""
    return any(listener.is_listening for listener in _listeners)


def announce_read(name: str, identity: str, paths: Iterable[str]) -> None:
    """A step reads data that are no input of it."""
    for listener in _listeners:
        if listener.is_listening:
            listener.hear(name, identity, paths)


def announce_noted(path: Path) -> None:
    """The step that runs here read what processes which it started wrote down."""
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            name, identity = json.loads(line)
            announce_read(name, identity, ())
