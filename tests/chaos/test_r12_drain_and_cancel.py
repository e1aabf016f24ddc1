"""SIGTERM and cancel at random moments: no new start, everything ended in time, and the run says what it is."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from pipelite import Workspace
from pipelite.execute import badges

SCRIPT = """
import os, subprocess, sys, time
from pathlib import Path
from pipelite import pipeline, step

STARTS = Path("starts")

def note(what):
    with open(STARTS, "a") as file:
        file.write(f"{time.time()} {what}\\n")

@step
def work(number):
    note(number)
    time.sleep(0.05)
    return number

@step
def tiny(number):
    note(number)
    return number

@step
def spread(number, seconds):
    note(number)
    subprocess.Popen(["sleep", "60"], start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", "60"])
        os._exit(0)
    os.wait()
    time.sleep(seconds)
    return number

@pipeline(keep_going=True)
def flow(seconds: float):
    numbers = work.map(list(range(6)))
    spread.map(numbers, seconds=seconds)
    tiny.map(list(range(100, 400)))

if __name__ == "__main__":
    flow.run(seconds=float(sys.argv[1]))
"""


def allowed(seconds: float) -> float:
    """A time limit for this machine as it is: it may have more to do than it has cores."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


class Owner:
    """The script in a process of its own, and the word that all it starts wears."""

    def __init__(self, folder: Path, seconds: float, script: str = SCRIPT, **environment: str) -> None:
        (folder / "script.py").write_text(script)
        self.folder = folder
        (folder / "starts").unlink(missing_ok=True)
        self.word = f"TEST-{os.urandom(8).hex()}"
        self.process = subprocess.Popen(
            [sys.executable, "script.py", str(seconds)],
            cwd=folder,
            env={**os.environ, "MARK_OF_THIS_TEST": self.word, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def starts(self) -> list[float]:
        path = self.folder / "starts"
        return [float(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for_start(self) -> None:
        until = time.monotonic() + 20
        while not self.starts():
            assert time.monotonic() < until
            assert self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.01)

    def wait(self, timeout_s: float) -> str:
        output, _ = self.process.communicate(timeout=timeout_s)
        return output

    def survivors(self) -> set[int]:
        return badges.find_wearers(self.word)


def check_end(owner: Owner, output: str) -> None:
    """Whatever the moment was, nothing stays, and the run is finished or can be gone on with."""
    run = Workspace().run()
    assert run.status in ("completed", "interrupted", "canceled"), output
    # A second signal may come when the run has ended already, and has its usual meaning again.
    assert owner.process.returncode in ({0} if run.status == "completed" else {130, -signal.SIGTERM}), output
    assert all(step.status != "running" for step in run.steps.values())
    assert owner.survivors() == set()


def test_after_sigterm_nothing_new_starts_and_steps_that_run_finish(workspace, size, seed):
    chance = random.Random(seed)
    for _ in range(100 if size == "full" else 1):
        owner = Owner(workspace.parent, seconds=0.3)
        owner.wait_for_start()
        time.sleep(chance.uniform(0, 0.6))
        told = time.time()
        owner.process.send_signal(signal.SIGTERM)
        output = owner.wait(20)

        # The clock of this machine is not all that is late: a started process may wait for a core before it notes so.
        assert [start for start in owner.starts() if start > told + allowed(0.1)] == []
        check_end(owner, output)
        assert all(step.status in ("completed", "reused") for step in Workspace().run().steps.values()), output


def test_what_was_interrupted_is_gone_on_with(workspace, size, seed):
    chance = random.Random(seed)
    owner = Owner(workspace.parent, seconds=0.1)
    owner.wait_for_start()
    time.sleep(chance.uniform(0, 0.5))
    owner.process.send_signal(signal.SIGTERM)
    owner.wait(20)
    before = len(owner.starts())
    finished = sum(step.status == "completed" for step in Workspace().run().steps.values())

    owner = Owner(workspace.parent, seconds=0.1)
    output = owner.wait(30)

    assert owner.process.returncode == 0, output
    steps = Workspace().run().steps
    assert len(steps) == 312
    assert sum(step.reused for step in steps.values()) == finished == before


def test_after_the_grace_running_steps_are_ended_with_all_they_started(workspace, size, seed):
    chance = random.Random(seed)
    for _ in range(100 if size == "full" else 1):
        grace = chance.uniform(0.1, 0.5)
        owner = Owner(workspace.parent, seconds=60, PIPELITE_GRACE=str(grace))
        owner.wait_for_start()
        time.sleep(chance.uniform(0.3, 0.8))
        told = time.monotonic()
        owner.process.send_signal(signal.SIGTERM)
        output = owner.wait(20)

        assert time.monotonic() - told < grace + allowed(2)
        check_end(owner, output)
        assert Workspace().run().status == "interrupted"
        assert Workspace().run().error == "its process was told to end (SIGTERM)"


def test_a_second_sigterm_ends_the_process_within_two_seconds(workspace, size, seed):
    chance = random.Random(seed)
    for _ in range(100 if size == "full" else 1):
        owner = Owner(workspace.parent, seconds=60)
        owner.wait_for_start()
        owner.process.send_signal(signal.SIGTERM)
        time.sleep(chance.uniform(0.1, 0.5))
        told = time.monotonic()
        owner.process.send_signal(signal.SIGTERM)
        output = owner.wait(20)

        assert time.monotonic() - told < allowed(2)
        check_end(owner, output)


def test_a_sigterm_to_the_whole_group_is_the_owners_to_answer(workspace):
    owner = Owner(workspace.parent, seconds=0.2)
    owner.wait_for_start()
    for process in owner.survivors():
        if b"loky" in Path(f"/proc/{process}/cmdline").read_bytes() or process == owner.process.pid:
            os.kill(process, signal.SIGTERM)
    output = owner.wait(20)

    check_end(owner, output)
    assert all(step.status == "completed" for step in Workspace().run().steps.values()), output


def test_a_program_with_an_answer_of_its_own_keeps_it(workspace):
    answer = 'signal.signal(signal.SIGTERM, lambda number, frame: note("own answer"))'
    guard = 'if __name__ == "__main__":'
    owner = Owner(workspace.parent, seconds=0.1, script=SCRIPT.replace(guard, f"import signal\n{guard}\n    {answer}"))
    owner.wait_for_start()
    owner.process.send_signal(signal.SIGTERM)
    output = owner.wait(30)

    assert owner.process.returncode == 0, output
    assert "own answer" in (workspace.parent / "starts").read_text()


def test_a_cancel_at_any_moment_ends_everything_within_two_seconds(workspace, size, seed):
    chance = random.Random(seed)
    for _ in range(100 if size == "full" else 2):
        owner = Owner(workspace.parent, seconds=60)
        owner.wait_for_start()
        time.sleep(chance.uniform(0, 1))
        asked = time.monotonic()
        run = Workspace().run()
        run.cancel()
        assert run.wait(timeout=10).status == "canceled"
        took = time.monotonic() - asked
        output = owner.wait(20)

        assert took < allowed(2)
        check_end(owner, output)


def test_a_canceled_run_is_shown_as_such_on_the_command_line(workspace):
    owner = Owner(workspace.parent, seconds=60)
    owner.wait_for_start()
    Workspace().run().cancel()
    owner.wait(20)

    shown = subprocess.run(
        [sys.executable, "-m", "pipelite", "runs", "show", "--json"], capture_output=True, text=True, check=True
    )

    assert json.loads(shown.stdout)["status"] == "canceled"
