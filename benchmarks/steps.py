"""What a script, an environment, a query and a snapshot cost over what they are made of.

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

from pipelite import Dataset, Workspace, pipeline, step
from pipelite.steps import Environment, Input, script, sql
from pipelite.store import SourceFolder, Store, keep_snapshot, take_snapshot

#: Source files count as settled when they are older than this.
LONG_AGO = 1_000_000_000
#: Steps by which one chain is longer than another.
CHAIN = 50


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


def measure_environments(folder: Path, n: int) -> list[float]:
    """Seconds that an environment which is there adds to a script step."""
    Workspace().environments.mode = "build"
    path = folder / "src" / "nothing.py"
    plain = script(path.name, source_directory=path.parent, arguments=[Input("number")])
    environment = Environment()

    @pipeline
    def flow(number: int):
        plain(number=number)

    @pipeline
    def flow_there(number: int):
        plain.with_options(environment=environment)(number=number)

    found = []
    for number in range(n + 1):
        taken = []
        for each in (flow, flow_there):
            start = time.perf_counter()
            each.run(number=-2 - number)
            taken.append(time.perf_counter() - start)
        found.append(taken[1] - taken[0])
    return found[1:]


@step(cache=False)
def plus_one(x: int) -> int:
    return x + 1


def measure_functions(n: int) -> list[float]:
    """Seconds that an environment which is there adds to each further function step of a run."""
    Workspace().environments.mode = "build"
    there = plus_one.with_options(environment=Environment())

    @pipeline
    def flow(length: int):
        x = 0
        for _ in range(length):
            x = plus_one(x)

    @pipeline
    def flow_there(length: int):
        x = 0
        for _ in range(length):
            x = there(x)

    found = []
    for _ in range(n + 1):
        taken = []
        for each in (flow, flow_there):
            start = time.perf_counter()
            each.run(length=2)
            middle = time.perf_counter()
            each.run(length=2 + CHAIN)
            taken.append((time.perf_counter() - middle - (middle - start)) / CHAIN)
        found.append(taken[1] - taken[0])
    return found[1:]


def measure_queries(n: int) -> list[float]:
    """Seconds of a query as a step over DuckDB itself."""
    import duckdb

    text = "SELECT sum(range) + $number AS total FROM range(1000000)"
    ask = sql(text, parameters={"number": Input("number")})

    @pipeline
    def flow(number: int):
        ask(number)

    flow.run(number=-1)
    found = []
    for number in range(n):
        start = time.perf_counter()
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.sql(text, params={"number": number}).df()
        bare = time.perf_counter() - start
        start = time.perf_counter()
        flow.run(number=number)
        found.append(time.perf_counter() - start - bare)
    return found


def measure_queries_of_files(folder: Path, n: int) -> list[float]:
    """Seconds of a query over a dataset of Parquet files as a step over DuckDB itself."""
    import duckdb

    places = [folder / "rows" / f"{number}.parquet" for number in range(10)]
    places[0].parent.mkdir()
    with duckdb.connect() as connection:
        for number, place in enumerate(places):
            connection.sql(f"SELECT range AS n, {number} AS part FROM range(100000)").write_parquet(str(place))
            # What was written within the last moments is read once more before it is trusted; data usually are older.
            os.utime(place, (0, 0))
    text = "SELECT sum(n) + $number AS total FROM t"
    ask = sql(text, tables={"t": Input("t")}, parameters={"number": Input("number")})

    @pipeline
    def flow(t: Dataset, number: int):
        ask(t, number)

    flow.run(t=Dataset.from_parquet_files(places), number=-1)
    found = []
    for number in range(n):
        start = time.perf_counter()
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.read_parquet(list(map(str, places))).create_view("t")
            connection.sql(text, params={"number": number}).df()
        bare = time.perf_counter() - start
        start = time.perf_counter()
        flow.run(t=Dataset.from_parquet_files(places), number=number)
        found.append(time.perf_counter() - start - bare)
    return found


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
            ("script step in an environment over one without", _shown(measure_environments(folder, n)), "10 ms"),
            ("function step in an environment over one without", _shown(measure_functions(n)), "10 ms"),
            ("query as a step over DuckDB itself", _shown(measure_queries(n)), "10 ms"),
            ("the same over 10 Parquet files of a dataset", _shown(measure_queries_of_files(folder, n)), "10 ms"),
            ("snapshot of 1,000 unchanged files", _shown(measure_snapshots(folder, n)), "20 ms"),
        ]
    print(simple_table(("Work", "Figure", "At most"), rows))


def _shown(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.0f} ms"


if __name__ == "__main__":
    main()
