"""Starts runs as processes of their own, kills them, and looks at what is left."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil


class Ledger:
    """What the steps of the runs say was acknowledged to them: a file outside of the workspace."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def read_new(self) -> list[dict]:
        """Lines since the last call."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._offset)
            content = file.read()
        self._offset += len(content)
        return [json.loads(line) for line in content.splitlines()]


def start(*arguments: str, ledger: Path) -> subprocess.Popen:
    """Start the command line in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipelite", *arguments],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "CHAOS_LEDGER": str(ledger)},
    )


def kill(process: subprocess.Popen, victim: str, draw: random.Random) -> bool:
    """SIGKILL the owner of a run, one of its workers, or all of its processes; false if there is no such victim."""
    if victim == "group":
        os.killpg(process.pid, signal.SIGKILL)
        return True
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        workers = [member for member in family if "loky" in " ".join(member.cmdline())]
        # `runs resume` lets another process of its own do the work.
        owners = [member for member in family if "pipelite" in " ".join(member.cmdline()) and member not in workers]
    except psutil.NoSuchProcess:
        return False
    workers = [member for member in workers if "resource_tracker" not in " ".join(member.cmdline())]
    candidates = workers if victim == "worker" else owners[-1:]
    if not candidates:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        draw.choice(candidates).send_signal(signal.SIGKILL)
        return True
    return False


def survivors(session: int, timeout_s: float = 5.0) -> list[str]:
    """Processes of a session that are still there after a while."""
    until = time.monotonic() + timeout_s
    while (left := list(_members(session))) and time.monotonic() < until:
        time.sleep(0.02)
    return left


def _members(session: int):
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(process.pid) != session:
                continue
            # Of one that is dying the first thread may be gone, while others still hold its files and locks.
            if process.status() != psutil.STATUS_ZOMBIE or len(os.listdir(f"/proc/{process.pid}/task")) > 1:
                yield f"{process.pid} {process.name()}"
