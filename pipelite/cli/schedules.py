"""`pipelite schedules`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipelite.cli.options import json_option, parameters_option, workspace_option
from pipelite.cli.output import open_for_reading, print_json, print_text, warnings_as_lines

if TYPE_CHECKING:
    from pipelite.api.schedules import Schedule
    from pipelite.automate import SlotRecord

Command = TypeVar("Command", bound=Callable[..., Any])

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
#: How many of the next times are shown of a schedule that was made or changed.
_SHOWN = 3


def to_span(text: str) -> timedelta:
    """A length of time, as options take it."""
    if not re.fullmatch(r"(\d+[smhd])+", text):
        raise click.BadParameter(f"{text!r} is no length of time; write it as in 90s, 15m, 1h30m or 2d")
    return timedelta(seconds=sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([smhd])", text)))


def _to_moment(text: str) -> datetime:
    """In the schedule's time zone, if it names none."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no moment; write it as in 2026-03-01 or 2026-03-01T09:30") from None


def _timing_options(command: Command) -> Command:
    """Add what says when a schedule is due and by which policies."""
    for option in reversed(
        (
            click.option("--cron", metavar="FIELDS", help='Five fields, as in "30 2 * * 1-5", or @daily and the like.'),
            click.option(
                "--every", type=to_span, metavar="TIME", help="Real time between two runs, as in 15m or 1h30m."
            ),
            click.option(
                "--recur",
                metavar="FREQUENCY",
                help="Minute, Hour, Day, Week or Month; with --interval, --week-days, --hours and --minutes.",
            ),
            click.option("--interval", type=int, metavar="NUMBER", help="Of minutes, hours, days, weeks or months; 1."),
            click.option("--week-days", metavar="NAMES", help="As in Monday,Friday."),
            click.option("--hours", metavar="NUMBERS", help="As in 9,17."),
            click.option("--minutes", metavar="NUMBERS", help="As in 0,30."),
            click.option("--timezone", metavar="NAME", help="Of wall times, as in Europe/Berlin; by default UTC."),
            click.option(
                "--start", type=_to_moment, metavar="MOMENT", help="No run before it; intervals are counted from it."
            ),
            click.option("--end", type=_to_moment, metavar="MOMENT", help="No run after it."),
            click.option("--jitter", type=to_span, metavar="TIME", help="Begin later by chance, by less than this."),
            click.option("--catch-up", metavar="POLICY", help="Of what was missed: none (the default), latest or all."),
            click.option(
                "--overlap",
                metavar="POLICY",
                help="While an earlier run goes on: skip (the default), queue, allow or cancel.",
            ),
            click.option(
                "--slot-parameter", metavar="NAME", help="A parameter that each run is given its time in, as ISO text."
            ),
            click.option("--history-days", type=int, metavar="NUMBER", help="How long the history is kept; 90."),
            click.option("--dst-gap", metavar="POLICY", help="Of times that clocks leave out: shift or skip."),
            click.option("--dst-fold", metavar="POLICY", help="Of times that come twice: first, last or both."),
            click.option("--experiment", metavar="NAME", help="Name that groups runs; by default the pipeline's."),
            click.option("--description", metavar="TEXT", help="For people."),
        )
    ):
        command = option(command)
    return command


@click.group()
def schedules() -> None:
    """Have published pipelines run by themselves; `pipelite serve` or `pipelite daemon` sees to it."""


@schedules.command()
@click.argument("name")
@click.argument("endpoint")
@parameters_option
@click.option("--version", metavar="VERSION", help="Keep to a version, whatever the endpoint leads to.")
@_timing_options
@workspace_option
@json_option
def add(
    *, name: str, endpoint: str, parameters: dict[str, str], version: str | None, as_json: bool, **options: Any
) -> None:
    """Add a schedule for an endpoint, by one of --cron, --every and --recur; shows when it is due next."""
    from pipelite.api.schedules import Schedule
    from pipelite.api.workspace import Workspace

    workspace = Workspace(open_for_reading().path)
    published = workspace.published.version(endpoint, version)
    schedule = Schedule.create(
        name,
        workspace.endpoints[endpoint] if version is None else published,
        parse_values(published, parameters),
        **_read(options),
    )
    _show_next(schedule, as_json=as_json)


@schedules.command()
@click.argument("name")
@parameters_option
@_timing_options
@workspace_option
@json_option
def edit(*, name: str, parameters: dict[str, str], as_json: bool, **options: Any) -> None:
    """Change a schedule; nothing runs for the past. What is not given stays as it is."""
    from pipelite.api.workspace import Workspace

    schedule = _find(name)
    changes = _read(options)
    if parameters:
        record = schedule.record
        published = Workspace().published.version(record.published_id or record.endpoint or "")
        changes["parameters"] = {**record.parameters, **parse_values(published, parameters)}
    schedule.update(**changes)
    _show_next(schedule, as_json=as_json)


@schedules.command("list")
@workspace_option
@json_option
def list_them(*, as_json: bool) -> None:
    """List the schedules."""
    from pipelite.api.schedules import Schedules
    from pipelite.observe import format_table

    found = list(Schedules(open_for_reading()).values())
    if as_json:
        print_json([_describe(schedule) for schedule in found])
        return
    rows = []
    for schedule in found:
        record, upcoming = schedule.record, schedule.next()
        state = "paused" if record.is_paused else "active" if upcoming else "ended"
        shown = f"{upcoming[0]:%Y-%m-%d %H:%M:%S}" if upcoming and not record.is_paused else "-"
        rows.append((record.name, _called(schedule), record.timing.describe(), state, shown))
    print_text(format_table(("NAME", "PIPELINE", "DUE", "STATE", "NEXT"), rows))


@schedules.command("next")
@click.argument("name")
@click.option("-n", "count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many.")
@workspace_option
@json_option
def next_times(*, name: str, count: int, as_json: bool) -> None:
    """Show when a schedule is due next, in its time zone."""
    times = [moment.isoformat() for moment in _find(name).next(count)]
    if as_json:
        print_json(times)
    else:
        print_text("\n".join(times))


@schedules.command()
@click.argument("name")
@click.option("-n", "count", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@workspace_option
@json_option
def history(*, name: str, count: int, as_json: bool) -> None:
    """Show what became of each time that a schedule was due, and why there was no run."""
    from pipelite.observe import format_table

    found = _find(name).history(limit=count)
    if as_json:
        print_json([_describe_slot(slot) for slot in found])
        return
    rows = []
    for slot in found:
        # With the offset, which tells times apart that come twice, and those before a move to another zone.
        times = [slot.local] if slot.until is None else [slot.local, slot.until.astimezone(slot.local.tzinfo)]
        due = " to ".join(moment.isoformat(" ", "seconds") for moment in times)
        rows.append((due, slot.outcome, slot.run_id or "-", slot.reason or ""))
    print_text(format_table(("DUE", "OUTCOME", "RUN", "REASON"), rows))


@schedules.command()
@click.argument("name")
@workspace_option
def pause(*, name: str) -> None:
    """Have a schedule make no runs until it is resumed."""
    _find(name).pause()
    click.echo(f"{name} is paused")


@schedules.command()
@click.argument("name")
@workspace_option
def resume(*, name: str) -> None:
    """Have a paused schedule go on; nothing runs for the time that it was paused."""
    schedule = _find(name)
    schedule.resume()
    _show_next(schedule, as_json=False)


@schedules.command()
@click.argument("name")
@workspace_option
def remove(*, name: str) -> None:
    """Forget a schedule and its history; its runs stay."""
    _find(name).remove()
    click.echo(f"{name} is removed")


@schedules.command()
@click.argument("name")
@workspace_option
@json_option
def run(*, name: str, as_json: bool) -> None:
    """Put a run of a schedule into the queue now; prints its id."""
    with warnings_as_lines():
        made = _find(name).run_now()
    if as_json:
        print_json({"id": made.id})
    else:
        click.echo(made.id)


@schedules.command()
@click.argument("name")
@click.argument("since", type=_to_moment)
@click.argument("until", type=_to_moment)
@workspace_option
@json_option
def backfill(*, name: str, since: datetime, until: datetime, as_json: bool) -> None:
    """Put runs into the queue for the times from SINCE to UNTIL that had none; prints their ids."""
    with warnings_as_lines():
        made = [each.id for each in _find(name).backfill(since, until)]
    if as_json:
        print_json([{"id": each} for each in made])
    elif made:
        print_text("\n".join(made))
    else:
        click.echo(f"{name} is not due between these, or every time has its run already", err=True)


def _find(name: str) -> Schedule:
    from pipelite.api.schedules import Schedules

    return Schedules(open_for_reading())[name]


def parse_values(published: Any, parameters: dict[str, str]) -> dict[str, Any]:
    """Values of parameters that were given as text."""
    from pipelite.define import bind_parameters

    specs = [spec for spec in published._version.parameters if spec.name in parameters]
    return {**parameters, **(bind_parameters(specs, parameters, text=True, pipeline=published.name) if specs else {})}


def _read(options: dict[str, Any]) -> dict[str, Any]:
    """What `Schedule.create` takes, of what was given."""
    given = {name: value for name, value in options.items() if value is not None}
    parts = {name: given.pop(name) for name in ("interval", "week_days", "hours", "minutes") if name in given}
    if "recur" in given:
        from pipelite.automate import Recurrence

        lists = {name: parts[name].split(",") for name in ("week_days", "hours", "minutes") if name in parts}
        for name in ("hours", "minutes"):
            if name in lists:
                lists[name] = [_number(text, name) for text in lists[name]]
        given["recurrence"] = Recurrence(given.pop("recur"), parts.get("interval", 1), **lists)
    elif parts:
        raise click.UsageError(f"--{next(iter(parts)).replace('_', '-')} goes with --recur")
    return given


def _number(text: str, name: str) -> int:
    if not text.strip().isdecimal():
        raise click.UsageError(f"--{name} has {text!r}; numbers are expected, as in 0,30")
    return int(text)


def _show_next(schedule: Schedule, *, as_json: bool) -> None:
    if as_json:
        print_json(_describe(schedule))
        return
    times = ", ".join(f"{moment:%Y-%m-%d %H:%M:%S}" for moment in schedule.next(_SHOWN))
    zone = schedule.record.timing.timezone
    click.echo(f"{schedule.name} is due at {times} ({zone})" if times else f"{schedule.name} is never due again")


def _called(schedule: Schedule) -> str:
    from pipelite.automate import find_version

    record = schedule.record
    if record.endpoint is not None:
        return record.endpoint
    return find_version(open_for_reading(), record.published_id or "").label


def _describe(schedule: Schedule) -> dict[str, Any]:
    record = schedule.record
    timing = record.timing
    return {
        "name": record.name,
        "description": record.description,
        "pipeline": _called(schedule),
        "parameters": dict(record.parameters),
        "experiment": record.experiment,
        "due": timing.describe(),
        "timezone": timing.timezone,
        "start": timing.start.isoformat(),
        "end": None if timing.end is None else timing.end.isoformat(),
        "jitter_s": record.jitter_s,
        "catch_up": record.catch_up,
        "overlap": record.overlap,
        "slot_parameter": record.slot_parameter,
        "history_days": record.history_days,
        "dst_gap": timing.dst_gap,
        "dst_fold": timing.dst_fold,
        "is_paused": record.is_paused,
        "next": [moment.isoformat() for moment in schedule.next(_SHOWN)],
    }


def _describe_slot(slot: SlotRecord) -> dict[str, Any]:
    return {
        "at": slot.at.isoformat(),
        "local": slot.local.isoformat(),
        "fold": slot.fold,
        "until": None if slot.until is None else slot.until.isoformat(),
        "outcome": slot.outcome,
        "reason": slot.reason,
        "run": slot.run_id,
    }
