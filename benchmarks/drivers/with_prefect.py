"""The work on Prefect: tasks on two threads, results kept under `INPUTS + TASK_SOURCE`, its own temporary server.

Without `PREFECT_API_URL` it starts that server itself, on a loopback port, and ends it with the process.
"""

from __future__ import annotations

import json
import sys
import time

from prefect import flow, task
from prefect.cache_policies import INPUTS, TASK_SOURCE
from prefect.task_runners import ThreadPoolTaskRunner
from recipe import rate

kept = {"persist_result": True, "cache_policy": INPUTS + TASK_SOURCE}
threads = ThreadPoolTaskRunner(max_workers=2)


@task(**kept)
def increment(x: int) -> int:
    return x + 1


@flow(task_runner=threads)
def fan(base: int, n: int) -> list[int]:
    return increment.map(list(range(base, base + n))).result()


@flow(task_runner=threads)
def chain(base: int, links: int) -> int:
    value = base
    for _ in range(links):
        # On a thread of the runner: called directly, a task took two to six times as long.
        value = increment.submit(value)
    return value.result()


@task(**kept)
def make_array(n: int, seed: int):
    import numpy as np

    array = np.arange(n, dtype="float64")
    array[0] = seed
    return array


@task(**kept)
def sum_array(array) -> float:
    return float(array.sum())


@flow(task_runner=threads)
def hand_over(n: int, seed: int) -> float:
    return sum_array.submit(make_array.submit(n, seed)).result()


@task(**kept)
def tax(price: float) -> float:
    return price * rate()


@flow(task_runner=threads)
def bill(price: float) -> float:
    return tax.submit(price).result()


def timed(work, expected) -> float:
    """Seconds, after a rest in which what a tool still does in the background comes to its end."""
    time.sleep(2)
    started = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - started
    assert result == expected
    return seconds


def steps(n: int, links: int) -> dict[str, float]:
    fan(-1_000_000, 100)
    return {
        "chain": timed(lambda: chain(1_000_000, links), 1_000_000 + links) / links,
        "fan": timed(lambda: fan(0, n), list(range(1, n + 1))) / n,
        "reused": timed(lambda: fan(0, n), list(range(1, n + 1))) / n,
    }


def array(n: int) -> dict[str, float]:
    hand_over(1000, -1)
    return {"array": timed(lambda: hand_over(n, 0), n * (n - 1) / 2)}


def start() -> dict[str, float]:
    return {"result": chain(1, 1)}


def edit() -> dict[str, float]:
    return {"result": bill(100.0)}


if __name__ == "__main__":
    work, *sizes = sys.argv[1:]
    print(json.dumps(globals()[work](*map(int, sizes))))
