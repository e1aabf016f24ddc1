"""What a runner process does: import a published version from its snapshot, and execute runs of it.

The numbers of runs come in on a connection, a line each; a line goes back when one has ended. When the other end is gone
the runner finishes what it is at, and ends.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from pipelite.api.pipelines import Pipeline
from pipelite.api.runs import Run
from pipelite.api.sources import import_pipeline, use_sources, write_sources
from pipelite.api.starting import resume_run, start_queued
from pipelite.api.workspace import open_store
from pipelite.automate import (
    PublishedVersion,
    find_version,
    get_assignments,
    get_defaults_pickle,
    get_version_sources,
    refuse,
)
from pipelite.errors import PipeliteError, ResumeError
from pipelite.records import Status
from pipelite.store import Store, get_run, loads_value, remove_tree, temporary_prefix

#: Below the logs of a run: what the pipeline's own body and its hooks print.
OUTPUT = "owner.log"


class Runner:
    """One version, imported, and the runs of it."""

    def __init__(self, store: Store, version: PublishedVersion) -> None:
        self._store = store
        self._version = version
        self._defaults: dict[str, Any] = {}
        self._pipeline: Pipeline[Any, Any] | None = None
        #: Why it cannot execute anything.
        self.broken: str | None = None

    def prepare(self) -> None:
        """Import the version in a private copy of its snapshot, which is the working directory from now on."""
        prefix = f"{temporary_prefix(self._store.owner.name)}runner-"
        folder = Path(tempfile.mkdtemp(dir=self._store.path / "tmp", prefix=prefix))
        atexit.register(remove_tree, folder)
        label = self._version.label
        try:
            write_sources(self._store, get_version_sources(self._store, self._version.id), folder, whose=label)
            os.chdir(folder)
            use_sources(folder)
            found = import_pipeline(self._version.target, folder, whose=label)
            options = {name: value for name, value in self._version.options.items() if value is not None}
            self._pipeline = found.with_options(**options)
            pickled = get_defaults_pickle(self._store, self._version.id)
            if pickled is not None:
                self._defaults = loads_value(pickled)
        except BaseException as exc:
            # User code; also one that exits while it is imported must not look like a runner that died.
            self.broken = f"{label} cannot be imported: {_describe(exc)}"

    def execute(self, run_id: str) -> None:
        """Execute one run to its end, whatever that is; it is in the workspace afterwards."""
        if self._pipeline is None:
            refuse(self._store, run_id, self.broken or "it was not imported")
            return
        with self._output_of(run_id):
            try:
                run = self._begin(self._pipeline, run_id)
            except ResumeError:
                # It was canceled meanwhile, or another is at it.
                return
            except Exception as exc:
                refuse(self._store, run_id, f"it could not start: {_describe(exc)}")
                return
            # How it ended is stored; a step's failure is no matter of the runner's.
            with contextlib.suppress(PipeliteError):
                run._wait_in_foreground()

    def _begin(self, pipeline: Pipeline[Any, Any], run_id: str) -> Run:
        record = get_run(self._store, run_id)
        pipeline = pipeline.with_options(experiment=record.experiment, quiet=True)
        if "keep_going" in record.options:
            pipeline = pipeline.with_options(keep_going=record.options["keep_going"])
        if record.status is Status.QUEUED:
            return start_queued(pipeline, {**self._defaults, **get_assignments(self._store, run_id)}, record)
        if record.status is not Status.INTERRUPTED:
            # It was canceled after it was taken; `resume_run` goes on with one of which that is known.
            raise ResumeError(f"run {run_id} is {record.status.value}", run_id=run_id)
        return resume_run(pipeline, Run(self._store, run_id).parameters, record)

    @contextlib.contextmanager
    def _output_of(self, run_id: str) -> Any:
        folder = self._store.path / "logs" / run_id
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / OUTPUT, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError:
            # A full disk is told by what matters.
            yield
            return
        for target in (1, 2):
            os.dup2(descriptor, target)
        os.close(descriptor)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            nothing = os.open(os.devnull, os.O_WRONLY)
            for target in (1, 2):
                os.dup2(nothing, target)
            os.close(nothing)


def _describe(exc: BaseException) -> str:
    if isinstance(exc, PipeliteError):
        return str(exc)
    return f"{type(exc).__name__}: {exc}\n\n{''.join(traceback.format_exception(exc)).rstrip()}"


def main(published_id: str, descriptor: str) -> None:
    """Serve until the other end is gone."""
    line = socket.socket(fileno=int(descriptor))
    line.set_inheritable(False)
    store = open_store(create=False)
    runner = Runner(store, find_version(store, published_id))
    runner.prepare()
    with line.makefile("rw", encoding="ascii") as lines:
        while run_id := lines.readline().strip():
            runner.execute(run_id)
            try:
                lines.write(f"{run_id}\n")
                lines.flush()
            except OSError:
                return
            if runner.broken:
                return


if __name__ == "__main__":
    main(*sys.argv[1:])
