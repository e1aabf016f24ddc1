"""`pipelite datasets`: named, versioned references to data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pipelite.cli.options import json_option, parse_pairs, workspace_option
from pipelite.cli.output import open_for_reading, print_json, print_text

if TYPE_CHECKING:
    from pipelite.data import Dataset, DatasetRecord, Datasets

FORMATS = ("delimited", "parquet", "json-lines", "files")

dataset_argument = click.argument("label", metavar="NAME[:VERSION]")


@click.group()
def datasets() -> None:
    """Register and look at datasets: named, versioned references to data."""


@datasets.command("list")
@click.argument("name", required=False)
@workspace_option
@json_option
def list_command(name: str | None, *, as_json: bool) -> None:
    """List the datasets, each by its latest version; with NAME all versions of one."""
    from pipelite.observe import format_table, format_time
    from pipelite.store import size_text

    records = _open().records(name)
    if name is None:
        latest = {record.name: record for record in reversed(records)}
        records = [latest[each] for each in sorted(latest)]
    if as_json:
        print_json([record.as_dict() for record in records])
        return
    if not records:
        click.echo("no datasets", err=True)
    rows = [
        (
            record.label,
            record.definition.format.replace("_", "-"),
            str(record.files),
            size_text(record.size_bytes),
            format_time(record.created_at),
            record.description or "",
        )
        for record in records
    ]
    headings = ("DATASET", "FORMAT", "FILES", "SIZE", "REGISTERED", "DESCRIPTION")
    print_text(format_table(headings, rows, right=("FILES", "SIZE")))


@datasets.command()
@dataset_argument
@workspace_option
@json_option
def show(label: str, *, as_json: bool) -> None:
    """Show a dataset: where its data are, what it was made from, which runs used it."""
    import attrs

    datasets, record = _find(label)
    uses, made_from = datasets.uses(record.name, record.version), datasets.made_from(record)
    state = _state_of(datasets, record)
    if as_json:
        lineage = {
            "used_by": [attrs.asdict(use) for use in uses],
            "made_from": [attrs.asdict(use) for use in made_from],
        }
        print_json({**record.as_dict(), "state": state, **lineage})
        return
    _print_record(record, state)
    for use in made_from:
        click.echo(f"made from    {use.dataset} by step {use.step_run} of run {use.run_id}")
    for use in uses:
        click.echo(f"used by      run {use.run_id} of {use.pipeline}, step {use.step_run}")


@datasets.command()
@click.argument("name")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--datastore", metavar="NAME", help="The datastore that the paths are on; by default they are local.")
@click.option("--format", "kind", type=click.Choice(FORMATS), help="By default what the first path ends in tells it.")
@click.option("--separator", metavar="TEXT", help="What sets the columns of delimited files apart; a comma by default.")
@click.option("--encoding", metavar="NAME", help="Of delimited files; utf8 by default.")
@click.option(
    "--partition-format", metavar="TEXT", help="Columns in the names of files: region={region}/{day:%Y-%m-%d}.csv"
)
@click.option("--description", metavar="TEXT", help="What it is, for people.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", callback=parse_pairs, help="May be repeated.")
@workspace_option
@json_option
def register(
    name: str,
    paths: tuple[str, ...],
    datastore: str | None,
    kind: str | None,
    description: str | None,
    tags: dict[str, str],
    *,
    as_json: bool,
    **options: str | None,
) -> None:
    """Register data as the next version of a dataset.

    PATH is a file, a folder or a pattern such as raw/**/*.csv, in quotes. The same data as those of the latest version make
    no new one.
    """
    from pipelite.api import Workspace

    workspace = Workspace()
    given: Any = [path if datastore is None else (datastore, path) for path in paths]
    dataset = _make(
        given, kind or _format_of(paths[0]), {key: value for key, value in options.items() if value is not None}
    )
    made = workspace.datasets.register(dataset, name, description=description, tags=tags or None)
    record = workspace.datasets.record(name, made.version)
    if as_json:
        print_json(record.as_dict())
    else:
        click.echo(record.label)


@datasets.command()
@dataset_argument
@click.option("--rows", type=click.IntRange(min=1), default=10, show_default=True, help="The first so many.")
@workspace_option
@json_option
def preview(label: str, *, rows: int, as_json: bool) -> None:
    """Print the first rows of a dataset, or the names of its files."""
    from pipelite.observe import format_table

    datasets, record = _find(label)
    dataset = datasets.get_version(record.name, record.version)
    if not dataset.is_tabular:
        names = dataset.files[:rows]
        print_json(names) if as_json else print_text("\n".join(names))
        return
    found = dataset.take(rows).to_arrow().to_pylist()
    if as_json:
        print_json(found)
    elif found:
        headings = tuple(found[0])
        print_text(format_table(headings, [tuple(_shown(row[name]) for name in headings) for row in found]))


def _open() -> Datasets:
    from pipelite.data import Datasets

    return Datasets(open_for_reading())


def _find(label: str) -> tuple[Datasets, DatasetRecord]:
    from pipelite.data import parse_label

    datasets = _open()
    return datasets, datasets.record(*parse_label(label))


def _state_of(datasets: Datasets, record: DatasetRecord) -> str:
    """Whether the data are as they were when they were registered, in words."""
    from pipelite.errors import PipeliteError

    try:
        now = datasets.get_version(record.name, record.version).look()[0]
    except PipeliteError as exc:
        return f"cannot be read: {exc}"
    return "as registered" if now == record.identity else "changed since it was registered"


def _print_record(record: DatasetRecord, state: str) -> None:
    from pipelite.observe import format_time
    from pipelite.store import size_text

    lines = {
        "dataset": record.label,
        "description": record.description,
        "format": record.definition.format.replace("_", "-"),
        "data": str(record.definition),
        "options": ", ".join(f"{name}={value!r}" for name, value in sorted(record.definition.options.items())),
        "rows": ", ".join(" ".join(map(str, operation)) for operation in record.definition.operations),
        "files": f"{record.files}, {size_text(record.size_bytes)}",
        "registered": format_time(record.created_at),
        "state": state,
        "tags": ", ".join(f"{name}={value}" for name, value in record.tags.items()),
        "made by": record.run_id and f"run {record.run_id}, step {record.step_run}, output {record.output}",
    }
    for name, value in lines.items():
        if value:
            click.echo(f"{name:<12} {value}")


def _make(paths: Any, kind: str, options: dict[str, str]) -> Dataset:
    from pipelite.data import Dataset

    makers = {
        "delimited": Dataset.from_delimited_files,
        "parquet": Dataset.from_parquet_files,
        "json-lines": Dataset.from_json_lines_files,
        "files": Dataset.from_files,
    }
    takes = {"delimited": {"separator", "encoding", "partition_format"}, "files": set()}.get(kind, {"partition_format"})
    refused = sorted(set(options) - takes)
    if refused:
        raise click.UsageError(f"--{refused[0].replace('_', '-')} does not go with the format {kind}")
    maker: Any = makers[kind]
    return maker(paths, **options)  # type: ignore[no-any-return]


def _format_of(path: str) -> str:
    name = path.lower().removesuffix(".gz")
    if name.endswith((".csv", ".tsv", ".txt")):
        return "delimited"
    if name.endswith((".jsonl", ".ndjson")):
        return "json-lines"
    return "parquet" if name.endswith(".parquet") else "files"


def _shown(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
