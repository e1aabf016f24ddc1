"""Chaos: processes are killed, disks fill up, output runs away; what was acknowledged must be there afterwards.

A small size runs with all tests; PIPELITE_CHAOS=full runs the sizes that docs/reliability.rst publishes. What happens is
drawn from a seed that is printed; PIPELITE_CHAOS_SEED repeats it. The workspace of a test that fails is kept.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
sys.path.insert(0, str(PROGRAMS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    setattr(item, f"report_{report.when}", report)
    return report


@pytest.fixture(scope="session")
def size() -> str:
    """ "small" with every test run, "full" for the figures that are published."""
    return "full" if os.environ.get("PIPELITE_CHAOS") == "full" else "small"


@pytest.fixture
def seed() -> int:
    """Where all that is random in a test comes from; shown with a failure."""
    seed = int(os.environ.get("PIPELITE_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"seed: {seed}")
    return seed


@pytest.fixture
def workspace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace folder in a folder of its own, where the test runs; kept if it fails."""
    folder = Path(tempfile.mkdtemp(prefix="pipelite-chaos-"))
    monkeypatch.setenv("PIPELITE_WORKSPACE", str(folder / ".pipelite"))
    monkeypatch.setenv("PIPELITE_PROGRESS", "quiet")
    monkeypatch.chdir(folder)
    yield folder / ".pipelite"
    report = getattr(request.node, "report_call", None)
    if report is not None and report.failed:
        print(f"the workspace is kept: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def figures(request: pytest.FixtureRequest, size: str, seed: int) -> Iterator[dict[str, object]]:
    """What a test measured; printed, and added to the file that PIPELITE_CHAOS_RESULTS names."""
    found: dict[str, object] = {}
    yield found
    line = f"{request.node.name} ({size}, seed {seed}): " + ", ".join(
        f"{name} {value}" for name, value in found.items()
    )
    print(line)
    results = os.environ.get("PIPELITE_CHAOS_RESULTS")
    if results and found:
        with open(results, "a", encoding="utf-8") as file:
            file.write(line + "\n")
