"""How errors leave the command line."""

from __future__ import annotations

import sys
from typing import Any

import click

from pipelite.errors import PipeliteError

INTERRUPTED = 130


class PipeliteGroup(click.Group):
    """Turns errors that pipelite explains into a message and an exit code; our own bugs keep their traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that the arguments name."""
        try:
            result = super().invoke(ctx)
            # What is still buffered fails here, where a closed pipe is handled, and not while the interpreter ends.
            sys.stdout.flush()
        except PipeliteError as exc:
            click.echo(f"Error: {exc}", err=True)
            ctx.exit(exc.exit_code)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        return result
