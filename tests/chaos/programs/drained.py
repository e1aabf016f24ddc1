"""A run of many short steps and some that start processes in sessions of their own; its argument keeps it apart from others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from pipelite import pipeline, step

#: File for the moment of each start.
STARTS = "CHAOS_STARTS"
#: How long the steps take that start other processes.
PAUSE = "CHAOS_PAUSE"
#: Set, the program has an answer to SIGTERM of its own.
OWN_ANSWER = "CHAOS_OWN_ANSWER"
N_STEPS = 108


def note(what: object) -> None:
    if STARTS in os.environ:
        with open(os.environ[STARTS], "a") as file:
            file.write(f"{time.time()} {what}\n")


@step
def work(number: int):
    note(number)
    time.sleep(0.05)
    return number


@step
def tiny(number: int):
    note(number)
    return number


def start_sleepers() -> None:
    """Start processes that end with nothing: one in a session of its own, one that also has lost its parent."""
    subprocess.Popen(["sleep", "60"], start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", "60"])
        os._exit(0)
    os.wait()


@step
def spread(number: int):
    note(number)
    start_sleepers()
    time.sleep(float(os.environ.get(PAUSE, "0")))
    return number


@pipeline(keep_going=True)
def flow(salt: int):
    spread.map(work.map(list(range(salt, salt + 4))))
    tiny.map(list(range(salt, salt + 100)))


if __name__ == "__main__":
    if OWN_ANSWER in os.environ:
        signal.signal(signal.SIGTERM, lambda number, frame: note("own answer"))
    note("flow")
    flow.run(salt=int(sys.argv[1]))
