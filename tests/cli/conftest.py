"""A folder with a flow, and the command as a shell calls it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial

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


def call(folder, *words, exit_code=0, **environment):
    """Call `pipelite` in a process of its own, as its users do."""
    done = subprocess.run(
        [sys.executable, "-m", "pipelite", *words],
        cwd=folder,
        env={**os.environ, "PIPELITE_WORKSPACE": str(folder / ".pipelite"), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done


def write_flow(folder):
    (folder / "flow.py").write_text(FLOW)
    (folder / "helpers.py").write_text(HELPERS)


@pytest.fixture
def folder(workspace):
    """Where the commands run; holds flow.py and helpers.py."""
    write_flow(workspace.parent)
    return workspace.parent


@pytest.fixture
def command(folder):
    """Call `pipelite` in the folder; gives what it printed, after a look at the exit code."""
    return partial(call, folder)


@pytest.fixture(scope="session")
def ran_twice(tmp_path_factory):
    """A folder after a run, an edit of the helper, and another run; made once, for it takes a second."""
    folder = tmp_path_factory.mktemp("ran-twice")
    write_flow(folder)
    call(folder, "run", "flow.py:train", "-p", "n=2")
    (folder / "helpers.py").write_text("def scale(x):\n    return x * 20\n")
    call(folder, "run", "flow.py:train", "-p", "n=2")
    return folder


@pytest.fixture
def two_runs(folder, ran_twice):
    """The folder as `ran_twice` left its own."""
    shutil.copytree(ran_twice, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture
def read_json(command):
    """Call `pipelite ... --json` and give what it says."""

    return lambda *words, exit_code=0: json.loads(command(*words, "--json", exit_code=exit_code).stdout)
