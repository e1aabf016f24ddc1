"""Runners: processes that execute the runs of one published version, one at a time, from its snapshot.

User code runs here and in the workers of a runner, never in the process that serves: what crashes, leaks or never ends
does so here. A runner says a line when a run has ended; it ends by itself when nobody is left to say it to.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from pipelite.clock import CLOCK

#: A runner that had nothing to do for so long is let go.
WARM_S = 60.0
#: The module that a runner runs, in a room above: it joins what users write with the rooms below.
_MAIN = "pipelite.api.runner"


class Runner:
    """One runner process, as its dispatcher knows it."""

    def __init__(self, workspace: Path, published_id: str, ended: Callable[[Runner], None]) -> None:
        self.published_id = published_id
        #: The run that it is at.
        self.run_id: str | None = None
        self.idle_since = CLOCK.monotonic()
        self.is_gone = False
        self._ended = ended
        self._line, other = socket.socketpair()
        self.process = subprocess.Popen(
            [sys.executable, "-m", _MAIN, published_id, str(other.fileno())],
            stdin=subprocess.DEVNULL,
            # What runs print themselves goes to their logs.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PIPELITE_WORKSPACE": str(workspace), "PIPELITE_PROGRESS": "quiet"},
            cwd=workspace,
            pass_fds=(other.fileno(),),
            # Ctrl-C in the terminal of the dispatcher is the dispatcher's to answer.
            start_new_session=True,
        )
        other.close()
        threading.Thread(target=self._listen, name="pipelite-runner", daemon=True).start()

    @property
    def is_idle(self) -> bool:
        return self.run_id is None and not self.is_gone

    def start(self, run_id: str) -> None:
        """Have it execute a run; its end is told by `ended`, and so is its own."""
        self.run_id = run_id
        # A runner that has just died is found out by the other thread.
        with contextlib.suppress(OSError):
            self._line.sendall(f"{run_id}\n".encode())

    def let_go(self) -> None:
        """Have it end when it has nothing to do any more."""
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_WR)

    def terminate(self) -> None:
        """Have it interrupt its run, with the time of grace that running steps have; a second time at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)

    def _listen(self) -> None:
        with contextlib.suppress(OSError), self._line.makefile("r", encoding="ascii") as lines:
            for _ in lines:
                self.run_id, self.idle_since = None, CLOCK.monotonic()
                self._ended(self)
        self.process.wait()
        self.is_gone = True
        self._ended(self)
        self._line.close()
