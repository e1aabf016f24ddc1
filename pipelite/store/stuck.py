"""Ends the pickling of a value that waits for something for ever."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from pipelite.clock import CLOCK

#: Seconds without a byte written and with hardly any processor time used.
LIMIT_S = 4.0

#: Processor seconds within the limit that count as work: a loop that sleeps and looks again uses less.
WORKING_S = 0.2

_TICK_S = 0.25


class Stuck(BaseException):
    """Pickling waits for something that does not come; not an Exception, so that no `except` of the value takes it."""


@contextlib.contextmanager
def ended_when_stuck(written_bytes: Callable[[], int]) -> Iterator[None]:
    """Raise `Stuck` inside the block when it neither writes nor computes for a while; a slow one may go on.

    It takes a signal to get into a call that blocks, so this holds in the main thread of a process, where steps run.
    A timer that the caller had set is set again afterwards.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGALRM) is None:
        yield
        return
    began = marked = CLOCK.monotonic()
    cpu, written = CLOCK.thread_time(), written_bytes()

    def look(signum: int, frame: FrameType | None) -> None:
        nonlocal marked, cpu, written
        now, cpu_now, written_now = CLOCK.monotonic(), CLOCK.thread_time(), written_bytes()
        if written_now != written or cpu_now - cpu >= WORKING_S:
            marked, cpu, written = now, cpu_now, written_now
        elif now - marked >= LIMIT_S:
            raise Stuck

    handler = signal.signal(signal.SIGALRM, look)
    left_s, interval_s = signal.setitimer(signal.ITIMER_REAL, _TICK_S, _TICK_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left_s:
            signal.setitimer(signal.ITIMER_REAL, max(left_s - (CLOCK.monotonic() - began), 1e-3), interval_s)
