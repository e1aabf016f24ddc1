"""`pipelite runs cancel`."""

from __future__ import annotations

import contextlib

import click

from pipelite.cli.options import json_option, run_argument, workspace_option
from pipelite.cli.output import open_for_reading, print_json

#: A run whose process is stopped, or busy beyond all measure, is not waited for any longer.
WAIT_S = 10.0


@click.command()
@run_argument
@workspace_option
@json_option
def cancel(run_id: str | None, *, as_json: bool) -> None:
    """End a run with the steps that are running, whichever process runs it.

    A run that waits in the queue or was interrupted is canceled, too; one that has ended stays as it is.
    """
    from pipelite.api import Workspace
    from pipelite.errors import StepFailed

    open_for_reading()
    run = Workspace().run(run_id)
    run.cancel()
    # It may have failed before, and its process may not answer: the status says so.
    with contextlib.suppress(StepFailed, TimeoutError):
        run.wait(timeout=WAIT_S)
    if as_json:
        print_json({"id": run.id, "status": run.status})
    else:
        click.echo(f"run {run.id} is {run.status}")
