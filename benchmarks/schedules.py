"""What schedules and triggers cost: a tick over thousands, how late runs are, memory, and a daemon with nothing to do.

Run it with nothing else going on: `python benchmarks/schedules.py [--quick] [schedules] [triggers]`. Where APScheduler is installed it is measured
beside, with its schedules in memory, where those of pipelite are in a database. Linux only.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from memory import status_kb
from tables import machine, simple_table

FLOW = """
from pipelite import pipeline, step


@step
def nothing():
    pass


@pipeline
def flow():
    nothing()
"""


#: Seconds between two slots of each schedule whose lateness is measured: of 10,000, some 17 are due each second.
PERIOD_S = 600


class TurnedClock:
    """A clock that goes on, some time ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure_ticks(n: int) -> dict[str, float]:
    """Milliseconds of a tick with n schedules of which none, one or a hundred are due, and of making one."""
    from pipelite import Schedule, Workspace
    from pipelite.automate import Ticker

    workspace = Workspace()
    clock = TurnedClock()
    ticker = Ticker(workspace.store, clock)
    ticker.tick()
    idle_kb = status_kb("VmRSS")
    version = workspace.published["flow"]
    making = []
    for number in range(n):
        # One an hour from now, a hundred two hours from now, the rest tomorrow.
        wait = 3600 if number == 0 else 7200 if number <= 100 else 86400 + number
        start = time.perf_counter()
        Schedule.create(f"schedule {number}", version, every=86400 * 7, start=clock.now() + timedelta(seconds=wait))
        making.append(time.perf_counter() - start)
    found = {"create": statistics.median(making) * 1e3}
    quiet = []
    for _ in range(100):
        start = time.perf_counter()
        ticker.tick()
        quiet.append(time.perf_counter() - start)
    found["none due"] = percentile(quiet, 0.99) * 1e3
    for name, hours in (("one due", 1), ("100 due", 2)):
        clock.ahead = timedelta(hours=hours, seconds=2)
        start = time.perf_counter()
        ticker.tick()
        found[name] = (time.perf_counter() - start) * 1e3
    found["above"] = (status_kb("VmHWM") - idle_kb) / 1e3
    return found


def measure_lateness(n: int, seconds: int) -> dict[str, float]:
    """Milliseconds between slots and decisions: n schedules that are due every ten minutes, spread over all seconds."""
    from pipelite import Schedule, Workspace
    from pipelite.automate import Ticker

    workspace = Workspace()
    version = workspace.published["flow"]
    # Making one takes a millisecond or two.
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5 + n // 250)
    for number in range(n):
        first = start + timedelta(seconds=number % PERIOD_S)
        Schedule.create(f"spread {number}", version, every=PERIOD_S, start=first, overlap="allow")
    assert datetime.now(UTC) < start, "making them took too long"
    time.sleep(max(0.0, (start - datetime.now(UTC)).total_seconds() - 1))
    ticker = Ticker(workspace.store)
    ticker.start()
    time.sleep(seconds)
    ticker.stop()
    rows = workspace.store.database.read(
        "SELECT at, decided_at FROM slots WHERE outcome = 'fired' AND schedule LIKE 'spread%'"
    )
    late = [
        (datetime.fromisoformat(row["decided_at"]) - datetime.fromisoformat(row["at"])).total_seconds() * 1e3
        for row in rows
    ]
    return {"slots": len(late), "median": statistics.median(late), "p99": percentile(late, 0.99)}


def measure_apscheduler(n: int, seconds: int) -> dict[str, float]:
    """The lateness of as many jobs of APScheduler's that do nothing."""
    from apscheduler.schedulers.background import BackgroundScheduler

    late: list[float] = []
    scheduler = BackgroundScheduler(timezone=UTC)
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=10)
    for number in range(n):
        first = start + timedelta(seconds=number % PERIOD_S)
        scheduler.add_job(
            lambda second=first: late.append((datetime.now(UTC) - second).total_seconds() * 1e3),
            "interval",
            seconds=PERIOD_S,
            start_date=first,
            next_run_time=first,
        )
    scheduler.start()
    time.sleep(max(0.0, (start - datetime.now(UTC)).total_seconds()) + seconds)
    scheduler.shutdown()
    return {"slots": len(late), "median": statistics.median(late), "p99": percentile(late, 0.99)}


def measure_idle(seconds: int) -> dict[str, float]:
    """Megabytes, and per cent of a core, of a daemon with a hundred schedules of which none is due."""
    from pipelite import Schedule, Workspace

    workspace = Workspace()
    for number in range(100):
        Schedule.create(f"far {number}", workspace.published["flow"], cron="0 0 1 1 *")
    return _idle(seconds)


def _idle(seconds: int) -> dict[str, float]:
    with subprocess.Popen([sys.executable, "-m", "pipelite", "daemon"], stdout=subprocess.DEVNULL) as daemon:
        process = psutil.Process(daemon.pid)
        time.sleep(5)
        before = sum(process.cpu_times()[:2])
        time.sleep(seconds)
        used = sum(process.cpu_times()[:2]) - before
        megabytes = process.memory_info().rss / 1e6
        daemon.terminate()
    return {"megabytes": megabytes, "percent": 100 * used / seconds}


def measure_triggers(files: int, drops: int) -> dict[str, float]:
    """Milliseconds of a look at so many files, and from the end of a write to the run in the queue, by a native event."""
    from pipelite import FileChange, Trigger, Workspace
    from pipelite.automate.triggers import find_trigger
    from pipelite.automate.watching import FileWatch, Watcher
    from pipelite.clock import CLOCK

    store = Workspace().store
    idle_kb = status_kb("VmRSS")
    for number in range(files):
        folder = Path("many", f"{number // 1000:03}")
        if number % 1000 == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:06}.csv").touch()
    start = time.perf_counter()
    Trigger.create("many", "flow", on=FileChange("many/**/*.csv", settle=0))
    found = {"create": (time.perf_counter() - start) * 1e3}
    watch = FileWatch(store, find_trigger(store, "many"), CLOCK, lambda: None)

    def look() -> float:
        watch.poll_soon()
        start = time.perf_counter()
        watch.look()
        return (time.perf_counter() - start) * 1e3

    found["first"] = look()
    found["again"] = statistics.median(look() for _ in range(5))
    for number in range(100):
        Path("many/000", f"new{number}.csv").touch()
    found["100 new"] = look()
    found["above"] = (status_kb("VmRSS") - idle_kb) / 1e3
    Workspace().triggers["many"].remove()

    Path("in").mkdir()
    Trigger.create("native", "flow", on=FileChange("in/*"))
    watcher = Watcher(store)
    watcher.start()
    time.sleep(2)
    late = []
    for number in range(drops):
        Path("in", str(number)).write_text("x")
        written = datetime.now(UTC)
        time.sleep(0.5)
        queued = store.database.read("SELECT created_at FROM runs ORDER BY number DESC LIMIT 1")[0][0]
        late.append((datetime.fromisoformat(queued) - written).total_seconds() * 1e3)
    watcher.stop()
    return found | {"native": statistics.median(late), "native p99": percentile(late, 0.99)}


def measure_idle_triggers(seconds: int) -> dict[str, float]:
    """Megabytes, and per cent of a core, of a daemon with fifty triggers on a hundred files each that stay as they are."""
    from pipelite import FileChange, Trigger

    for number in range(50):
        folder = Path("in", str(number))
        folder.mkdir(parents=True)
        for file in range(100):
            (folder / str(file)).touch()
        Trigger.create(f"far {number}", "flow", on=FileChange(folder))
    return _idle(seconds)


MEASURES = {
    "ticks": measure_ticks,
    "lateness": measure_lateness,
    "apscheduler": measure_apscheduler,
    "idle": measure_idle,
    "triggers": measure_triggers,
    "idle_triggers": measure_idle_triggers,
}


def measure(name: str, *sizes: int) -> dict[str, float]:
    """A measure in a process and a workspace of its own."""
    with tempfile.TemporaryDirectory(prefix="pipelite-schedules-") as folder:
        Path(folder, "flow.py").write_text(FLOW)
        environment = {**os.environ, "PIPELITE_WORKSPACE": f"{folder}/.pipelite", "PIPELITE_PROGRESS": "quiet"}
        if name != "apscheduler":
            publish = [sys.executable, "-m", "pipelite", "publish", "flow.py:flow"]
            subprocess.run(publish, cwd=folder, env=environment, check=True, capture_output=True)
        command = [sys.executable, str(Path(__file__).resolve()), "--measure", name, *map(str, sizes)]
        done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE)
        return dict(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, to see that it works")
    parser.add_argument("parts", nargs="*", metavar="PART", help="schedules or triggers; by default both")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, *sizes = options.measure
        print(json.dumps(MEASURES[name](*map(int, sizes))))
        return
    part = 10 if options.quick else 1
    print(machine())
    rows = {"schedules": measure_schedules, "triggers": measure_all_of_triggers}
    print(simple_table(("what", "figure"), [row for name in options.parts or rows for row in rows[name](part)]))


def measure_schedules(part: int) -> list[tuple[str, str]]:
    n = 10_000 // part
    ticks = measure("ticks", n)
    rows = [
        (f"tick over {n:,} schedules, none due, p99", f"{ticks['none due']:.2f} ms"),
        ("the same, one due", f"{ticks['one due']:.2f} ms"),
        ("the same, 100 due", f"{ticks['100 due']:.1f} ms"),
        ("memory of them above idle", f"{ticks['above']:.1f} MB"),
        ("making one", f"{ticks['create']:.2f} ms"),
    ]
    late = {"pipelite": measure("lateness", n, 60 // part)}
    if importlib.util.find_spec("apscheduler"):
        late["APScheduler, in memory"] = measure("apscheduler", n, 60 // part)
    rows += [
        (f"lateness of {found['slots']:,} runs, {name}", f"median {found['median']:.1f} ms, p99 {found['p99']:.1f} ms")
        for name, found in late.items()
    ]
    idle = measure("idle", 40 // part)
    rows.append(("idle daemon with 100 schedules", f"{idle['megabytes']:.0f} MB, {idle['percent']:.2f} % of a core"))
    return rows


def measure_all_of_triggers(part: int) -> list[tuple[str, str]]:
    n = 100_000 // part
    files = measure("triggers", n, 40 // part)
    idle = measure("idle_triggers", 60 // part)
    return [
        (f"look at {n:,} files of a trigger", f"{files['again']:.0f} ms"),
        ("the same, 100 of them new, their run in the queue", f"{files['100 new']:.0f} ms"),
        ("first look of a process", f"{files['first']:.0f} ms"),
        ("memory of them above idle", f"{files['above']:.1f} MB"),
        ("making the trigger", f"{files['create']:.0f} ms"),
        (
            "from the end of a write to the queued run, native event",
            f"median {files['native']:.0f} ms, p99 {files['native p99']:.0f} ms",
        ),
        (
            "idle daemon with 50 triggers on 100 files each, looked at every minute",
            f"{idle['megabytes']:.0f} MB, {idle['percent']:.2f} % of a core",
        ),
    ]


if __name__ == "__main__":
    main()
