"""R4 in real time: two daemons on one workspace, of which one is killed again and again, keep a schedule of every second."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import seconds
from limits import allowed

from pipelite import Schedule, Workspace

#: How long, and the seconds between two kills.
SECONDS = {"small": 4, "full": 3600}
PAUSE_S = {"small": (0.3, 1.0), "full": (1.0, 20.0)}
SECOND = timedelta(seconds=1)


class Daemon:
    """`pipelite daemon` in a process of its own, with its log in a file."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipelite", "daemon", "--max-runs", "2", "--grace", "1"], stdout=file
            )

    @property
    def has_started(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()
        return " started " in self._log.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.mark.filterwarnings("ignore:run .* waits in the queue")
def test_a_schedule_of_every_second_is_kept_while_one_daemon_of_two_is_killed(workspace, size, seed, figures):
    draw, kills = random.Random(seed), 0
    seconds.each_second.publish("Seconds")
    logs = [workspace.parent / "0.log", workspace.parent / "1.log"]
    daemons = [Daemon(log) for log in logs]
    try:
        while not all(daemon.has_started for daemon in daemons):
            time.sleep(0.05)
        start = datetime.now(UTC).replace(microsecond=0) + 2 * SECOND
        expected = [start + number * SECOND for number in range(SECONDS[size])]
        schedule = Schedule.create("seconds", "Seconds", every=1, start=start, end=expected[-1], overlap="allow")
        while (left := (expected[-1] - datetime.now(UTC)).total_seconds()) > 0:
            time.sleep(min(left, draw.uniform(*PAUSE_S[size])))
            # There is always one that serves.
            if left > 0 and all(daemon.has_started for daemon in daemons):
                number = draw.randrange(2)
                daemons[number].kill()
                daemons[number] = Daemon(logs[number])
                kills += 1
        until = time.monotonic() + allowed(60)
        while sum(run.status in ("completed", "failed") for run in Workspace().runs(limit=None)) < len(expected):
            assert time.monotonic() < until, schedule.history(limit=5)
            time.sleep(0.2)
    finally:
        for daemon in daemons:
            daemon.process.terminate()
        for daemon in daemons:
            daemon.process.wait(30)

    slots = schedule.history(limit=None)[::-1]
    runs = Workspace().runs(limit=None)
    # Each slot is there, at its second exactly, and has a run of its own; no run is there besides.
    assert [slot.at for slot in slots] == expected
    assert {(slot.outcome, slot.reason) for slot in slots} == {("fired", None)}
    assert sorted(run.id for run in runs) == sorted(slot.run_id for slot in slots)
    assert Counter(run.tags["slot"] for run in runs) == Counter(slot.at.isoformat() for slot in slots)
    late = [(slot.decided_at - slot.at).total_seconds() for slot in slots]
    quarter = max(1, len(late) // 4)
    p99 = sorted(late)[int(0.99 * len(late))]
    figures["slots"] = len(slots)
    figures["kills"] = kills
    figures["runs"] = dict(Counter(str(run.status) for run in runs))
    figures["lateness"] = f"median {statistics.median(late):.3f} s, p99 {p99:.3f} s, worst {max(late):.3f} s"
    drift = statistics.median(late[-quarter:]) - statistics.median(late[:quarter])
    figures["lateness of the last quarter against the first"] = f"{drift * 1e3:+.1f} ms"
    assert kills > 0
    assert p99 <= allowed(1.0)
