"""Workers that die or hang in every way: each costs its own step, and no other."""

from __future__ import annotations

import ctypes
import gc
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelite import Workspace, pipeline, step
from pipelite.errors import StepFailed
from pipelite.execute import badges, ending, local_target

#: A step that hangs is ended after this, and seen to be within two seconds more.
TIMEOUT_S = 0.5


def allowed(seconds: float) -> float:
    """A time limit for this machine as it is: it may have more to do than it has cores."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def survivors() -> set[int]:
    """What workers of this process started and is still there; the idle workers themselves may be."""
    workers = {slot.worker.pid for slot in local_target().slots if slot.worker is not None}
    return badges.find_wearers(ending._owner) - workers


def run_out_of_memory():
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, resource.RLIM_INFINITY))
    bytearray(4 << 30)


def be_killed_for_memory():
    block = bytearray(200_000_000)
    os.kill(os.getpid(), signal.SIGKILL if block else 0)


def crash():
    ctypes.string_at(0)


def exit_at_once():
    os._exit(9)


def stop():
    os.kill(os.getpid(), signal.SIGSTOP)


def hold_the_interpreter():
    ctypes.PyDLL(None).sleep(60)


def fork_with_a_held_lock():
    lock = threading.Lock()
    with lock:
        child = os.fork()
        if child == 0:
            lock.acquire()
        os.waitpid(child, 0)


def hang_in_an_import():
    sys.path.insert(0, str(Path(os.environ["PIPELITE_WORKSPACE"]).parent))
    import hanging  # noqa: F401


DEATHS = {
    "run_out_of_memory": "MemoryError",
    "be_killed_for_memory": "WorkerDied: its worker process was ended by SIGKILL",
    "crash": "WorkerDied: its worker process was ended by SIGSEGV",
    "exit_at_once": "WorkerDied: its worker process exited with code 9",
}
HANGS = ("stop", "hold_the_interpreter", "fork_with_a_held_lock", "hang_in_an_import")


@step
def die(number: int, way: str):
    globals()[way]()


@step(timeout=TIMEOUT_S)
def hang(number: int, way: str):
    subprocess.Popen(["sleep", "60"], start_new_session=True)
    globals()[way]()


@step
def work(number: int):
    return number


@step
def take_long(seconds: float):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))
    return seconds


@step
def kill_one(number: int, bad: int):
    if number == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_deaths_and_hangs_among_other_steps_cost_their_own_only(workspace, size, seed):
    chance = random.Random(seed)
    (workspace.parent / "hanging.py").write_text("import time\ntime.sleep(60)\n")
    count = 200 if size == "full" else 8
    ways = [*DEATHS, *HANGS]
    plan = [ways[i % len(ways)] for i in range(count)]
    chance.shuffle(plan)

    @pipeline(keep_going=True)
    def flow():
        for number, way in enumerate(plan):
            (hang if way in HANGS else die).with_options(name=f"bad-{number}")(number, way)
            work.with_options(name=f"good-{number}")(number)

    with pytest.raises(StepFailed):
        flow.run()

    steps = Workspace().run().steps
    for number, way in enumerate(plan):
        bad, good = steps[f"bad-{number}"], steps[f"good-{number}"]
        assert (good.status, good.attempts) == ("completed", 1)
        assert (bad.status, bad.attempts) == ("failed", 1)
        expected = f"TimeoutError: it took longer than its timeout of {TIMEOUT_S:g} s" if way in HANGS else DEATHS[way]
        assert f"step 'bad-{number}' failed: {expected}" in bad.error
        if "WorkerDied" in expected:
            # Where the owner itself was larger, the kernel's figure is only a bound.
            assert re.search(r"its memory (peaked at|was last seen at|stayed below) \d+ MiB", bad.error)
        assert bad.duration_s < (TIMEOUT_S if way in HANGS else 0) + allowed(2)
    assert survivors() == set()


def test_a_long_step_beside_dying_ones_is_started_once(workspace, size):
    seconds, count = (5.0, 20) if size == "full" else (1.5, 5)

    @pipeline(keep_going=True)
    def flow():
        take_long(seconds)
        for number in range(count):
            die.with_options(name=f"bad-{number}")(number, "exit_at_once")

    with pytest.raises(StepFailed):
        flow.run()

    steps = Workspace().run().steps
    assert (steps["take_long"].status, steps["take_long"].attempts) == ("completed", 1)
    assert sum(each.status == "failed" for each in steps.values()) == count


def test_of_200_tiny_steps_with_one_that_kills_its_process_199_complete(workspace, size, seed):
    chance = random.Random(seed)
    for _ in range(20 if size == "full" else 2):
        bad = chance.randrange(200)

        @pipeline(keep_going=True)
        def flow(bad=bad):
            return kill_one.map(list(range(200)), bad=bad)

        with pytest.raises(StepFailed, match=rf"step 'kill_one\[{bad}\]' failed: WorkerDied"):
            flow.run()

        steps = list(Workspace().run().steps.values())
        assert [each.name for each in steps if each.status == "failed"] == [f"kill_one[{bad}]"]
        assert sum(each.status in ("completed", "reused") for each in steps) == 199
        assert all(each.attempts <= 1 for each in steps)


def test_a_dead_worker_obeys_the_retry_policy(workspace, tmp_path):
    @step(retries=2)
    def die_twice(folder):
        tries = len(list(Path(folder).glob("try-*")))
        (Path(folder) / f"try-{tries}").touch()
        if tries < 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return tries

    @pipeline
    def flow():
        return die_twice(str(tmp_path))

    run = flow.run()

    assert run.outputs["result"] == 2
    assert run.steps["die_twice"].attempts == 3


def count_descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_many_deaths_leave_no_descriptors_behind(workspace, size):
    @pipeline(keep_going=True)
    def flow(first: int):
        for number in range(first, first + 2):
            die.with_options(name=f"bad-{number}")(number, "exit_at_once")

    def count_after(round_: int, most: int) -> int:
        with pytest.raises(StepFailed):
            flow.run(first=2 * round_)
        # The pool's own threads close what they had a moment after the run has ended; connections of ended threads
        # are closed when they are collected.
        until = time.monotonic() + 5
        while count_descriptors() > most and time.monotonic() < until:
            time.sleep(0.05)
        return count_descriptors()

    count_after(0, 10_000)
    first = count_after(1, 0)
    last = [count_after(2 + round_, first) for round_ in range(20 if size == "full" else 2)][-1]

    assert last <= first
