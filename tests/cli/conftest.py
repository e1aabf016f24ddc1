"""A folder with a flow, and the command as a shell calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

FLOW = """
from pathlib import Path
from pipelite import current_run, pipeline, step
from helpers import scale

@step
def load(n):
    print("loading", n)
    return list(range(n))

@step
def work(x):
    print("work on", x)
    if x == 7:
        raise ValueError("seven is bad")
    return scale(x)

@step
def total(values):
    current_run().log("total", sum(values))
    return sum(values)

@step
def report(total):
    path = current_run().scratch / "report.txt"
    path.write_text(f"{total}")
    return path

@pipeline
def train(n: int = 3, start: int = 0):
    numbers = load(n)
    result = total(work.map(range(start, start + n)))
    return {"total": result, "first": numbers[0], "report": report(result)}

@pipeline(experiment="nightly", tags={"who": "me"})
def other(x: int):
    return work(x)
"""

HELPERS = """
def scale(x):
    return x * 10
"""


@pytest.fixture
def folder(workspace):
    """Where the commands run; holds flow.py and helpers.py."""
    (workspace.parent / "flow.py").write_text(FLOW)
    (workspace.parent / "helpers.py").write_text(HELPERS)
    return workspace.parent


@pytest.fixture
def command(folder):
    """Call `pipelite` in a process of its own, as its users do."""

    def call(*words, exit_code=0, **environment):
        done = subprocess.run(
            [sys.executable, "-m", "pipelite", *words],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done

    return call


@pytest.fixture
def read_json(command):
    """Call `pipelite ... --json` and give what it says."""

    def call(*words, exit_code=0):
        return json.loads(command(*words, "--json", exit_code=exit_code).stdout)

    return call
