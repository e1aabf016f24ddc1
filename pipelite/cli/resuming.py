"""`pipelite runs resume` and `pipelite runs wait`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipelite.cli.options import json_option, run_argument, workspace_option
from pipelite.cli.output import open_for_reading

if TYPE_CHECKING:
    from pipelite.api import Run


@click.command()
@run_argument
@workspace_option
@json_option
def resume(run_id: str | None, *, as_json: bool) -> None:
    """Go on with a run that failed, was canceled or lost its process.

    It keeps its id, its parameters and the source that it kept. What it had finished is not done again.
    """
    from pipelite.api import Workspace

    open_for_reading()
    print_end(Workspace().run(run_id).resume(), as_json=as_json)


@click.command()
@run_argument
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait no longer than this.")
@workspace_option
@json_option
def wait(run_id: str | None, timeout: float | None, *, as_json: bool) -> None:
    """Wait for the end of a run, whichever process runs it.

    The exit code is 0 if it completed, 130 if it was canceled or interrupted, and 1 if it failed, or has not ended by
    the time-out.
    """
    from pipelite.api import Workspace
    from pipelite.errors import PipeliteError, StepFailed

    open_for_reading()
    run = Workspace().run(run_id)
    try:
        run.wait(timeout)
    except TimeoutError as exc:
        raise PipeliteError(str(exc)) from None
    except StepFailed:
        # What failed is told with the rest of how it ended.
        pass
    print_end(run, as_json=as_json)


def print_end(run: Run, *, as_json: bool) -> None:
    """Print what a run that has ended returned, and fail as it did."""
    from pipelite.cli.run import print_result
    from pipelite.errors import RunCanceled, StepFailed
    from pipelite.records import Status

    record = run.record
    print_result(run.id, as_json=as_json)
    if record.status is Status.FAILED:
        raise StepFailed(f"run {run.id} failed: {record.error}; `pipelite runs show {run.id}` has more", run_id=run.id)
    if record.status is not Status.COMPLETED:
        raise RunCanceled(
            f"run {run.id} is {record.status.value}; `pipelite runs resume {run.id}` goes on with it", run_id=run.id
        )
