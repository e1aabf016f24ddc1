"""Options and arguments that several commands take."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def _use_workspace(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
    # The environment is how a workspace is named to everything below, and to processes that are started.
    if value is not None:
        os.environ["PIPELITE_WORKSPACE"] = value


def parse_pairs(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """The values of an option that takes NAME=VALUE and may be repeated."""
    parameters: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        name = name.strip()
        if not equals or not name:
            raise click.BadParameter(f"{value!r} is not of the form NAME=VALUE")
        if name in parameters:
            raise click.BadParameter(f"{name} is given twice")
        parameters[name] = text
    return parameters


def workspace_option(command: Command) -> Command:
    """Add `--workspace`."""
    return click.option(
        "--workspace",
        type=click.Path(file_okay=False),
        metavar="FOLDER",
        expose_value=False,
        callback=_use_workspace,
        help="The workspace folder; by default PIPELITE_WORKSPACE, else the nearest .pipelite here or above.",
    )(command)


def json_option(command: Command) -> Command:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def parameters_option(command: Command) -> Command:
    """Add `-p NAME=VALUE`."""
    return click.option(
        "-p",
        "--parameter",
        "parameters",
        multiple=True,
        metavar="NAME=VALUE",
        callback=parse_pairs,
        help="Value of a parameter; may be repeated.",
    )(command)


def target_argument(command: Command) -> Command:
    """Add the argument that names a pipeline."""
    return click.argument("target", metavar="FILE_OR_MODULE:PIPELINE")(command)


def run_argument(command: Command) -> Command:
    """Add the argument that names a run, by default the newest."""
    return click.argument("run_id", metavar="[RUN]", required=False)(command)
