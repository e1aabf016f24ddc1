"""`pipelite publish`."""

from __future__ import annotations

import click

from pipelite.cli.options import json_option, workspace_option
from pipelite.cli.output import open_for_reading, print_json
from pipelite.cli.targets import load_pipeline


@click.command()
@click.argument("target", metavar="[FILE_OR_MODULE:PIPELINE]", required=False)
@click.option("--run", "run_id", metavar="RUN", help="Publish what this run kept, with its parameters as defaults.")
@click.option("--name", metavar="NAME", help="By default the pipeline's; the endpoint has the same.")
@click.option("--version", default="1.0", show_default=True, metavar="VERSION", help="A version never changes.")
@click.option("--description", metavar="TEXT", help="By default the pipeline's.")
@click.option("--default", "make_default", is_flag=True, help="Have the endpoint lead to this version from now on.")
@workspace_option
@json_option
def publish(
    *,
    target: str | None,
    run_id: str | None,
    name: str | None,
    version: str,
    description: str | None,
    make_default: bool,
    as_json: bool,
) -> None:
    """Publish a pipeline as it is now, or as an earlier run had it.

    What is published can be called by its name, as a version that later edits do not change. The first version of a name
    is its default; a later one becomes it with --default.
    """
    from pipelite.api.publishing import publish_pipeline, publish_run
    from pipelite.api.runs import Run
    from pipelite.api.workspace import open_store
    from pipelite.store import get_run

    if (target is None) == (run_id is None):
        raise click.UsageError("name a pipeline, or an earlier run by --run")
    if target is not None:
        published = publish_pipeline(
            open_store(),
            load_pipeline(target),
            name=name,
            version=version,
            description=description,
            default=make_default,
        )
    else:
        store = open_for_reading()
        record = get_run(store, run_id)
        published = publish_run(
            store,
            Run(store, record.id),
            name=name or record.pipeline,
            version=version,
            description=description,
            default=make_default,
        )
    if as_json:
        print_json(
            {
                "id": published.id,
                "name": published.name,
                "version": published.version,
                "endpoint": published.endpoint,
                "parameters": published.parameters,
            }
        )
        return
    click.echo(f"{published.name} {published.version} is published\n{published.endpoint}")
