"""Runs inside of steps wait for the work of others as long as that goes on, and never in a circle."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pipelite import Workspace

FLOW = """
import os, sys, time
from pathlib import Path
from pipelite import pipeline, step

def note(what):
    file = os.open("ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{what}\\n".encode())
    os.close(file)

def noted():
    return Path("ledger").read_text().splitlines()

def until(condition):
    while not condition():
        time.sleep(0.01)

def inside(flow, x):
    return flow.with_options(quiet=True).run(x=x).outputs["result"]

@step
def fit(x):
    note(f"fit {x}")
    until(Path("go").exists)
    return x + 1

@pipeline
def train(x: int):
    return fit(x)

@step
def start_train(x):
    return inside(train, x)

@pipeline
def around(x: int):
    return start_train(x)

@step
def look_ahead(x):
    note(f"look_ahead {x}")
    return inside(ahead, 1) + inside(ahead, 25) if x == 0 else x

@pipeline
def ahead(x: int):
    return look_ahead(x)

@pipeline
def many(x: int):
    return look_ahead.map(range(x, x + 40))

@step
def needs_next(x, n, is_deep):
    note(f"needs_next {x}")
    if noted().count(f"needs_next {x}") > 1:
        # Somebody has given up waiting for the first, which waits for somebody else.
        return x
    until(lambda: len(set(noted())) == n)
    return (inside(deeper, x * 10) if is_deep else inside(one, x + 1 if x < n else 1)) + 0

@step
def go_on(x):
    return inside(one, 2 if x == 10 else 1)

@pipeline
def deeper(x: int):
    return go_on(x)

N, IS_DEEP = int(os.environ.get("N", 2)), "IS_DEEP" in os.environ

@pipeline
def one(x: int):
    return needs_next(x, N, IS_DEEP)

if __name__ == "__main__":
    flow, *starts = sys.argv[1:]
    for x in starts:
        globals()[flow].run(x=int(x))
"""


@pytest.fixture(autouse=True)
def folder(workspace: Path) -> Path:
    (workspace.parent / "flow.py").write_text(FLOW)
    return workspace.parent


def start(*arguments: str, slots: int = 2, **environment: str) -> subprocess.Popen[bytes]:
    variables = {**os.environ, "PIPELITE_SLOTS": str(slots), **environment}
    return subprocess.Popen([sys.executable, "flow.py", *arguments], env=variables)


def finish(*processes: subprocess.Popen[bytes]) -> None:
    try:
        assert [process.wait(timeout=60) for process in processes] == [0] * len(processes)
    finally:
        for process in processes:
            process.kill()


def ledger() -> Counter[str]:
    path = Path("ledger")
    return Counter(path.read_text().splitlines() if path.exists() else [])


def until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_anybody_waiting() -> bool:
    rows = Workspace().store.database.read(
        "SELECT 1 FROM step_runs WHERE status = 'pending' AND reason LIKE 'waits for%'"
    )
    return bool(rows)


def test_a_run_inside_of_a_step_waits_as_long_as_another_run_is_at_it():
    first = start("train", "1")
    until(ledger)
    second = start("around", "1")
    until(is_anybody_waiting)

    # Longer than anybody would wait for nothing.
    time.sleep(6)
    Path("go").touch()

    finish(first, second)
    assert ledger() == {"fit 1": 1}
    assert [run.status for run in Workspace().runs()] == ["completed"] * 3


def test_a_step_that_comes_next_in_the_same_worker_is_not_waited_for():
    # After the first run the steps count as tiny, and are sent in batches: 0 needs one of its own and one of the next.
    finish(start("many", "100", "0", slots=1))

    counts = ledger()
    # Computed inside, and perhaps once more in its turn: the worker may have it before its run hears of the result.
    assert max(counts.pop("look_ahead 1"), counts.pop("look_ahead 25")) <= 2
    assert counts == {f"look_ahead {x}": 1 for x in (*range(40), *range(100, 140)) if x not in (1, 25)}


@pytest.mark.parametrize("n", [2, 3])
def test_of_runs_that_wait_in_a_circle_one_computes(n):
    finish(*[start("one", str(x), slots=n, N=str(n)) for x in range(1, n + 1)])

    assert ledger().total() == n + 1


def test_runs_inside_of_runs_inside_of_steps_do_not_wait_in_a_circle_either():
    finish(*[start("one", str(x), IS_DEEP="yes") for x in (1, 2)])

    assert ledger().total() == 3
