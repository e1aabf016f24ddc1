"""The command line: parses and prints, nothing else.

Comes in: words of a shell. Goes out: plain text or JSON, and an exit code: 0 done, 1 the run failed, 2 wrong usage,
130 interrupted.
"""

from __future__ import annotations

import click

import pipelite
from pipelite.cli.azureml import azureml
from pipelite.cli.daemon import daemon
from pipelite.cli.datasets import datasets
from pipelite.cli.datastores import datastores
from pipelite.cli.doctor import doctor
from pipelite.cli.endpoints import endpoints
from pipelite.cli.environments import environments
from pipelite.cli.graph import graph
from pipelite.cli.hooks import hooks
from pipelite.cli.main import PipeliteGroup
from pipelite.cli.publish import publish
from pipelite.cli.run import run
from pipelite.cli.runs import runs
from pipelite.cli.schedules import schedules
from pipelite.cli.serve import serve
from pipelite.cli.token import token
from pipelite.cli.triggers import triggers


# The modules of the commands import nothing but click when they are loaded, and the rooms below where a command runs:
# `pipelite --help` costs no more than click does.
@click.group(cls=PipeliteGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(pipelite.__version__, prog_name="pipelite", help="Show the version and exit.")
def main() -> None:
    """Machine learning pipelines on one box: run them in parallel, recompute only what changed."""


main.add_command(run)
main.add_command(graph)
main.add_command(runs)
main.add_command(publish)
main.add_command(endpoints)
main.add_command(hooks)
main.add_command(schedules)
main.add_command(triggers)
main.add_command(daemon)
main.add_command(environments)
main.add_command(datasets)
main.add_command(datastores)
main.add_command(azureml)
main.add_command(doctor)
main.add_command(serve)
main.add_command(token)

__all__ = ["main"]
