"""What is kept of a run, in the forms of v1: statuses, metrics, files, tags and properties."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.azureml import _state
from pipelite.azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from pipelite.store import Store

#: A native status to that of `Run.get_status`.
STATUSES = {
    "queued": "Queued",
    "pending": "NotStarted",
    "running": "Running",
    "completed": "Completed",
    "reused": "Completed",
    "failed": "Failed",
    "skipped": "Canceled",
    "canceling": "CancelRequested",
    "canceled": "Canceled",
    "interrupted": "Failed",
}


def read_metrics(native: Any, step: str | None, name: str | None) -> dict[str, Any]:
    """What a run, or a step of it, logged, in the form of v1."""
    from pipelite.store import get_metrics

    found: dict[str, Any] = {}
    for metric in get_metrics(native._store, native.id):
        if (step is not None and metric.step_run != step) or (name is not None and metric.name != name):
            continue
        if metric.kind in ("file", "tag"):
            continue
        _add(found, metric.name, metric.kind, metric.value)
    return found


def _add(found: dict[str, Any], name: str, kind: str, value: Any) -> None:
    if kind == "list":
        value = list(value)
        found[name] = [*_listed(found[name]), *value] if name in found else value
    elif kind in ("row", "table"):
        columns = found.setdefault(name, {})
        for column, each in value.items():
            given = each[0] if isinstance(each, list) and len(each) == 1 else each
            if column in columns:
                columns[column] = [*_listed(columns[column]), *_listed(given)]
            else:
                columns[column] = given
    elif kind == "image":
        found[name] = f"aml://artifactId/{name}"
    elif name in found:
        found[name] = [*_listed(found[name]), value]
    else:
        found[name] = value


def remember(found: dict[str, Any], what: str, name: str, values: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Add what was logged by a call to what was logged before, in the form that `get_metrics` gives."""
    kind = what.removeprefix("log_")
    if what == "log":
        value = values[0]
        _add(found, name, "scalar", value.item() if hasattr(value, "item") else value)
    elif what.startswith("log_"):
        _add(found, name, kind, named if kind == "row" else values[0])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def kept_files(native: Any, step: str) -> dict[str, Path]:
    """Files that a step of a run kept, by name."""
    from pipelite.store import get_metrics

    root = native._store.path
    return {
        metric.name: root / "artifacts" / metric.value["path"]
        for metric in get_metrics(native._store, native.id)
        if metric.kind in ("file", "image") and metric.step_run == step and isinstance(metric.value, Mapping)
    }


def copy_kept(files: Mapping[str, Path], name: str, target: str | None, run_id: str) -> None:
    """Copy a file that a run kept, into the working directory or as a path or a folder says.

    Raises
    ------
    UserErrorException
        If there is none of that name.
    """
    name = os.path.normpath(name)
    if name not in files:
        raise UserErrorException(f"run {run_id} kept no file {name!r}; it kept {', '.join(sorted(files)) or 'none'}")
    path = Path(target or os.path.basename(name))
    if path.is_dir():
        path /= os.path.basename(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(files[name], path)


class Labels:
    """Tags and properties of a run besides those of its record, which is its owner's to write."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id

    def read(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = (_state.get(self._store, "run", self._run_id) or {}).get(kind, {})
        return found

    def change(self, kind: str, values: Mapping[str, Any]) -> None:
        kept = _state.get(self._store, "run", self._run_id) or {}
        _state.put(self._store, "run", self._run_id, {**kept, kind: {**kept.get(kind, {}), **values}})

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        known = self.read("properties")
        for key in properties:
            if key in known:
                raise UserErrorException(
                    f"run {self._run_id} has the property {key!r} already, and it cannot be changed"
                )
        self.change("properties", texts(properties))


def has(given: Mapping[str, str], wanted: Any) -> bool:
    """Whether there are tags or properties that are asked for: a name, names with values, or a list of names and pairs."""
    pairs = wanted.items() if isinstance(wanted, Mapping) else [wanted] if isinstance(wanted, str) else wanted or []
    asked = [each if isinstance(each, list | tuple) else (each, None) for each in pairs]
    return all(key in given and value in (None, given[key]) for key, value in asked)


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in values.items()}


def time_text(value: Any) -> str | None:
    return None if value is None else value.isoformat().replace("+00:00", "Z")
