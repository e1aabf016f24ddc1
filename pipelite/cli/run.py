"""`pipelite run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pipelite.cli.options import json_option, parameters_option, target_argument, workspace_option
from pipelite.cli.output import open_for_reading, print_json, print_text
from pipelite.cli.submit import report, submit
from pipelite.cli.targets import load_pipeline
from pipelite.errors import RunCanceled, StepFailed

if TYPE_CHECKING:
    from pipelite.api import PlannedStep


@click.command()
@target_argument
@parameters_option
@click.option("--experiment", metavar="NAME", help="Name that groups runs; by default the pipeline's.")
@click.option("--regenerate-outputs", is_flag=True, help="Compute every step, and store the new results.")
@click.option("--keep-going", is_flag=True, help="When a step fails, go on with everything that does not need it.")
@click.option("--dry-run", is_flag=True, help="Only say what would be reused and what computed.")
@click.option("--submit", "detached", is_flag=True, help="Run it in a process of its own, and only print the id.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--report-to", type=int, hidden=True, help="Used by --submit: a descriptor for the id of the run.")
@workspace_option
@json_option
def run(
    target: str,
    parameters: dict[str, str],
    experiment: str | None,
    *,
    regenerate_outputs: bool,
    keep_going: bool,
    dry_run: bool,
    detached: bool,
    quiet: bool,
    report_to: int | None,
    as_json: bool,
) -> None:
    """Run a pipeline and wait for it.

    The pipeline is named by a file or a module, and the name of the function: flow.py:train, package.flow:train. The
    name may be left out where there is only one. What the run returned goes to standard output, progress to standard
    error. With --submit the command returns at once, and the id goes to standard output: `pipelite runs wait` waits for
    such a run, `pipelite runs logs -f` shows what it prints.
    """
    if detached:
        if dry_run:
            raise click.UsageError("--submit and --dry-run exclude each other")
        given = {"--regenerate-outputs": regenerate_outputs, "--keep-going": keep_going, "--quiet": quiet}
        words = [word for word, is_given in given.items() if is_given]
        run_id = submit(target, parameters, words if experiment is None else [*words, "--experiment", experiment])
        if as_json:
            print_json({"id": run_id})
        else:
            click.echo(run_id)
        return
    from pipelite.define import bind_parameters

    pipeline = load_pipeline(target)
    values = bind_parameters(pipeline.specs, parameters, text=True, pipeline=pipeline.name)
    options: dict[str, Any] = {} if experiment is None else {"experiment": experiment}
    flags = {"regenerate_outputs": regenerate_outputs, "keep_going": keep_going, "quiet": quiet}
    # A flag that is not given leaves the option as the pipeline has it.
    options.update({name: True for name, is_given in flags.items() if is_given})
    pipeline = pipeline.with_options(**options)
    if dry_run:
        print_plan(pipeline.plan(**values), as_json=as_json)
        return
    try:
        started = pipeline._start(values, shows_progress=True)
        if report_to is not None:
            report(started.id, report_to)
        print_result(started._wait_in_foreground().id, as_json=as_json)
    except (StepFailed, RunCanceled) as exc:
        if as_json and exc.run_id is not None:
            print_result(exc.run_id, as_json=True)
        raise


def print_result(run_id: str, *, as_json: bool) -> None:
    """Print what a run that has ended returned; as JSON the whole run."""
    from pipelite.observe import describe_outputs, format_table, summarize_run
    from pipelite.store import get_run, get_step_runs

    store = open_for_reading()
    record = get_run(store, run_id)
    if as_json:
        print_json(summarize_run(store, record))
    else:
        print_text(format_table(("", ""), describe_outputs(store, record, get_step_runs(store, run_id))))


def print_plan(planned: Sequence[PlannedStep], *, as_json: bool) -> None:
    """Print what a run would do."""
    import attrs

    from pipelite.observe import format_table

    if as_json:
        print_json([attrs.asdict(step) for step in planned])
        return
    rows = [(step.name, step.action, _describe_plan(step)) for step in planned]
    print_text(format_table(("STEP", "WOULD", "WHY"), rows))
    words = {
        "reuse": "to reuse",
        "compute": "to compute",
        "wait": "to wait for",
        "skip": "to skip",
        "fail": "to fail",
        "unknown": "not known yet",
    }
    counts = {action: sum(step.action == action for step in planned) for action in words}
    shown = ", ".join(f"{count} {words[action]}" for action, count in counts.items() if count)
    click.echo(f"\n{len(planned)} steps: {shown}")


def _describe_plan(step: PlannedStep) -> str:
    if step.depends_on:
        return f"depends on {step.depends_on}"
    return step.reason or ("nothing equal is stored" if step.action == "compute" else "")
