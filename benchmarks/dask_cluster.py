"""1,000 steps of 10 ms on a Dask cluster of two workers, beside bare `client.map` of the same.

python benchmarks/dask_cluster.py [--steps 1000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pipelite import pipeline, step

STEP_S = 0.01


@step
def nap(number: int) -> int:
    time.sleep(STEP_S)
    return number


@pipeline
def naps(count: int) -> Any:
    return nap.map(list(range(count)))


def bare(number: int) -> int:
    time.sleep(STEP_S)
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PIPELITE_WORKSPACE"] = f"{folder}/.pipelite"
        processes = start_cluster(Path(folder))
        try:
            measure(f"{folder}/scheduler.json", asked.steps, asked.rounds)
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                process.wait()


def measure(scheduler_file: str, steps: int, rounds: int) -> None:
    from distributed import Client

    with Client(scheduler_file=scheduler_file, set_as_default=False) as client:
        client.wait_for_workers(2)
        target = naps.with_options(compute=client.get_executor(), regenerate_outputs=True, quiet=True)
        target.run(count=2)
        client.gather(client.map(bare, range(2), pure=False))
        ratios = []
        for _ in range(rounds):
            started = time.perf_counter()
            client.gather(client.map(bare, range(steps), pure=False))
            middle = time.perf_counter()
            target.run(count=steps)
            ended = time.perf_counter()
            ratios.append((ended - middle) / (middle - started))
            print(f"client.map {middle - started:6.2f} s   pipelite {ended - middle:6.2f} s   ratio {ratios[-1]:.2f}")
        print(f"median ratio {statistics.median(ratios):.2f} (target: at most 1.3)")


def start_cluster(folder: Path) -> list[subprocess.Popen[bytes]]:
    file = f"--scheduler-file={folder}/scheduler.json"
    commands = [
        ["dask_scheduler", "--host=127.0.0.1", "--port=0", "--no-dashboard", file],
        *[
            ["dask_worker", "--nthreads=1", "--no-nanny", "--no-dashboard", f"--local-directory={folder}/{name}", file]
            for name in ("one", "two")
        ],
    ]
    return [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{module}", *arguments], stderr=subprocess.DEVNULL, cwd=folder
        )
        for module, *arguments in commands
    ]


if __name__ == "__main__":
    main()
