"""Workers that die or hang in every way: each costs its own step, and no other."""

from __future__ import annotations

import ctypes
import gc
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from limits import allowed

from pipelite import Workspace, current_run, pipeline, step
from pipelite.errors import StepFailed
from pipelite.execute import badges, ending, local_target

#: A step that hangs is ended after this, and seen to be within two seconds more.
TIMEOUT_S = 0.5


#: Seconds until a death is seen, and a hang is ended beyond its time-out. With the small size, whatever else runs decides.
LIMIT_S = {"small": 20.0, "full": 2.0}
#: Of one run and of all, in the test of a process that goes on and on.
SOAK_STEPS = {"small": (100, 1_000), "full": (500, 10_000)}
#: Bytes of memory that a step may cost the process for good. Few steps tell little of that.
LEAK = {"small": 8 * 1024, "full": 1024}


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


def test_deaths_and_hangs_among_other_steps_cost_their_own_only(workspace, size, seed, figures):
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
    slowest = {"deaths": 0.0, "hangs": 0.0}
    for number, way in enumerate(plan):
        bad, good = steps[f"bad-{number}"], steps[f"good-{number}"]
        assert (good.status, good.attempts) == ("completed", 1)
        assert (bad.status, bad.attempts) == ("failed", 1)
        expected = f"TimeoutError: it took longer than its timeout of {TIMEOUT_S:g} s" if way in HANGS else DEATHS[way]
        assert f"step 'bad-{number}' failed: {expected}" in bad.error
        if "WorkerDied" in expected:
            # Where the owner itself was larger, the kernel's figure is only a bound.
            assert re.search(r"its memory (peaked at|was last seen at|stayed below) \d+ MiB", bad.error)
        kind, own_s = ("hangs", TIMEOUT_S) if way in HANGS else ("deaths", 0.0)
        slowest[kind] = max(slowest[kind], bad.duration_s - own_s)
    assert survivors() == set()
    figures["steps that died or hung"] = count
    figures["other steps"] = count
    figures["a death was seen within"] = f"{slowest['deaths']:.2f} s"
    figures["a hang was ended within its time-out and"] = f"{slowest['hangs']:.2f} s"
    assert max(slowest.values()) <= allowed(LIMIT_S[size])


def test_a_long_step_beside_dying_ones_is_started_once(workspace, size, figures):
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
    figures["deaths beside a long step"] = count
    figures["its attempts"] = steps["take_long"].attempts


def test_of_200_tiny_steps_with_one_that_kills_its_process_199_complete(workspace, size, seed, figures):
    chance = random.Random(seed)
    n_runs = 20 if size == "full" else 2
    for _ in range(n_runs):
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
    figures["runs of 200 steps"] = n_runs
    figures["of which complete in each"] = 199


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


def count_descriptors(most: int) -> int:
    """How many files this process has open; looks again for a while if they are more than `most`.

    The pool's own threads close what they had a moment after a run has ended; connections of ended threads are closed
    when they are collected.
    """
    until = time.monotonic() + 5
    while True:
        gc.collect()
        count = len(os.listdir("/proc/self/fd"))
        if count <= most or time.monotonic() > until:
            return count
        time.sleep(0.05)


def test_many_deaths_leave_no_descriptors_behind(workspace, size, figures):
    @pipeline(keep_going=True)
    def flow(first: int):
        for number in range(first, first + 2):
            die.with_options(name=f"bad-{number}")(number, "exit_at_once")

    def count_after(round_: int, most: int) -> int:
        with pytest.raises(StepFailed):
            flow.run(first=2 * round_)
        return count_descriptors(most)

    count_after(0, 10_000)
    first = count_after(1, 0)
    last = [count_after(2 + round_, first) for round_ in range(20 if size == "full" else 2)][-1]

    # Fewer than one a death: what else goes on in this process may have opened something for good.
    assert last <= first + 2
    figures["deaths"] = 2 * (22 if size == "full" else 4)
    figures["descriptors more than at first"] = last - first


@step(cache=False)
def log_and_print(number: int):
    print("number", number)
    current_run().log("number", number)
    return [number] * 10


@pipeline
def soak(first: int, n_steps: int):
    log_and_print.map(list(range(first, first + n_steps)))


def memory_bytes() -> int:
    """What this process really uses: what the allocator only keeps for later is given back first."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss


def test_a_process_that_runs_thousands_of_steps_does_not_grow(workspace, size, figures):
    n_steps, n_all = SOAK_STEPS[size]
    n_runs = n_all // n_steps
    # The first runs fill what is kept on purpose.
    warm = n_runs // 4
    began, sizes = time.monotonic(), []
    for number in range(n_runs):
        soak.with_options(quiet=True).run(first=number * n_steps, n_steps=n_steps)
        sizes.append(memory_bytes())
        if number == warm:
            first = count_descriptors(most=0)
    last = count_descriptors(most=first)

    slope = statistics.linear_regression(range(warm, n_runs), sizes[warm:]).slope / n_steps
    figures["steps"] = n_all
    figures["steps a second"] = f"{n_all / (time.monotonic() - began):.0f}"
    figures["memory of the process"] = f"{sizes[0] / 2**20:.1f} MB to {sizes[-1] / 2**20:.1f} MB"
    figures["slope"] = f"{slope:.0f} bytes a step"
    figures["descriptors more than at first"] = last - first
    assert slope <= LEAK[size]
    assert last <= first
