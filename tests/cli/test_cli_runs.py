"""`pipelite runs`: what it says about runs, and running one again."""

from __future__ import annotations

import os
import subprocess
import sys

from pipelite.store import RunWriter, Store, create_run


class TestList:
    def test_runs_are_listed_the_newest_first(self, command, two_runs):
        command("run", "flow.py:other", "-p", "x=7", exit_code=1)

        lines = command("runs", "list").stdout.splitlines()

        assert lines[0].split() == [
            "RUN", "PIPELINE", "EXPERIMENT", "STATUS", "STARTED", "DURATION", "PARAMETERS",
        ]  # fmt: skip
        assert [line.split()[1] for line in lines[1:]] == ["other", "train", "train"]
        assert "nightly" in lines[1]
        assert "failed" in lines[1]
        assert lines[2].endswith("n=2, start=0")

    def test_a_run_that_waits_is_told_from_one_that_works(self, command, read_json, folder):
        with Store.open() as store:
            for waits in ({}, {"for": "a free slot"}):
                run = create_run(store, pipeline="train", owner=store.owner.name)
                RunWriter(store, run.id, store.owner.name).commit(waits=waits)

            lines = command("runs", "list").stdout.splitlines()
            shown = command("runs", "show").stdout.splitlines()
            listed = read_json("runs", "list")

            assert ["(waits)" in line for line in lines[1:]] == [True, False]
            assert all(line.split()[2] == "running" for line in lines[1:])
            assert ["waits", "for", "a", "free", "slot"] in [line.split() for line in shown]
            assert [(run["waits_for"], run["options"]) for run in listed] == [("a free slot", {}), (None, {})]

    def test_runs_are_chosen_by_pipeline_experiment_and_status(self, command, read_json, two_runs):
        command("run", "flow.py:other", "-p", "x=7", exit_code=1)

        assert len(read_json("runs", "list", "--pipeline", "train")) == 2
        assert len(read_json("runs", "list", "--experiment", "nightly")) == 1
        assert len(read_json("runs", "list", "--status", "failed")) == 1
        assert len(read_json("runs", "list", "--status", "failed", "--pipeline", "train")) == 0
        assert len(read_json("runs", "list", "--limit", "1")) == 1

    def test_an_unknown_status_is_refused_with_those_there_are(self, command, two_runs):
        assert "'interrupted'" in command("runs", "list", "--status", "done", exit_code=2).stderr

    def test_without_a_workspace_none_is_made(self, command, folder):
        done = command("runs", "list", exit_code=2)

        assert "there is no workspace at" in done.stderr
        assert not (folder / ".pipelite").exists()

    def test_another_workspace_can_be_named(self, command, read_json, folder):
        command("run", "flow.py:other", "-p", "x=1", "--workspace", "elsewhere")

        assert len(read_json("runs", "list", "--workspace", "elsewhere")) == 1
        assert not (folder / ".pipelite").exists()


class TestShow:
    def test_the_newest_run_is_shown(self, command, two_runs):
        text = command("runs", "show").stdout

        assert "pipeline       train (flow:train)" in text
        assert "5 steps: 1 reused, 4 computed" in text
        assert "parameters     n=2, start=0" in text
        assert "output total   20" in text
        assert "total=20" in text

    def test_a_run_is_named_by_enough_of_its_id(self, command, read_json, two_runs):
        first = read_json("runs", "list")[1]["id"]

        assert first in command("runs", "show", first[-6:]).stdout

    def test_a_run_that_is_not_there_is_wrong_usage(self, command, two_runs):
        assert "there is no run 'nope'" in command("runs", "show", "nope", exit_code=2).stderr

    def test_a_failed_run_is_shown_with_the_traceback(self, command):
        command("run", "flow.py:other", "-p", "x=7", exit_code=1)

        text = command("runs", "show").stdout

        assert text.rstrip().endswith("ValueError: seven is bad")
        assert "Traceback" in text

    def test_a_run_as_json_has_its_steps(self, read_json, two_runs):
        run = read_json("runs", "show")

        assert run["parameters"] == {"n": 2, "start": 0}
        assert run["steps"][0]["status"] == "reused"
        assert run["steps"][1]["outputs"]["result"]["value"] == 0


class TestExplain:
    def test_every_step_has_a_line_that_names_what_changed(self, command, read_json, two_runs):
        first = read_json("runs", "list")[1]["id"]

        lines = command("runs", "explain").stdout.splitlines()

        assert [line.split(maxsplit=1) for line in lines] == [
            ["load", f"reused from run {first}"],
            ["work[0]", "computed: function helpers.scale changed"],
            ["work[1]", "computed: function helpers.scale changed"],
            ["total", "computed: input 'values' was [0, 10], is [0, 20] (it comes from the 2 steps of 'work')"],
            ["report", "computed: input 'total' was 10, is 20 (it comes from step 'total')"],
        ]

    def test_one_step_is_explained_in_full(self, command, read_json, two_runs):
        first, second = (run["id"] for run in reversed(read_json("runs", "list")))

        text = command("runs", "explain", second, "work[1]").stdout

        assert text == f"work[1] was computed (compared with run {first})\n  function helpers.scale changed\n"

    def test_an_explanation_as_json_has_the_reasons_one_by_one(self, read_json, two_runs):
        (step,) = read_json("runs", "explain", "last", "work[1]")

        assert step["status"] == "completed"
        assert step["reasons"] == ["function helpers.scale changed"]

    def test_a_step_that_is_not_there_is_wrong_usage(self, command, two_runs):
        assert "no step 'wrk'" in command("runs", "explain", "last", "wrk", exit_code=2).stderr


class TestLogs:
    def test_all_steps_have_a_heading(self, command, two_runs):
        assert command("runs", "logs").stdout == (
            "==> load <==\nloading 2\n\n==> work[0] <==\nwork on 0\n\n==> work[1] <==\nwork on 1\n"
        )

    def test_one_step_has_none(self, command, two_runs):
        assert command("runs", "logs", "last", "work[1]").stdout == "work on 1\n"

    def test_a_step_that_printed_nothing_says_so_beside_the_output(self, command, two_runs):
        done = command("runs", "logs", "last", "total")

        assert (done.stdout, done.stderr) == ("", "step 'total' printed nothing\n")

    def test_logs_as_json_are_texts_by_step(self, read_json, two_runs):
        assert read_json("runs", "logs", "last", "load") == [{"step": "load", "log": "loading 2\n"}]

    def test_following_a_run_that_has_ended_prints_it(self, command, two_runs):
        assert command("runs", "logs", "-f").stdout == command("runs", "logs").stdout
        assert command("runs", "logs", "last", "load", "-f").stdout == "loading 2\n"

    def test_following_a_step_that_never_came_is_wrong_usage(self, command, two_runs):
        assert "no step 'wrk'" in command("runs", "logs", "last", "wrk", "-f", exit_code=2).stderr

    def test_what_a_running_step_prints_is_followed_until_it_ends(self, command, folder):
        (folder / "talk.py").write_text(TALK)
        os.mkfifo(folder / "go")
        pipelite = [sys.executable, "-m", "pipelite"]
        run = subprocess.Popen([*pipelite, "run", "talk.py", "--quiet"], cwd=folder, stdout=subprocess.DEVNULL)
        # Opens when the step has printed its first line and waits at the other end.
        with (folder / "go").open("w") as go:
            follow = subprocess.Popen([*pipelite, "runs", "logs", "-f"], cwd=folder, stdout=subprocess.PIPE, text=True)
            first = [follow.stdout.readline(), follow.stdout.readline()]
            go.write("on")
        rest, _ = follow.communicate(timeout=60)

        assert first == ["==> talk <==\n", "one\n"]
        assert rest == "two\n"
        assert run.wait(timeout=60) == 0


TALK = """
from pathlib import Path
from pipelite import pipeline, step

@step(cache=False)
def talk():
    print("one", flush=True)
    Path("go").read_text()
    print("two")

@pipeline
def talking():
    talk()
"""


class TestRerun:
    def test_a_run_is_run_again_with_the_source_that_it_kept(self, command, read_json, two_runs):
        first = read_json("runs", "list")[1]["id"]

        done = command("runs", "rerun", first)

        assert done.stdout.splitlines()[0] == "total   10"
        assert "5 steps, 5 reused" in done.stderr
        assert read_json("runs", "show")["rerun_of"] == first

    def test_a_run_that_fails_again_exits_with_1(self, command):
        command("run", "flow.py:other", "-p", "x=7", exit_code=1)

        assert "failed" in command("runs", "rerun", exit_code=1).stderr


def test_a_reader_that_goes_away_is_no_error(folder, command, two_runs):
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelite", "runs", "show"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()

    assert process.stderr.read() == ""
    process.wait(timeout=60)
    process.stderr.close()
