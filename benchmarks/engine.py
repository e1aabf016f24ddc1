"""What the engine costs: per step, at the start, for a large array and in memory, beside bare loky or bare numpy.

Run it with nothing else going on: `python benchmarks/engine.py [SECTION ...] [--quick] [--large]`. Each figure is
measured in turn with its yardstick, so that a machine which slows down slows both; medians, and of ratios the median of
the pairs. Prints tables as they stand in the docs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yardsticks
from joblib.externals.loky import get_reusable_executor
from tables import machine, simple_table

from pipelite import pipeline, step

FOLDER = Path(__file__).resolve().parent
CACHE = FOLDER.parent / "build" / "benchmarks"

#: Work, figure, yardstick, ratio, target.
Row = tuple[str, str, str, str, str]


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
    # Other code than that of `increment`, or what the fan-outs computed would be reused.
    return 1 + x


@pipeline
def chain(n: int, base: int):
    value = base
    for _ in range(n):
        value = chain_link(value)
    return value


@step
def spin(loops: int, number: int) -> int:
    return yardsticks.spin(loops) + number


@pipeline
def spins(loops: int, base: int, n: int):
    spin.map([loops] * n, list(range(base, base + n)))


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
    """Of the script itself, so pickled by value with each call: what a user's script gives a pool."""
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


def paired(ours: list[float], bare: list[float]) -> str:
    return f"{statistics.median(a / b for a, b in zip(ours, bare, strict=True)):.2f}"


def microseconds(times: list[float]) -> str:
    return f"{statistics.median(times) * 1e6:.1f} us"


def milliseconds(times: list[float]) -> str:
    return f"{statistics.median(times) * 1e3:.0f} ms"


def collect(pool, function, n: int) -> None:
    for future in [pool.submit(function, number) for number in range(n)]:
        future.result()


def measure_fan(*, quick: bool, large: bool) -> list[Row]:
    rows = fan_rows(1_000, 5 if quick else 15, 10**9)
    return rows if quick else rows + fan_rows(10_000, 5, 2 * 10**9)


def fan_rows(n: int, repeats: int, base: int) -> list[Row]:
    quiet = fan.with_options(quiet=True)
    pool = get_reusable_executor(max_workers=2)
    for warm in range(2):
        quiet.run(n=200, base=base - 1000 * (warm + 1))
        collect(pool, bare_increment, 200)
        collect(pool, yardsticks.increment, 200)
    fans, reused, scripted, imported = [], [], [], []
    for repeat in range(repeats):
        start = base + (repeat + 1) * 10 * n
        scripted.append(timed(lambda: collect(pool, bare_increment, n)) / n)
        imported.append(timed(lambda: collect(pool, yardsticks.increment, n)) / n)
        fans.append(timed(lambda start=start: quiet.run(n=n, base=start)) / n)
        reused.append(timed(lambda start=start: quiet.run(n=n, base=start)) / n)
    pool.shutdown()
    work = f"fan-out of {n:,}, a step"
    return [
        (
            work,
            microseconds(fans),
            f"loky, function of the script: {microseconds(scripted)}",
            paired(fans, scripted),
            "0.5",
        ),
        (work, microseconds(fans), f"loky, imported function: {microseconds(imported)}", paired(fans, imported), ""),
        (f"rerun of {n:,}, all reused, a step", microseconds(reused), "", "", "20 us"),
    ]


def measure_map(*, quick: bool, large: bool) -> list[Row]:
    n, repeats = (1_000, 3) if quick else (10_000, 5)
    ours, beside = grown.with_options(quiet=True), written_out.with_options(quiet=True)
    base = 5 * 10**9
    ours.run(n=200, base=base - 1000)
    beside.run(n=200, base=base - 2000)
    maps, written = [], []
    for repeat in range(repeats):
        start = base + 2 * repeat * 10 * n
        written.append(timed(lambda start=start: beside.run(n=n, base=start)) / n)
        maps.append(timed(lambda start=start: ours.run(n=n, base=start + 10 * n)) / n)
    work = f"map over an upstream list of {n:,}, a step"
    return [(work, microseconds(maps), f"written out: {microseconds(written)}", paired(maps, written), "1.2")]


def measure_chain(*, quick: bool, large: bool) -> list[Row]:
    rows = chain_rows(200, 3 if quick else 9, 10**7)
    return rows if quick else rows + chain_rows(2_000, 5, 10**9)


def chain_rows(n: int, repeats: int, base: int) -> list[Row]:
    quiet = chain.with_options(quiet=True)
    pool = get_reusable_executor(max_workers=1)

    def round_trips(function) -> float:
        return timed(lambda: [pool.submit(function, number).result() for number in range(n)]) / n

    quiet.run(n=20, base=-base)
    round_trips(bare_increment), round_trips(yardsticks.increment)
    chains, scripted, imported = [], [], []
    for repeat in range(repeats):
        scripted.append(round_trips(bare_increment))
        imported.append(round_trips(yardsticks.increment))
        chains.append(timed(lambda repeat=repeat: quiet.run(n=n, base=base + repeat * 10 * n)) / n)
    pool.shutdown()
    work = f"chain of {n:,}, a step"
    return [
        (
            work,
            microseconds(chains),
            f"loky, function of the script: {microseconds(scripted)}",
            paired(chains, scripted),
            "1.5",
        ),
        (
            work,
            microseconds(chains),
            f"loky, imported function: {microseconds(imported)}",
            paired(chains, imported),
            "",
        ),
    ]


def measure_cpu(*, quick: bool, large: bool) -> list[Row]:
    """Efficiency: the work of all steps, one after the other on one core, by the cores' time that it took here."""
    seconds, steps, slots, repeats = (0.25, 8, 2, 3) if quick else (1.0, 8, 2, 5)
    loops = int(seconds * 1e6 / min(timed(lambda: yardsticks.spin(1_000_000)) for _ in range(5)))
    quiet = spins.with_options(quiet=True)
    pool = get_reusable_executor(max_workers=slots)
    quiet.run(loops=1, base=-steps, n=steps)
    collect(pool, yardsticks.spin, slots * 4)
    ours, bare = [], []
    for repeat in range(repeats):
        bare.append(timed(lambda: [f.result() for f in [pool.submit(yardsticks.spin, loops) for _ in range(steps)]]))
        ours.append(timed(lambda repeat=repeat: quiet.run(loops=loops, base=repeat * steps, n=steps)))
    pool.shutdown()
    ideal = seconds * steps / slots
    return [
        (
            f"{steps} steps of {seconds} s of CPU on {slots} slots",
            f"{statistics.median(ours):.2f} s ({ideal / statistics.median(ours):.2f})",
            f"loky: {statistics.median(bare):.2f} s ({ideal / statistics.median(bare):.2f})",
            paired(bare, ours),
            ">= 0.98",
        )
    ]


def measure_array(*, quick: bool, large: bool, megabytes: int = 200) -> list[Row]:
    repeats = 3 if quick else 15
    n = megabytes * 1_000_000 // 8
    workspace = Path(os.environ["PIPELITE_WORKSPACE"])
    quiet = hand_over.with_options(quiet=True)
    pool = get_reusable_executor(max_workers=1)
    quiet.run(n=1000, seed=-1)
    quiet.run(n=n, seed=-1)
    path = str(workspace / "tmp" / "bare.npy")
    pool.submit(bare_hand_over, n, 0, path).result()
    ours, bare = [], []
    for repeat in range(repeats):
        bare.append(timed(lambda repeat=repeat: pool.submit(bare_hand_over, n, repeat, path).result()))
        ours.append(timed(lambda repeat=repeat: quiet.run(n=n, seed=repeat)))
        shutil.rmtree(workspace / "artifacts")
        (workspace / "artifacts").mkdir()
    pool.shutdown()
    numpy = f"np.save and mapped sum: {milliseconds(bare)}"
    return [(f"{megabytes} MB array to the next step", milliseconds(ours), numpy, paired(ours, bare), "1.4")]


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


def measure_start(*, quick: bool, large: bool) -> list[Row]:
    folder = Path(tempfile.mkdtemp(dir=CACHE))
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
    for _ in range(3 if quick else 9):
        shutil.rmtree(folder / ".pipelite", ignore_errors=True)
        empty.append(spend("-c", "pass"))
        imported.append(spend("-c", "import pipelite"))
        cold.append(spend("flow.py"))
        again.append(spend("flow.py"))
    shutil.rmtree(folder)
    bare = f"python -c pass: {milliseconds(empty)}"
    return [
        ("import pipelite, whole process", milliseconds(imported), bare, "", "40 ms"),
        ("one-step script, cold, whole process", milliseconds(cold), bare, "", "600 ms"),
        ("its reused rerun, whole process", milliseconds(again), bare, "", "200 ms"),
    ]


def in_process(folder: str, *words: object) -> dict[str, float]:
    """What memory.py prints, on a workspace in this folder."""
    environment = {**os.environ, "PIPELITE_WORKSPACE": str(Path(folder, ".pipelite"))}
    command = [sys.executable, str(FOLDER / "memory.py"), *map(str, words)]
    return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure_memory(*, quick: bool, large: bool) -> list[Row]:
    rows = []
    for n, target in ((10_000, "30 MB"), (100_000, "150 MB"))[: 1 + large]:
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            for how in ("computed", "reused"):
                took = in_process(folder, "peak", n)
                idle = f"idle: {took['idle']:.0f} MB"
                rows.append(
                    (f"coordinator, {n:,} steps {how}, above idle", f"{took['above']:.1f} MB", idle, "", target)
                )
    return rows


def measure_growth(*, quick: bool, large: bool) -> list[Row]:
    runs = 60 if quick else 200
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        took = in_process(folder, "growth", runs)
    work = f"{runs} runs of 50 in a row"
    descriptors = f"{took['descriptors_before']:.0f} to {took['descriptors_after']:.0f}"
    return [
        (
            f"{work}: coordinator, a run",
            f"{took['kb_a_run']:+.1f} KB",
            f"at the end: {took['megabytes']:.0f} MB",
            "",
            "0",
        ),
        (f"{work}: both workers, a run", f"{took['workers_kb_a_run']:+.1f} KB", "", "", "0"),
        (f"{work}: open files", descriptors, f"threads: {took['threads']:.0f}", "", "the same"),
    ]


SECTIONS: dict[str, Callable[..., list[Row]]] = {
    "fan": measure_fan,
    "map": measure_map,
    "chain": measure_chain,
    "cpu": measure_cpu,
    "start": measure_start,
    "array": measure_array,
    "memory": measure_memory,
    "growth": measure_growth,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; without one all")
    parser.add_argument("--quick", action="store_true", help="fewer repeats and smaller sizes")
    parser.add_argument("--large", action="store_true", help="memory also for a run of 100,000 steps")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    CACHE.mkdir(parents=True, exist_ok=True)
    print(f"{machine()}; medians")
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        os.environ["PIPELITE_WORKSPACE"] = str(Path(folder, ".pipelite"))
        for name in arguments.sections or SECTIONS:
            rows = SECTIONS[name](quick=arguments.quick, large=arguments.large)
            print("\n" + simple_table(("work", "pipelite", "beside it", "ratio", "target"), rows), flush=True)


if __name__ == "__main__":
    main()
