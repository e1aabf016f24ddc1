"""`pipelite datastores`: named places for data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from pipelite.cli.options import json_option, parse_pairs, workspace_option
from pipelite.cli.output import open_for_reading, print_json, print_text

if TYPE_CHECKING:
    from pipelite.data import Datastore, Datastores

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace files that are there.")


@click.group()
def datastores() -> None:
    """Add and look at datastores: named places for data.

    A datastore is a local folder, or one behind a URL: s3://bucket/folder, abfs://container/folder, gcs://bucket/folder,
    sftp://host/folder, https://host/folder. The datastore `local`, a folder in the workspace, is always there.
    """


@datastores.command("list")
@workspace_option
@json_option
def list_command(*, as_json: bool) -> None:
    """List the datastores."""
    from pipelite.observe import format_table

    found = [store.describe() for store in _open().values()]
    if as_json:
        print_json(found)
        return
    rows = [(each["name"], each["url"], ", ".join(each["credentials"].values())) for each in found]
    print_text(format_table(("NAME", "URL", "CREDENTIALS"), rows))


@datastores.command()
@click.argument("name")
@click.argument("url", metavar="FOLDER_OR_URL")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    callback=parse_pairs,
    help="What the library behind it is told; JSON or text; may be repeated. Kept in the database, so nothing secret.",
)
@click.option(
    "--credential",
    "credentials",
    multiple=True,
    metavar="NAME=env:VARIABLE",
    callback=parse_pairs,
    help="Where a credential is: env:VARIABLE, or file:PATH of a file with mode 0600; may be repeated.",
)
@workspace_option
def add(name: str, url: str, options: dict[str, str], credentials: dict[str, str]) -> None:
    """Add a datastore, or replace the one of that name."""
    from pipelite.api import Workspace

    values = {option: _parse(value) for option, value in options.items()}
    made = Workspace().datastores.register(name, url, options=values, credentials=credentials)
    click.echo(f"{made.name}  {made.url}")


@datastores.command()
@click.argument("name")
@click.argument("path", default="")
@workspace_option
@json_option
def show(name: str, path: str, *, as_json: bool) -> None:
    """Show a datastore and the files on it.

    PATH is a folder or a pattern on it, such as raw/*.csv; by default everything is listed.
    """
    from pipelite.observe import format_table
    from pipelite.store import size_text

    store = _find(name)
    entries = store.list(path)
    if as_json:
        files = [
            {"path": each.path, "size_bytes": each.size_bytes, "modified_at": each.modified_at} for each in entries
        ]
        print_json({**store.describe(), "files": files})
        return
    click.echo(f"{store.name}  {store.url}")
    print_text(format_table(("", ""), [(each.path, size_text(each.size_bytes)) for each in entries], right=("",)))
    click.echo(f"{len(entries)} files, {size_text(sum(each.size_bytes for each in entries))}")


@datastores.command()
@click.argument("name")
@workspace_option
def remove(name: str) -> None:
    """Forget a datastore; the data stay where they are."""
    _open().remove(name)


@datastores.command()
@click.argument("name")
@click.argument("source", metavar="FILE_OR_FOLDER")
@click.argument("target", default="")
@overwrite_option
@workspace_option
@json_option
def upload(name: str, source: str, target: str, *, overwrite: bool, as_json: bool) -> None:
    """Copy a file or a folder to a datastore.

    TARGET is a folder on it, by default its root. Files that are there already are left as they are.
    """
    done = _find(name).upload(source, target, overwrite=overwrite, show_progress=not as_json)
    if as_json:
        print_json(done)


@datastores.command()
@click.argument("name")
@click.argument("path")
@click.argument("folder", default=".")
@overwrite_option
@workspace_option
@json_option
def download(name: str, path: str, folder: str, *, overwrite: bool, as_json: bool) -> None:
    """Copy a file, a folder or what matches a pattern from a datastore to a local folder.

    Files that are there already are left as they are.
    """
    done = _find(name).download(path, folder, overwrite=overwrite, show_progress=not as_json)
    if as_json:
        print_json([str(each) for each in done])


def _open() -> Datastores:
    from pipelite.data import Datastores

    return Datastores(open_for_reading())


def _find(name: str) -> Datastore:
    return _open()[name]


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
