from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelite import Workspace
from pipelite.automate import Dispatcher, Limits
from pipelite.clock import CLOCK

FLOW = '''
import os
import time
from pathlib import Path

from helpers import twice
from pipelite import pipeline, step


@step
def load(n: int):
    return list(range(n))


@step
def total(numbers, scale: float):
    return twice(sum(numbers)) * scale


@pipeline
def train(n: int = 4, scale: float = 1.0):
    """Adds up."""
    return {"total": total(load(n), scale)}


@step
def work(number: int, before, tag: str, seconds: float):
    with open(Path(os.environ["PIPELITE_WORKSPACE"]).parent / "ledger.txt", "a") as file:
        file.write(f"{tag}{number}\\n")
    time.sleep(seconds)
    return number


@pipeline
def lasting(tag: str, count: int = 3, seconds: float = 0.1):
    """Notes in a ledger what it does."""
    last = None
    for number in range(count):
        last = work(number, last, tag, seconds)
    return last


@step
def kill_the_runner():
    import signal

    # The runner is the worker's parent.
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


@pipeline
def deadly():
    kill_the_runner()
'''


@pytest.fixture
def flow(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], object]]:
    """Imports the module of the project as it is in its files now."""
    folder = workspace.parent
    (folder / "flow.py").write_text(FLOW)
    (folder / "helpers.py").write_text("def twice(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    # An edit within the same second, of the same length, would not be seen beside bytecode.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load():
        import importlib

        for name in ("flow", "helpers"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("flow")

    yield load
    for name in ("flow", "helpers"):
        sys.modules.pop(name, None)


@pytest.fixture
def serve() -> Iterator[Callable[..., Dispatcher]]:
    """Starts dispatchers on the workspace, and stops them at the end."""
    started = []

    def start(**limits: int) -> Dispatcher:
        dispatcher = Dispatcher(Workspace().store, Limits(**limits) if limits else None)
        dispatcher.start()
        started.append(dispatcher)
        return dispatcher

    yield start
    for dispatcher in started:
        dispatcher.stop(grace_s=0.1)


@pytest.fixture
def ledger(workspace: Path) -> Callable[[], list[str]]:
    """What steps of `lasting` noted when they began."""
    path = workspace.parent / "ledger.txt"
    return lambda: path.read_text().split() if path.exists() else []


class TurnedClock:
    """Stands until it is turned."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 2, 12, tzinfo=UTC)

    def turn(self, **span: float) -> datetime:
        self.at += timedelta(**span)
        return self.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> TurnedClock:
    """The clock that schedules of this process go by, at noon of a Monday."""
    turned = TurnedClock()
    monkeypatch.setattr(CLOCK, "now", lambda: turned.at)
    return turned
