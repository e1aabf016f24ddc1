"""`current_run()` in a process that a step started, such as a script: what it logs goes where its step's records go."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.execute.spool import SpoolWriter

if TYPE_CHECKING:
    from pipelite.execute.context import StepContext
    from pipelite.store import ArtifactStore

#: The environment variable that tells such a process which step run it is part of.
VARIABLE = "PIPELITE_STEP_RUN"
#: The one that tells it in which file the datasets are that it is given, pickled, by name.
DATASETS_VARIABLE = "PIPELITE_INPUT_DATASETS"


class SharedSink:
    """Appends to the spool of the worker that waits for this process."""

    def __init__(self, address: Mapping[str, str]) -> None:
        self._address = address
        self._spool = SpoolWriter(Path(address["spool"]), locks=False)

    def append(self, record: dict[str, Any]) -> None:
        self._spool.append(record)

    def store_file(self, path: Path) -> dict[str, Any]:
        from pipelite.fingerprint import Fingerprinter
        from pipelite.store import ArtifactStore

        store = ArtifactStore(Path(self._address["root"]), prefix=lambda: self._address["prefix"])
        return keep_file(store, path, Fingerprinter().value)

    def address(self) -> dict[str, str]:
        return dict(self._address)


def shared_variables(context: StepContext) -> dict[str, str]:
    """Environment variables with which a process finds its way to the records of a step run; none outside of a run."""
    if context._sink is None:
        return {}
    described = {
        "run_id": context._run_id,
        "pipeline": context._pipeline,
        "step": context._step,
        "position": context._position,
        "attempt": context._attempt,
        "scratch_stem": str(context._scratch_stem),
        "address": context._sink.address(),
    }
    return {VARIABLE: json.dumps(described)}


def read_variables(text: str) -> dict[str, Any]:
    """The arguments of the `StepContext` that a process was told to be part of."""
    described = json.loads(text)
    sink = SharedSink(described.pop("address"))
    return {**described, "sink": sink, "scratch_stem": Path(described["scratch_stem"])}


def log_file_of(context: StepContext) -> Path | None:
    """Where what the step prints is kept; None where it goes to the terminal."""
    path = "" if context._sink is None else context._sink.address()["log"]
    return Path(path) if path else None


def keep_file(store: ArtifactStore, path: Path, identify: Callable[[Any], str]) -> dict[str, Any]:
    """Put a file that a step logged into the store; gives its reference as plain JSON."""
    ref = store.put(path, output=path.name, step="", identify=identify)
    return {
        "digest": ref.digest,
        "kind": ref.kind,
        "path": ref.path,
        "size_bytes": ref.size_bytes,
        "mtime_ns": ref.mtime_ns,
        "file_digest": ref.file_digest,
        "type_name": ref.type_name,
    }


def inherited_datasets() -> Path | None:
    """Where the datasets are that this process was given, if it was given any."""
    path = os.environ.get(DATASETS_VARIABLE)
    return Path(path) if path else None


def inherited() -> str | None:
    """What this process was told of the step run that it is part of, if it was."""
    return os.environ.get(VARIABLE)
