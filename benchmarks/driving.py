"""Runs one driver in a home of its own, looks at what its processes take, and ends all of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import psutil

DRIVERS = Path(__file__).resolve().parent / "drivers"

#: Marks the processes of one call: the sum of a tool's memory is that of everything it starts, and all of it is ended.
MARK = "BENCHMARK_CALL"

TIME_LIMIT_S = 900.0


class DriverFailed(Exception):
    """A driver ended with an error, or took too long; the message has the end of what it said."""


class Home:
    """A folder that is home, working folder and temporary folder of one tool, with copies of the drivers in it."""

    def __init__(self, below: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="home-", dir=below))
        (self.folder / "tmp").mkdir()
        for driver in DRIVERS.glob("*.py"):
            shutil.copy(driver, self.folder)

    def __enter__(self) -> Home:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, python: Path, driver: str, *words: str) -> dict[str, Any]:
        """What the driver printed, with `seconds`: how long its whole process took."""
        return self._call(python, driver, words, sample=False)

    def call_sampled(self, python: Path, driver: str, *words: str) -> dict[str, Any]:
        """The same with `peak`: the most that all its processes took together, in bytes.

        Pages that several share are counted once (proportional set size). Looking takes time, so times of such a call
        are not to be used.
        """
        return self._call(python, driver, words, sample=True)

    def _call(self, python: Path, driver: str, words: tuple[str, ...], *, sample: bool) -> dict[str, Any]:
        mark = uuid.uuid4().hex
        peak = 0
        with (self.folder / "stdout.txt").open("w+") as stdout, (self.folder / "stderr.txt").open("w+") as stderr:
            started = time.perf_counter()
            process = subprocess.Popen(
                [str(python), driver, *words],
                cwd=self.folder,
                env=self._environment(python, mark),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
            try:
                if sample:
                    while process.poll() is None and time.perf_counter() - started < TIME_LIMIT_S:
                        peak = max(peak, sum(map(proportional_size, marked(mark))))
                        time.sleep(0.005)
                process.wait(max(0.1, TIME_LIMIT_S - (time.perf_counter() - started)))
                seconds = time.perf_counter() - started
            except subprocess.TimeoutExpired:
                raise DriverFailed(f"{driver} {' '.join(words)}: not done after {TIME_LIMIT_S:.0f} s") from None
            finally:
                end_all(mark)
            stdout.seek(0)
            stderr.seek(0)
            if process.returncode:
                said = stderr.read().strip()[-2000:]
                raise DriverFailed(f"{driver} {' '.join(words)}: exit {process.returncode}\n{said}")
            return {**json.loads(stdout.read().splitlines()[-1]), "seconds": seconds, "peak": peak}

    def _environment(self, python: Path, mark: str) -> dict[str, str]:
        """Nothing of the user's but the paths of programs and the choice of a BLAS; nothing calls home."""
        kept = {name: value for name, value in os.environ.items() if name in ("LANG", "LC_ALL") or "BLAS" in name}
        home = str(self.folder)
        return {
            **kept,
            MARK: mark,
            "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": home,
            "TMPDIR": f"{home}/tmp",
            "JOBLIB_TEMP_FOLDER": f"{home}/tmp",
            "XDG_CACHE_HOME": f"{home}/.cache",
            "XDG_CONFIG_HOME": f"{home}/.config",
            "XDG_DATA_HOME": f"{home}/.local/share",
            "PIPELITE_WORKSPACE": f"{home}/.pipelite",
            "PIPELITE_SLOTS": "2",
            "PREFECT_HOME": f"{home}/.prefect",
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }


def marked(mark: str) -> list[psutil.Process]:
    """The processes of one call, wherever they hang."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:
            continue
    return found


def proportional_size(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def end_all(mark: str) -> None:
    """End what is left of a call: pools and servers that a tool leaves running for a while, or for good.

    They get some seconds to go by themselves: what watches over a pool removes its semaphores and shared memory then.
    """
    psutil.wait_procs(marked(mark), timeout=5)
    deadline = time.monotonic() + 30
    while (left := marked(mark)) and time.monotonic() < deadline:
        for process in left:
            try:
                process.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(left, timeout=5)
