"""A run that ended early goes on as the same run; what it had done is not done again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelite import Workspace, pipeline, step
from pipelite.api.workspace import close_dead_runs
from pipelite.errors import PipeliteError, ResumeError, StepFailed

FLOW = """
import os, time
from pathlib import Path
from pipelite import current_run, pipeline, step

def note(text):
    with open("ledger", "a") as file:
        file.write(text + "\\n")

@step
def effect(number):
    note(f"effect {number}")
    current_run().log("seen", number)

@step(cache=False)
def never_cached(number):
    note(f"never_cached {number}")
    return number * 10

@step
def wait_for(path, number):
    note("wait_for")
    print("waiting", flush=True)
    current_run().tag("waits", "yes")
    while not os.path.exists(path):
        time.sleep(0.01)
    if open(path).read() == "fail":
        raise ValueError("told to fail")
    return number + 1

@step
def read(path: Path):
    note("read")
    return path.read_text()

@pipeline(keep_going=True)
def flow(number: int = 1):
    effect(number)
    return {"result": wait_for("go", never_cached(number)), "text": read(Path("text"))}

if __name__ == "__main__":
    flow.run()
"""


@pytest.fixture
def project(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a script whose run waits for a file."""
    monkeypatch.setenv("PIPELITE_PROGRESS", "quiet")
    folder = workspace.parent
    (folder / "flow.py").write_text(FLOW)
    (folder / "text").write_text("one")
    return folder


def command(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "pipelite", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ledger(project: Path) -> list[str]:
    path = project / "ledger"
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def interrupted(project: Path):
    """The run of a process that was killed while one of its steps was running."""
    process = subprocess.Popen([sys.executable, "flow.py"])
    until(lambda: (project / ".pipelite").exists() and set(ledger(project)) >= {"wait_for", "read"})
    until(lambda: sum(step.status == "completed" for step in Workspace().run().steps.values()) == 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    close_dead_runs(Workspace().store)
    return Workspace().run()


def test_a_killed_run_is_interrupted_and_goes_on_as_the_same_run(project, interrupted):
    assert interrupted.status == "interrupted"
    assert interrupted.steps["wait_for"].status == "interrupted"
    assert interrupted.steps["wait_for"].logs == "waiting\n"
    assert interrupted.tags == {"waits": "yes"}
    assert "pipelite runs resume" in interrupted.error
    (project / "go").touch()

    resumed = interrupted.resume()

    assert resumed is interrupted
    assert [run.id for run in Workspace().runs()] == [interrupted.id]
    assert resumed.status == "completed"
    assert resumed.error is None
    assert dict(resumed.outputs) == {"result": 11, "text": "one"}
    assert resumed.metrics["seen"] == 1


def test_what_had_been_done_is_not_done_again_also_where_no_other_run_might_reuse_it(project, interrupted):
    (project / "go").touch()

    resumed = interrupted.resume()

    assert sorted(ledger(project)) == ["effect 1", "never_cached 1", "read", "wait_for", "wait_for"]
    assert {name: step.attempts for name, step in resumed.steps.items()} == {
        "effect": 1,
        "never_cached": 1,
        "wait_for": 2,
        "read": 1,
    }


def test_the_source_that_the_run_kept_is_used(project, interrupted):
    (project / "flow.py").write_text(FLOW.replace("number + 1", "number + 1000"))
    (project / "go").touch()

    assert interrupted.resume().outputs["result"] == 11


def test_an_input_that_changed_is_computed_again_and_the_old_result_is_kept(project, interrupted):
    old = interrupted.steps["read"].record
    (project / "text").write_text("two")
    (project / "go").touch()

    resumed = interrupted.resume()

    assert resumed.outputs["text"] == "two"
    [kept] = [step for name, step in resumed.steps.items() if name.startswith("read~")]
    assert kept.record.key == old.key
    assert kept.outputs == {"result": "one"}
    # The old result is still found under its key.
    (project / "text").write_text("one")
    assert json.loads(command("run", "flow.py", "-p", "number=2", "--json").stdout)["status"] == "completed"
    assert Workspace().run().steps["read"].reused
    assert Workspace().run().outputs["text"] == "one"


def test_a_failed_run_can_be_resumed(project):
    (project / "go").write_text("fail")
    failed = command("run", "flow.py", check=False)
    assert failed.returncode == 1
    (project / "go").write_text("")

    done = command("runs", "resume", "--json")

    assert json.loads(done.stdout)["status"] == "completed"
    assert ledger(project).count("effect 1") == 1
    assert ledger(project).count("wait_for") == 2


def test_a_completed_run_cannot_be_resumed(project):
    (project / "go").touch()
    command("run", "flow.py")

    refused = command("runs", "resume", check=False)

    assert refused.returncode == 2
    assert "is completed: there is nothing left to do" in refused.stderr
    with pytest.raises(ResumeError, match="pipelite runs rerun"):
        Workspace().run().resume()


def test_a_running_run_cannot_be_resumed_and_is_waited_for(project):
    run_id = command("run", "flow.py", "--submit").stdout.strip()
    until(lambda: "wait_for" in ledger(project))

    with pytest.raises(ResumeError, match=f"is running.*pipelite runs wait {run_id}"):
        Workspace().run(run_id).resume()
    with pytest.raises(TimeoutError, match="has not ended after"):
        Workspace().run(run_id).wait(0.1)
    late = command("runs", "wait", run_id, "--timeout", "0.1", check=False)
    assert late.returncode == 1
    assert "has not ended after 0.1 s; it is running" in late.stderr
    (project / "go").touch()

    assert "11" in command("runs", "wait", run_id).stdout
    assert command("runs", "logs", "-f", run_id).stdout.endswith("waiting\n")
    owner_log = project / ".pipelite" / "logs" / run_id / "owner.log"
    until(lambda: "result  11" in owner_log.read_text())


def test_of_two_that_resume_at_once_one_is_told(project, interrupted):
    arguments = [sys.executable, "-m", "pipelite", "runs", "resume", interrupted.id]
    both = [subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    until(lambda: any(process.poll() is not None for process in both))
    (project / "go").touch()
    errors = [process.communicate(timeout=30)[1] for process in both]

    assert sorted(process.returncode for process in both) == [0, 2]
    assert any("is running, so it cannot be resumed" in text for text in errors)
    assert ledger(project).count("wait_for") == 2


def test_waiting_for_a_run_whose_process_dies_ends_with_its_interruption(project):
    process = subprocess.Popen([sys.executable, "flow.py"])
    until(lambda: "wait_for" in ledger(project))
    waiting = subprocess.Popen([sys.executable, "-m", "pipelite", "runs", "wait"], stderr=subprocess.PIPE, text=True)
    process.send_signal(signal.SIGKILL)
    process.wait()

    _, errors = waiting.communicate(timeout=30)

    assert waiting.returncode == 130
    assert "is interrupted; `pipelite runs resume" in errors


def test_a_submitted_run_that_cannot_start_says_why(project):
    refused = command("run", "flow.py", "--submit", "-p", "nummer=2", check=False)

    assert refused.returncode == 2
    assert "did you mean 'number'?" in refused.stderr
    assert list((project / ".pipelite" / "tmp").iterdir()) == []


def test_a_run_of_a_pipeline_that_nothing_can_import_is_not_resumed(workspace):
    @step
    def fail():
        raise ValueError("no")

    @pipeline
    def flow():
        return fail()

    with pytest.raises(StepFailed) as caught:
        flow.run()

    with pytest.raises(
        PipeliteError, match="cannot be resumed: its pipeline 'flow' was defined in a notebook or inside"
    ):
        Workspace().run(caught.value.run_id).resume()
