"""Runs of one workspace share the slots of the machine, whatever process they are in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelite import Workspace
from pipelite.execute.shared_slots import KEEP_S, SharedSlots

FLOW = """
import os, sys, time
from pipelite import pipeline, step

def note(text):
    file = os.open("spans", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{text}\\n".encode())
    os.close(file)

def spend(who, cpus, seconds):
    started = time.time()
    time.sleep(seconds)
    note(f"{who} {cpus} {started} {time.time()}")

@step(cache=False)
def narrow(who, i):
    spend(who, 1, 0.02)

@step(cache=False, cpus=2)
def wide(who, i):
    spend(who, 2, 0.03)

@step(cache=False)
def stay(i):
    note("")
    while not os.path.exists("go"):
        time.sleep(0.01)

@pipeline
def block(who: str, n: int):
    stay.map(range(n))

@step(cache=False)
def inner(who, i):
    spend(who, 0, 0.02)
    return i

@pipeline
def inside(who: str, i: int):
    return inner(who, i)

@step(cache=False)
def outer(who, i):
    started = time.time()
    value = inside.with_options(quiet=True).run(who=who, i=i).outputs["result"]
    note(f"{who} 1 {started} {time.time()}")
    return value

@pipeline
def many(who: str, n: int):
    narrow.map([who] * n, list(range(n)))

@step(cache=False)
def tiny(who, i):
    time.sleep(0.0002)
    if i % 50 == 0:
        spend(who, 1, 0)

@pipeline
def grains(who: str, n: int):
    tiny.map([who] * n, list(range(n)))

@pipeline
def mixed(who: str, n: int):
    for i in range(n):
        narrow(who, i)
        wide(who, i)

@pipeline
def nested(who: str, n: int):
    outer.map([who] * n, list(range(n)))

if __name__ == "__main__":
    while len(sys.argv) > 4 and not os.path.exists(sys.argv[4]):
        time.sleep(0.001)
    pipelines = {"block": block, "many": many, "grains": grains, "mixed": mixed, "nested": nested}
    pipelines[sys.argv[1]].run(who=sys.argv[2], n=int(sys.argv[3]))
"""


@pytest.fixture
def folder(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (workspace.parent / "flow.py").write_text(FLOW)
    monkeypatch.setenv("PIPELITE_SLOTS", "2")
    return workspace.parent


def start(*arguments: str, slots: int = 2) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PIPELITE_SLOTS": str(slots)}
    return subprocess.Popen([sys.executable, "flow.py", *arguments], env=environment, stderr=subprocess.DEVNULL)


def finish(*processes: subprocess.Popen[bytes]) -> None:
    assert [process.wait(timeout=60) for process in processes] == [0] * len(processes)


def spans() -> list[tuple[str, int, float, float]]:
    lines = [line.split() for line in Path("spans").read_text().splitlines()]
    return [(who, int(cpus), float(started), float(ended)) for who, cpus, started, ended in lines]


def most_at_once() -> int:
    changes = sorted(change for _, cpus, started, ended in spans() for change in ((started, cpus), (ended, -cpus)))
    in_use = most = 0
    for _, change in changes:
        in_use += change
        most = max(most, in_use)
    return most


def end_of(who: str) -> float:
    return max(ended for name, _, _, ended in spans() if name == who)


def test_scripts_share_the_slots_and_a_short_one_is_not_behind_a_long_one(folder):
    # The short one starts when the long one has begun.
    short = start("many", "short", "10", "spans")
    finish(start("many", "long", "200"), short)

    assert most_at_once() == 2
    assert end_of("short") < end_of("long")
    assert len(spans()) == 210


def test_a_run_of_tiny_steps_lets_others_in_too(folder):
    short = start("grains", "short", "100", "spans")
    finish(start("grains", "long", "15000"), short)

    assert end_of("short") < end_of("long")


def test_steps_that_need_several_slots_get_them_beside_others(folder):
    finish(*[start("mixed", who, "8") for who in ("a", "b", "c")])

    assert len(spans()) == 48
    assert most_at_once() <= 2


def test_a_step_that_runs_a_pipeline_does_so_in_its_own_slot(folder):
    finish(*[start("nested", who, "4") for who in ("a", "b")])

    assert len(spans()) == 16
    assert most_at_once() <= 2


def test_processes_that_count_different_numbers_of_slots_use_the_larger_one_together(folder):
    finish(start("many", "one", "20", slots=1), start("many", "three", "60", slots=3))

    assert most_at_once() <= 3
    assert len(spans()) == 80


def test_a_run_that_waits_for_a_slot_says_so_and_who_has_them(folder):
    def newest():
        return Workspace().runs()[0].record

    def until(condition):
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    busy = start("block", "busy", "2")
    until(lambda: Path("spans").exists() and Path("spans").read_text() == "\n\n")
    first = newest()
    environment = {**os.environ, "PIPELITE_PROGRESS": "plain"}
    waiting = subprocess.Popen(
        [sys.executable, "flow.py", "many", "late", "1"], env=environment, stderr=subprocess.PIPE, text=True
    )
    until(lambda: newest().waits_for)

    assert newest().waits_for == f"a free slot (2 in use by run {first.id})"
    assert newest().status == "running"
    assert Workspace().run(first.id).record.waits_for is None
    Path("go").touch()
    told = waiting.communicate(timeout=60)[1]
    finish(busy, waiting)
    assert told.splitlines()[0] == f"many  waits for a free slot (2 in use by run {first.id})"
    assert newest().waits_for is None
    assert "waits" not in Workspace().store.database.read("SELECT options FROM runs WHERE id = ?", (newest().id,))[0][0]


# The locks themselves.


@pytest.fixture
def make(tmp_path: Path):
    """Makes the view of one more run; tells when it was woken."""
    made = []

    def make(size: int = 2) -> tuple[SharedSlots, threading.Event]:
        woken = threading.Event()
        slots = SharedSlots(tmp_path, size, woken.set, run_id=f"run-{len(made)}")
        made.append(slots)
        return slots, woken

    yield make
    for slots in made:
        slots.close()


def past() -> float:
    return time.monotonic() - 2 * KEEP_S


def test_who_waits_is_woken_soon_after_a_slot_comes_free(make):
    (one, _), (two, woken) = make(), make()
    locks = one.acquire(2)
    assert two.acquire(1) is None
    assert not woken.wait(0.05)

    times = []
    for _ in range(5):
        started = time.monotonic()
        one.release(locks)
        assert woken.wait(5)
        times.append(time.monotonic() - started)
        woken.clear()
        taken = two.acquire(1)
        assert taken is not None
        two.release(taken)
        locks = one.acquire(2)
        assert two.acquire(1) is None

    assert min(times) < 0.05


def test_those_without_a_slot_are_served_in_the_order_of_arrival(make):
    (holder, _), *waiting = [make(1) for _ in range(5)]
    locks = holder.acquire(1)
    for slots, _ in waiting:
        assert slots.acquire(1) is None
        time.sleep(0.05)

    for slots, woken in waiting:
        # A slot was given up just now: it is asked for the next one a little later.
        until = time.monotonic() + 5
        while not holder.must_yield(past()) and time.monotonic() < until:
            time.sleep(0.01)
        holder.release(locks)
        assert woken.wait(5)
        assert [other.is_set() for _, other in waiting].count(True) == 1
        woken.clear()
        holder, locks = slots, slots.acquire(1)
        # Nobody overtakes those in line.
        assert locks is not None
    assert not holder.must_yield(past())


def test_slots_are_given_up_until_both_hold_about_as_many(make):
    (rich, _), (poor, woken) = make(5), make(5)
    held = [rich.acquire(1) for _ in range(5)]
    given = 0
    while True:
        if poor.acquire(1) is not None:
            continue
        time.sleep(2 * KEEP_S)
        if not rich.must_yield(past()):
            break
        woken.clear()
        rich.release(held.pop())
        given += 1
        assert woken.wait(5)

    assert given == 2


def test_nobody_gives_up_a_slot_while_nobody_waits(make):
    (one, _), (two, _) = make(), make()
    one.acquire(1)
    two.acquire(1)
    time.sleep(KEEP_S)

    assert not one.must_yield(past())
    assert not two.must_yield(past())


def test_who_needs_more_slots_than_it_can_have_beside_its_own_does_not_stand_in_line(make):
    (one, woken), (two, _) = make(), make()
    own = one.acquire(1)

    assert one.acquire(2) is None
    assert two.acquire(1) is not None
    one.release(own)
    assert one.acquire(2) is None
    assert not woken.is_set()


HOLD = """
import sys, time
from pathlib import Path
from pipelite.execute.shared_slots import SharedSlots
slots = SharedSlots(Path(sys.argv[1]), 2, lambda: None, run_id="holder")
slots.acquire(2)
print("held", flush=True)
time.sleep(60)
"""


def test_the_slots_of_a_process_that_is_killed_are_free_at_once(make, tmp_path):
    slots, woken = make()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    holder.stdout.readline()
    assert slots.acquire(2) is None

    started = time.monotonic()
    holder.send_signal(signal.SIGKILL)
    assert woken.wait(5)
    took = time.monotonic() - started
    holder.communicate()

    assert slots.acquire(2) is not None
    assert took < 1
