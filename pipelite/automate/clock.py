"""The one clock that schedules go by; tests turn it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime


class Clock:
    """The time of the machine."""

    def now(self) -> datetime:
        """The present time, UTC."""
        return datetime.now(UTC)

    def wait(self, bell: threading.Event, seconds: float) -> None:
        """Wait until somebody rings, or for so long."""
        bell.wait(seconds)


#: The clock of this process.
CLOCK = Clock()
