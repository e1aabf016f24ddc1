"""Steps of tests, in a module that any environment can import: it imports nothing that may be missing there."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from pipelite import current_run, step


@step
def version(x: int) -> str:
    import pipelite_tiny

    current_run().log("x", x)
    print("from", sys.prefix)
    return f"{pipelite_tiny.VERSION} {x} {os.environ.get('TINY_MODE')}"


@step
def where() -> str:
    return sys.executable


@step(outputs=("made", "told"))
def sees(path: Path, x: int) -> tuple:
    current_run().log("x", x)
    print("seen", path.read_text())
    made = current_run().scratch / "made.txt"
    made.write_text(os.environ["MODE"])
    return made, [os.getpid(), sys.path[-1]]


@step
def dies():
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


@step
def leaves_with(code: int):
    os._exit(code)


@step
def raises():
    raise ValueError("not this number")


@step
def stays(pids: str):
    Path(pids).write_text(str(os.getpid()))
    time.sleep(600)


@step
def follows(previous: list) -> list:
    print("step", len(previous), "is here")
    return [*previous, os.getpid()]


@step
def leaves(pids: str) -> int:
    import subprocess

    left = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(pids).write_text(str(left.pid))
    return os.getpid()


@step
def fills(size_bytes: int) -> int:
    kept = b"x" * size_bytes
    time.sleep(0.2)
    return len(kept)


@step
def python_and(value):
    return sys.version_info[:2], value


@step
def changes_data(data: dict) -> dict:
    from datetime import timedelta

    return {"twice": data["array"] * 2, "when": data["when"] + timedelta(days=1), "at": [*data["at"]]}
