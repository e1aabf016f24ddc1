"""The work on redun: a process executor of two workers, an SQLite file, large values in a folder beside it."""

from __future__ import annotations

import json
import logging
import sys
import time

from recipe import rate
from redun import Scheduler, task
from redun.config import Config

# A chain is one nested expression, which redun walks by recursion: 200 links are too deep for Python's limit of 1,000.
sys.setrecursionlimit(20_000)

redun_namespace = "benchmark"

SETTINGS = {
    # A value of 200 MB does not go into the database; its documentation names this for large ones.
    "backend": {"db_uri": "sqlite:///redun.db", "value_store_path": "values"},
    "executors.pool": {"type": "local", "mode": "process", "max_workers": "2"},
}


@task(executor="pool")
def increment(x: int) -> int:
    return x + 1


@task()
def fan(base: int, n: int) -> list[int]:
    return [increment(x) for x in range(base, base + n)]


@task()
def chain(base: int, links: int) -> int:
    value = base
    for _ in range(links):
        value = increment(value)
    return value


@task(executor="pool")
def make_array(n: int, seed: int):
    import numpy as np

    array = np.arange(n, dtype="float64")
    array[0] = seed
    return array


@task(executor="pool")
def sum_array(array) -> float:
    return float(array.sum())


@task()
def hand_over(n: int, seed: int) -> float:
    return sum_array(make_array(n, seed))


@task(executor="pool")
def tax(price: float) -> float:
    return price * rate()


def started_scheduler() -> Scheduler:
    logging.getLogger("redun").setLevel(logging.WARNING)
    scheduler = Scheduler(config=Config(SETTINGS))
    scheduler.load()
    return scheduler


def timed(work, expected) -> float:
    """Seconds, after a rest in which what a tool still does in the background comes to its end."""
    time.sleep(2)
    started = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - started
    assert result == expected
    return seconds


def steps(n: int, links: int) -> dict[str, float]:
    run = started_scheduler().run
    run(fan(-1_000_000, 100))
    return {
        "chain": timed(lambda: run(chain(1_000_000, links)), 1_000_000 + links) / links,
        "fan": timed(lambda: run(fan(0, n)), list(range(1, n + 1))) / n,
        "reused": timed(lambda: run(fan(0, n)), list(range(1, n + 1))) / n,
    }


def array(n: int) -> dict[str, float]:
    run = started_scheduler().run
    run(hand_over(1000, -1))
    return {"array": timed(lambda: run(hand_over(n, 0)), n * (n - 1) / 2)}


def start() -> dict[str, float]:
    return {"result": started_scheduler().run(increment(1))}


def edit() -> dict[str, float]:
    return {"result": started_scheduler().run(tax(100.0))}


if __name__ == "__main__":
    work, *sizes = sys.argv[1:]
    print(json.dumps(globals()[work](*map(int, sizes))))
