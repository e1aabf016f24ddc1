"""Writes the reference part of cli.rst: every command with its help. Run it after a command was changed.

The tests run the blocks that it writes, so a page that is out of date is found.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from pipelite.cli import main

PAGE = Path(__file__).parent / "cli.rst"
MARKER = ".. The rest is written by docs/make_cli.py.\n"


def commands_below(command: click.Command, *names: str) -> Iterator[str]:
    """Every command with the words that call it, groups before what is in them."""
    yield " ".join(names)
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from commands_below(command.commands[name], *names, name)


def section(words: str) -> str:
    done = subprocess.run(
        [Path(sys.executable).parent / "pipelite", *words.split()[1:], "--help"],
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    shown = textwrap.indent(f"$ {words} --help\n{done.stdout}", "   ", lambda line: bool(line.strip()))
    return f"{words}\n{'-' * len(words)}\n\n.. code-block:: console\n\n{shown}"


def write_page() -> None:
    start = PAGE.read_text(encoding="utf-8").partition(MARKER)[0]
    sections = [section(words) for words in commands_below(main, "pipelite")]
    PAGE.write_text("\n".join([start + MARKER, *sections]), encoding="utf-8")


if __name__ == "__main__":
    write_page()
