"""`pipelite runs logs`: what steps printed, also while they run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO

import click

from pipelite.cli.options import json_option, run_argument, workspace_option
from pipelite.cli.output import open_for_reading, print_json
from pipelite.clock import CLOCK

if TYPE_CHECKING:
    from pipelite.records import RunRecord, StepRunRecord
    from pipelite.store import Store

#: Seconds between two looks at a run that is followed.
POLL_S = 0.2


@click.command()
@run_argument
@click.argument("step", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is printed while the run goes on.")
@workspace_option
@json_option
def logs(run_id: str | None, step: str | None, *, follow: bool, as_json: bool) -> None:
    """Print what the steps of a run printed, or one of them.

    A reused step shows what it printed when it was computed.
    """
    from pipelite.store import get_run, read_log

    if follow and as_json:
        raise click.UsageError("--follow and --json exclude each other")
    store = open_for_reading()
    run = get_run(store, run_id)
    if follow:
        Follower(store, run, step).follow()
        return
    steps = find_steps(store, run, step)
    if as_json:
        print_json([{"step": each.name, "log": read_log(store, each).decode(errors="replace")} for each in steps])
        return
    printer = Printer(with_headings=step is None)
    for each in steps:
        printer.write(each.name, read_log(store, each))
    printer.close()
    if not printer.has_written:
        click.echo(f"run {run.id} printed nothing" if step is None else f"step {step!r} printed nothing", err=True)


def find_steps(store: Store, run: RunRecord, step: str | None) -> list[StepRunRecord]:
    """The step runs that are asked for."""
    from pipelite.store import get_step_run, get_step_runs

    return get_step_runs(store, run.id) if step is None else [get_step_run(store, run.id, step)]


class Printer:
    """Writes bytes as steps printed them, with the name of the step above where several are shown."""

    def __init__(self, *, with_headings: bool) -> None:
        self._with_headings = with_headings
        self._stream: BinaryIO = sys.stdout.buffer
        self._at: str | None = None
        self._last = b"\n"
        #: Whether any step had printed anything.
        self.has_written = False

    def write(self, step: str, text: bytes) -> None:
        """Print what a step printed, or its next part."""
        if not text:
            return
        if self._with_headings and step != self._at:
            self._end_line()
            gap = b"\n" if self.has_written else b""
            self._stream.write(gap + f"==> {step} <==\n".encode())
        self._stream.write(text)
        self._at, self._last, self.has_written = step, text[-1:], True

    def close(self) -> None:
        """End the last line, and hand everything on."""
        self._end_line()
        self._stream.flush()

    def flush(self) -> None:
        """Hand on what was written."""
        self._stream.flush()

    def _end_line(self) -> None:
        if self._last != b"\n":
            self._stream.write(b"\n")
            self._last = b"\n"


class Follower:
    """Prints what steps print, until the run or the one step has ended."""

    def __init__(self, store: Store, run: RunRecord, step: str | None) -> None:
        self._store = store
        self._run = run
        self._step = step
        self._printer = Printer(with_headings=step is None)
        #: Per step run: the attempt, as its log file and start, and how much of it is printed.
        self._read: dict[int, tuple[tuple[str | None, int | None], int]] = {}
        self._done: set[int] = set()

    def follow(self) -> None:
        """Block until there is nothing more to come."""
        while True:
            # Looked at first: what was printed before the end is there once the end is.
            has_ended = self._has_ended()
            for step_run in self._current(has_ended=has_ended):
                if step_run.id not in self._done:
                    self._print_new(step_run)
            self._printer.flush()
            if has_ended or (self._step is not None and self._done):
                break
            CLOCK.sleep(POLL_S)
        self._printer.close()

    def _has_ended(self) -> bool:
        from pipelite.records import FINAL, Status
        from pipelite.store import get_run, is_alive

        run = get_run(self._store, self._run.id)
        if run.status in FINAL or run.status is Status.INTERRUPTED:
            return True
        return run.owner is not None and not is_alive(self._store.path, run.owner)

    def _current(self, *, has_ended: bool) -> list[StepRunRecord]:
        from pipelite.errors import NotFoundError

        try:
            return find_steps(self._store, self._run, self._step)
        except NotFoundError:
            # It may be still to come.
            if has_ended:
                raise
            return []

    def _print_new(self, step_run: StepRunRecord) -> None:
        from pipelite.records import FINAL
        from pipelite.store import read_log_from

        attempt = (step_run.log_file, step_run.log_start)
        known, offset = self._read.get(step_run.id, (attempt, 0))
        # Another attempt prints elsewhere.
        offset = offset if known == attempt else 0
        while text := read_log_from(self._store, step_run, offset):
            self._printer.write(step_run.name, text)
            offset += len(text)
        self._read[step_run.id] = attempt, offset
        if step_run.status in FINAL:
            self._done.add(step_run.id)
