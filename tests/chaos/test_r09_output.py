"""R9: steps that print without measure cost nobody else anything, and what counts of it is kept."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import printers
import psutil
import pytest

from pipelite.errors import StepFailed
from pipelite.store import logs as store_logs

MB = 2**20


@pytest.fixture
def cap(monkeypatch) -> int:
    """A cap so low that the tests need not print for long."""
    cap = 8 * MB
    monkeypatch.setattr("pipelite.execute.logs.LOG_CAP_BYTES", cap)
    return cap


@contextmanager
def measured() -> Iterator[dict[str, int]]:
    """How much this process, in which the coordinator is, grows at most meanwhile."""
    process = psutil.Process()
    before, found, done = process.memory_info().rss, {"growth": 0}, threading.Event()

    def look() -> None:
        while not done.wait(0.01):
            found["growth"] = max(found["growth"], process.memory_info().rss - before)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


def disk_use(folder: Path) -> int:
    return sum(os.stat(path).st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def test_of_a_flood_the_first_and_the_last_part_are_kept(workspace, size, cap, figures):
    n_bytes = {"small": 300 * MB, "full": 10_000 * MB}[size]

    with measured() as memory:
        run = printers.one.run(name="flood", argument=n_bytes)

    step = run.steps["flood"]
    shown = store_logs.read_log(run._store, step.record, cap_bytes=cap)
    assert shown.startswith(printers.CHUNK)
    assert shown.endswith(b"the end of the flood\n")
    assert b" left out ..." in shown
    assert len(shown) <= cap + 100
    kept = disk_use(workspace / "logs")
    # Whole megabytes are given back, so that a part of one stays at either end.
    assert kept <= cap + 3 * MB
    assert memory["growth"] <= 64 * MB
    assert (workspace / "pipelite.db").stat().st_size <= MB
    figures["printed"] = f"{n_bytes // MB} MB"
    figures["kept"] = f"{kept / MB:.1f} MB of at most {cap // MB} MB"
    figures["coordinator grew by"] = f"{memory['growth'] / MB:.1f} MB"


def test_many_lines_and_one_long_line_arrive_whole(workspace, size, figures):
    n_lines, length = {"small": (100_000, 20 * MB), "full": (10_000_000, 100 * MB)}[size]

    with measured() as memory:
        lines = printers.one.run(name="many_lines", argument=n_lines).steps["many_lines"].record
        line = printers.one.run(name="one_line", argument=length).steps["one_line"].record

    path = workspace / "logs"
    assert (path / lines.log_file).read_bytes()[: lines.log_end].endswith(f"line {n_lines - 1}\n".encode())
    assert line.log_end - line.log_start == length + 1
    assert memory["growth"] <= 64 * MB
    figures["lines"] = n_lines
    figures["longest"] = f"{length // MB} MB"


def test_bytes_escapes_and_grandchildren_are_kept_as_they_are(workspace):
    binary = printers.one.run(name="binary").steps["binary"]
    grandchildren = printers.one.run(name="grandchildren").steps["grandchildren"]

    assert store_logs.read_log(binary._store, binary.record) == bytes(range(256)) * 100 + b"\x1b[31mred\x1b[0m\n"
    assert grandchildren.logs == "from a grandchild\n"


def test_what_is_printed_after_the_end_of_a_step_is_not_taken_for_its_output(workspace):
    run = printers.one.run(name="print_later")
    path = workspace / "logs" / run.steps["print_later"].record.log_file
    until = time.monotonic() + 10
    while b"too late" not in path.read_bytes() and time.monotonic() < until:
        time.sleep(0.01)

    assert run.steps["print_later"].logs == "in time\n"
    assert b"too late" in path.read_bytes()


def test_the_last_output_of_a_step_that_is_killed_is_there(workspace):
    with pytest.raises(StepFailed) as caught:
        printers.one.run(name="print_and_die", argument=65_536)

    from pipelite import Workspace

    log = Workspace().run(caught.value.run_id).steps["print_and_die"].logs
    assert len(log) == 65_536
    assert log.endswith("last\n")


def test_printing_costs_a_step_no_more_than_writing_a_file(workspace, size, figures):
    plain_s, captured_s = printers.one.run(name="compare", argument=20 * MB).outputs["result"]

    # What else runs decides with the small size; a pipe that somebody else had to read would cost more than this.
    assert captured_s <= {"small": 4.0, "full": 1.1}[size] * plain_s
    figures["ratio to a plain file"] = f"{captured_s / plain_s:.2f}"
