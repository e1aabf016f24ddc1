"""`pipelite environments`."""

from __future__ import annotations

import click

from pipelite.cli.options import json_option, workspace_option
from pipelite.cli.output import open_for_reading, print_json, print_text


@click.group()
def environments() -> None:
    """The virtual environments that were made for steps."""


@environments.command("list")
@workspace_option
@json_option
def list_them(*, as_json: bool) -> None:
    """List the environments, the oldest first."""
    import attrs

    from pipelite.observe import format_table
    from pipelite.steps.environments import list_environments
    from pipelite.store import size_text

    with open_for_reading() as store:
        found = list_environments(store.path)
    if as_json:
        print_json([attrs.asdict(each) for each in found])
        return
    rows = [
        (
            each.name,
            each.python,
            each.made_at[:19],
            each.last_used_at[:19],
            size_text(each.size_bytes),
            ", ".join(each.requirements),
        )
        for each in found
    ]
    print_text(format_table(("name", "python", "made at", "last used at", "size", "requirements"), rows))


@environments.command()
@click.argument("name")
@workspace_option
def remove(*, name: str) -> None:
    """Remove an environment that no step is running in; a step that needs it makes it again."""
    from pipelite.steps.environments import remove_environment

    with open_for_reading() as store:
        remove_environment(store.path, name)


@environments.command()
@click.argument("new", required=False, type=click.Choice(["check", "build", "off"]))
@workspace_option
def mode(*, new: str | None) -> None:
    """Show or set how the environments that steps ask for are met.

    check: the Python that runs the pipeline serves if it has what is asked for, else one is made. build: one is always
    made. off: the Python that runs the pipeline serves, whatever it has.
    """
    from pipelite.store import get_environments_mode, put_environments_mode

    with open_for_reading() as store:
        if new is not None:
            put_environments_mode(store, new)
        click.echo(get_environments_mode(store))
