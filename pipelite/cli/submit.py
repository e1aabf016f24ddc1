"""`pipelite run --submit`: a run whose owner is a process of its own, which outlives the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

import click

#: What a detached owner prints itself, besides what its steps print: progress, warnings, errors.
OUTPUT = "owner.log"


def submit(target: str, parameters: Mapping[str, str], options: Sequence[str]) -> str:
    """Start a process that runs a pipeline; gives the id of the run as soon as there is one.

    What goes wrong before that is printed, and ends this command as it would have ended the run.
    """
    from pipelite.api.workspace import open_store
    from pipelite.store import temporary_prefix

    store = open_store()
    output = store.path / "tmp" / f"{temporary_prefix(store.owner.name)}{OUTPUT}"
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "pipelite", "run", target, "--report-to", str(writing), *options]
    for name, text in parameters.items():
        command += ["-p", f"{name}={text}"]
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            # Of its own session: neither Ctrl-C nor the end of the terminal reaches it.
            start_new_session=True,
            pass_fds=(writing,),
        )
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        run_id = pipe.read()
    if not run_id:
        code = process.wait()
        click.echo(output.read_bytes().decode(errors="replace").rstrip(), err=True)
        output.unlink()
        raise SystemExit(code if code > 0 else 1)
    folder = store.path / "logs" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    os.replace(output, folder / OUTPUT)
    # It is meant to go on after this process, so nobody waits for it.
    process.returncode = 0
    return run_id


def report(run_id: str, descriptor: int) -> None:
    """In the detached process: tell the one that started it the id of the run."""
    os.write(descriptor, run_id.encode())
    os.close(descriptor)
