"""What the coordinator takes: above idle in one long run, and over many runs in a row; each in a process of its own.

engine.py starts it as `memory.py peak N` or `memory.py growth RUNS` and reads the JSON that it prints. Linux only: the
figures come from /proc.
"""

from __future__ import annotations

import gc
import json
import os
import re
import statistics
import sys
from pathlib import Path

import psutil

from pipelite import pipeline, step


@step
def increment(x: int) -> int:
    return x + 1


@pipeline
def fan(n: int, base: int):
    increment.map(list(range(base, base + n)))


def status_kb(name: str) -> int:
    """A line of /proc/self/status: `VmHWM`, the most so far, or `VmRSS`, what is resident now."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found
    return int(found[1])


def peak(n: int) -> dict[str, float]:
    """A run of n steps, above what was resident after small runs; started again on the same workspace, it is reused."""
    quiet = fan.with_options(quiet=True)
    for warm in range(3):
        quiet.run(n=100, base=-1000 * (warm + 1))
    gc.collect()
    idle = status_kb("VmRSS")
    quiet.run(n=n, base=0)
    return {"idle": idle / 1e3, "above": (status_kb("VmHWM") - idle) / 1e3}


def growth(runs: int, width: int = 50) -> dict[str, float]:
    """Runs in a row of half new, half reused steps, after as many in which pools and caches fill.

    SQLite alone keeps up to 2 MB of pages, once the database is that large.
    """
    quiet = fan.with_options(quiet=True)
    for number in range(runs):
        quiet.run(n=width, base=-number * width // 2)
    resident, workers, descriptors = [], [], [open_files()]
    for number in range(1, runs + 1):
        quiet.run(n=width, base=number * width // 2)
        resident.append(status_kb("VmRSS"))
        workers.append(sum(each.memory_info().rss for each in psutil.Process().children(recursive=True)) / 1024)
        descriptors.append(open_files())
    return {
        "kb_a_run": slope(resident),
        "workers_kb_a_run": slope(workers),
        "megabytes": resident[-1] / 1e3,
        "descriptors_before": descriptors[0],
        "descriptors_after": descriptors[-1],
        "threads": psutil.Process().num_threads(),
    }


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def slope(values: list[float]) -> float:
    return statistics.linear_regression(range(len(values)), values).slope


if __name__ == "__main__":
    print(json.dumps({"peak": peak, "growth": growth}[sys.argv[1]](int(sys.argv[2]))))
