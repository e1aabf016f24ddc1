"""`pipelite triggers`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from pipelite.cli.options import json_option, parameters_option, workspace_option
from pipelite.cli.output import open_for_reading, print_json, print_text
from pipelite.cli.schedules import parse_values, to_span

if TYPE_CHECKING:
    from pipelite.api.triggers import Trigger
    from pipelite.automate import Cause, Firing


@click.group()
def triggers() -> None:
    """Have published pipelines run when something happens; `pipelite serve` or `pipelite daemon` sees to it."""


@triggers.command()
@click.argument("name")
@click.argument("endpoint")
@parameters_option
@click.option("--version", metavar="VERSION", help="Keep to a version, whatever the endpoint leads to.")
@click.option("--files", metavar="PATH", help="New and changed files: a path, a folder, a pattern, or a URL of these.")
@click.option("--datastore", metavar="NAME", help="With --files: the datastore that the path is on.")
@click.option(
    "--per-file", is_flag=True, help="With --files: a run for each file, not one for all that changed together."
)
@click.option("--interval", type=to_span, metavar="TIME", help="With --files: between two looks, as in 30s or 5m; 1m.")
@click.option("--settle", type=to_span, metavar="TIME", help="With --files: how long a file has to stay the same; 5s.")
@click.option("--after", metavar="PIPELINE", help="The end of a run of this pipeline.")
@click.option("--state", "states", multiple=True, help="With --after: completed (the default), failed or canceled.")
@click.option("--dataset", metavar="NAME", help="A new version of this dataset.")
@click.option("--http", is_flag=True, help="A POST to a URL that is printed once, and needs no token.")
@click.option(
    "--cause-parameter",
    metavar="NAME",
    help="The parameter that is told what happened: the paths, the id of the run, or the version.",
)
@click.option("--experiment", metavar="NAME", help="Name that groups runs; by default the pipeline's.")
@click.option("--description", metavar="TEXT", help="For people.")
@workspace_option
@json_option
def add(
    *,
    name: str,
    endpoint: str,
    parameters: dict[str, str],
    version: str | None,
    cause_parameter: str | None,
    experiment: str | None,
    description: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Add a trigger for an endpoint, on one of --files, --after, --dataset and --http.

    Of files, those that are there now are what changes are counted from.
    """
    from pipelite.api.triggers import Trigger
    from pipelite.api.workspace import Workspace

    on = _read_cause(**options)
    workspace = Workspace(open_for_reading().path)
    published = workspace.published.version(endpoint, version)
    trigger = Trigger.create(
        name,
        workspace.endpoints[endpoint] if version is None else published,
        parse_values(published, parameters),
        on=on,
        cause_parameter=cause_parameter,
        experiment=experiment,
        description=description,
    )
    if as_json:
        print_json({**_describe(trigger), **({"url": trigger.url} if trigger.url else {})})
    elif trigger.url:
        click.echo(trigger.url)
    else:
        click.echo(f"{name} waits for: {on}")


@triggers.command("list")
@workspace_option
@json_option
def list_them(*, as_json: bool) -> None:
    """List the triggers."""
    from pipelite.api.triggers import Triggers
    from pipelite.observe import format_table

    found = list(Triggers(open_for_reading()).values())
    if as_json:
        print_json([_describe(trigger) for trigger in found])
        return
    rows = []
    for trigger in found:
        record, last = trigger.record, trigger.history(limit=1)
        state = "paused" if record.is_paused else "failing" if record.problem else "active"
        shown = f"{last[0].at:%Y-%m-%d %H:%M:%S} {last[0].outcome}" if last else "-"
        rows.append((record.name, _called(trigger), str(record.source), state, shown))
    print_text(format_table(("NAME", "PIPELINE", "WAITS FOR", "STATE", "LAST"), rows))


@triggers.command()
@click.argument("name")
@workspace_option
@json_option
def show(*, name: str, as_json: bool) -> None:
    """Show all that is known of a trigger."""
    described = _describe(_find(name))
    if as_json:
        print_json(described)
        return
    width = max(map(len, described))
    print_text("\n".join(f"{key:<{width}}  {'-' if value is None else value}" for key, value in described.items()))


@triggers.command()
@click.argument("name")
@click.option("-n", "count", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@workspace_option
@json_option
def history(*, name: str, count: int, as_json: bool) -> None:
    """Show what happened, the latest first, and why there was no run."""
    from pipelite.observe import format_table

    found = _find(name).history(limit=count)
    if as_json:
        print_json([_describe_firing(firing) for firing in found])
        return
    rows = [
        (
            f"{firing.at:%Y-%m-%d %H:%M:%S}",
            _shown_cause(firing),
            firing.outcome,
            firing.run_id or "-",
            (firing.reason or "").strip().rpartition("\n")[2],
        )
        for firing in found
    ]
    print_text(format_table(("AT", "CAUSE", "OUTCOME", "RUN", "REASON"), rows))


@triggers.command()
@click.argument("name")
@workspace_option
@json_option
def pause(*, name: str, as_json: bool) -> None:
    """Have a trigger make no runs until it is resumed."""
    _find(name).pause()
    _say(name, "is paused", as_json=as_json)


@triggers.command()
@click.argument("name")
@workspace_option
@json_option
def resume(*, name: str, as_json: bool) -> None:
    """Have a paused trigger go on; what happened meanwhile has no runs."""
    _find(name).resume()
    _say(name, "goes on", as_json=as_json)


@triggers.command()
@click.argument("name")
@workspace_option
@json_option
def renew(*, name: str, as_json: bool) -> None:
    """Give a trigger a new URL, printed once; the one before opens nothing any more."""
    url = _find(name).renew_secret()
    if as_json:
        print_json({"name": name, "url": url})
    else:
        click.echo(url)


@triggers.command()
@click.argument("name")
@workspace_option
@json_option
def revoke(*, name: str, as_json: bool) -> None:
    """Have the URL of a trigger open nothing any more; `renew` gives it another."""
    _find(name).revoke_secret()
    _say(name, "has no URL any more", as_json=as_json)


@triggers.command()
@click.argument("name")
@workspace_option
@json_option
def remove(*, name: str, as_json: bool) -> None:
    """Forget a trigger and its history; its runs stay."""
    _find(name).remove()
    if as_json:
        print_json({"name": name})
    else:
        click.echo(f"{name} is removed")


def _find(name: str) -> Trigger:
    from pipelite.api.triggers import Triggers

    return Triggers(open_for_reading())[name]


def _say(name: str, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(_describe(_find(name)))
    else:
        click.echo(f"{name} {what}")


def _read_cause(
    *,
    files: str | None,
    datastore: str | None,
    per_file: bool,
    interval: timedelta | None,
    settle: timedelta | None,
    after: str | None,
    states: tuple[str, ...],
    dataset: str | None,
    http: bool,
) -> Cause:
    """What a trigger is to be on."""
    from pipelite.automate import FileChange, HttpCall, NewVersion, RunEnd

    if sum((files is not None, after is not None, dataset is not None, http)) != 1:
        raise click.UsageError("give exactly one of --files, --after, --dataset and --http")
    with_files = {"--datastore": datastore, "--per-file": per_file, "--interval": interval, "--settle": settle}
    for option, value in with_files.items():
        if files is None and value:
            raise click.UsageError(f"{option} goes with --files")
    if after is None and states:
        raise click.UsageError("--state goes with --after")
    if files is not None:
        times = {name: value for name, value in (("interval", interval), ("settle", settle)) if value is not None}
        return FileChange(files if datastore is None else (datastore, files), per_file=per_file, **times)
    if after is not None:
        return RunEnd(after, states=states or ("completed",))
    return HttpCall() if dataset is None else NewVersion(dataset)


def _called(trigger: Trigger) -> str:
    from pipelite.automate import find_version

    record = trigger.record
    if record.endpoint is not None:
        return record.endpoint
    return find_version(open_for_reading(), record.published_id or "").label


def _describe(trigger: Trigger) -> dict[str, Any]:
    from pipelite.automate import describe_cause

    record = trigger.record
    return {
        "name": record.name,
        "description": record.description,
        "pipeline": _called(trigger),
        "parameters": dict(record.parameters),
        "cause_parameter": record.cause_parameter,
        "experiment": record.experiment,
        **describe_cause(record),
        "is_paused": record.is_paused,
        "problem": record.problem,
    }


def _shown_cause(firing: Firing) -> str:
    cause = firing.cause
    if "files" in cause:
        more = f" and {cause['files'] - 1} more" if cause["files"] > 1 else ""
        return f"{cause['paths'][0]}{more}"
    if "run" in cause:
        return f"{cause['run']} {cause['status']}"
    return f"{cause['dataset']}:{cause['version']}" if "dataset" in cause else "-"


def _describe_firing(firing: Firing) -> dict[str, Any]:
    return {
        "at": firing.at.isoformat(),
        "cause": dict(firing.cause),
        "outcome": firing.outcome,
        "reason": firing.reason,
        "run": firing.run_id,
    }
