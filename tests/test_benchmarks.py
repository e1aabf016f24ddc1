"""The measuring scripts start, and what they compare computes the same; the figures themselves are not tested."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def driving(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import driving

    return driving


@pytest.mark.parametrize(
    "script", ["azureml.py", "data.py", "engine.py", "peers.py", "schedules.py", "serving.py", "steps.py"]
)
def test_a_script_says_what_it_can_do(script):
    command = [sys.executable, str(BENCHMARKS / script), "--help"]

    assert "--quick" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("driver", "after_the_edit"), [("with_pipelite.py", 12.5), ("with_joblib.py", 25.0)])
def test_an_edited_helper_reaches_pipelite_and_not_joblib(driving, tmp_path, driver, after_the_edit):
    with driving.Home(tmp_path) as home:
        before = home.call(Path(sys.executable), driver, "edit")
        helper = home.folder / "recipe.py"
        helper.write_text(helper.read_text().replace("return 0.25", "return 0.125"))
        after = home.call(Path(sys.executable), driver, "edit")

    assert before["result"] == 25.0
    assert after["result"] == after_the_edit
    assert list(tmp_path.iterdir()) == []


def test_a_call_leaves_no_process_behind(driving, tmp_path):
    with driving.Home(tmp_path) as home:
        (home.folder / "with_child.py").write_text(
            "import json, subprocess, sys\n"
            "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE, start_new_session=True)\n"
            "print(json.dumps({'child': child.pid}))\n"
        )
        child = home.call(Path(sys.executable), "with_child.py")["child"]

    until = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not Path(f"/proc/{child}").exists()


def test_what_a_failed_driver_said_is_in_the_error(driving, tmp_path):
    with driving.Home(tmp_path) as home, pytest.raises(driving.DriverFailed, match="no_such_work"):
        home.call(Path(sys.executable), "with_joblib.py", "no_such_work")
