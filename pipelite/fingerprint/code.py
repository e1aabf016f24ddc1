"""Fingerprint of the code that a step runs: its function, and everything of the user's own that it reaches.

Reached items are numbered in the order in which they are met; the digest is over the items' own shapes and over the
numbers they refer to each other by. So a name, a file or a line can change without any trace, and cycles end.
"""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path, PurePath
from types import FunctionType, ModuleType
from typing import Any

from pipelite.fingerprint.describe import (
    describe_binary,
    describe_folder,
    describe_foreign,
    describe_module,
    describe_static,
    digest_of_parts,
)
from pipelite.fingerprint.files import FileCache, identify_path
from pipelite.fingerprint.items import Binary, Folder, Foreign, Item, Live, Static, Target
from pipelite.fingerprint.live import LiveObjects
from pipelite.fingerprint.modules import distribution_of, main_name, qualified_name
from pipelite.fingerprint.names import Resolver
from pipelite.fingerprint.unloaded import OwnModule
from pipelite.fingerprint.values import identify_value
from pipelite.records import CodeFingerprint

#: Frames for a walk through syntax that is nested too deeply for the usual limit.
_DEEP = 50_000


class Fingerprinter:
    """Identifies code and values; remembers what it computed, so there is one for each run."""

    def __init__(self, *, files: FileCache | None = None) -> None:
        self._files = files
        self._reached: dict[tuple[str, ...], Reached] = {}
        self._classes: dict[type, str] = {}
        self._functions: dict[int, tuple[Any, str]] = {}

    def code(
        self,
        func: Callable[..., Any],
        *,
        version: str | None = None,
        depends_on: Collection[Path] = (),
        track: Collection[str] = (),
    ) -> CodeFingerprint:
        """Fingerprint of a function or any other callable.

        Parameters
        ----------
        version : counts as a part of the code
        depends_on : files and folders whose contents count as a part of the code
        track : installed packages whose source counts as the user's own

        Raises
        ------
        SourceChangedError
            If a source file was edited after the code was loaded from it.
        UnhashableError
            If a path in `depends_on` is not there.
        """
        parts: dict[str, str] = {}
        notes: dict[str, None] = {}
        sources: dict[str, str] = {}
        digest = self._reach(tuple(track)).collect(func, parts, notes, sources)
        pieces = [digest]
        if version is not None:
            parts["version"] = identify_value(version, own_class=qualified_name)
            pieces.append(f"version {parts['version']}")
        for path in depends_on:
            identity = identify_path(path, self._files)
            parts[f"depends_on {path.as_posix()}"] = identity
            pieces.append(f"depends_on {identity}")
        return CodeFingerprint(
            digest=digest_of_parts("code", pieces), parts=parts, not_tracked=tuple(notes), sources=sources
        )

    def value(self, value: Any) -> str:
        """Identity of a value; instances of the user's own classes count with the class's code.

        Raises
        ------
        UnhashableError
            If the value, or a part of it, has no stable hash.
        """
        return identify_value(
            value, own_class=self._identify_class, own_function=self._identify_function, files=self._files
        )

    def _reach(self, track: tuple[str, ...]) -> Reached:
        reached = self._reached.get(track)
        if reached is None:
            reached = self._reached[track] = Reached(track, self._files)
        return reached

    def _identify_class(self, cls: type) -> str:
        known = self._classes.get(cls)
        if known is None:
            known = self._classes[cls] = self._compute_class(cls)
        return known

    def _compute_class(self, cls: type) -> str:
        reached = self._reach(())
        if reached.is_own_class(cls):
            # The name counts too: pickle finds the class of a stored value by it.
            return f"{cls.__qualname__} {reached.collect(cls, {}, {}, {})}"
        distribution = distribution_of(cls.__module__)
        return " ".join([qualified_name(cls), *(distribution or ())])

    def _identify_function(self, func: Any) -> str:
        known = self._functions.get(id(func))
        if known is None:
            known = self._functions[id(func)] = (func, self._reach(()).collect(func, {}, {}, {}))
        return known[1]


class Reached:
    """Everything that was reached from any function so far, each item described once."""

    def __init__(self, track: tuple[str, ...], files: FileCache | None) -> None:
        self._resolver = Resolver(track)
        self._files = files
        self._objects = LiveObjects(self._resolver, files)
        self._items: dict[Any, tuple[Target, Item]] = {}
        self.is_own_class = self._objects.is_own_class

    def collect(self, root: Any, parts: dict[str, str], notes: dict[str, None], sources: dict[str, str]) -> str:
        """Digest of an object's code; fills in the parts, the remarks and the source files that belong to it."""
        start = Live(root, qualified_name(root))
        places: dict[Any, int] = {_key(start): 0}
        waiting: list[Target] = [start]
        pieces: list[str] = []
        for target in waiting:
            item = self._item(target)
            _note(item, parts, notes, sources)
            pieces.append(item.shape)
            for reference in item.references:
                inner = self._item(reference)
                if inner.is_value:
                    _note(inner, parts, notes, sources)
                    pieces.append(f"={inner.shape}")
                    continue
                key = _key(reference)
                if key not in places:
                    places[key] = len(waiting)
                    waiting.append(reference)
                pieces.append(str(places[key]))
        return digest_of_parts("reached", pieces)

    def _item(self, target: Target) -> Item:
        key = _key(target)
        known = self._items.get(key)
        if known is None:
            # The target is kept with it: an object that is gone could leave its id to another one.
            known = self._items[key] = (target, self._describe_deeply(target))
        return known[1]

    def _describe_deeply(self, target: Target) -> Item:
        try:
            return self._describe(target)
        except RecursionError:
            # A sum of a thousand terms is a tree a thousand levels deep; it compiles, so it has to be walked.
            limit = sys.getrecursionlimit()
            sys.setrecursionlimit(max(limit, _DEEP))
            try:
                return self._describe(target)
            finally:
                sys.setrecursionlimit(limit)

    def _describe(self, target: Target) -> Item:
        match target:
            case Live():
                return self._objects.describe(target)
            case Foreign():
                return describe_foreign(target)
            case Static():
                return describe_static(target, self._resolver)
            case OwnModule():
                return describe_module(target, self._resolver)
            case Binary():
                return describe_binary(target, self._files)
            case Folder():
                return describe_folder(target)


def _key(target: Target) -> Any:
    if not isinstance(target, Live):
        return target
    value = target.value
    if isinstance(value, FunctionType | type):
        return _twin(value, qualified_name(value)) or id(value)
    if isinstance(value, ModuleType):
        return id(value)
    if type(value).__module__ != builtins.__name__ and not isinstance(value, PurePath):
        return _twin(value, target.label) or id(value)
    if isinstance(value, list | dict):
        return id(value)
    # Small values are shared between names that have nothing to do with each other.
    return id(value), target.label


def _twin(value: Any, label: str) -> tuple[str, str] | None:
    """One key for both copies of what a script defines, if one of its modules imports the script's file again."""
    name = main_name()
    if name is None or sys.modules.get(name) is None or sys.modules[name] is sys.modules.get("__main__"):
        return None
    module, _, attribute = label.rpartition(".")
    copies = [vars(sys.modules[copy]).get(attribute) for copy in ("__main__", name)]
    same = module == name and any(copy is value for copy in copies)
    return ("twin", label) if same else None


def _note(item: Item, parts: dict[str, str], notes: dict[str, None], sources: dict[str, str]) -> None:
    if item.label is not None:
        label, number = item.label, 2
        while parts.get(label, item.identity) != item.identity:
            label = f"{item.label} ({number})"
            number += 1
        parts[label] = item.identity
    notes.update(dict.fromkeys(item.notes))
    for source in item.sources:
        sources[os.path.abspath(source.path)] = source.digest
