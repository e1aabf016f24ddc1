"""Ends workers with everything that they started: for a timeout, a cancel, a replaced worker, a run that gives up.

Three nets, each for what slips through the others. A worker adopts the orphans among its descendants (it is a child
subreaper), so a double fork does not leave its tree while it lives; it is stopped, not killed, until all of them are gone.
All wear its badge in their environment, so they are found also after the worker died by itself. And when the coordinator
dies, which can then end nobody, a watcher process does.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import itertools
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from pipelite.clock import CLOCK
from pipelite.execute import badges

#: All that a worker started is killed again and again for this long; what is left then waits for a device.
END_WITHIN_S = 1.0

_PR_SET_CHILD_SUBREAPER = 36

_numbers = itertools.count(1)
_lock = threading.Lock()
_owner: str | None = None
_owner_process: int | None = None
_watcher: subprocess.Popen[bytes] | None = None


class WorkerProcess:
    """The process of one worker, as its coordinator knows it."""

    def __init__(self, process: Any, badge: str) -> None:
        self.process = process
        self.badge = badge
        #: The kernel's figure of its largest resident size, once it has ended.
        self.size_at_exit: int | None = None
        # A new program inherits the figure of the one that started it.
        self._inherited = _largest_size(resource.getrusage(resource.RUSAGE_SELF))
        self._keep_figures_at_exit()

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    @property
    def peak_at_exit(self) -> int | None:
        """Its largest resident size, once it has ended; None if the kernel's figure is that of its parent."""
        size = self.size_at_exit
        return size if size is not None and size > self._inherited else None

    @property
    def is_alive(self) -> bool:
        return self.process.exitcode is None

    @property
    def exitcode(self) -> int | None:
        """Exit code, or the signal that ended it as a negative number; None while it lives."""
        code = self.process.exitcode
        return None if code is None else int(code)

    def wait(self, timeout_s: float) -> None:
        """Wait until its exit code is known."""
        until = CLOCK.monotonic() + timeout_s
        while self.is_alive and CLOCK.monotonic() < until:
            self.process.join(0.02)

    def _keep_figures_at_exit(self) -> None:
        """Have whoever asks for the exit code first also take the kernel's figures, which are gone after that."""
        popen: Any = self.process._popen

        def poll(flag: int = os.WNOHANG) -> Any:
            if popen.returncode is None:
                try:
                    process, status, usage = os.wait4(popen.pid, flag)
                except OSError:  # another thread was first, and is about to set the code
                    return None
                if process == popen.pid:
                    self.size_at_exit = _largest_size(usage)
                    popen.returncode = os.waitstatus_to_exitcode(status)
            return popen.returncode

        popen.poll = poll


def end_workers(workers: Sequence[WorkerProcess]) -> None:
    """Kill workers and everything they started."""
    until = CLOCK.monotonic() + END_WITHIN_S
    end_trees([worker.pid for worker in workers if worker.is_alive], [worker.badge for worker in workers])
    for worker in workers:
        # Until then its number is that of a process.
        worker.wait(max(0.0, until - CLOCK.monotonic()))


def end_trees(alive: Sequence[int], worn: Sequence[str], *, timeout_s: float = END_WITHIN_S) -> None:
    """Kill processes and all that wear their badges, the processes last, so that no descendant loses its way to them.

    `alive` are those of the processes that live; they have not been waited for, so their numbers are theirs.
    """
    badges.kill(alive, signal.SIGSTOP)
    for badge in worn:
        badges.end_containers(badge, is_last=False)
    until = CLOCK.monotonic() + timeout_s
    for badge in worn:
        badges.end_wearers(badge, spare=alive, timeout_s=max(0.05, until - CLOCK.monotonic()))
    badges.kill(alive)
    for badge in worn:
        # What a worker that died by itself was starting at that moment.
        badges.end_wearers(badge, timeout_s=max(0.05, until - CLOCK.monotonic()))
        badges.end_containers(badge, is_last=True)


def make_badge() -> str:
    """A badge for a new worker of this process; a watcher stands by for it from now on."""
    global _owner, _owner_process
    with _lock:
        # A forked child is an owner of its own.
        if _owner is None or _owner_process != os.getpid():
            _owner, _owner_process = badges.make_owner(), os.getpid()
        _ensure_watcher(_owner)
        return badges.make_badge(_owner, next(_numbers))


def wear(environment: Mapping[str, str], badge: str) -> dict[str, str]:
    """The environment of a worker with a badge beside those of the workers around it."""
    return {**environment, badges.VARIABLE: environment.get(badges.VARIABLE, "") + badge}


def own_badge(worn: str) -> str:
    """The innermost of the badges that an environment holds."""
    return worn.rstrip(";").rpartition(";")[2] + ";"


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends; Linux only."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def dismiss_watcher() -> None:
    """End the watcher of this process: it has no workers any more."""
    global _watcher
    if _watcher is not None and _owner_process == os.getpid():
        _watcher.kill()
        _watcher.wait()
        _watcher = None


def _ensure_watcher(owner: str) -> None:
    """Have a process that outlives this one by the moment it takes to end its workers.

    A thread of the worker would do, were it not for C code that holds the interpreter's lock there; the kernel's own signal
    at a parent's death follows the thread that started the worker, and that ends with its run.
    """
    global _watcher
    if sys.platform != "linux":
        return
    if _watcher is None:
        atexit.register(dismiss_watcher)
    elif _watcher.args[-1] == owner and _watcher.poll() is None:  # type: ignore[index]
        return
    elif _watcher.args[-1] != owner:  # type: ignore[index]
        # The one of the process that this one was forked from.
        _watcher.returncode = 0
    _watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", badges.__file__, str(os.getpid()), owner],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        # What is sent to the whole group of the coordinator must not reach it.
        start_new_session=True,
    )


def _largest_size(usage: resource.struct_rusage) -> int:
    """Bytes; the kernel counts in KiB, that of macOS in bytes."""
    return usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024
