"""`Workspace().compute`: where steps can run, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from pipelite.errors import ComputeTargetError
from pipelite.execute import BUILT_IN, check_setting
from pipelite.store import Store, get_settings, put_setting, remove_setting

_PREFIX = "compute."
#: Executors cannot be stored: by workspace and name, for this process.
_executors: dict[Path, dict[str, Executor]] = {}


class ComputeTargets(MutableMapping[str, Mapping[str, Any] | Executor]):
    """Names that steps and pipelines can give as `compute=`, to what they stand for.

    A setting, such as ``{"kind": "dask", "address": "tcp://127.0.0.1:8786"}``, is kept in the workspace; an executor only
    as long as this process lives. "local", "threads" and "inline" are always there.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getitem__(self, name: str) -> Mapping[str, Any] | Executor:
        return known_targets(self._store)[name]

    def __setitem__(self, name: str, target: Mapping[str, Any] | Executor) -> None:
        """Add or replace a target.

        Raises
        ------
        ComputeTargetError
            If a setting is wrong, or the name stands for something already.
        """
        _refuse_built_in(name)
        if isinstance(target, Executor):
            _executors.setdefault(self._store.path, {})[name] = target
            return
        if not isinstance(target, Mapping):
            raise ComputeTargetError(
                f"compute target {name!r} is {target!r}; a setting such as {{'kind': 'threads', 'size': 8}} or an "
                "executor is expected"
            )
        put_setting(self._store, _PREFIX + name, check_setting(name, target))
        _executors.get(self._store.path, {}).pop(name, None)

    def __delitem__(self, name: str) -> None:
        _refuse_built_in(name)
        if name not in self:
            raise KeyError(name)
        _executors.get(self._store.path, {}).pop(name, None)
        remove_setting(self._store, _PREFIX + name)

    def __iter__(self) -> Iterator[str]:
        return iter(known_targets(self._store))

    def __len__(self) -> int:
        return len(known_targets(self._store))

    def __repr__(self) -> str:
        return repr(known_targets(self._store))


def known_targets(store: Store) -> dict[str, Mapping[str, Any] | Executor]:
    """All targets of a workspace by name."""
    built_in = {name: {"kind": name} for name in BUILT_IN}
    return {**built_in, **get_settings(store, _PREFIX), **_executors.get(store.path, {})}


def _refuse_built_in(name: str) -> None:
    if not name.strip():
        raise ComputeTargetError(f"{name!r} is no name for a compute target; a text is expected")
    if name in BUILT_IN:
        raise ComputeTargetError(f"compute target {name!r} is built in; choose another name")
