"""Runs a pipeline from what an earlier run kept, its source and its parameters, never from today's files.

`rerun` makes a new run of them, `resume` continues the same one.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.api.sources import import_pipeline, use_sources, write_sources
from pipelite.errors import PipeliteError
from pipelite.records import RunRecord
from pipelite.store import (
    Store,
    check_resumable,
    get_run,
    get_run_sources,
    remove_tree,
    temporary_prefix,
)

if TYPE_CHECKING:
    from pipelite.api.pipelines import Pipeline
    from pipelite.api.runs import Run

#: How the child tells the id of the run it works on, or why it could not.
_ID_FILE = "run-id"
_ERROR_FILE = "error"


def rerun(store: Store, record: RunRecord) -> Run:
    """Run again in a fresh process that imports the kept source, in the folder where the first run was started."""
    return _replay(store, record, "rerun")


def resume(store: Store, record: RunRecord) -> Run:
    """Continue a run in a fresh process that imports the kept source, in the folder where it was started.

    Raises
    ------
    ResumeError
        If the run is not one that can be resumed, or another process was faster.
    """
    check_resumable(record)
    return _replay(store, record, "resume")


def _replay(store: Store, record: RunRecord, how: str) -> Run:
    from pipelite.api.runs import Run

    done = {"rerun": "run again", "resume": "resumed"}[how]
    if record.target is None:
        raise PipeliteError(
            f"run {record.id} cannot be {done}: its pipeline {record.pipeline!r} was defined in a notebook or inside "
            "of a function, where no import finds it; put it at the top level of a module"
        )
    prefix = f"{temporary_prefix(store.owner.name)}{how}-"
    folder = Path(tempfile.mkdtemp(dir=store.path / "tmp", prefix=prefix))
    try:
        environment = {**os.environ, "PIPELITE_WORKSPACE": str(store.path)}
        directory = record.working_directory if os.path.isdir(record.working_directory) else None
        command = [sys.executable, "-m", "pipelite.api.replay", how, record.id, str(folder)]
        child = subprocess.Popen(command, env=environment, cwd=directory)
        with _answers_signals(child):
            exit_code = _wait(child)
        made = folder / _ID_FILE
        if made.exists():
            return Run(store, made.read_text())
        error = folder / _ERROR_FILE
        if error.exists():
            raise pickle.loads(error.read_bytes())
        raise PipeliteError(f"run {record.id} could not be {done}: the process exited with {exit_code}")
    finally:
        remove_tree(folder)


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait in short turns: a signal that comes just before one begins is answered after it."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(timeout=0.2)


@contextlib.contextmanager
def _answers_signals(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave Ctrl-C and SIGTERM to a child that runs something: a terminal sends the one to both, the other is passed on.

    Only where they have their usual meaning, which is to end this process and leave the child alone.
    """
    answers: dict[int, tuple[Any, Callable[[int, Any], None]]] = {
        signal.SIGINT: (signal.default_int_handler, lambda number, frame: None),
        signal.SIGTERM: (signal.SIG_DFL, lambda number, frame: child.send_signal(number)),
    }
    is_main = threading.current_thread() is threading.main_thread()
    taken = [number for number, (usual, _) in answers.items() if is_main and signal.getsignal(number) is usual]
    for number in taken:
        signal.signal(number, answers[number][1])
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, answers[number][0])


def main(how: str, run_id: str, folder: str) -> int:
    """In the child: import the kept source and run."""
    try:
        run = _start(how, run_id)
    except PipeliteError as exc:
        _tell(Path(folder, _ERROR_FILE), pickle.dumps(exc))
        return exc.exit_code
    _tell(Path(folder, _ID_FILE), run.id.encode())
    try:
        run._wait_in_foreground()
    except PipeliteError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    return 0


def _tell(path: Path, content: bytes) -> None:
    """Leave word for the parent, unless it died and somebody has cleared up after it."""
    with contextlib.suppress(FileNotFoundError):
        path.write_bytes(content)


def _start(how: str, run_id: str) -> Run:
    from pipelite.api.runs import Run
    from pipelite.api.starting import resume_run
    from pipelite.api.workspace import open_store

    store = open_store()
    record = get_run(store, run_id)
    # Named after this process, so that it stays while this process lives, whatever becomes of the parent.
    source = Path(tempfile.mkdtemp(dir=store.path / "tmp", prefix=f"{temporary_prefix(store.owner.name)}source-"))
    atexit.register(remove_tree, source)
    write_sources(store, get_run_sources(store, record.id), source, whose=f"run {record.id}")
    use_sources(source)
    pipeline = _find_pipeline(record, source)
    parameters = Run(store, run_id).parameters
    if how == "resume":
        return resume_run(pipeline, parameters, record)
    return pipeline._start(parameters, shows_progress=True, rerun_of=run_id)


def _find_pipeline(record: RunRecord, source: Path) -> Pipeline[Any, Any]:
    """The pipeline of a run, with the options that it was run with."""
    assert record.target is not None
    found = import_pipeline(record.target, source, whose=f"run {record.id}")
    options = {name: record.options[name] for name in ("keep_going", "compute") if name in record.options}
    return found.with_options(experiment=record.experiment, **options)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
