"""`pipelite runs`: looks at runs, waits for one, cancels, goes on with or repeats one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipelite.cli.cancel import cancel
from pipelite.cli.logs import logs
from pipelite.cli.options import json_option, run_argument, workspace_option
from pipelite.cli.output import open_for_reading, print_json, print_text
from pipelite.cli.resuming import print_end, resume, wait

if TYPE_CHECKING:
    from pipelite.observe import Explanation

STATUSES = ("queued", "running", "completed", "failed", "canceling", "canceled", "interrupted")


@click.group()
def runs() -> None:
    """Look at runs, wait for one, cancel, go on with or repeat one.

    RUN is the id of a run, or enough of its beginning or end; by default the newest.
    """


runs.add_command(logs)
runs.add_command(resume)
runs.add_command(wait)
runs.add_command(cancel)


@runs.command("list")
@click.option("--pipeline", metavar="NAME", help="Only runs of this pipeline.")
@click.option("--experiment", metavar="NAME", help="Only runs of this experiment.")
@click.option("--status", type=click.Choice(STATUSES), help="Only runs in this state.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="The newest so many.")
@workspace_option
@json_option
def list_command(
    pipeline: str | None, experiment: str | None, status: str | None, limit: int, *, as_json: bool
) -> None:
    """List runs, the newest first."""
    from pipelite.observe import format_duration, format_table, format_time, run_summary
    from pipelite.records import Status
    from pipelite.store import list_runs

    found = list_runs(
        open_for_reading(),
        pipeline=pipeline,
        experiment=experiment,
        status=None if status is None else Status(status),
        limit=limit,
    )
    if as_json:
        print_json([run_summary(each) for each in found])
        return
    if not found:
        click.echo("no runs", err=True)
    rows = [
        (
            each.id,
            each.pipeline,
            each.experiment if each.experiment != each.pipeline else "",
            f"{each.status.value} (waits)" if each.waits_for else each.status.value,
            format_time(each.started_at or each.created_at),
            format_duration(each.duration_s),
            ", ".join(f"{name}={value}" for name, value in each.parameters.items())[:60],
        )
        for each in found
    ]
    headings = ("RUN", "PIPELINE", "EXPERIMENT", "STATUS", "STARTED", "DURATION", "PARAMETERS")
    print_text(format_table(headings, rows, right=("DURATION",)))


@runs.command()
@run_argument
@click.option("--all", "all_steps", is_flag=True, help="Also list each step of long fan-outs.")
@workspace_option
@json_option
def show(run_id: str | None, *, all_steps: bool, as_json: bool) -> None:
    """Show a run: parameters, steps, figures, metrics, outputs, errors."""
    from pipelite.observe import describe_run, summarize_run
    from pipelite.store import get_run

    store = open_for_reading()
    run = get_run(store, run_id)
    if as_json:
        print_json(summarize_run(store, run))
    else:
        print_text(describe_run(store, run, all_steps=all_steps))


@runs.command()
@run_argument
@click.argument("step", required=False)
@workspace_option
@json_option
def explain(run_id: str | None, step: str | None, *, as_json: bool) -> None:
    """Say why each step was reused or computed, naming what changed.

    With STEP all that changed is listed, and what of the step's code is not tracked.
    """
    from pipelite.observe import explain_run, explain_step, format_table
    from pipelite.store import get_run

    store = open_for_reading()
    run = get_run(store, run_id)
    explanations = explain_run(store, run) if step is None else [explain_step(store, run, step)]
    if as_json:
        print_json([each.as_dict() for each in explanations])
    elif step is None:
        print_text(format_table(("", ""), [(each.step, each.line) for each in explanations]))
    else:
        _print_explanation(explanations[0])


@runs.command()
@run_argument
@workspace_option
@json_option
def rerun(run_id: str | None, *, as_json: bool) -> None:
    """Run the pipeline of a run again, with its parameters and the source that it kept."""
    from pipelite.api import Workspace

    open_for_reading()
    print_end(Workspace().run(run_id).rerun(), as_json=as_json)


def _print_explanation(explanation: Explanation) -> None:
    compared = f" (compared with run {explanation.compared_with})" if explanation.compared_with else ""
    click.echo(f"{explanation.step} was {explanation.verb}{compared}")
    for reason in explanation.reasons:
        click.echo(f"  {reason}")
    if explanation.not_tracked:
        click.echo("not tracked, so a change there goes unnoticed:")
        for part in explanation.not_tracked:
            click.echo(f"  {part}")
