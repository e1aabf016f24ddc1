"""`pipelite doctor`."""

from __future__ import annotations

import click

from pipelite.cli.options import json_option, workspace_option
from pipelite.cli.output import print_json, print_text


@click.command()
@click.option("--deep", is_flag=True, help="Read every stored output and compare its digest.")
@click.option("--repair", is_flag=True, help="Forget damaged outputs, mark dead runs, remove what was left behind.")
@workspace_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, *, deep: bool, repair: bool, as_json: bool) -> None:
    """Check the workspace: integrity, versions, sizes.

    Nothing is changed without --repair. The exit code is 1 if something is broken.
    """
    import attrs

    from pipelite.observe import format_table
    from pipelite.store import Store
    from pipelite.store.doctor import Level, examine
    from pipelite.store.doctor import repair as repair_store

    # Opened without marking dead runs, which is one of the things to be found.
    with Store.open(create=False) as store:
        done = repair_store(store, deep=deep) if repair else []
        findings = examine(store, deep=deep)
        if as_json:
            report = [attrs.asdict(finding) for finding in findings]
            print_json({"workspace": str(store.path), "repaired": done, "findings": report})
        else:
            click.echo(f"workspace {store.path}")
            for line in done:
                click.echo(f"repaired: {line}")
            print_text(format_table(("", "", ""), [(each.level.value, each.name, each.message) for each in findings]))
    if any(finding.level is Level.ERROR for finding in findings):
        ctx.exit(1)
