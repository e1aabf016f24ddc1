"""Several tickers on one workspace over a clock that the test turns, some of which are killed or stopped at any moment.

What is expected comes from the oracle: every minute that a schedule means has one run, made by whichever of them.
"""

import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from oracle import Cron, Minutes

from pipelite import Schedule, Workspace
from pipelite.automate import ticking as ticking_module
from pipelite.automate.ticking import Ticker
from pipelite.clock import CLOCK
from pipelite.errors import WorkspaceBusyError

IS_FULL = os.environ.get("PIPELITE_CHAOS") == "full"
#: Minutes that the clock is turned by, how often each schedule is there, and the shares of minutes with a kill and a stop.
STEPS, COPIES, KILLS, STOPS = (10_000, 5, 0.01, 0.01) if IS_FULL else (240, 1, 0.08, 0.17)
START = datetime(2026, 3, 28, 22, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

#: A process that is nothing but a ticker, by a clock that is the eight bytes of a file.
TICKER = """
import mmap, struct, sys, threading, time
from datetime import UTC, datetime
from pipelite.automate import Ticker
from pipelite.clock import Clock
from pipelite.store import hold_store


class FileClock(Clock):
    def __init__(self, path):
        with open(path, "r+b") as file:
            self._bytes = mmap.mmap(file.fileno(), 8)

    def now(self):
        return datetime.fromtimestamp(struct.unpack("d", self._bytes[:8])[0], UTC)

    def wait(self, bell, seconds):
        # It may have been turned before this looks at it, and it stands until it is turned again.
        before, until = self.now(), time.monotonic() + 0.05
        while not bell.is_set() and self.now() == before and time.monotonic() < until:
            time.sleep(0.001)


ticker = Ticker(hold_store(), FileClock(sys.argv[1]))
ticker.start()
print("ready", flush=True)
sys.stdin.read()
ticker.stop()
"""


class Tickers:
    """The processes, and the clock that they go by."""

    def __init__(self, path, count):
        self._path = path
        path.write_bytes(struct.pack("d", START.timestamp()))
        with path.open("r+b") as file:
            self._bytes = mmap.mmap(file.fileno(), 8)
        self.now = START
        self.processes = [self._start() for _ in range(count)]

    def _start(self):
        process = subprocess.Popen(
            [sys.executable, "-c", TICKER, str(self._path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        return process

    def turn(self, span):
        self.now += span
        self._bytes[:8] = struct.pack("d", self.now.timestamp())

    def kill(self, number):
        end(self.processes[number])
        self.processes[number] = self._start()

    def close(self):
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            end(process)
        self._bytes.close()


def end(process):
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


@pytest.fixture
def tickers(tmp_path):
    started = []

    def start(count):
        started.append(Tickers(tmp_path / "clock", count))
        return started[-1]

    yield start
    for each in started:
        each.close()


def wait_until_nothing_is_due(now, timeout_s):
    until = time.monotonic() + timeout_s
    store = Workspace().store
    while store.database.read(
        "SELECT 1 FROM schedules WHERE due_at <= ? LIMIT 1", (now.isoformat(timespec="microseconds"),)
    ):
        if time.monotonic() > until:
            return False
        time.sleep(0.001)
    return True


CRONS = (
    ("* * * * *", "UTC"),
    ("*/5 * * * *", "Europe/Berlin"),
    ("30 2 * * *", "Europe/Berlin"),
    ("15,45 1-4 * * *", "Europe/London"),
    ("0 * * * *", "Australia/Lord_Howe"),
)


@pytest.mark.parametrize(("count", "seed"), [(2, 1), (4, 2)])
def test_each_slot_has_one_run_however_many_tickers_are_killed_and_stopped(flow, tickers, monkeypatch, count, seed):
    drawn = random.Random(seed)
    flow().train.publish("Adding", version="1.0")
    monkeypatch.setattr(CLOCK, "now", lambda: START)
    for number, (expression, zone) in enumerate(CRONS * COPIES):
        for catch_up in ("none", "all"):
            Schedule.create(
                f"{number} {catch_up}", "Adding", cron=expression, timezone=zone, catch_up=catch_up, overlap="allow"
            )
    running = tickers(count)
    stopped = None

    for step in range(STEPS):
        running.turn(MINUTE)
        chance = drawn.random()
        if chance < KILLS:
            running.kill(drawn.randrange(count))
        elif chance < KILLS + STOPS and stopped is None:
            stopped = running.processes[drawn.randrange(count)]
            stopped.send_signal(signal.SIGSTOP)
            woken_at = step + 3
        # One that was stopped in the middle of a transaction keeps the others waiting until it goes on.
        is_done = wait_until_nothing_is_due(running.now, 0.3 if stopped else 30)
        if stopped is not None and (not is_done or step >= woken_at):
            stopped.send_signal(signal.SIGCONT)
            stopped = None
            is_done = wait_until_nothing_is_due(running.now, 30)
        assert is_done

    workspace = Workspace()
    runs = {}
    for name, slot in workspace.store.database.read("SELECT tags ->> 'schedule', tags ->> 'slot' FROM runs"):
        runs.setdefault(name, []).append(datetime.fromisoformat(slot))
    for number, (expression, zone) in enumerate(CRONS * COPIES):
        expected = Minutes(zone, START + MINUTE, running.now).slots(
            Cron(expression).means,
            *(("skip", "both") if "*" in expression.split()[0] + expression.split()[1] else ("shift", "first")),
        )
        for catch_up in ("none", "all"):
            name = f"{number} {catch_up}"
            assert sorted(runs.get(name, [])) == expected, name
            assert {slot.outcome for slot in workspace.schedules[name].history(limit=None)} <= {"fired"}


def test_one_that_was_stopped_in_the_middle_of_a_decision_looks_at_the_clock_again(flow, clock, monkeypatch):
    flow().train.publish("Adding", version="1.0")
    schedule = Schedule.create("minutely", "Adding", every=60, overlap="allow")
    load = ticking_module.load_schedules

    def load_slowly(connection, names):
        monkeypatch.setattr(ticking_module, "load_schedules", load)
        clock.turn(minutes=10)
        return load(connection, names)

    clock.turn(minutes=1)
    monkeypatch.setattr(ticking_module, "load_schedules", load_slowly)

    Ticker(Workspace().store).tick()

    assert [slot.outcome for slot in schedule.history()] == ["fired"] + ["missed"] * 10


def test_a_schedule_that_cannot_be_decided_is_in_its_history_and_in_nobodys_way(flow, clock, monkeypatch):
    flow().train.publish("Adding", version="1.0")
    bad, good = (Schedule.create(name, "Adding", every=60, overlap="allow") for name in ("bad", "good"))
    decide = ticking_module.decide

    def decide_if_good(connection, record, *rest, **options):
        found = decide(connection, record, *rest, **options)
        if record.name == "bad":
            raise RuntimeError("a mistake of our own")
        return found

    monkeypatch.setattr(ticking_module, "decide", decide_if_good)
    clock.turn(minutes=1)

    Ticker(Workspace().store).tick()

    assert [slot.outcome for each in (bad, good) for slot in each.history()] == ["failed", "fired"]
    assert "RuntimeError: a mistake of our own" in bad.history()[0].reason
    assert len(Workspace().runs()) == 1


def test_a_ticker_goes_on_when_the_workspace_can_be_written_again(flow, monkeypatch):
    flow().train.publish("Adding", version="1.0")
    schedule = Schedule.create("each second", "Adding", every=1, overlap="allow")
    store = Workspace().store
    told = []
    write, refused = store.database.write, [WorkspaceBusyError("another writes")] * 2

    def write_later():
        if refused:
            raise refused.pop()
        return write()

    monkeypatch.setattr(store.database, "write", write_later)
    ticker = Ticker(store, tell=lambda event, details: told.append((event, details.get("message"))))
    ticker.start()
    try:
        until = time.monotonic() + 30
        while not schedule.history():
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        ticker.stop()

    assert [each for each in told if each[0] != "fired"] == [("error", "another writes"), ("works again", None)]
    assert schedule.history()[-1].outcome == "fired"


def test_new_rules_of_a_time_zone_count_from_the_reload_on(flow, clock):
    flow().train.publish("Adding", version="1.0")
    schedule = Schedule.create("daily", "Adding", cron="0 18 * * *")
    store = Workspace().store
    right = schedule.record.next_at
    with store.database.write() as connection:
        # As if the zone had had other rules when the next slot was found.
        later = (right + timedelta(hours=1)).isoformat(timespec="microseconds")
        connection.execute("UPDATE schedules SET next_at = ?, due_at = ?", (later, later))

    ticker = Ticker(store)
    ticker.start()
    until = time.monotonic() + 30
    while schedule.record.next_at != right and time.monotonic() < until:
        time.sleep(0.01)
    ticker.stop()

    assert schedule.record.next_at == right
