"""`pipelite azureml`."""

from __future__ import annotations

import contextlib
import os
import sys

import click

from pipelite.cli.options import json_option, workspace_option
from pipelite.cli.output import print_json, print_text, warnings_as_lines
from pipelite.cli.targets import showing_errors_of


@click.group()
def azureml() -> None:
    """Scripts and notebooks that import the SDK v1 of Azure Machine Learning.

    `python -m pipelite.azureml SCRIPT_OR_NOTEBOOK` runs one.
    """


@azureml.command()
@click.argument("script", metavar="SCRIPT_OR_NOTEBOOK", type=click.Path(exists=True, dir_okay=False))
@click.option("--output", type=click.Path(dir_okay=False, writable=True), metavar="FILE", help="Write it to a file.")
@workspace_option
def convert(script: str, *, output: str | None) -> None:
    """Write the pipelines of a script as ordinary ones, in a module that runs on its own.

    The script is executed, but its pipelines are not: it uploads and registers data as ever, and what would submit, publish
    or schedule a pipeline is noted instead. Source directories and local data are found from where the module lies: in
    FILE, or else beside the script.
    """
    from pipelite.azureml.converting import convert as convert_script

    # A notebook runs in its own folder.
    target = None if output is None else os.path.abspath(output)
    # What the script prints is not the module.
    with warnings_as_lines(), contextlib.redirect_stdout(sys.stderr), showing_errors_of(script, "converted"):
        conversion = convert_script(os.path.relpath(script), target)
    if conversion.stopped:
        click.echo(f"The script was followed up to {conversion.stopped}", err=True)
    if target is None:
        click.echo(conversion.text, nl=False)
        return
    with open(target, "w", encoding="utf-8") as file:
        file.write(conversion.text)
    print_text("\n".join(f"{output}:{name}" for name in conversion.pipelines))


@azureml.command()
@click.argument("script", metavar="SCRIPT_OR_NOTEBOOK", type=click.Path(exists=True, dir_okay=False))
@json_option
def check(script: str, *, as_json: bool) -> None:
    """Say what of a script would run here, and what would not, without executing it.

    Looked at are the names of azureml that it uses, and in it and the scripts of its steps names that packages have removed
    since. The exit code is 1 if something would not run.
    """
    from pipelite.azureml.checking import check as check_script

    with warnings_as_lines():
        report = check_script(os.path.relpath(script))
    if as_json:
        print_json(report.to_json())
    else:
        print_text(report.to_text())
    if not report.would_run:
        sys.exit(1)
