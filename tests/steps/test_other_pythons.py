"""Steps in another minor version of Python than that of the pipeline."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from steps_in_environments import changes_data, python_and, stays

from pipelite import Workspace, pipeline, step
from pipelite.errors import DefinitionError, EnvironmentFailed, StepFailed
from pipelite.steps import Environment, Output, installing, script

OWN = installing.OWN_MINOR
FOUND = [minor for minor in ("3.11", "3.12", "3.13", "3.14") if minor != OWN and installing.find_python(minor)]

pytestmark = [
    pytest.mark.may_be_missing,
    pytest.mark.skipif(not FOUND, reason="no other minor version of Python is here"),
]


def as_pair(minor: str) -> tuple[int, ...]:
    return tuple(map(int, minor.split(".")))


@step
def makes_data() -> dict:
    return {
        "array": np.arange(6.0).reshape(2, 3),
        "when": datetime(2026, 1, 1, tzinfo=UTC),
        "at": [Path("x"), Path("y")],
    }


@step
def reads_back(data: dict) -> list:
    return [data["twice"].tolist(), data["when"].isoformat(), [str(each) for each in data["at"]]]


@pytest.mark.parametrize("minor", FOUND)
def test_a_function_and_a_script_run_in_another_minor_version(minor, write):
    write("src/version.py", "import sys; open(sys.argv[1], 'w').write('%d.%d' % sys.version_info[:2])")
    write("src/logs.py", "import pipelite; pipelite.current_run().log('here', 1)")
    environment = Environment(python=minor)
    told = script("version.py", source_directory="src", arguments=[Output("text")], environment=environment)
    logs = script("logs.py", source_directory="src", environment=environment)

    @pipeline
    def flow(x: int = 1):
        logs()
        return {"function": python_and.with_options(environment=environment)(x), "script": told()}

    run = flow.run()

    assert run.outputs["function"] == (as_pair(minor), 1)
    assert run.outputs["script"].read_text() == minor
    assert run.metrics["here"] == 1
    assert flow.run().steps["python_and"].reused
    (made,) = Workspace().environments
    assert made.python == minor
    explained = subprocess.run(
        [sys.executable, "-m", "pipelite", "runs", "explain", run.id], capture_output=True, text=True, timeout=60
    )
    assert explained.returncode == 0


def test_the_version_of_python_is_part_of_the_key():
    @pipeline
    def flow():
        here = python_and.with_options(environment=Environment())(1)
        return {"here": here, "there": python_and.with_options(environment=Environment(python=FOUND[0]))(1)}

    assert dict(flow.run().outputs) == {"here": (as_pair(OWN), 1), "there": (as_pair(FOUND[0]), 1)}


def test_data_comes_across_from_one_version_to_the_other_and_back():
    there = Environment(python=FOUND[-1], packages=["numpy"])

    @pipeline
    def flow():
        return reads_back(changes_data.with_options(environment=there)(makes_data()))

    run = flow.run()

    assert run.outputs["result"] == [
        [[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]],
        "2026-01-02T00:00:00+00:00",
        ["x", "y"],
    ]


def test_what_travels_by_value_is_refused_before_any_work(tmp_path):
    @step
    def inside():
        return 1

    @pipeline
    def flow():
        stays(str(tmp_path / "pids"))
        inside.with_options(environment=Environment(python=FOUND[0]))()

    with pytest.raises(DefinitionError, match="step 'inside' is to run in another Python, which has to import"):
        flow.run()
    assert not (tmp_path / "pids").exists()


def test_an_argument_that_holds_a_function_by_value_is_an_error_that_says_so():
    @pipeline
    def flow():
        python_and.with_options(environment=Environment(python=FOUND[0]))(lambda: 1)

    with pytest.raises(StepFailed, match=f"whose code is that of Python {OWN}; define it at the top level of a module"):
        flow.run()


def test_a_function_of_a_script_runs_in_another_version(write):
    path = write(
        "flow.py",
        f"""
        import sys
        from pipelite import pipeline, step
        from pipelite.steps import Environment

        class Point:
            def __init__(self, x):
                self.x = x

        @step(environment=Environment(python="{FOUND[0]}"))
        def doubled(point):
            return Point([point.x * 2, *sys.version_info[:2]])

        @pipeline
        def flow():
            return doubled(Point(4))

        if __name__ == "__main__":
            print(flow.run().outputs["result"].x)
        """,
    )

    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=120)

    assert (done.stdout, done.returncode) == (f"{[8, *as_pair(FOUND[0])]}\n", 0), done.stderr


def test_without_uv_pip_installs_what_pipelite_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(installing, "find_uv", lambda: None)

    interpreter = Environment(python=FOUND[0]).prepare(tmp_path, "check")
    interpreter.release()

    code = "import sys, blake3, pipelite; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run(
        [interpreter.python, "-c", code],
        env={**interpreter.variables, "PYTHONPATH": str(Path(installing.__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (f"{FOUND[0]}\n", "")


def test_a_python_that_is_not_there_is_an_error_that_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(installing, "find_uv", lambda: None)

    with pytest.raises(EnvironmentFailed, match=r"there is no Python 3\.99: no python3\.99 that runs is on the PATH"):
        Environment(python="3.99").prepare(tmp_path, "check")


def test_a_python_that_is_too_old_for_pipelite_is_an_error(tmp_path):
    with pytest.raises(EnvironmentFailed, match=r"takes Python 3\.5; pipelite needs 3\.11 or later"):
        Environment(python="3.5").prepare(tmp_path, "check")
