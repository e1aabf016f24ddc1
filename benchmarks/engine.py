"""What the engine costs: per step, at the start, and for a large array; medians, beside bare loky or bare numpy.

Run it with nothing else going on: `python benchmarks/engine.py [--quick]`. Each figure is measured in turn with its
yardstick, so that a machine which slows down slows both.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from joblib.externals.loky import get_reusable_executor

from pipelite import pipeline, step

FOLDER = Path(__file__).resolve().parent


@step
def increment(x: int) -> int:
    return x + 1


@pipeline
def fan(n: int, base: int):
    increment.map(list(range(base, base + n)))


@step
def make_numbers(n: int, base: int) -> list[int]:
    return list(range(base, base + n))


@pipeline
def written_out(n: int, base: int):
    make_numbers(n, base)
    increment.map(list(range(base, base + n)))


@pipeline
def grown(n: int, base: int):
    increment.map(make_numbers(n, base))


@step
def chain_link(x: int) -> int:
    return x + 1


@pipeline
def chain(n: int, base: int):
    value = base
    for _ in range(n):
        value = chain_link(value)
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


def bare_increment(x: int) -> int:
    return x + 1


def bare_hand_over(n: int, seed: int, path: str) -> float:
    """What the hand-over is made of, in one process: the same array, `np.save`, and a memory-mapped sum."""
    import numpy as np

    array = np.arange(n, dtype="float64")
    array[0] = seed
    np.save(path, array)
    del array
    total = float(np.load(path, mmap_mode="r").sum())
    os.unlink(path)
    return total


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def show(work: str, figure: str, yardstick: str, ratio: str, target: str) -> None:
    print(f"| {work:<44} | {figure:>12} | {yardstick:>20} | {ratio:>6} | {target:>12} |", flush=True)


def measure_fan(n: int, repeats: int, base: int) -> None:
    quiet = fan.with_options(quiet=True)
    pool = get_reusable_executor(max_workers=2)
    for warm in range(2):
        quiet.run(n=200, base=base - 1000 * (warm + 1))
        [future.result() for future in [pool.submit(bare_increment, i) for i in range(200)]]
    fans, reused, bare = [], [], []
    for repeat in range(repeats):
        start = base + (repeat + 1) * 10 * n
        bare.append(timed(lambda: [f.result() for f in [pool.submit(bare_increment, i) for i in range(n)]]) / n)
        fans.append(timed(lambda start=start: quiet.run(n=n, base=start)) / n)
        reused.append(timed(lambda start=start: quiet.run(n=n, base=start)) / n)
    ratio = statistics.median(a / b for a, b in zip(fans, bare, strict=True))
    loky = f"loky {statistics.median(bare) * 1e6:.0f} us"
    show(f"fan-out of {n:,}, per step", f"{statistics.median(fans) * 1e6:.1f} us", loky, f"{ratio:.2f}", "<= 0.5")
    show(f"rerun of {n:,}, all reused, per step", f"{statistics.median(reused) * 1e6:.1f} us", "", "", "<= 20 us")
    pool.shutdown()


def measure_growth(n: int, repeats: int, base: int) -> None:
    quiet, beside = grown.with_options(quiet=True), written_out.with_options(quiet=True)
    quiet.run(n=200, base=base - 1000)
    beside.run(n=200, base=base - 2000)
    maps, written = [], []
    for repeat in range(repeats):
        start = base + 2 * repeat * 10 * n
        written.append(timed(lambda start=start: beside.run(n=n, base=start)) / n)
        maps.append(timed(lambda start=start: quiet.run(n=n, base=start + 10 * n)) / n)
    ratio = statistics.median(a / b for a, b in zip(maps, written, strict=True))
    out = f"written out {statistics.median(written) * 1e6:.0f} us"
    show(
        f"map over an upstream list of {n:,}, per step",
        f"{statistics.median(maps) * 1e6:.1f} us",
        out,
        f"{ratio:.2f}",
        "<= 1.2",
    )


def measure_chain(n: int, repeats: int) -> None:
    quiet = chain.with_options(quiet=True)
    pool = get_reusable_executor(max_workers=1)
    quiet.run(n=20, base=-1_000_000)
    chains, bare = [], []
    for repeat in range(repeats):
        bare.append(timed(lambda: [pool.submit(bare_increment, i).result() for i in range(n)]) / n)
        chains.append(timed(lambda repeat=repeat: quiet.run(n=n, base=(repeat + 1) * 10**7)) / n)
    ratio = statistics.median(a / b for a, b in zip(chains, bare, strict=True))
    loky = f"loky {statistics.median(bare) * 1e6:.0f} us"
    show(f"chain of {n:,}, per step", f"{statistics.median(chains) * 1e6:.0f} us", loky, f"{ratio:.2f}", "")
    pool.shutdown()


def measure_array(repeats: int, megabytes: int = 200) -> None:
    n = megabytes * 1_000_000 // 8
    quiet = hand_over.with_options(quiet=True)
    pool = get_reusable_executor(max_workers=1)
    path = os.path.join(os.environ["PIPELITE_WORKSPACE"], "tmp", "bare.npy")
    quiet.run(n=1000, seed=-1)
    quiet.run(n=n, seed=-1)
    pool.submit(bare_hand_over, n, 0, path).result()
    ours, bare = [], []
    for repeat in range(repeats):
        bare.append(timed(lambda repeat=repeat: pool.submit(bare_hand_over, n, repeat, path).result()))
        ours.append(timed(lambda repeat=repeat: quiet.run(n=n, seed=repeat)))
        shutil.rmtree(Path(os.environ["PIPELITE_WORKSPACE"], "artifacts"))
        Path(os.environ["PIPELITE_WORKSPACE"], "artifacts").mkdir()
    ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
    numpy = f"np.save+mmap {statistics.median(bare) * 1e3:.0f} ms"
    show(
        f"{megabytes} MB array to the next step",
        f"{statistics.median(ours) * 1e3:.0f} ms",
        numpy,
        f"{ratio:.2f}",
        "<= 1.4",
    )
    pool.shutdown()


ONE_STEP = """
from pipelite import pipeline, step

@step
def f(x):
    return x + 1

@pipeline
def flow(x: int = 1):
    return f(x)

if __name__ == "__main__":
    flow.run()
"""


def measure_start(repeats: int) -> None:
    folder = Path(tempfile.mkdtemp())
    (folder / "flow.py").write_text(ONE_STEP)
    environment = {**os.environ, "PIPELITE_WORKSPACE": str(folder / ".pipelite")}

    def spend(*command: str) -> float:
        return timed(
            lambda: subprocess.run(
                [sys.executable, *command], cwd=folder, env=environment, check=True, stderr=subprocess.DEVNULL
            )
        )

    empty, imported, cold, again = [], [], [], []
    spend("-c", "import pipelite")
    for _ in range(repeats):
        shutil.rmtree(folder / ".pipelite", ignore_errors=True)
        empty.append(spend("-c", "pass"))
        imported.append(spend("-c", "import pipelite"))
        cold.append(spend("flow.py"))
        again.append(spend("flow.py"))
    shutil.rmtree(folder)
    bare = f"python {statistics.median(empty) * 1e3:.0f} ms"
    for work, times, target in (
        ("import pipelite, whole process", imported, "<= 40 ms"),
        ("one-step script, cold, whole process", cold, "<= 0.6 s"),
        ("its reused rerun, whole process", again, "<= 0.2 s"),
    ):
        show(work, f"{statistics.median(times) * 1e3:.0f} ms", bare, "", target)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="fewer repeats, no runs of 10,000 steps")
    quick = arguments.parse_args().quick
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        os.environ["PIPELITE_WORKSPACE"] = str(Path(folder, ".pipelite"))
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; medians\n")
        show("work", "pipelite", "beside it", "ratio", "target")
        show("-" * 44, "-" * 12, "-" * 20, "-" * 6, "-" * 12)
        measure_fan(1_000, 5 if quick else 15, 10**9)
        if not quick:
            measure_fan(10_000, 5, 2 * 10**9)
        measure_growth(1_000 if quick else 10_000, 5, 4 * 10**9)
        measure_chain(200, 3 if quick else 9)
        measure_start(3 if quick else 9)
        measure_array(3 if quick else 15)


if __name__ == "__main__":
    main()
