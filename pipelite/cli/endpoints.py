"""`pipelite endpoints`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pipelite.cli.options import json_option, parameters_option, workspace_option
from pipelite.cli.output import open_for_reading, print_json, print_text, warnings_as_lines

if TYPE_CHECKING:
    from pipelite.api.publishing import PublishedPipeline, PublishedPipelines


@click.group()
def endpoints() -> None:
    """Call published pipelines by name, and say which version a name leads to."""


@endpoints.command("list")
@workspace_option
@json_option
def list_them(*, as_json: bool) -> None:
    """List the endpoints with their versions."""
    from pipelite.observe import format_table

    published = _published()
    found = [(published[name], published.versions(name)) for name in published]
    if as_json:
        print_json([_describe(default, versions) for default, versions in found])
        return
    rows = [
        (default.name, default.version, ", ".join(each.version for each in versions), default.description or "")
        for default, versions in found
    ]
    print_text(format_table(("NAME", "DEFAULT", "VERSIONS", "DESCRIPTION"), rows))


@endpoints.command()
@click.argument("name")
@workspace_option
@json_option
def show(*, name: str, as_json: bool) -> None:
    """Show an endpoint: its address, its versions, and what its default version takes."""
    from pipelite.observe import format_table

    published = _published()
    default, versions = published[name], published.versions(name)
    if as_json:
        print_json(_describe(default, versions))
        return
    click.echo(f"{default.name}\n{_address(default)}\n")
    rows = [
        (
            each.version + (" (default)" if each.id == default.id else ""),
            each.status,
            f"{each.created_at:%Y-%m-%d %H:%M:%S}",
            each.id,
        )
        for each in versions
    ]
    print_text(format_table(("VERSION", "STATUS", "PUBLISHED", "ID"), rows))
    if default.parameters:
        taken = [(each["name"], each["type"]["expected"], _default_of(each)) for each in default.parameters]
        click.echo("")
        print_text(format_table(("PARAMETER", "TAKES", "DEFAULT"), taken))


@endpoints.command()
@click.argument("name")
@click.argument("version")
@workspace_option
def default(*, name: str, version: str) -> None:
    """Have an endpoint lead to another version; going back to an earlier one is the same."""
    _published().version(name, version).make_default()
    click.echo(f"{name} leads to {version}")


@endpoints.command()
@click.argument("name")
@parameters_option
@click.option("--version", metavar="VERSION", help="Another than the default one.")
@click.option("--experiment", metavar="NAME", help="Name that groups runs; by default the pipeline's.")
@click.option("--priority", type=int, default=0, metavar="NUMBER", help="Higher ones run first.")
@workspace_option
@json_option
def submit(
    *,
    name: str,
    parameters: dict[str, str],
    version: str | None,
    experiment: str | None,
    priority: int,
    as_json: bool,
) -> None:
    """Put a run into the queue, for `pipelite serve` to execute; prints its id."""
    from pipelite.define import bind_parameters

    published = _published().version(name, version)
    specs = [spec for spec in published._version.parameters if spec.name in parameters]
    values = bind_parameters(specs, parameters, text=True, pipeline=name) if specs else dict(parameters)
    with warnings_as_lines():
        run = published.submit(experiment=experiment, priority=priority, **{**parameters, **values})
    if as_json:
        print_json({"id": run.id})
    else:
        click.echo(run.id)


def _set_status(name: str, version: str, status: str) -> None:
    from pipelite.automate import set_status

    published = _published().version(name, version)
    with open_for_reading() as store:
        set_status(store, published.id, status)
    click.echo(f"{name} {version} is {status}")


@endpoints.command()
@click.argument("name")
@click.argument("version")
@workspace_option
def enable(*, name: str, version: str) -> None:
    """Have a version take calls again."""
    _set_status(name, version, "active")


@endpoints.command()
@click.argument("name")
@click.argument("version")
@workspace_option
def disable(*, name: str, version: str) -> None:
    """Have a version refuse calls for now; what was accepted is executed."""
    _set_status(name, version, "disabled")


@endpoints.command()
@click.argument("name")
@click.argument("version")
@workspace_option
def archive(*, name: str, version: str) -> None:
    """Have a version refuse calls, and keep it for the record."""
    _set_status(name, version, "archived")


def _published() -> PublishedPipelines:
    from pipelite.api.publishing import PublishedPipelines

    return PublishedPipelines(open_for_reading())


def _describe(default: PublishedPipeline, versions: list[PublishedPipeline]) -> dict[str, Any]:
    return {
        "name": default.name,
        "endpoint": _address(default),
        "default": default.version,
        "description": default.description,
        "versions": [
            {
                "version": each.version,
                "id": each.id,
                "status": each.status,
                "created_at": each.created_at.isoformat(),
                "parameters": each.parameters,
            }
            for each in versions
        ],
    }


def _address(default: PublishedPipeline) -> str:
    from pipelite.api.workspace import Workspace

    return Workspace().endpoints[default.name].endpoint


def _default_of(described: dict[str, Any]) -> str:
    from pipelite.define.conversions import to_text

    if described["required"]:
        return "(required)"
    return "(kept by the version)" if described.get("default_in_code") else to_text(described["default"])
