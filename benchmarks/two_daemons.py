"""Two daemons on one store: how often a slot is executed twice or not at all, by pipelite, APScheduler and huey.

`python benchmarks/two_daemons.py [--quick] [--seed SEED]`. First both daemons are left alone, then one of them is killed by
kill -9 every few seconds and started again. All tools run at the same time, each in a virtual environment of its own with
the versions below. Only making the environments needs the network.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import attrs
from driving import Home
from environments import environment_python
from tables import machine, simple_table

ROOT = Path(__file__).resolve().parent.parent

#: What an environment has, the words after its Python that create the schedules and that start a daemon.
TOOLS: dict[str, tuple[str, list[str], list[str], list[str]]] = {
    "pipelite": (
        "pipelite (this checkout)",
        ["--config-settings=editable_mode=compat", "--editable", str(ROOT)],
        ["daemon_pipelite.py", "create"],
        ["-m", "pipelite", "daemon", "--grace", "1"],
    ),
    "apscheduler": (
        "APScheduler 3.11.3, SQLite job store",
        ["apscheduler==3.11.3", "sqlalchemy==2.0.44"],
        ["daemon_apscheduler.py", "create"],
        ["daemon_apscheduler.py"],
    ),
    # Its tasks are declared in the code that the daemon loads, and its schedules are no finer than a minute.
    "huey": ("huey 3.5.4, SqliteHuey", ["huey==3.5.4"], [], ["-m", "huey.bin.huey_consumer", "daemon_huey.huey"]),
}
SPANS = {"second": 1, "minute": 60}
#: Seconds between two kills.
PAUSE_S = (3.0, 12.0)


@attrs.define
class Pair:
    """Two daemons of one tool, in a home of their own."""

    home: Home
    python: Path
    command: list[str]
    daemons: list[subprocess.Popen[bytes]] = attrs.field(factory=list)

    def environment(self) -> dict[str, str]:
        folder = self.home.folder
        return {
            **os.environ,
            "HOME": str(folder),
            "PIPELITE_WORKSPACE": str(folder / ".pipelite"),
            "PYTHONPATH": str(folder),
        }

    def run(self, words: list[str]) -> None:
        subprocess.run([str(self.python), *words], cwd=self.home.folder, env=self.environment(), check=True)

    def start(self) -> None:
        with (self.home.folder / "log.txt").open("ab") as log:
            self.daemons.append(
                subprocess.Popen(
                    [str(self.python), *self.command],
                    cwd=self.home.folder,
                    env=self.environment(),
                    stdout=log,
                    stderr=log,
                )
            )

    def kill(self, number: int) -> None:
        daemon = self.daemons.pop(number)
        daemon.kill()
        daemon.wait()
        self.start()

    def end(self) -> None:
        for daemon in self.daemons:
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def executed(self) -> Counter[tuple[str, int]]:
        ledger = self.home.folder / "ledger.txt"
        lines = ledger.read_text().splitlines() if ledger.exists() else []
        return Counter((name, int(slot)) for name, slot in (line.split() for line in lines))


def wait_for_the_rest(pairs: list[Pair]) -> None:
    """Until nothing more has been executed for half a minute, but of what came due afterwards."""
    seen, until = -1, 0.0
    end = int(time.time())
    while time.time() < until or seen < 0:
        count = sum(slot < end for pair in pairs for _, slot in pair.executed().elements())
        if count != seen:
            seen, until = count, time.time() + 30
        time.sleep(0.5)


def measure(pythons: dict[str, Path], seconds: int, draw: random.Random | None, below: Path) -> list[tuple[str, ...]]:
    """A row for each tool and schedule; kills where there is something to draw moments from."""
    pairs = {tool: Pair(Home(below), python, TOOLS[tool][3]) for tool, python in pythons.items()}
    kills = 0
    try:
        # Daemons need some seconds to be ready.
        start = (int(time.time()) + 20) // 60 * 60 + 60
        for tool, pair in pairs.items():
            if TOOLS[tool][2]:
                pair.run([*TOOLS[tool][2], str(start)])
            pair.start()
            pair.start()
        time.sleep(max(0.0, start - time.time()))
        while (left := start + seconds - time.time()) > 0:
            time.sleep(min(left, draw.uniform(*PAUSE_S) if draw else left))
            if draw and left > PAUSE_S[1]:
                number = draw.randrange(2)
                kills += 1
                for pair in pairs.values():
                    pair.kill(number)
        wait_for_the_rest(list(pairs.values()))
    finally:
        for pair in pairs.values():
            pair.end()
    rows = []
    for tool, pair in pairs.items():
        executed = pair.executed()
        for name, span in SPANS.items():
            if tool == "huey" and name == "second":
                continue
            expected = range(start, start + seconds, span)
            twice = sum(executed[name, slot] > 1 for slot in expected)
            never = sum(executed[name, slot] == 0 for slot in expected)
            rows.append((TOOLS[tool][0], f"every {name}", str(kills), str(len(expected)), str(twice), str(never)))
        pair.home.__exit__()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one minute of each instead of five, to see that it works")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of the kills")
    parser.add_argument("--only", nargs="+", choices=TOOLS, default=list(TOOLS), metavar="TOOL", help=", ".join(TOOLS))
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "benchmarks", help="where environments are kept")
    options = parser.parse_args()
    cache: Path = options.cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    pythons = {tool: environment_python(cache / f"daemon-{tool}", TOOLS[tool][1]) for tool in options.only}
    seconds = 60 if options.quick else 300
    rows = []
    with tempfile.TemporaryDirectory(prefix="homes-", dir=cache) as homes:
        for draw in (None, random.Random(options.seed)):
            rows += measure(pythons, seconds, draw, Path(homes))
    print(f"{machine()}, seed {options.seed}")
    print(simple_table(("tool", "schedule", "kills", "slots", "executed twice", "not executed"), rows))


if __name__ == "__main__":
    main()
