"""Runs a pipeline again from what an earlier run kept: its source, its parameters; never from today's files."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipelite.errors import ArtifactError, NotFoundError, PipeliteError
from pipelite.records import RunRecord
from pipelite.store import Store, get_run, get_run_sources, get_source

if TYPE_CHECKING:
    from pipelite.api.runs import Run

#: How the child tells the id of the run it made.
_ID_FILE = "run-id"


def rerun(store: Store, record: RunRecord) -> Run:
    """Run again in a fresh process that imports the kept source, in the folder where the first run was started."""
    from pipelite.api.runs import Run

    if record.target is None:
        raise PipeliteError(
            f"run {record.id} cannot be run again: its pipeline {record.pipeline!r} was defined in a notebook or inside "
            "of a function, where no import finds it; put it at the top level of a module"
        )
    folder = Path(tempfile.mkdtemp(dir=store.path / "tmp", prefix="rerun-"))
    try:
        _write_sources(store, record, folder / "source")
        environment = {**os.environ, "PIPELITE_WORKSPACE": str(store.path)}
        directory = record.working_directory if os.path.isdir(record.working_directory) else None
        command = [sys.executable, "-m", "pipelite.api.replay", record.id, str(folder)]
        result = subprocess.run(command, env=environment, cwd=directory, check=False)
        made = folder / _ID_FILE
        if not made.exists():
            raise PipeliteError(f"run {record.id} could not be run again: the process exited with {result.returncode}")
        return Run(store, made.read_text())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_sources(store: Store, record: RunRecord, folder: Path) -> None:
    for place, digest in get_run_sources(store, record.id).items():
        target = folder / place
        if folder not in target.resolve().parents:
            raise ArtifactError(f"run {record.id} names a source file outside of its folder: {place!r}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(get_source(store, digest))


def main(run_id: str, folder: str) -> int:
    """In the child: import the kept source and run."""
    from pipelite.api.pipelines import Pipeline
    from pipelite.api.runs import Run
    from pipelite.api.workspace import open_store

    source = Path(folder, "source")
    sys.path.insert(0, str(source))
    store = open_store()
    record = get_run(store, run_id)
    assert record.target is not None
    module, _, qualname = record.target.partition(":")
    found = _import(module, source)
    for part in qualname.split("."):
        found = getattr(found, part)
    if not isinstance(found, Pipeline):
        raise NotFoundError(f"{record.target} is not a pipeline in the source that run {run_id} kept")
    options = {name: record.options[name] for name in ("keep_going",) if name in record.options}
    pipeline = found.with_options(experiment=record.experiment, **options)
    parameters = Run(store, run_id).parameters
    run = pipeline._start(parameters, shows_progress=True, rerun_of=run_id)
    Path(folder, _ID_FILE).write_text(run.id)
    run._wait_in_foreground()
    return 0


def _import(module: str, source: Path) -> object:
    if all(part.isidentifier() for part in module.split(".")):
        return importlib.import_module(module)
    from pipelite.execute import import_module

    return import_module(module, str(source / f"{module}.py"))


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except PipeliteError as exc:
        sys.stderr.write(f"{exc}\n")
        sys.exit(exc.exit_code)
