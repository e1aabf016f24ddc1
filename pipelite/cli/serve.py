"""`pipelite serve`."""

from __future__ import annotations

import click

from pipelite.cli.options import json_option, workspace_option
from pipelite.cli.output import print_json


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
    "--url",
    metavar="URL",
    help="How clients call it through a reverse proxy, as https://NAME; published endpoints are shown so.",
)
@click.option(
    "--trusted-proxy",
    metavar="ADDRESS",
    help="The address that a reverse proxy calls from; it is believed what it says of its client's in X-Forwarded-For.",
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
@click.option(
    "--no-scheduler", is_flag=True, help="Leave schedules and triggers to others: to `pipelite daemon`, for example."
)
@workspace_option
@json_option
def serve(
    *,
    host: str,
    port: int,
    unix_socket: str | None,
    url: str | None,
    trusted_proxy: str | None,
    hosts: tuple[str, ...],
    paths: tuple[str, ...],
    max_concurrent_runs: int | None,
    no_scheduler: bool,
    as_json: bool,
) -> None:
    """Answer requests for published pipelines over HTTP, execute their runs, and see to schedules and triggers.

    Every request but /healthz needs a token: that of this user is in the file `token` of the workspace, others are made by
    `pipelite token create`. Ctrl-C or SIGTERM ends it: running steps may finish for 30 seconds (PIPELITE_GRACE), and what
    was interrupted goes on when it is started again. There is no TLS: put a reverse proxy in front of it for others.
    """
    from pipelite._optional import require
    from pipelite.api.workspace import open_store
    from pipelite.automate import Limits

    for module in ("flask", "waitress"):
        require(module, extra="serve")
    from pipelite.serve.server import Server

    server = Server(
        open_store(),
        host=host,
        port=port,
        unix_socket=unix_socket,
        url=url,
        trusted_proxy=trusted_proxy,
        hosts=hosts,
        paths=paths,
        limits=None if max_concurrent_runs is None else Limits(total=max_concurrent_runs),
        sees_to_schedules=not no_scheduler,
    )
    server.start()
    if as_json:
        print_json({"url": server.url, "listens_on": server.place, "token_file": str(server.token_file)})
    else:
        called = "" if server.url in (None, server.place) else f" as {server.url}"
        click.echo(
            f"pipelite serves {server.place}{called}\nthe token of the local user is in {server.token_file}", err=True
        )
    server.wait()
