"""kill -9 of a server, of a runner, of both: every accepted run comes to its end, and nothing is executed twice."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import queue_server
import queued
from limits import allowed

from pipelite.execute import badges

N_KILLS = {"small": 25, "full": 200}
#: Seconds from a kill to the next.
PAUSE_S = 0.6


class Server:
    """A server in a process of its own."""

    def __init__(self, word: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, queue_server.__file__],
            env={**os.environ, "MARK_OF_THIS_TEST": word},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


def runners(word: str) -> list[int]:
    """Runners of any server of this test, also of those that were killed."""
    found = []
    for process in badges.find_wearers(word):
        try:
            command = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"pipelite.api.runner" in command:
            found.append(process)
    return found


@pytest.mark.filterwarnings("ignore:run .* waits in the queue")
def test_every_accepted_run_is_executed_to_its_end_and_no_step_by_two(workspace, size, seed, figures, monkeypatch):
    draw, word = random.Random(seed), f"QUEUE-{os.urandom(8).hex()}"
    ledger = workspace.parent / "ledger.txt"
    monkeypatch.setenv(queued.LEDGER, str(ledger))
    published = queued.lasting.publish("Lasting")
    runs, kills = [], Counter()
    server = Server(word)
    try:
        for number in range(N_KILLS[size]):
            for _ in range(draw.choice((0, 1, 2))):
                runs.append(published.submit(run=f"{number}-{len(runs)}", seconds=draw.choice((0.0, 0.05, 0.3))))
            time.sleep(draw.uniform(0, PAUSE_S))
            what = draw.choice(("server", "runner", "both"))
            kills[what] += 1
            if what != "server":
                for process in draw.sample(found := runners(word), min(1, len(found))):
                    os.kill(process, signal.SIGKILL)
            if what != "runner":
                server.kill()
                server = Server(word)
        until = time.monotonic() + allowed(60 + len(runs))
        while any(run.status not in ("completed", "failed") for run in runs):
            assert time.monotonic() < until, Counter(run.status for run in runs)
            time.sleep(0.1)
    finally:
        server.close()
        badges.end_wearers(word, timeout_s=10)

    given_up = [run for run in runs if run.status == "failed"]
    assert all("its runner ended 3 times" in run.error for run in given_up)
    check(ledger, {run.parameters["run"] for run in runs if run.status == "completed"}, sum(kills.values()))
    figures["kills"] = dict(kills)
    figures["runs"] = len(runs)
    figures["given up"] = len(given_up)


def check(ledger: Path, completed: set[str], n_kills: int) -> None:
    """No step was at work twice at once, each of a completed run came to its end, and few were done again."""
    begun: dict[str, list[tuple[float, str]]] = defaultdict(list)
    ended: dict[tuple[str, str], float] = {}
    for line in ledger.read_text().splitlines():
        what, name, process, at = line.split()
        if what == "begin":
            begun[name].append((float(at), process))
        else:
            ended[name, process] = float(at)
    n_done = Counter(name for name, _ in ended)
    for run in completed:
        assert all(n_done[f"{run}-{number}"] for number in range(4)), f"a step of {run} has no end"
    for name, starts in begun.items():
        for (at, process), (following, _) in itertools.pairwise(sorted(starts)):
            # One without an end was killed.
            assert ended.get((name, process), at) <= following, f"{name} was at work twice at once"
    # Only what was not committed yet at a kill may be done again: a step for each run that was at work.
    assert sum(count - 1 for count in n_done.values()) <= 2 * n_kills
