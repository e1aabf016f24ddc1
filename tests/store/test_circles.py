"""Which of several runs that wait for each other finds out, as told by their rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelite.records import Status
from pipelite.store import (
    STEP_RUN_COLUMNS,
    OwnerLock,
    RunWriter,
    Store,
    Wish,
    create_run,
    find_circles,
    now_text,
    step_run_id,
)


@pytest.fixture
def store(workspace: Path):
    with Store.open(workspace) as store:
        yield store


class Runs:
    """Runs that are at work, each on one step, as their owners tell it."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def start(self, owner: str | None = None) -> tuple[RunWriter, int]:
        run = create_run(self.store, pipeline="p", owner=owner or self.store.owner.name)
        return RunWriter(self.store, run.id, run.owner or ""), run.number

    def hand_out(self, run: tuple[RunWriter, int], key: str, worker: str | None) -> None:
        """The run claims a key, and hands its step to a worker."""
        writer, number = run
        row = {
            **dict.fromkeys(STEP_RUN_COLUMNS),
            "id": step_run_id(number, 0),
            "run_id": writer.run_id,
            "position": 0,
            "name": key,
            "step": "flow.step",
            "status": "running",
            "key": key,
            "inputs": "{}",
            "after": "[]",
            "form": "value",
            "attempts": 1,
            "started_at": now_text(),
            "reads": "{}",
            "log_file": worker and f"{worker}.log",
        }
        writer.claim([Wish(key, step_run_id(number, 0), key)])
        writer.commit(step_runs=[tuple(row[column] for column in STEP_RUN_COLUMNS)])

    def wait(self, run: tuple[RunWriter, int], *keys: str, inside: list[str]) -> set[str]:
        """The run waits inside of workers; gives for what it would wait for ever."""
        writer, _ = run
        writer.commit(waits={"keys": list(keys), "inside": inside})
        return self.look(run, *keys, inside=inside)

    def look(self, run: tuple[RunWriter, int], *keys: str, inside: list[str]) -> set[str]:
        return find_circles(self.store, keys, run_id=run[0].run_id, inside=inside)


@pytest.fixture
def runs(store: Store) -> Runs:
    return Runs(store)


def test_what_another_worker_is_at_is_waited_for_and_what_comes_next_in_the_own_one_is_not(runs):
    outer, inner = runs.start(), runs.start()
    runs.hand_out(outer, "a", "outer/1")

    assert runs.wait(inner, "a", "b", inside=["outer/2"]) == set()
    assert runs.wait(inner, "a", "b", inside=["further/1", "outer/1", "outer/2"]) == {"a"}


def test_a_step_of_which_the_worker_is_not_known_yet_is_waited_for(runs):
    outer, inner = runs.start(), runs.start()
    runs.hand_out(outer, "a", None)

    assert runs.wait(inner, "a", inside=["outer/1"]) == set()


def test_of_two_that_wait_for_each_other_the_newer_one_finds_it(runs):
    one, two, older, newer = (runs.start() for _ in range(4))
    runs.hand_out(one, "a", "one/1")
    runs.hand_out(two, "b", "two/1")

    assert runs.wait(older, "b", inside=["one/1"]) == set()
    assert runs.wait(newer, "a", inside=["two/1"]) == {"a"}
    assert runs.look(older, "b", inside=["one/1"]) == set()


def test_who_only_waits_for_a_circle_of_others_goes_on_waiting(runs):
    one, two, older, newer, outside = (runs.start() for _ in range(5))
    runs.hand_out(one, "a", "one/1")
    runs.hand_out(two, "b", "two/1")
    runs.wait(older, "b", inside=["one/1"])
    runs.wait(newer, "a", inside=["two/1"])

    assert runs.wait(outside, "a", "b", inside=["three/1"]) == set()


def test_a_run_that_waits_no_more_or_has_died_or_ended_is_not_part_of_a_circle(runs, store):
    other = OwnerLock(store.path)
    one, two = runs.start(), runs.start()
    runs.hand_out(one, "a", "one/1")
    runs.hand_out(two, "b", "two/1")
    for end in ("waits no more", "died", "ended"):
        older, newer = runs.start(other.name if end == "died" else None), runs.start()
        runs.wait(older, "b", inside=["one/1"])
        assert runs.wait(newer, "a", inside=["two/1"]) == {"a"}
        if end == "waits no more":
            older[0].commit(waits={})
        elif end == "died":
            other.release()
        else:
            older[0].commit(status=Status.CANCELED)
        assert runs.look(newer, "a", inside=["two/1"]) == set(), end
