"""Starts runs as processes of their own, kills them, and looks at what is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil


class Ledger:
    """What the steps of the runs say was acknowledged to them: a file outside of the workspace."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def read_new(self) -> list[dict]:
        """Lines since the last call."""
        content = self._unread()
        self._offset += len(content)
        return [json.loads(line) for line in content.splitlines()]

    def busy(self) -> set[int]:
        """Processes that are in the midst of a step, as far as is known; without reading what is new."""
        last = {line["process"]: line["what"] for line in map(json.loads, self._unread().splitlines())}
        return {process for process, what in last.items() if what != "tagged"}

    def _unread(self) -> bytes:
        if not self.path.exists():
            return b""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            return file.read()


def start(*arguments: str, **environment: str) -> subprocess.Popen:
    """Start the command line in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipelite", *arguments],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


def kill(process: subprocess.Popen, victim: str, busy: set[int]) -> int | None:
    """SIGKILL one kind of the processes of a run, and give the number of the one; None if there is none of them now.

    The kinds are "owner", the process that runs the run; "worker", a busy one of those where its steps run; "resumer", the
    command that has another process resume a run, and waits for it; "group", all of them at once.
    """
    if victim == "group":
        os.killpg(process.pid, signal.SIGKILL)
        return process.pid
    found = {}
    for member in _session(process.pid):
        with contextlib.suppress(psutil.Error):
            kind = _kind(member.cmdline())
            if kind != "worker" or member.pid in busy:
                found[kind] = member
    if "owner" not in found or victim not in found:
        return None
    with contextlib.suppress(psutil.NoSuchProcess):
        found[victim].send_signal(signal.SIGKILL)
        return found[victim].pid
    return None


def _kind(command: list[str]) -> str:
    line = " ".join(command)
    if "popen_loky" in line:
        return "worker"
    if "pipelite.api.replay" in line or "pipelite run " in line:
        return "owner"
    return "resumer" if "pipelite runs resume" in line else "other"


def survivors(session: int, timeout_s: float) -> list[str]:
    """Processes of a session that are still there after a while."""
    until = time.monotonic() + timeout_s
    while (left := [f"{member.pid} {member.name()}" for member in _session(session)]) and time.monotonic() < until:
        time.sleep(0.02)
    return left


def _session(session: int) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(process.pid) != session:
                continue
            # Of one that is dying the first thread may be gone, while others still hold its files and locks.
            if process.status() != psutil.STATUS_ZOMBIE or len(os.listdir(f"/proc/{process.pid}/task")) > 1:
                yield process
