"""`pipelite daemon`."""

from __future__ import annotations

from pathlib import Path

import click

from pipelite.cli.options import json_option, workspace_option


@click.command()
@click.option("--max-runs", type=click.IntRange(1), metavar="NUMBER", help="At once; by default as many as cores.")
@click.option("--max-per-pipeline", type=click.IntRange(1), metavar="NUMBER", help="Of one published name at once.")
@click.option("--grace", type=click.FloatRange(0), default=None, help="Seconds that running steps have at the end; 30.")
@click.option("--print-systemd-unit", is_flag=True, help="Print a unit that has systemd run it, and exit.")
@workspace_option
@json_option
def daemon(
    *,
    max_runs: int | None,
    max_per_pipeline: int | None,
    grace: float | None,
    print_systemd_unit: bool,
    as_json: bool,
) -> None:
    """Execute queued runs and see to schedules and triggers, until told to end.

    SIGTERM and Ctrl-C let running steps finish; their runs go on with the next daemon. SIGHUP reads the rules of time zones
    anew. Several daemons may serve one workspace. Each event is a line on standard output.
    """
    import os

    from pipelite.api.interrupts import GRACE_VARIABLE, read_grace
    from pipelite.api.workspace import open_store
    from pipelite.automate import Limits
    from pipelite.automate.daemon import format_systemd_unit, run_daemon
    from pipelite.store import find_workspace

    if grace is not None:
        # Runners keep to it themselves.
        os.environ[GRACE_VARIABLE] = f"{grace:g}"
    grace_s = read_grace()
    if print_systemd_unit:
        click.echo(format_systemd_unit(Path(find_workspace()).resolve(), grace_s=grace_s), nl=False)
        return
    total = max_runs or max(2, os.cpu_count() or 1)
    run_daemon(open_store(), Limits(total=total, per_name=max_per_pipeline), grace_s=grace_s, as_json=as_json)
