"""A run of 40 steps, each of which logs, prints and makes an array."""

from __future__ import annotations

import os
import time

import numpy as np

from pipelite import current_run, pipeline, step

#: Length of the arrays, where it should be another one.
LENGTH = "CHAOS_LENGTH"


@step
def produce(number: int):
    current_run().log("number", number)
    print("number", number)
    time.sleep(0.03)
    return np.full(int(os.environ.get(LENGTH, "2000")), number)


@step
def add(parts: list):
    return int(sum(part[0] for part in parts))


@pipeline
def spread(first: int):
    return {"sum": add([produce(number) for number in range(first, first + 40)])}
