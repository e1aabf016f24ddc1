"""`pipelite run` and `pipelite graph`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest


def test_a_run_prints_what_it_returned_and_shows_progress_on_standard_error(command):
    done = command("run", "flow.py:train", "-p", "n=2")

    lines = done.stdout.splitlines()
    assert lines[:2] == ["total   10", "first   0"]
    assert lines[2].startswith("report  .pipelite/artifacts/")
    assert lines[2].endswith("report.txt (2 bytes)")
    assert "train  load  completed in " in done.stderr
    assert "5 steps, 5 computed" in done.stderr


def test_the_second_run_reuses_everything(command):
    command("run", "flow.py:train")

    done = command("run", "flow.py:train")

    assert "train  total  reused" in done.stderr
    assert "6 steps, 6 reused" in done.stderr


def test_a_quiet_run_prints_only_what_it_returned(command):
    done = command("run", "flow.py:train", "--quiet")

    assert done.stderr == ""
    assert "total" in done.stdout


def test_a_run_as_json_is_the_run_with_its_steps(read_json):
    run = read_json("run", "flow.py:train", "--experiment", "trial")

    assert run["status"] == "completed"
    assert run["experiment"] == "trial"
    assert run["outputs"]["total"]["value"] == 30
    assert [step["name"] for step in run["steps"]] == ["load", "work[0]", "work[1]", "work[2]", "total", "report"]
    assert run["steps"][4]["metrics"] == {"total": 30}


def test_a_module_can_be_named_instead_of_a_file(command):
    assert command("run", "flow:other", "-p", "x=4", "--quiet").stdout == "result  40\n"


def test_a_failed_run_shows_the_steps_own_traceback_and_exits_with_1(command):
    done = command("run", "flow.py:other", "-p", "x=7", exit_code=1)

    assert "other  work  failed: ValueError: seven is bad" in done.stderr
    assert "Error: step 'work' failed: ValueError: seven is bad" in done.stderr
    assert 'raise ValueError("seven is bad")' in done.stderr
    assert "pipelite runs logs " in done.stderr
    assert "/pipelite/" not in done.stderr


def test_a_failed_run_as_json_is_printed_too(read_json):
    run = read_json("run", "flow.py:other", "-p", "x=7", "--quiet", exit_code=1)

    assert run["status"] == "failed"
    assert run["steps"][0]["error"].startswith("step 'work' failed: ValueError: seven is bad")


def test_keep_going_computes_what_does_not_need_the_failed_step(read_json):
    run = read_json("run", "flow.py:train", "-p", "start=5", "--keep-going", exit_code=1)

    assert {step["name"]: step["status"] for step in run["steps"]} == {
        "load": "completed",
        "work[0]": "completed",
        "work[1]": "completed",
        "work[2]": "failed",
        "total": "skipped",
        "report": "skipped",
    }


def test_regenerate_outputs_computes_everything_again(command):
    command("run", "flow.py:train")

    assert "6 steps, 6 computed" in command("run", "flow.py:train", "--regenerate-outputs").stderr


HOLDING = """
import time
from pathlib import Path
from pipelite import pipeline, step

@step
def hold(x):
    Path("begun").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return x + 1

@pipeline
def slow():
    return hold(hold(1))
"""


class TestDryRun:
    def test_a_dry_run_says_what_would_be_computed_and_stores_no_run(self, command, folder):
        command("run", "flow.py:train")
        (folder / "helpers.py").write_text("def scale(x):\n    return x * 20\n")

        done = command("run", "flow.py:train", "--dry-run")

        lines = done.stdout.splitlines()
        assert lines[0].split() == ["STEP", "WOULD", "WHY"]
        assert lines[1].split() == ["load", "reuse"]
        assert lines[2].split(maxsplit=2) == ["work[0]", "compute", "nothing equal is stored"]
        assert lines[5].split(maxsplit=2) == ["total", "unknown", "depends on work[0]"]
        assert lines[-1] == "6 steps: 1 to reuse, 3 to compute, 2 not known yet"
        assert len(command("runs", "list").stdout.splitlines()) == 2

    def test_a_dry_run_as_json_has_one_object_per_step(self, read_json):
        steps = read_json("run", "flow.py:other", "-p", "x=1", "--dry-run")

        assert steps == [{"name": "work", "action": "compute", "reason": None, "depends_on": None}]

    def test_a_dry_run_says_what_another_run_is_at(self, command, folder):
        (folder / "holding.py").write_text(HOLDING)
        run = command("run", "holding.py:slow", "--submit").stdout.strip()
        while not (folder / "begun").exists():
            time.sleep(0.01)

        lines = command("run", "holding.py:slow", "--dry-run").stdout.splitlines()
        (folder / "go").touch()

        assert lines[1].split(maxsplit=2) == ["hold", "wait", f"run {run} is at it, in step 'hold'"]
        assert lines[2].split(maxsplit=2) == ["hold-2", "unknown", "depends on hold"]
        assert lines[-1] == "2 steps: 1 to wait for, 1 not known yet"
        command("runs", "wait", run)


class TestMistakes:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["nothere.py"], "there is no file"),
            (["flow.py"], "several pipelines"),
            (["flow.py:trian"], "no pipeline 'trian'"),
            (["flow.py:work"], "is not a pipeline"),
            (["nothere:train"], "there is no module 'nothere'"),
            (["flow.py:train", "-p", "m=1"], "has no parameter 'm'"),
            (["flow.py:train", "-p", "n=x"], "parameter 'n' takes a whole number, but got 'x'"),
            (["flow.py:other"], "needs a value for 'x'"),
            (["flow.py:train", "-p", "n"], "'n' is not of the form NAME=VALUE"),
            (["flow.py:train", "-p", "n=1", "-p", "n=2"], "n is given twice"),
            ([], "Missing argument"),
        ],
    )
    def test_a_wrong_call_is_one_message_and_exits_with_2(self, command, words, message):
        done = command("run", *words, exit_code=2)

        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""

    def test_a_file_that_cannot_be_imported_shows_the_users_lines_only(self, command, folder):
        (folder / "broken.py").write_text("import helpers\nhelpers.nothing()\n")
        (folder / "syntax.py").write_text("def f(:\n")

        broken = command("run", "broken.py", exit_code=2).stderr
        syntax = command("run", "syntax.py", exit_code=2).stderr

        assert broken.startswith("Error: broken.py cannot be loaded:\nTraceback")
        assert broken.count("  File ") == 1
        assert "AttributeError: module 'helpers' has no attribute 'nothing'" in broken
        assert syntax.count("  File ") == 1
        assert "SyntaxError" in syntax


SLOW = """
from pathlib import Path
from pipelite import pipeline, step

@step(cache=False)
def wait(n):
    Path("started").write_text("x")
    Path("go").read_text()
    return n

@step(cache=False)
def add(n):
    return n + 1

@pipeline
def slow():
    return add(wait(1))
"""


def test_an_interrupted_run_lets_running_steps_finish_and_exits_with_130(folder, command):
    (folder / "slow.py").write_text(SLOW)
    # Opening a named pipe waits for the other end: no looking every now and then.
    os.mkfifo(folder / "started")
    os.mkfifo(folder / "go")
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelite", "run", "slow.py"], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    (folder / "started").read_text()

    process.send_signal(signal.SIGINT)
    (folder / "go").write_text("x")
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "was canceled" in errors
    assert "canceled" in command("runs", "list").stdout


class TestGraph:
    def test_a_graph_is_drawn_as_mermaid_without_running_anything(self, command, folder):
        done = command("graph", "flow.py:train", "--mermaid", "-p", "n=2")

        assert done.stdout.splitlines()[0] == "flowchart TD"
        assert '    n0["load"]' in done.stdout
        assert "work[1]" in done.stdout
        assert "work[2]" not in done.stdout
        assert not (folder / ".pipelite").exists()

    def test_mermaid_is_the_form_without_an_option(self, command):
        assert command("graph", "flow.py:train").stdout == command("graph", "flow.py:train", "--mermaid").stdout

    def test_a_graph_as_json_names_nodes_and_outputs(self, read_json):
        graph = read_json("graph", "flow.py:train", "-p", "n=1")

        assert graph["name"] == "train"
        assert [node["name"] for node in graph["nodes"]] == ["load", "work[0]", "total", "report"]
        assert graph["nodes"][2]["upstream"] == ["work[0]"]
        assert graph["nodes"][2]["step"] == "flow.total"
        assert graph["outputs"] == ["total", "first", "report"]

    def test_two_forms_at_once_are_refused(self, command):
        assert "exclude each other" in command("graph", "flow.py:train", "--mermaid", "--json", exit_code=2).stderr
