"""What commands print, and the workspace they read it from."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipelite.store import Store


def print_json(value: Any) -> None:
    """Print JSON that every reader takes: numbers that JSON does not have become null."""
    from pipelite.store import finite

    click.echo(json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False, default=str))


def print_text(text: str) -> None:
    """Print text, if there is any."""
    if text:
        click.echo(text)


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print what the body warns of as lines on standard error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        click.echo(f"Warning: {warning.message}", err=True)


def open_for_reading() -> Store:
    """The workspace, which has to be there; a command that only looks makes none."""
    from pipelite.api.workspace import open_store

    return open_store(create=False)
