"""Ends what a step left running in its worker: a process belongs to its step, and ends with it.

A worker adopts the orphans among its descendants, so whatever a step started, from Python or from C code, daemons too, is
a child of the worker or the descendant of one. Whether there is a child at all is one system call of a microsecond.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

from pipelite.clock import CLOCK
from pipelite.execute import badges

#: A process that starts others as fast as they are ended is left to the coordinator, which ends the worker with it.
_END_WITHIN_S = 1.0
#: Processes that are named in the log.
_NAMED = 5

#: Helpers that serve a worker for as long as it lives, hold no work of a step, and end by themselves after it.
_HELPERS = (
    ("multiprocessing.resource_tracker", "_resource_tracker", "_pid"),
    ("multiprocessing.forkserver", "_forkserver", "_forkserver_pid"),
    ("joblib.externals.loky.backend.resource_tracker", "_resource_tracker", "_pid"),
    ("loky.backend.resource_tracker", "_resource_tracker", "_pid"),
    ("pipelite.execute.interpreters", "_kept", "pid"),
)
#: Pools that joblib and loky keep for the next call by design; a step that used one did nothing wrong.
_POOLS = ("joblib.externals.loky.reusable_executor", "loky.reusable_executor")


def has_children() -> bool:
    """Whether this process has a child, living or dead."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def end_leftovers(step: str, badge: str) -> bool:
    """End what a step left running, with a line in its log; gives whether the worker is as it was before.

    It is not if something had to be killed: a pool would start its processes again, and the next step may meet what talks
    to them. Called only if there are children.
    """
    helpers = _find_helpers()
    if _living_children() <= helpers:
        _reap(helpers)
        return True
    _close_pools()
    spared = helpers | {os.getpid()}
    found = {process: _describe(process) for process in badges.find_wearers(badge) - spared}
    left = badges.end_wearers(badge, spare=spared, timeout_s=_END_WITHIN_S)
    _reap(helpers)
    if found:
        names = sorted(found.values())
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        how_many = "a process" if len(names) == 1 else f"{len(names)} processes"
        sys.stdout.flush()
        line = f"pipelite: step {step!r} left {how_many} running; ended: {', '.join(names[:_NAMED])}{more}\n"
        os.write(2, line.encode("utf-8", "backslashreplace"))
    return not found and not left


def _find_helpers() -> set[int]:
    found = set()
    for module, instance, attribute in _HELPERS:
        process = getattr(getattr(sys.modules.get(module), instance, None), attribute, None)
        if isinstance(process, int):
            found.add(process)
    return found


def _living_children() -> set[int]:
    """Children that have not ended; those that have are waited for by whoever knows them."""
    me = os.getpid()
    children: set[int] = set()
    try:
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/children") as file:
                children.update(map(int, file.read().split()))
    except OSError:  # not Linux, a kernel without these lists, or a thread that has just ended
        return badges.find_children(me)
    return {child for child in children if not _has_ended(child)}


def _has_ended(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split(None, 1)[0] == b"Z"
    except OSError:
        return True


def _close_pools() -> None:
    """Shut down the pools that are known; to kill their processes alone would break the next step's first call."""
    for name in _POOLS:
        module: Any = sys.modules.get(name)
        executor = getattr(module, "_executor", None)
        if executor is not None:
            # joblib's own also removes the folder of the arrays that it shared.
            close = getattr(executor, "terminate", None) or executor.shutdown
            with contextlib.suppress(Exception):
                close(kill_workers=True)
            module._executor = None
    slots: Any = sys.modules.get("pipelite.execute.slots")
    if slots is not None:
        # The step ran a pipeline itself.
        slots.close_local_target()


def _describe(process: int) -> str:
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file, open("/proc/self/cmdline", "rb") as own:
            command = file.read()
            # That of the worker says nothing about what was forked from it.
            words = b"a fork of Python" if command == own.read() else command.replace(b"\0", b" ").strip()
    except OSError:
        words = b""
    return f"{words.decode(errors='replace')[:80]} (process {process})" if words else f"process {process}"


def _reap(helpers: set[int]) -> None:
    """Take in the exit codes of ended children, first by those that know them."""
    multiprocessing: Any = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None:
        multiprocessing.active_children()
    subprocess: Any = sys.modules.get("subprocess")
    if subprocess is not None:
        subprocess._cleanup()
    until = CLOCK.monotonic() + 0.1
    while CLOCK.monotonic() < until:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            if _living_children() <= helpers:
                return
            CLOCK.sleep(0.001)
            continue
        with contextlib.suppress(ChildProcessError):
            os.waitpid(ended.si_pid, os.WNOHANG)
