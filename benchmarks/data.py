"""What it costs to look at the data of a dataset, unchanged files and new bytes, and to transfer files beside `cp`.

Run it with nothing else going on: `python benchmarks/data.py [--quick]`. Medians; bytes are read from the page cache.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tables import machine, simple_table

from pipelite import Dataset, Workspace
from pipelite.steps import transfer

N_FILES = 1000
#: Bytes that are new.
SIZE = 1 << 30
#: Small files of a folder that is transferred.
N_SMALL = 2000
#: Files younger than this are read again in any case: another change would not show in their time.
SETTLE_S = 2.1


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def look(pattern: str) -> str:
    """As a run does: with a dataset that was not looked at before, and the digests that the workspace keeps."""
    return Dataset.from_files(pattern).look()[0]


def unchanged_files(folder: Path, repeats: int) -> float:
    """Milliseconds to identify a dataset of files that did not change."""
    for number in range(N_FILES):
        place = folder / f"part={number % 10}" / f"{number}.csv"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"x\n{number}\n" * 100)
    time.sleep(SETTLE_S)
    pattern = f"{folder}/**/*.csv"
    look(pattern)
    Workspace().store.flush()
    return 1000 * statistics.median(seconds(lambda: look(pattern)) for _ in range(repeats))


def new_bytes(folder: Path, repeats: int, size: int) -> float:
    """Bytes a second of a file that was never looked at."""
    path = folder / "new.bin"
    path.write_bytes(os.urandom(1 << 20) * (size >> 20))
    times = []
    for number in range(repeats):
        moved = folder / f"new-{number}.bin"
        path.rename(moved)
        path = moved
        times.append(seconds(functools.partial(look, str(path))))
    path.unlink()
    return size / statistics.median(times)


def beside_cp(source: Path, repeats: int) -> tuple[float, float]:
    """Seconds of a verified transfer to a folder that is not there yet, and of `cp -r`, in turns."""
    ours, theirs = [], []
    target = source.with_name("target")
    for _ in range(repeats):
        for times, copy in (
            (ours, transfer(source, target)),
            (theirs, functools.partial(subprocess.run, ["cp", "-r", source, target], check=True)),
        ):
            times.append(seconds(copy))
            shutil.rmtree(target)
    return statistics.median(ours), statistics.median(theirs)


def transfers(folder: Path, repeats: int, size: int) -> list[tuple[str, str, str]]:
    """Rows of the table of transfers."""
    large, small = folder / "large", folder / "small"
    large.mkdir()
    (large / "new.bin").write_bytes(os.urandom(1 << 20) * (size >> 20))
    small.mkdir()
    for number in range(N_SMALL):
        place = small / f"part={number % 10}" / f"{number}.csv"
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"x\n{number}\n" * 100)
    rows = []
    for what, source, target in (
        (f"{size / 1e9:.2f} GB", large, "at least 0.6 x cp"),
        (f"{N_SMALL:,} small files", small, ""),
    ):
        ours, theirs = beside_cp(source, repeats)
        rows.append((what, f"{1000 * ours:.0f} ms", f"{1000 * theirs:.0f} ms", f"{theirs / ours:.2f} x cp", target))
        shutil.rmtree(source)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats, a smaller file")
    quick = parser.parse_args().quick
    repeats, size = (3, SIZE >> 4) if quick else (21, SIZE)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PIPELITE_WORKSPACE"] = f"{folder}/workspace"
        milliseconds = unchanged_files(Path(folder) / "many", repeats)
        rate = new_bytes(Path(folder), repeats if quick else 7, size)
        copies = transfers(Path(folder), repeats if quick else 7, size)
    rows = [
        (f"{N_FILES:,} unchanged files", f"{milliseconds:.1f} ms", "at most 20 ms"),
        (f"{size / 1e9:.2f} GB of new bytes", f"{rate / 1e9:.2f} GB/s", "at least 1 GB/s"),
    ]
    print(machine())
    print()
    print(simple_table(("look at a dataset of", "takes", "target"), rows))
    print()
    print(simple_table(("transfer of", "takes", "cp -r", "speed", "target"), copies))


if __name__ == "__main__":
    main()
