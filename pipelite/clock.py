"""The one clock: whoever wants to know the time, or waits for some, asks here, so that tests can turn it."""

from __future__ import annotations

import time as machine
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading


class Clock:
    """The time of the machine."""

    # As they are in the standard library: a call through the clock costs what a plain one does.
    #: Seconds since 1970, and nanoseconds; may jump.
    time = staticmethod(machine.time)
    time_ns = staticmethod(machine.time_ns)
    #: Seconds, and nanoseconds, since some moment; never go back.
    monotonic = staticmethod(machine.monotonic)
    monotonic_ns = staticmethod(machine.monotonic_ns)
    #: Seconds for which the processor was at work for this thread, and for this process.
    thread_time = staticmethod(machine.thread_time)
    process_time = staticmethod(machine.process_time)
    sleep = staticmethod(machine.sleep)

    def now(self) -> datetime:
        """The present time, UTC."""
        return datetime.now(UTC)

    def wait(self, bell: threading.Event, seconds: float) -> None:
        """Wait until somebody rings, or for so long."""
        bell.wait(seconds)


#: The clock of this process.
CLOCK = Clock()
