"""The work on a bare pool of two: nothing is kept, and an array goes to its next step by pickle."""

from __future__ import annotations

import json
import sys
import time

import plain
from joblib.externals.loky import get_reusable_executor


def pool():
    return get_reusable_executor(max_workers=2)


def fan(base: int, n: int) -> list[int]:
    return [future.result() for future in [pool().submit(plain.increment, x) for x in range(base, base + n)]]


def chain(base: int, links: int) -> int:
    value = base
    for _ in range(links):
        value = pool().submit(plain.increment, value).result()
    return value


def hand_over(n: int, seed: int) -> float:
    return pool().submit(plain.sum_array, pool().submit(plain.make_array, n, seed).result()).result()


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
    }


def array(n: int) -> dict[str, float]:
    hand_over(1000, -1)
    return {"array": timed(lambda: hand_over(n, 0), n * (n - 1) / 2)}


def start() -> dict[str, float]:
    return {"result": chain(1, 1)}


if __name__ == "__main__":
    work, *sizes = sys.argv[1:]
    print(json.dumps(globals()[work](*map(int, sizes))))
