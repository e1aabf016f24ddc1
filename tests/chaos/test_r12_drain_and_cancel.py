"""R12: SIGTERM and cancel at random moments: no new start, everything ended in time, and the run says what it is."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import drained
import pytest
from limits import allowed

from pipelite import Workspace, pipeline, step
from pipelite.api.starting import resume_run
from pipelite.errors import StepFailed
from pipelite.execute import badges, ending, local_target

#: How a run is told to end, so many times each: with time for its steps, with too little, or twice.
WAYS = ("drain", "grace", "twice")
N_POINTS = {"small": 1, "full": 100}
N_CANCELS = {"small": 2, "full": 150}
N_TIMEOUTS = {"small": 4, "full": 150}
#: Seconds. With the small size, whatever else runs decides.
LIMITS = {
    "a start after SIGTERM": {"small": 2.0, "full": 0.1},
    "exit after the grace": {"small": 20.0, "full": 5.0},
    "exit after a second SIGTERM": {"small": 10.0, "full": 2.0},
    "canceled": {"small": 10.0, "full": 2.0},
}


class Owner:
    """The program in a process of its own, and the word that all it starts wears."""

    def __init__(self, folder: Path, *, pause_s: float, salt: int = 0, **environment: str) -> None:
        self.notes = folder / f"starts-{salt}"
        self.word = f"TEST-{os.urandom(8).hex()}"
        self.process = subprocess.Popen(
            [sys.executable, drained.__file__, str(salt)],
            cwd=folder,
            env={
                **os.environ,
                "MARK_OF_THIS_TEST": self.word,
                drained.STARTS: str(self.notes),
                drained.PAUSE: str(pause_s),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def starts(self) -> list[float]:
        """When the program came to its run, and when each step was started."""
        return [float(line.split()[0]) for line in self.notes.read_text().splitlines()] if self.notes.exists() else []

    def wait_for_start(self, steps: int = 1) -> None:
        until = time.monotonic() + 60
        while len(self.starts()) <= steps:
            assert time.monotonic() < until
            assert self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.005)

    def tell(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> str:
        output, _ = self.process.communicate(timeout=60)
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


class Campaign:
    """Runs of which each is told to end at a random moment, and is gone on with."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.draw = random.Random(seed)
        self.ends: Counter[str] = Counter()
        #: The longest times that were seen, in seconds.
        self.worst = dict.fromkeys(
            ("a start after SIGTERM", "exit after the grace", "exit after a second SIGTERM"), 0.0
        )

    def strike(self, way: str, salt: int) -> None:
        """Tell one run to end, and go on with it."""
        grace_s = self.draw.uniform(0.1, 0.5) if way == "grace" else 30.0
        owner = Owner(self.folder, pause_s=0.1 if way == "drain" else 60.0, salt=salt, PIPELITE_GRACE=str(grace_s))
        owner.wait_for_start(steps=0)
        time.sleep(self.draw.uniform(0, 0.9))
        told, told_at = time.monotonic(), time.time()
        owner.tell()
        if way == "twice":
            time.sleep(self.draw.uniform(0.05, 0.4))
            told = time.monotonic()
            owner.tell()
        output = owner.wait()
        took_s = time.monotonic() - told
        if way == "twice":
            self._note("exit after a second SIGTERM", took_s)
        else:
            self._note("exit after the grace", took_s - (grace_s if way == "grace" else 0.0))
        self._note("a start after SIGTERM", max(owner.starts()) - told_at)
        assert owner.survivors() == set()
        self._go_on(owner, salt, output)

    def _note(self, what: str, seconds: float) -> None:
        self.worst[what] = max(self.worst[what], seconds)

    def _go_on(self, owner: Owner, salt: int, output: str) -> None:
        runs = [run for run in Workspace().runs(limit=2) if run.parameters["salt"] == salt]
        if not runs:
            # It was told before there was a run.
            assert owner.process.returncode in (130, -signal.SIGTERM), output
            self.ends["before there was a run"] += 1
            return
        [run] = runs
        # Nobody has noticed yet, if it was told before it could hear that.
        run.wait(timeout=60)
        check_end(owner, output)
        if run.status == "completed":
            self.ends["too late"] += 1
            return
        assert run.status == "interrupted", output
        self.ends["interrupted"] += 1
        done = {name: step.record.started_at for name, step in run.steps.items() if step.status == "completed"}
        again = resume_run(drained.flow, {"salt": salt}, run.record).wait(60)
        assert (again.id, again.status, len(again.steps)) == (run.id, "completed", drained.N_STEPS)
        assert {name: again.steps[name].record.started_at for name in done} == done
        self.ends["resumed"] += 1


@pytest.mark.parametrize("way", WAYS)
def test_sigterm_at_any_moment_ends_a_run_in_time_and_it_is_gone_on_with(way, workspace, size, seed, figures):
    campaign = Campaign(workspace.parent, seed)

    number = 0
    while campaign.ends["interrupted"] < N_POINTS[size]:
        campaign.strike(way, salt=1000 * number)
        number += 1

    figures["SIGTERM"] = number
    figures.update(campaign.ends)
    figures.update({what: f"at most {seconds:.3f} s" for what, seconds in campaign.worst.items() if seconds})
    assert campaign.ends["resumed"] == campaign.ends["interrupted"]
    for what, seconds in campaign.worst.items():
        assert seconds <= allowed(LIMITS[what][size]), what


def test_a_grace_that_is_over_is_told_as_the_reason(workspace):
    owner = Owner(workspace.parent, pause_s=60, PIPELITE_GRACE="0.2")
    owner.wait_for_start()
    owner.tell()
    output = owner.wait()

    check_end(owner, output)
    assert Workspace().run().status == "interrupted"
    assert Workspace().run().error == "its process was told to end (SIGTERM)"


def test_what_was_interrupted_is_reused_by_the_next_run(workspace):
    owner = Owner(workspace.parent, pause_s=0.1)
    owner.wait_for_start(steps=3)
    owner.tell()
    owner.wait()
    finished = sum(step.status == "completed" for step in Workspace().run().steps.values())
    # One more is the program itself.
    assert finished == len(owner.starts()) - 1

    owner = Owner(workspace.parent, pause_s=0.1)
    output = owner.wait()

    assert owner.process.returncode == 0, output
    steps = Workspace().run().steps
    assert len(steps) == drained.N_STEPS
    assert sum(step.reused for step in steps.values()) == finished


def test_a_sigterm_to_the_whole_group_is_the_owners_to_answer(workspace):
    owner = Owner(workspace.parent, pause_s=0.2)
    owner.wait_for_start()
    for process in owner.survivors():
        if b"loky" in Path(f"/proc/{process}/cmdline").read_bytes() or process == owner.process.pid:
            os.kill(process, signal.SIGTERM)
    output = owner.wait()

    check_end(owner, output)
    assert all(step.status == "completed" for step in Workspace().run().steps.values()), output


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, "interrupted"), (signal.SIGINT, "canceled")])
def test_a_command_that_resumes_a_run_leaves_the_answer_to_the_process_that_runs_it(number, status, workspace):
    owner = Owner(workspace.parent, pause_s=60)
    owner.wait_for_start()
    Workspace().run().cancel()
    owner.wait()
    owner.notes.write_text("")
    owner.process = subprocess.Popen(
        [sys.executable, "-m", "pipelite", "runs", "resume"],
        env={**os.environ, drained.STARTS: str(owner.notes), drained.PAUSE: "1", "MARK_OF_THIS_TEST": owner.word},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Whoever started the tests may have told its children to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    owner.wait_for_start(steps=0)
    if number == signal.SIGINT:
        os.killpg(owner.process.pid, number)
    else:
        owner.tell()
    output = owner.wait()

    assert owner.process.returncode == 130, output
    run = Workspace().run()
    assert run.status == status, output
    # What ran had its time.
    assert len([step for step in run.steps.values() if step.status == "completed"]) > 0
    assert {step.status for step in run.steps.values()} <= {"completed", "pending", "skipped"}
    assert owner.survivors() == set()


def test_a_program_with_an_answer_of_its_own_keeps_it(workspace):
    owner = Owner(workspace.parent, pause_s=0.1, **{drained.OWN_ANSWER: "1"})
    owner.wait_for_start()
    owner.tell()
    output = owner.wait()

    assert owner.process.returncode == 0, output
    assert "own answer" in owner.notes.read_text()


def test_a_cancel_at_any_moment_ends_everything_within_two_seconds(workspace, size, seed, figures):
    draw = random.Random(seed)
    worst_s = 0.0
    for number in range(N_CANCELS[size]):
        owner = Owner(workspace.parent, pause_s=60, salt=1000 * number)
        owner.wait_for_start()
        time.sleep(draw.uniform(0, 0.6))
        asked = time.monotonic()
        run = Workspace().run()
        run.cancel()
        assert run.wait(timeout=60).status == "canceled"
        worst_s = max(worst_s, time.monotonic() - asked)
        output = owner.wait()
        # That includes what its steps had started.
        check_end(owner, output)

    figures.update({"cancels": N_CANCELS[size], "longest": f"{worst_s:.2f} s", "processes that survived": 0})
    assert worst_s <= allowed(LIMITS["canceled"][size])


@step(timeout=0.3)
def outstay(number: int):
    drained.start_sleepers()
    time.sleep(60)


def test_a_time_out_ends_everything_that_a_step_started(workspace, size, figures):
    @pipeline(keep_going=True)
    def flow():
        outstay.map(list(range(N_TIMEOUTS[size])))

    with pytest.raises(StepFailed):
        flow.run()

    steps = Workspace().run().steps.values()
    assert len(steps) == N_TIMEOUTS[size]
    assert all("TimeoutError: it took longer than its timeout" in step.error for step in steps)
    workers = {slot.worker.pid for slot in local_target().slots if slot.worker is not None}
    assert badges.find_wearers(ending._owner) - workers == set()
    figures.update({"time-outs": len(steps), "processes that survived": 0})


def test_a_canceled_run_is_shown_as_such_on_the_command_line(workspace):
    owner = Owner(workspace.parent, pause_s=60)
    owner.wait_for_start()
    Workspace().run().cancel()
    owner.wait()

    shown = subprocess.run(
        [sys.executable, "-m", "pipelite", "runs", "show", "--json"], capture_output=True, text=True, check=True
    )

    assert json.loads(shown.stdout)["status"] == "canceled"
