"""One of many processes that compute the same steps: argv holds the seed of its order and the number of keys."""

from __future__ import annotations

import os
import random
import sys
import time

from pipelite import pipeline, step

#: Long enough that a reader who comes too early meets a part of it.
LENGTH = 200_000


@step
def compute(key: int) -> list[int]:
    file = os.open("ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{key} {os.getpid()}\n".encode())
    os.close(file)
    time.sleep(0.05)
    return [key] * LENGTH


@step(cache=False)
def check(values: list[int], key: int) -> int:
    """How much of a result is not as it was computed."""
    return abs(len(values) - LENGTH) + sum(value != key for value in values)


@pipeline
def read_all(keys: list):
    return {str(key): check(compute(key), key) for key in keys}


def main() -> None:
    keys = list(range(int(sys.argv[2])))
    random.Random(int(sys.argv[1])).shuffle(keys)
    while not os.path.exists("go"):
        time.sleep(0.001)
    run = read_all.with_options(quiet=True).run(keys=keys)
    print(sum(run.outputs.values()))


if __name__ == "__main__":
    main()
