"""R3: full disks and I/O errors, at every place that writes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import disk_graph
import faults
import pytest
import seconds
import spreads
from limits import allowed
from wholeness import check_complete, check_whole

from pipelite import Schedule, Workspace
from pipelite.api.starting import resume_run
from pipelite.errors import StepFailed, StorageError
from pipelite.execute import recover_dead_runs
from pipelite.store import Store, get_run, get_step_runs, list_runs

REASONS = {
    "ENOSPC": "the disk is full",
    "EIO": "the disk reports an input/output error",
    "EROFS": "the file system is read-only",
    "EMFILE": "too many files open",
}


@pytest.mark.parametrize("kind", [*(f"os {name}" for name in faults.OS_CALLS), "sql"])
def test_a_write_that_fails_fails_the_run_with_the_reason_and_it_can_be_resumed(kind, workspace, size, figures):
    reasons = list(REASONS) if kind != "sql" else ["ENOSPC", "EIO"]
    numbers = itertools.count(1)
    disk_graph.flow.run(number=next(numbers))
    store = Workspace().store
    failed = clean = 0

    for nth in itertools.count(1):
        struck = False
        for reason in reasons if size == "full" else [reasons[nth % len(reasons)]]:
            number, has_failed = next(numbers), False
            known = {run.id for run in list_runs(store, limit=None)}
            with faults.fault(f"{kind} {nth} {reason} {number}"):
                try:
                    run = disk_graph.flow.run(number=number)
                except (StepFailed, StorageError) as exc:
                    struck = has_failed = True
                    assert REASONS[reason] in str(exc)
                    made = [run for run in list_runs(store, limit=None) if run.id not in known]
                    run = Workspace().run(made[0].id) if made else None
            if run is not None and has_failed:
                failed += 1
                assert run.status == "failed"
                assert REASONS[reason] in run.error
                run = resume_run(disk_graph.flow, {"number": number}, run.record).wait(30)
            if run is not None:
                check_complete(run, number)
        clean = 0 if struck else clean + 1
        # Some calls may fail without harm.
        if clean == 5:
            break

    check_whole(store)
    assert failed > 0
    figures["failed and resumed"] = failed
    figures["calls tried"] = nth


#: When the disk fills up: seconds since the process was started, or since its run was.
MOMENTS = {"at the start": (0.0, 0.7), "early": (0.0, 0.2), "in the midst": (0.2, 0.5), "late": (0.5, 0.9)}
#: At each of these.
N_FILLS = {"small": 1, "full": 50}


def can_mount() -> bool:
    """Whether a small file system of our own can be made here."""
    folder = Path(tempfile.mkdtemp())
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
        )
    except FileNotFoundError:
        return False
    else:
        if done.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return done.returncode == 0
    finally:
        folder.rmdir()


@pytest.fixture
def small_disk(workspace, monkeypatch) -> Iterator[Path]:
    """A workspace on a disk of its own."""
    folder = workspace.parent / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", folder], check=True)
    monkeypatch.setenv("PIPELITE_WORKSPACE", str(folder / "workspace"))
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Take all the space that there is; gives the file that has it."""
    path = folder / "filler"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    for size in (1 << 20, 1 << 12):
        with contextlib.suppress(OSError):
            while True:
                os.write(descriptor, bytes(size))
    os.close(descriptor)
    return path


def pipelite(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelite", *arguments]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


def spread_under_pressure(first: int, folder: Path, moment: str, delay_s: float) -> tuple[float, str]:
    """Run while the disk fills up; gives the seconds from then to the end of the run, and what it said."""
    logs = folder / "workspace" / "logs"
    known = len(os.listdir(logs))
    command = [sys.executable, "-m", "pipelite", "run", f"{spreads.__file__}:spread", "-p", f"first={first}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while moment != "at the start" and len(os.listdir(logs)) == known and process.poll() is None:
        time.sleep(0.005)
    time.sleep(delay_s)
    filler = fill(folder)
    began = time.monotonic()
    _, errors = process.communicate(timeout=120)
    took_s = time.monotonic() - began
    # Looking is possible all the same.
    with Store.open() as store:
        assert list_runs(store)
    filler.unlink()
    return took_s, errors


def check_spread(first: int, folder: Path, moment: str, delay_s: float) -> tuple[float, bool]:
    """One full disk; gives how long the run took to fail, and whether it did."""
    took_s, errors = spread_under_pressure(first, folder, moment, delay_s)
    with Store.open() as store:
        # What the database did not take even then, it takes now.
        recover_dead_runs(store)
        run = get_run(store)
        has_run = get_step_runs(store, run.id) if run.status == "failed" else []
    if run.parameters["first"] != first:
        # It was full before there was a run.
        assert "the disk is full" in errors
        return took_s, True
    if run.status == "completed":
        return took_s, False
    assert run.status == "failed", (run.status, errors)
    assert "the disk is full" in run.error or "No space left on device" in run.error
    done = {step.name: step.started_at for step in has_run if step.status == "completed"}
    again = resume_run(spreads.spread, {"first": first}, run).wait(60)
    assert again.outputs["sum"] == sum(range(first, first + 40))
    assert {name: again.steps[name].record.started_at for name in done} == done
    return took_s, True


if can_mount():  # It takes a right that not every machine gives; the next test needs none.

    @pytest.mark.parametrize("moment", MOMENTS)
    def test_a_full_disk_fails_the_run_and_once_there_is_space_it_goes_on(moment, small_disk, size, seed, figures):
        draw = random.Random(seed)
        pipelite("run", f"{spreads.__file__}:spread", "-p", "first=0")
        n_fills = N_FILLS[size]

        looks = [
            check_spread(100 * number, small_disk, moment, draw.uniform(*MOMENTS[moment]))
            for number in range(1, n_fills + 1)
        ]

        with Store.open() as store:
            check_whole(store)
        figures["disks filled"] = n_fills
        figures["runs that failed and were resumed"] = sum(failed for _, failed in looks)
        figures["longest until the end"] = f"{max(took_s for took_s, _ in looks):.1f} s"
        # With the small size, whatever else runs decides.
        assert max(took_s for took_s, _ in looks) <= allowed({"small": 30.0, "full": 5.0}[size])

    @pytest.mark.filterwarnings("ignore:run .* waits in the queue")
    def test_a_daemon_says_once_that_the_disk_is_full_and_goes_on_when_it_is_not(small_disk, size, figures):
        seconds.each_second.publish("Seconds")
        schedule = Schedule.create("seconds", "Seconds", every=1, overlap="allow")
        full_s = {"small": 1.5, "full": 20.0}[size]
        command = [sys.executable, "-m", "pipelite", "daemon", "--json", "--max-runs", "2", "--grace", "1"]
        log = small_disk.parent / "daemon.log"

        def events() -> list[str]:
            return [json.loads(line)["event"] for line in log.read_text().splitlines()]

        with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as daemon:
            wait_until(lambda: "fired" in events())
            filler = fill(small_disk)
            wait_until(lambda: "error" in events())
            time.sleep(full_s)
            assert daemon.poll() is None
            filler.unlink()
            freed_at = datetime.now(UTC)
            wait_until(lambda: any(slot.at > freed_at and slot.run_id for slot in schedule.history(limit=3)))
            last = Workspace().run(schedule.history(limit=1)[0].run_id)
            assert last.wait(60).status == "completed"
            daemon.terminate()
            assert daemon.wait(60) == 0

        told = [event for event in events() if event not in ("fired", "missed")]
        assert told == ["started", "error", "works again", "ending", "ended"]
        # Each second has its row, and what was due within the last half minute has its run.
        slots = schedule.history(limit=None)[::-1]
        assert {later.at - slot.at for slot, later in itertools.pairwise(slots)} == {timedelta(seconds=1)}
        assert {slot.outcome for slot in slots} == {"fired"}
        with Store.open() as store:
            check_whole(store)
        figures["seconds that the disk was full"] = full_s
        figures["runs"] = dict(Counter(str(run.status) for run in Workspace().runs(limit=None)))


def wait_until(holds: Callable[[], object], timeout_s: float = 60.0) -> None:
    until = time.monotonic() + allowed(timeout_s)
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_file_that_may_not_grow_fails_the_run_and_leaves_everything_whole(workspace):
    limit = "import resource, signal; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, -1))"
    command = ["pipelite", "run", f"{spreads.__file__}:spread", "-p", "first=7"]
    run = f"import sys; from pipelite.cli import main; sys.argv = {command!r}; main()"

    done = subprocess.run(
        [sys.executable, "-c", f"{limit}; {run}"],
        env={**os.environ, spreads.LENGTH: "200_000"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "larger than this process may write" in done.stderr
    with Store.open() as store:
        assert "larger than this process may write" in get_run(store).error
        check_whole(store)
    assert pipelite("runs", "list").returncode == 0
    assert pipelite("runs", "resume", **{spreads.LENGTH: "200_000"}).returncode == 0
