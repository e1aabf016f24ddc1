"""`pipelite token`: who may call the server."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from pipelite.cli.options import json_option, workspace_option
from pipelite.cli.output import open_for_reading, print_json, print_text

if TYPE_CHECKING:
    from pipelite.store.tokens import Token


@click.group()
def token() -> None:
    """Make, look at and revoke tokens: who may call `pipelite serve`, and what for."""


@token.command()
@click.option(
    "--scope",
    type=click.Choice(["read", "submit", "admin"]),
    required=True,
    help="What it is for: to look; also to start, cancel and resume runs; everything.",
)
@click.option("--name", default="", help="For people: whose it is.")
@click.option(
    "--pipeline", "pipelines", multiple=True, metavar="NAME", help="Limit it to a published name; may be repeated."
)
@click.option("--expires", type=click.FloatRange(0, 36500, min_open=True), metavar="DAYS", help="How long it is valid.")
@workspace_option
@json_option
def create(*, scope: str, name: str, pipelines: tuple[str, ...], expires: float | None, as_json: bool) -> None:
    """Make a token and print it, once: only a hash of it is kept."""
    from pipelite.api.workspace import open_store
    from pipelite.store.tokens import create_token

    lasts = None if expires is None else timedelta(days=expires)
    made, text = create_token(open_store(), scope=scope, name=name, pipelines=pipelines, lasts=lasts)
    if as_json:
        print_json({"token": text, **_describe(made)})
    else:
        click.echo(text)


@token.command("list")
@workspace_option
@json_option
def list_command(*, as_json: bool) -> None:
    """List the tokens, also those that are not valid any more."""
    from pipelite.observe import format_table
    from pipelite.store.tokens import list_tokens

    found = list_tokens(open_for_reading())
    if as_json:
        print_json([_describe(each) for each in found])
        return
    rows = [
        (
            each.id,
            each.name,
            each.scope,
            ", ".join(each.pipelines) if each.pipelines is not None else "all",
            "valid" if each.is_valid else "revoked" if each.revoked_at else "expired",
            _shown(each.expires_at),
            _shown(each.last_used_at),
        )
        for each in found
    ]
    print_text(format_table(("ID", "NAME", "SCOPE", "PIPELINES", "STATE", "EXPIRES", "LAST USED"), rows))


@token.command()
@click.argument("token_id", metavar="ID")
@workspace_option
def revoke(token_id: str) -> None:
    """Have a token open nothing any more, from the next request on.

    ID is the one that `pipelite token list` shows.
    """
    from pipelite.store.tokens import revoke_token

    revoked = revoke_token(open_for_reading(), token_id)
    click.echo(f"token {revoked.id} is revoked")


def _describe(found: Token) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "scope": found.scope,
        "pipelines": None if found.pipelines is None else list(found.pipelines),
        "valid": found.is_valid,
        "created_at": found.created_at.isoformat(),
        "expires_at": None if found.expires_at is None else found.expires_at.isoformat(),
        "last_used_at": None if found.last_used_at is None else found.last_used_at.isoformat(),
        "revoked_at": None if found.revoked_at is None else found.revoked_at.isoformat(),
    }


def _shown(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
