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


@step
def dies():
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


@step
def raises():
    raise ValueError("not this number")


@step
def stays(pids: str):
    Path(pids).write_text(str(os.getpid()))
    time.sleep(600)
