"""`pipelite hooks`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelite.cli.options import json_option, parse_pairs, workspace_option
from pipelite.cli.output import open_for_reading, print_json, print_text

if TYPE_CHECKING:
    from pipelite.api.hooks import Hooks

_STATES = ("waiting", "sending", "delivered", "dead")


@click.group()
def hooks() -> None:
    """Have requests sent on events of runs, and look at what became of them.

    A serving process of the workspace sends them, and tries again for about a day what is not taken.
    """


@hooks.command()
@click.argument("name")
@click.argument("url")
@click.option(
    "--on",
    "events",
    multiple=True,
    metavar="EVENT",
    help="queued, started, completed, failed, canceled or interrupted; may be repeated; by default those that end a run.",
)
@click.option(
    "--published", multiple=True, metavar="NAME", help="Only of runs of this published pipeline; may be repeated."
)
@click.option(
    "--pipeline", "pipelines", multiple=True, metavar="NAME", help="Only of runs of this pipeline; may be repeated."
)
@click.option(
    "--body",
    metavar="JSON_OR_@FILE",
    help="What to send: JSON with placeholders such as {{run.id}} in its strings, or @ and a file with it.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="NAME=VALUE",
    callback=parse_pairs,
    help="A header; may be repeated. Kept in the database, so nothing secret.",
)
@click.option(
    "--secret-header",
    "secret_headers",
    multiple=True,
    metavar="NAME=env:VARIABLE",
    callback=parse_pairs,
    help="A header, and where its value is: env:VARIABLE, or file:PATH of a file with mode 0600; may be repeated.",
)
@click.option("--secret", metavar="env:VARIABLE", help="Where the secret is that requests are signed with: as above.")
@workspace_option
@json_option
def add(
    *,
    name: str,
    url: str,
    events: tuple[str, ...],
    published: tuple[str, ...],
    pipelines: tuple[str, ...],
    body: str | None,
    headers: dict[str, str],
    secret_headers: dict[str, str],
    secret: str | None,
    as_json: bool,
) -> None:
    """Send requests to URL on events of runs; a hook of the same name is replaced.

    URL may be env:VARIABLE or file:PATH where the address itself is a secret.
    """
    from pipelite.api import Workspace

    options: dict[str, Any] = {"events": events} if events else {}
    hook = Workspace().hooks.add(
        name,
        url,
        published=published or None,
        pipelines=pipelines or None,
        body=None if body is None else _parse_body(body),
        headers=headers,
        secret_headers=secret_headers,
        secret=secret,
        **options,
    )
    if as_json:
        print_json(hook.as_dict())
    else:
        click.echo(f"{hook.name}  {hook.url}  {', '.join(hook.events)}")


@hooks.command("list")
@workspace_option
@json_option
def list_them(*, as_json: bool) -> None:
    """List the hooks, with how many deliveries wait and how many were given up."""
    from pipelite.automate import count_deliveries, list_hooks
    from pipelite.observe import format_table

    store = open_for_reading()
    counts = count_deliveries(store)
    found = [
        hook.as_dict() | {"deliveries": {state: counts.get((hook.name, state), 0) for state in _STATES}}
        for hook in list_hooks(store)
    ]
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["name"],
            each["url"],
            ", ".join(each["events"]),
            str(each["deliveries"]["waiting"]),
            str(each["deliveries"]["dead"]),
        )
        for each in found
    ]
    print_text(format_table(("NAME", "URL", "EVENTS", "WAITING", "DEAD"), rows, right=("WAITING", "DEAD")))


@hooks.command()
@click.argument("name")
@workspace_option
def remove(*, name: str) -> None:
    """Forget a hook and its deliveries."""
    _open().remove(name)


@hooks.command()
@click.argument("name")
@workspace_option
@json_option
def test(*, name: str, as_json: bool) -> None:
    """Send what a hook sends, of a run that never was, once and from here."""
    answer = _open().test(name)
    if as_json:
        print_json({"answer": answer})
    else:
        click.echo(f"{name} answered {answer}")


@hooks.command()
@click.argument("name", required=False)
@click.option("--state", type=click.Choice(_STATES), help="Only those in this state; dead ones were given up.")
@click.option("--limit", type=click.IntRange(min=1), default=50, metavar="NUMBER", help="How many; by default 50.")
@workspace_option
@json_option
def deliveries(*, name: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """List deliveries, the newest first: of the hook NAME, or of all."""
    from pipelite.observe import format_table

    found = [each.as_dict() for each in _open().deliveries(name, state=state, limit=limit)]
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["id"],
            each["hook"],
            each["event"],
            each["run_id"],
            each["state"],
            str(each["attempts"]),
            each["problem"] or "",
        )
        for each in found
    ]
    header = ("ID", "HOOK", "EVENT", "RUN", "STATE", "ATTEMPTS", "PROBLEM")
    print_text(format_table(header, rows, right=("ATTEMPTS",)))


@hooks.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--dead", "name", metavar="NAME", help="All that were given up, of the hook of this name.")
@workspace_option
def redeliver(*, ids: tuple[str, ...], name: str | None) -> None:
    """Send deliveries again, under the same ids, to what their hook is now."""
    if bool(ids) == (name is not None):
        raise click.UsageError("name deliveries by their ids, or a hook with --dead")
    hooks = _open()
    if name is not None:
        ids = tuple(each.id for each in hooks.deliveries(hooks[name].name, state="dead", limit=None))
    hooks.redeliver(*ids)
    click.echo(f"{len(ids)} to be sent again")


def _open() -> Hooks:
    from pipelite.api.hooks import Hooks

    return Hooks(open_for_reading())


def _parse_body(text: str) -> Any:
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise click.BadParameter(f"{text[1:]} cannot be read: {exc}", param_hint="--body") from None
    try:
        return json.loads(text)
    except ValueError as exc:
        raise click.BadParameter(f"it is no JSON: {exc}", param_hint="--body") from None
