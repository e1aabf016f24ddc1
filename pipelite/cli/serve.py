"""`pipelite serve`."""

from __future__ import annotations

import click

from pipelite.cli.options import workspace_option


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="The port to listen on; 0 for one that is free.",
)
@click.option(
    "--unix-socket",
    type=click.Path(dir_okay=False),
    metavar="PATH",
    help="Listen on a Unix socket that only this user can open, and on no port.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name by which clients call this machine, as in the header Host; may be repeated.",
)
@click.option(
    "--allow-path",
    "paths",
    multiple=True,
    type=click.Path(exists=True, file_okay=False),
    metavar="ROOT",
    help="A folder below which parameters may name files by absolute paths; may be repeated.",
)
@click.option(
    "--max-concurrent-runs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Runs at once; by default as many as there are cores, and two at least.",
)
@workspace_option
def serve(
    *,
    host: str,
    port: int,
    unix_socket: str | None,
    hosts: tuple[str, ...],
    paths: tuple[str, ...],
    max_concurrent_runs: int | None,
) -> None:
    """Answer requests for published pipelines over HTTP, and execute their runs.

    Every request but /healthz needs a token: that of this user is in the file `token` of the workspace, others are made by
    `pipelite token create`. Ctrl-C or SIGTERM ends it: running steps may finish for 30 seconds (PIPELITE_GRACE), and what
    was interrupted goes on when it is started again. There is no TLS: put a reverse proxy in front of it for others.
    """
    from pipelite._optional import require
    from pipelite.api.workspace import open_store
    from pipelite.automate import Limits

    for module in ("flask", "waitress"):
        require(module, extra="serve")
    from pipelite.serve.server import Server, announce

    server = Server(
        open_store(),
        host=host,
        port=port,
        unix_socket=unix_socket,
        hosts=hosts,
        paths=paths,
        limits=None if max_concurrent_runs is None else Limits(total=max_concurrent_runs),
    )
    announce(server)
    server.serve()
