"""What a script step costs over running the script, and what the snapshot of its source costs.

Run it with nothing else going on: `python benchmarks/steps.py [--quick]`. Figures are medians; the script's are those of
pairs, each of a bare run and one as a step.
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

from tables import simple_table

from pipelite import pipeline
from pipelite.steps import Input, script
from pipelite.store import SourceFolder, Store, keep_snapshot, take_snapshot

#: Source files count as settled when they are older than this.
LONG_AGO = 1_000_000_000


def measure_scripts(folder: Path, n: int) -> list[float]:
    """Seconds of a script step over the bare script."""
    (folder / "src").mkdir()
    path = folder / "src" / "nothing.py"
    path.write_text("print('done')\n")
    nothing = script("nothing.py", source_directory=path.parent, arguments=[Input("number")])

    @pipeline
    def flow(number: int):
        nothing(number=number)

    flow.run(number=-1)
    found = []
    for number in range(n):
        start = time.perf_counter()
        subprocess.run([sys.executable, str(path), str(number)], check=True, stdout=subprocess.DEVNULL)
        bare = time.perf_counter() - start
        start = time.perf_counter()
        flow.run(number=number)
        found.append(time.perf_counter() - start - bare)
    return found


def measure_snapshots(folder: Path, n: int) -> list[float]:
    """Seconds of the snapshot of 1,000 unchanged files, by a process that has not seen them before."""
    source = folder / "big"
    for number in range(1000):
        path = source / f"package{number % 20}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"x = {number}\n" * 50)
        os.utime(path, (LONG_AGO, LONG_AGO))
    found = []
    for _ in range(n + 1):
        with Store.open(folder / "workspace") as store:
            start = time.perf_counter()
            chosen = SourceFolder(str(source), "", 10**9)
            keep_snapshot(chosen, take_snapshot(chosen, store.file_cache), store.artifacts)
            found.append(time.perf_counter() - start)
    return found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions, to see that it works")
    n = 3 if parser.parse_args().quick else 30
    os.environ["PIPELITE_PROGRESS"] = "quiet"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["PIPELITE_WORKSPACE"] = str(folder / "workspace")
        rows = [
            ("script step over `python script.py`", _shown(measure_scripts(folder, n)), "60 ms"),
            ("snapshot of 1,000 unchanged files", _shown(measure_snapshots(folder, n)), "20 ms"),
        ]
    print(simple_table(("Work", "Figure", "At most"), rows))


def _shown(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.0f} ms"


if __name__ == "__main__":
    main()
