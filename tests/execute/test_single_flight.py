"""Equal work that is under way is waited for, in another process and in another run of the same one."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pipelite import Workspace, pipeline, step
from pipelite.records import Status
from pipelite.store import OwnerLock, RunWriter, Store, Wish, close_dead_runs, create_run, find_claims

FLOW = '''
import os, sys, time
from pathlib import Path
from pipelite import pipeline, step

def note(what):
    """Every execution leaves a line, whoever makes it."""
    file = os.open("ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{what}\\n".encode())
    os.close(file)

def until(path):
    while not os.path.exists(path):
        time.sleep(0.01)

@step
def fit(x):
    note(f"fit {x} {os.getpid()}")
    until(f"go-{x}")
    return x + 1

@step
def fragile(x):
    note(f"fragile {os.getpid()}")
    until("go")
    if not os.path.exists("fixed"):
        raise ValueError("broken")
    return x

@step
def ordered(x, before):
    note(f"ordered {x}")
    time.sleep(0.2)
    return x

@pipeline
def train(x: int = 1):
    return fit(x)

@pipeline
def try_it():
    return fragile(1)

@pipeline
def there():
    return ordered("b", ordered("a", ordered("c", 0)))

@pipeline
def back():
    return {"x": ordered("b", 0), "y": ordered("a", "c"), "z": ordered("c", 0), "u": ordered("b", "a")}

if __name__ == "__main__":
    run = {"train": train, "try_it": try_it, "there": there, "back": back}[sys.argv[1]].run()
    print({name: step.status for name, step in run.steps.items()})
'''


@pytest.fixture
def folder(workspace: Path) -> Path:
    (workspace.parent / "flow.py").write_text(FLOW)
    return workspace.parent


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PIPELITE_PROGRESS": "plain"}
    return subprocess.Popen(
        [sys.executable, "flow.py", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ledger() -> list[str]:
    path = Path("ledger")
    return path.read_text().splitlines() if path.exists() else []


def waiting_steps() -> list[str]:
    rows = Workspace().store.database.read("SELECT reason FROM step_runs WHERE status = 'pending'")
    return [row["reason"] for row in rows]


def test_a_step_that_another_process_computes_is_waited_for(folder):
    first = start("train")
    until(ledger)
    second = start("train")
    until(waiting_steps)
    reason = waiting_steps()[0]
    Path("go-1").touch()

    assert first.communicate(timeout=30)[0] == "{'fit': 'completed'}\n"
    out, told = second.communicate(timeout=30)
    assert out == "{'fit': 'reused'}\n"
    computed_by = Workspace().runs()[-1].id
    assert reason == f"waits for step 'fit' of run {computed_by} in another process"
    assert f"train  fit  pending: {reason}" in told
    assert len(ledger()) == 1


def test_the_work_of_a_process_that_is_killed_is_taken_over(folder):
    first = start("train")
    until(ledger)
    second = start("train")
    until(waiting_steps)

    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=30)
    until(lambda: len(ledger()) == 2)
    Path("go-1").touch()

    assert second.communicate(timeout=30)[0] == "{'fit': 'completed'}\n"


def test_who_waited_for_a_step_that_failed_tries_it(folder):
    first = start("try_it")
    until(ledger)
    second = start("try_it")
    until(waiting_steps)

    Path("go").touch()
    assert "broken" in first.communicate(timeout=30)[1]
    second.communicate(timeout=30)

    assert second.returncode == 1
    assert len(ledger()) == 2


def test_runs_that_need_each_others_steps_in_opposite_order_both_end(folder):
    runs = [start("there"), start("back"), start("there"), start("back")]
    for run in runs:
        run.communicate(timeout=60)

    assert [run.returncode for run in runs] == [0, 0, 0, 0]
    assert Counter(ledger()) == {"ordered c": 1, "ordered a": 1, "ordered b": 2}


@step
def sleep_and_add(x, seconds):
    note("sleep_and_add")
    time.sleep(seconds)
    return x + 1


@step(timeout=2.0)
def only_effect(x):
    note("only_effect")
    time.sleep(0.8)


@step(cache=False)
def never_shared(x):
    note("never_shared")
    time.sleep(0.3)
    return x


@step
def one_of(x):
    return 1


@step
def plain(x):
    note("plain")
    return x


@step
def sleep_or_not(x):
    note(f"sleep_or_not {x}")
    if x == 0:
        time.sleep(0.6)
    return x


def note(what: str) -> None:
    file = os.open("ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{what}\n".encode())
    os.close(file)


@pipeline
def add(seconds: float = 0.4):
    return sleep_and_add(1, seconds)


@pipeline
def affect():
    return only_effect(1)


@pipeline
def unshared():
    return never_shared(1)


def test_two_runs_of_one_process_compute_a_step_once(workspace):
    first, second = add.submit(), add.submit()
    first.wait(), second.wait()

    assert len(ledger()) == 1
    assert sorted([first.steps["sleep_and_add"].status, second.steps["sleep_and_add"].status]) == [
        "completed",
        "reused",
    ]


def test_who_waited_for_a_canceled_run_computes(workspace):
    first = add.submit(seconds=1.0)
    until(ledger)
    second = add.submit(seconds=1.0)
    until(waiting_steps)
    assert "in this process" in waiting_steps()[0]

    first.cancel()

    assert first.wait().status == "canceled"
    assert second.wait().steps["sleep_and_add"].status == "completed"
    assert len(ledger()) == 2


def test_a_run_that_waits_can_be_canceled(workspace):
    first = add.submit(seconds=1.0)
    until(ledger)
    second = add.submit(seconds=1.0)
    until(waiting_steps)

    second.cancel()

    assert second.wait().status == "canceled"
    assert first.status == "running"
    assert first.wait().status == "completed"


def test_a_result_that_is_not_reusable_is_waited_for_and_then_computed_and_waiting_is_not_part_of_the_timeout(
    workspace,
):
    runs = [affect.submit() for _ in range(4)]

    assert [run.wait().steps["only_effect"].status for run in runs] == ["completed"] * 4
    assert len(ledger()) == 4
    started = sorted(run.steps["only_effect"].record.started_at for run in runs)
    assert all((later - earlier).total_seconds() > 0.7 for earlier, later in itertools.pairwise(started))


def test_steps_with_cache_false_and_runs_that_regenerate_do_not_wait(workspace, monkeypatch):
    runs = [unshared.submit() for _ in range(2)] + [
        add.with_options(regenerate_outputs=True).submit() for _ in range(2)
    ]

    assert {step.status for run in runs for step in run.wait().steps.values()} == {"completed"}
    assert Counter(ledger()) == {"never_shared": 2, "sleep_and_add": 2}
    assert not any(" waits for " in (step.record.reason or "") for run in runs for step in run.steps.values())


def test_an_equal_step_that_comes_right_after_is_reused_though_the_result_is_not_written_yet(workspace):
    @pipeline
    def twice():
        first = plain(1)
        plain(one_of(first))

    run = twice.run()

    assert run.steps["plain-2"].status == "reused"
    assert ledger() == ["plain"]


def test_a_claim_behind_a_long_step_of_its_batch_is_kept_until_that_has_ended(workspace):
    @pipeline
    def many(numbers: list):
        return sleep_or_not.map(numbers)

    # From now on the step counts as tiny, and is sent in batches.
    many.run(numbers=list(range(100, 140)))
    first = many.submit(numbers=list(range(40)))
    until(lambda: "sleep_or_not 0" in ledger())
    second = many.submit(numbers=list(reversed(range(40))))

    assert first.wait().status == second.wait().status == "completed"
    assert max(Counter(ledger()).values()) == 1


@step
def slow_inside(x):
    note(f"slow_inside {x}")
    return add.with_options(quiet=True).run(seconds=0.5).outputs["result"] + x


def test_runs_inside_of_steps_wait_for_each_other_too(workspace):
    @pipeline
    def outer():
        return slow_inside.map([1, 2])

    assert outer.run().outputs["result"] == [3, 4]
    assert Counter(ledger())["sleep_and_add"] == 1


# The claims themselves.


@pytest.fixture
def store(workspace: Path):
    with Store.open(workspace) as store:
        yield store


def writer_of(store: Store, owner: str) -> tuple[RunWriter, int]:
    run = create_run(store, pipeline="p", owner=owner)
    return RunWriter(store, run.id, owner), run.number * 10_000_000


def test_a_claim_is_held_until_it_is_released(store):
    one, first = writer_of(store, store.owner.name)
    two, second = writer_of(store, store.owner.name)

    assert not one.claim([Wish("k", first, "fit"), Wish("l", first, "fit")]).held
    refused = two.claim([Wish("k", second, "fit"), Wish("m", second, "fit")])
    assert list(refused.held) == ["k"]
    assert refused.held["k"].run_id == one.run_id
    assert set(find_claims(store, ["k", "l", "m", "n"])) == {"k", "l", "m"}

    one.commit(released=[("k", first)])
    assert not two.claim([Wish("k", second, "fit")]).held
    two.commit(status=Status.FAILED)
    assert set(find_claims(store, ["k", "l", "m"])) == {"l"}


def test_claims_of_the_dead_are_taken_over_and_removed(store):
    other = OwnerLock(store.path)
    dead, first = writer_of(store, other.name)
    dead.claim([Wish("k", first, "fit"), Wish("l", first, "fit")])
    living, second = writer_of(store, store.owner.name)
    other.release()

    assert find_claims(store, ["k"]) == {}
    assert not living.claim([Wish("k", second, "fit")]).held
    close_dead_runs(store)

    assert [tuple(row) for row in store.database.read("SELECT key, step_run_id FROM claims")] == [("k", second)]
