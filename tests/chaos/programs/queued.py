"""A pipeline of four steps in a row that note in a file outside of the workspace when they begin and end."""

import os
import time

from pipelite import pipeline, step

LEDGER = "QUEUED_LEDGER"


def note(word: str, run: str, number: int) -> None:
    # One write: a line is there whole or not at all.
    descriptor = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{word} {run}-{number} {os.getpid()} {time.monotonic()}\n".encode())
    os.close(descriptor)


@step
def work(number: int, before, run: str, seconds: float):
    note("begin", run, number)
    time.sleep(seconds)
    note("end", run, number)
    return number


@pipeline
def lasting(run: str, seconds: float = 0.1):
    last = None
    for number in range(4):
        last = work(number, last, run, seconds)
    return last
