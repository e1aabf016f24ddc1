"""Steps that print without measure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from pipelite import pipeline, step

CHUNK = b"x" * 1023 + b"\n"


@step(cache=False)
def flood(n_bytes: int):
    block = CHUNK * 256
    for _ in range(n_bytes // len(block)):
        os.write(1, block)
        time.sleep(0)
    print("the end of the flood")


@step(cache=False)
def many_lines(count: int):
    for number in range(count):
        print("line", number)


@step(cache=False)
def one_line(n_bytes: int):
    print("a" * n_bytes)


@step(cache=False)
def binary():
    os.write(1, bytes(range(256)) * 100)
    os.write(2, b"\x1b[31mred\x1b[0m\n")


@step(cache=False)
def grandchildren():
    command = [sys.executable, "-c", "import subprocess; subprocess.run(['echo', 'from a grandchild'])"]
    subprocess.run(command, check=True)


@step(cache=False)
def print_later():
    threading.Timer(0.1, lambda: os.write(1, b"too late\n")).start()
    print("in time")


@step(cache=False)
def print_and_die(n_bytes: int):
    os.write(1, b"b" * (n_bytes - 5) + b"last\n")
    os.kill(os.getpid(), signal.SIGKILL)


@step(cache=False)
def compare(n_bytes: int):
    """Seconds for the same output: to a plain file, and as the output of a step; the best of several."""

    def write(descriptor: int) -> float:
        began = time.perf_counter()
        for _ in range(n_bytes // len(CHUNK)):
            os.write(descriptor, CHUNK)
        return time.perf_counter() - began

    plain, captured = [], []
    for number in range(7):
        descriptor = os.open(f"plain-{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        plain.append(write(descriptor))
        os.close(descriptor)
        captured.append(write(1))
        os.remove(f"plain-{number}")
    return [min(plain), min(captured)]


@pipeline
def one(name: str, argument: int = 0):
    function = globals()[name]
    return function(argument) if argument else function()
