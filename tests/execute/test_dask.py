"""Steps on a Dask cluster: a real scheduler and worker processes of its own, on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelite import Workspace, current_run, pipeline, step
from pipelite.errors import ComputeTargetError, StepFailed


class Cluster:
    """A scheduler and workers, each a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        self.address = ""
        self._count = 0

    def start_scheduler(self, port: int = 0) -> subprocess.Popen[bytes]:
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        process = self._start(
            "dask_scheduler", f"--host=127.0.0.1 --port={port} --no-dashboard --scheduler-file={file}".split()
        )
        wait_until(lambda: file.exists() and file.read_text().endswith("}"))
        self.address = json.loads(file.read_text())["address"]
        return process

    def start_worker(self, *options: str) -> subprocess.Popen[bytes]:
        self._count += 1
        place = self.folder / f"worker-{self._count}"
        arguments = [self.address, "--nthreads=1", "--no-dashboard", f"--local-directory={place}", *options]
        self.workers.append(self._start("dask_worker", arguments))
        return self.workers[-1]

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, module: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{module}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers under nannies: daemonic processes, which are started again when they die."""
    made = Cluster(tmp_path_factory.mktemp("dask"))
    try:
        made.start_scheduler()
        for _ in range(2):
            made.start_worker("--nanny")
        yield made
    finally:
        made.end()


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler, for tests that add workers and kill things."""
    (tmp_path / "dask").mkdir()
    made = Cluster(tmp_path / "dask")
    try:
        made.start_scheduler()
        yield made
    finally:
        made.end()


@step
def double(number: int) -> int:
    print(f"doubling {number}")
    current_run().log("number", number)
    return 2 * number


@step
def write(number: int) -> Path:
    path = current_run().scratch / "number.txt"
    path.write_text(str(number))
    current_run().upload_file("copy", path)
    return path


@step
def read(path: Path, letters: str) -> tuple[str, int]:
    return path.read_text(), len(letters)


@pipeline
def numbers(count: int = 6) -> Any:
    return {"doubled": double.map(list(range(count))), "read": read(write(7), "x" * 100_000)}


@step(timeout=1.5)
def hang() -> None:
    time.sleep(30)


@step
def die() -> None:
    print("dying", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


@pipeline
def failing() -> Any:
    return {"hang": hang(), "die": die(), "fine": double.map([1, 2])}


@step(cache=False)
def slow(number: int, file: str, seconds: float) -> int:
    print(f"slow {number}", flush=True)
    mark = Path(f"{file}{number}-{current_run().attempt}.begun")
    mark.write_text(str(os.getppid()))
    mark.rename(mark.with_suffix(""))
    time.sleep(seconds)
    return number


@pipeline
def lasting(file: str, retries: int = 0, seconds: float = 0.7, count: int = 1) -> Any:
    return slow.with_options(retries=retries).map(list(range(count)), file=file, seconds=seconds)


def use(cluster: Cluster, **settings: Any) -> Any:
    Workspace().compute["cluster"] = {"kind": "dask", "address": cluster.address, **settings}
    return "cluster"


def test_steps_run_on_workers_that_see_the_workspace(cluster: Cluster) -> None:
    run = numbers.with_options(compute=use(cluster)).run()

    assert run.outputs["doubled"] == [0, 2, 4, 6, 8, 10]
    assert run.outputs["read"] == ("7", 100_000)
    assert run.steps["double[3]"].logs == "doubling 3\n"
    assert run.metrics["double[3]/number"] == 3
    assert (run.steps["double[3]"].peak_memory_bytes or 0) > 1_000_000
    assert all(found.reused for found in numbers.run().steps.values())


def test_workers_with_a_folder_of_their_own_pass_values_through_a_shared_one(cluster: Cluster, tmp_path: Path) -> None:
    (shared := tmp_path / "shared").mkdir()

    run = numbers.with_options(compute=use(cluster, shared=str(shared))).run()

    assert run.outputs["read"] == ("7", 100_000)
    assert run.steps["double[3]"].logs == "doubling 3\n"
    assert run.metrics["double[3]/number"] == 3
    assert run.metrics["write/copy"]["size_bytes"] == 1
    assert [path.name for path in (shared / "spool").iterdir()] == []
    assert all(found.reused for found in numbers.run().steps.values())


def test_a_client_s_executor_can_be_handed_in(cluster: Cluster) -> None:
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:
        run = numbers.with_options(compute=client.get_executor()).run(count=2)

    assert run.outputs["doubled"] == [0, 2]


@pytest.mark.parametrize("is_shared", [False, True])
def test_timeouts_and_deaths_are_told_and_fail_alone(cluster: Cluster, tmp_path: Path, is_shared: bool) -> None:
    (tmp_path / "shared").mkdir()
    settings = {"shared": str(tmp_path / "shared")} if is_shared else {}

    with pytest.raises(StepFailed):
        failing.with_options(compute=use(cluster, **settings), keep_going=True).run()

    steps = Workspace().run().steps
    assert "longer than its timeout of 1.5 s" in (steps["hang"].error or "")
    assert "SIGKILL" in (steps["die"].error or "")
    assert steps["die"].logs == "dying\n"
    assert [steps[f"double[{number}]"].status for number in (0, 1)] == ["completed"] * 2


def test_a_cancel_ends_what_runs_and_what_waits_does_not_begin(cluster: Cluster, tmp_path: Path) -> None:
    run = lasting.with_options(compute=use(cluster)).submit(file=str(tmp_path / "s"), seconds=30.0, count=6)
    wait_until(lambda: len(list(tmp_path.glob("s*"))) == 2)
    started = time.monotonic()

    run.cancel()

    assert run.wait(20).status == "canceled"
    assert time.monotonic() - started < 5
    assert sorted(found.status for found in run.steps.values()) == ["canceled"] * 2 + ["skipped"] * 4
    assert len(list(tmp_path.glob("s*"))) == 2


def test_no_scheduler_at_the_address_is_an_error_before_anything_starts() -> None:
    Workspace().compute["cluster"] = {"kind": "dask", "address": "tcp://127.0.0.1:9", "timeout": 0.5}

    with pytest.raises(ComputeTargetError, match=r"'cluster': no Dask scheduler answers at tcp://127.0.0.1:9"):
        numbers.with_options(compute="cluster").run()

    assert Workspace().runs() == []


@pytest.mark.parametrize("retries", [0, 1])
def test_a_step_whose_worker_is_killed_is_retried_by_its_own_policy(
    cluster: Cluster, tmp_path: Path, retries: int
) -> None:
    target = lasting.with_options(compute=use(cluster), keep_going=True)
    run = target.submit(file=str(tmp_path / "s"), retries=retries, count=3)
    wait_until((tmp_path / "s0-1").exists)
    os.kill(int((tmp_path / "s0-1").read_text()), signal.SIGKILL)

    if retries:
        assert run.wait(30).outputs["result"] == [0, 1, 2]
        assert [found.attempts for found in run.steps.values()] == [2, 1, 1]
    else:
        with pytest.raises(StepFailed, match=r"the worker that ran it \(.*\) was lost"):
            run.wait(30)
        assert [found.status for found in run.steps.values()] == ["failed", "completed", "completed"]
        assert not (tmp_path / "s0-2").exists()


def test_a_run_goes_on_when_a_scheduler_comes_back_and_fails_in_words_when_it_does_not(
    fragile: Cluster, tmp_path: Path
) -> None:
    fragile.start_worker("--no-nanny")
    run = lasting.with_options(compute=use(fragile)).submit(file=str(tmp_path / "s"), count=2)
    wait_until((tmp_path / "s0-1").exists)
    fragile.processes[0].kill()
    fragile.processes[0].wait()
    fragile.start_scheduler(int(fragile.address.rpartition(":")[2]))
    fragile.start_worker("--no-nanny")

    assert run.wait(30).outputs["result"] == [0, 1]
    assert [found.attempts for found in run.steps.values()] == [1, 1]

    run = lasting.with_options(compute=use(fragile, timeout=0.5)).submit(file=str(tmp_path / "t"))
    wait_until((tmp_path / "t0-1").exists)
    fragile.processes[-2].kill()

    with pytest.raises(StepFailed, match=r"the Dask scheduler .* is out of reach, and did not come back"):
        run.wait(30)


def wait_until(is_so: Callable[[], bool], timeout_s: float = 30.0) -> None:
    until = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)
