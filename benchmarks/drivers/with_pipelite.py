"""The work on pipelite: two slots, everything else as it comes; progress is switched off, as in all drivers."""

from __future__ import annotations

import json
import sys
import time

from recipe import rate

from pipelite import pipeline, step


@step
def increment(x: int) -> int:
    return x + 1


@pipeline
def fan(base: int, n: int):
    return increment.map(list(range(base, base + n)))


@pipeline
def chain(base: int, links: int):
    value = base
    for _ in range(links):
        value = increment(value)
    return value


@step
def make_array(n: int, seed: int):
    import numpy as np

    array = np.arange(n, dtype="float64")
    array[0] = seed
    return array


@step
def sum_array(array) -> float:
    return float(array.sum())


@pipeline
def hand_over(n: int, seed: int):
    return sum_array(make_array(n, seed))


@step
def tax(price: float) -> float:
    return price * rate()


@pipeline
def bill(price: float):
    return tax(price)


def run(flow, **parameters):
    return flow.with_options(quiet=True).run(**parameters).outputs["result"]


def timed(work, expected) -> float:
    """Seconds, after a rest in which what a tool still does in the background comes to its end."""
    time.sleep(2)
    started = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - started
    assert result == expected
    return seconds


def steps(n: int, links: int) -> dict[str, float]:
    run(fan, base=-1_000_000, n=100)
    return {
        "chain": timed(lambda: run(chain, base=1_000_000, links=links), 1_000_000 + links) / links,
        "fan": timed(lambda: run(fan, base=0, n=n), list(range(1, n + 1))) / n,
        "reused": timed(lambda: run(fan, base=0, n=n), list(range(1, n + 1))) / n,
    }


def array(n: int) -> dict[str, float]:
    run(hand_over, n=1000, seed=-1)
    return {"array": timed(lambda: run(hand_over, n=n, seed=0), n * (n - 1) / 2)}


def start() -> dict[str, float]:
    return {"result": run(chain, base=1, links=1)}


def edit() -> dict[str, float]:
    return {"result": run(bill, price=100.0)}


if __name__ == "__main__":
    work, *sizes = sys.argv[1:]
    print(json.dumps(globals()[work](*map(int, sizes))))
