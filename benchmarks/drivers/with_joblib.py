"""The work on joblib: `Memory` for what is kept, opened by memory map, and `Parallel(n_jobs=2)` for what is wide."""

from __future__ import annotations

import json
import sys
import time

from joblib import Memory, Parallel, delayed
from recipe import rate

memory = Memory("cache", mmap_mode="r", verbose=0)


@memory.cache
def increment(x: int) -> int:
    return x + 1


def fan(base: int, n: int) -> list[int]:
    return Parallel(n_jobs=2)(delayed(increment)(x) for x in range(base, base + n))


def chain(base: int, links: int) -> int:
    value = base
    for _ in range(links):
        value = increment(value)
    return value


@memory.cache
def make_array(n: int, seed: int):
    import numpy as np

    array = np.arange(n, dtype="float64")
    array[0] = seed
    return array


@memory.cache
def sum_array(array) -> float:
    return float(array.sum())


def hand_over(n: int, seed: int) -> float:
    return sum_array(make_array(n, seed))


@memory.cache
def tax(price: float) -> float:
    return price * rate()


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
    return {"result": increment(1)}


def edit() -> dict[str, float]:
    return {"result": tax(100.0)}


if __name__ == "__main__":
    work, *sizes = sys.argv[1:]
    print(json.dumps(globals()[work](*map(int, sizes))))
