"""The same work on pipelite, joblib, redun and Prefect, in one session and in turn; prints the tables of the docs.

`python benchmarks/peers.py [--quick] [--only TOOL ...]`. Each tool gets a virtual environment of its own, with the
versions below, and a home folder for the time of a call. Only making the environments needs the network.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from driving import DriverFailed, Home
from environments import environment_python
from tables import machine, simple_table

ROOT = Path(__file__).resolve().parent.parent

NUMPY = "numpy==2.4.6"
#: What each tool is called, the driver that runs it, and what its environment has.
TOOLS = {
    "pipelite": (
        "pipelite (this checkout)",
        "with_pipelite.py",
        # The compatible mode is a plain entry on the path; the other one costs milliseconds at each start.
        ["--config-settings=editable_mode=compat", "--editable", str(ROOT), "joblib==1.6.0", NUMPY],
    ),
    "loky": ("bare loky (of joblib 1.6.0)", "with_loky.py", ["joblib==1.6.0", NUMPY]),
    "joblib": ("joblib.Memory 1.6.0", "with_joblib.py", ["joblib==1.6.0", NUMPY]),
    "redun": ("redun 0.44.1 (processes)", "with_redun.py", ["redun==0.44.1", NUMPY]),
    # With a newer FastAPI this release of Prefect does not start.
    "prefect": ("Prefect 3.8.8 (threads)", "with_prefect.py", ["prefect==3.8.8", "fastapi==0.140.13", NUMPY]),
}

HELPER = "recipe.py"
#: The edit of the helper: of another length, as Python tells its compiled files apart by second and size.
BEFORE, AFTER = "return 0.25", "return 0.125"

T = TypeVar("T")
Work = Callable[[str, Home], dict[str, float]]
#: Round to figure: a call that failed leaves a hole in its tool's row only.
Figures = dict[int, float]


class Session:
    """Tools, sizes and what was measured so far."""

    def __init__(self, tools: list[str], cache: Path, homes: Path, *, quick: bool) -> None:
        self.pythons = {tool: environment_python(cache / tool, TOOLS[tool][2]) for tool in tools}
        self.homes = homes
        self.width, self.links, self.megabytes = (200, 50, 50) if quick else (1_000, 200, 200)
        self.figures: dict[str, dict[str, Figures]] = defaultdict(lambda: defaultdict(dict))
        self.edits: dict[str, str] = {}
        self.failures: list[str] = []

    def run(self, rounds: int) -> None:
        works: list[Work] = [self.steps, self.start, self.array, self.memory]
        for number in range(rounds):
            for work in works:
                for tool in self.pythons:
                    print(f"round {number + 1} of {rounds}: {work.__name__} on {tool}", file=sys.stderr, flush=True)
                    for name, figure in (self.attempt(work, tool) or {}).items():
                        self.figures[tool][name][number] = figure
        for tool in self.pythons:
            self.edits[tool] = self.attempt(self.edit, tool) or "--"

    def attempt(self, work: Callable[[str, Home], T], tool: str) -> T | None:
        with Home(self.homes) as home:
            try:
                return work(tool, home)
            except DriverFailed as failure:
                self.failures.append(str(failure))
                return None

    def call(self, tool: str, home: Home, *words: object) -> dict[str, Any]:
        return home.call(self.pythons[tool], TOOLS[tool][1], *map(str, words))

    def steps(self, tool: str, home: Home) -> dict[str, float]:
        """Wide, the same again, and deep, all in one process after a warm-up; milliseconds a step."""
        printed = self.call(tool, home, "steps", self.width, self.links)
        return {name: printed[name] * 1e3 for name in ("fan", "reused", "chain") if name in printed}

    def start(self, tool: str, home: Home) -> dict[str, float]:
        """A script of one step, in an empty home and again, whole process; seconds."""
        return {name: self.call(tool, home, "start")["seconds"] for name in ("cold", "again")}

    def array(self, tool: str, home: Home) -> dict[str, float]:
        return {"array": self.call(tool, home, "array", self.megabytes * 1_000_000 // 8)["array"]}

    def memory(self, tool: str, home: Home) -> dict[str, float]:
        """The peak of the same, in MB, in a call of its own as looking at it takes time."""
        words = ("array", str(self.megabytes * 1_000_000 // 8))
        return {"peak": home.call_sampled(self.pythons[tool], TOOLS[tool][1], *words)["peak"] / 1e6}

    def edit(self, tool: str, home: Home) -> str:
        """Whether an edit of a helper in another module is seen by the next run."""
        if tool == "loky":
            return "keeps nothing"
        helper = home.folder / HELPER
        before = self.call(tool, home, "edit")["result"]
        source = helper.read_text(encoding="utf-8")
        assert BEFORE in source
        helper.write_text(source.replace(BEFORE, AFTER), encoding="utf-8")
        after = self.call(tool, home, "edit")["result"]
        assert before == 25.0, before
        return {12.5: "computed again", 25.0: "stale"}[after]


def median(figures: Figures) -> float | None:
    return statistics.median(figures.values()) if figures else None


def ratio(ours: Figures, theirs: Figures) -> float | None:
    """The median of the ratios of each round: a machine that slows down slows both. None for what a tool does not do."""
    return median({number: theirs[number] / ours[number] for number in ours.keys() & theirs.keys()})


def figure(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "--"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


COLUMNS = ("fan", "chain", "reused", "cold", "again", "array", "peak")


def tables_of(session: Session) -> Iterator[str]:
    header = (
        f"{session.width:,} wide", f"chain of {session.links}", "reused", "cold", "again",
        f"{session.megabytes} MB", "peak",
    )  # fmt: skip
    yield simple_table(
        ("tool", *header, "edited helper"),
        [
            (TOOLS[tool][0], *(figure(median(session.figures[tool][name])) for name in COLUMNS), session.edits[tool])
            for tool in session.pythons
        ],
    )
    peers = [tool for tool in session.pythons if tool != "pipelite"]
    if "pipelite" in session.pythons and peers:
        ours = session.figures["pipelite"]
        yield simple_table(
            ("times pipelite", *header),
            [
                (TOOLS[tool][0], *(figure(ratio(ours[name], session.figures[tool][name])) for name in COLUMNS))
                for tool in peers
            ],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, fewer steps, a smaller array")
    parser.add_argument("--only", nargs="+", choices=TOOLS, metavar="TOOL", help=f"of {', '.join(TOOLS)}")
    parser.add_argument("--rounds", type=int, help="5; with --quick 1")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "benchmarks", help="where environments are kept")
    parser.add_argument("--homes", type=Path, help="where the tools' homes are made: in the cache folder")
    arguments = parser.parse_args()
    # An end from outside goes the way of every other: what was started is ended, and homes are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cache: Path = arguments.cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    with tempfile.TemporaryDirectory(prefix="homes-", dir=arguments.homes or cache) as homes:
        session = Session(arguments.only or list(TOOLS), cache, Path(homes), quick=arguments.quick)
        session.run(rounds)
    print(f"{machine()}; medians of {rounds} round{'s' * (rounds > 1)}")
    print("Milliseconds a step for the first three, seconds for the next three, then MB.\n")
    print("\n\n".join(tables_of(session)))
    if session.failures:
        raise SystemExit("\n".join(session.failures))


if __name__ == "__main__":
    main()
