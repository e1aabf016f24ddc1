"""What commands print, and the workspace they read it from."""

from __future__ import annotations

import contextlib
import json
import math
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipelite.store import Store


def print_json(value: Any) -> None:
    """Print JSON that every reader takes: numbers that JSON does not have become null."""
    click.echo(json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False, default=str))


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


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return value
