"""Whether processes that steps started have gone."""

from __future__ import annotations

import time
from pathlib import Path


def is_gone(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until_gone(pids: Path) -> None:
    until = time.monotonic() + 10
    while not all(is_gone(int(pid)) for pid in pids.read_text().split()):
        assert time.monotonic() < until
        time.sleep(0.02)


def wait_until_there(path: Path) -> None:
    until = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < until
        time.sleep(0.02)
