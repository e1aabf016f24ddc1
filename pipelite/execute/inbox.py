"""What a coordinator has to hear, and the turn to act on it.

A run is coordinated by one thread at a time, but not always the same one. While the coordinator's own thread waits, the
thread that brings a result from a worker takes its turn: it records the result and sends what comes next, which saves
two changes of thread between two steps, one of which waits for the other.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable

Event = Callable[[], None]


class Inbox:
    """Events of one run. Whoever has the turn calls them; the thread that made the inbox has it, but for when it waits."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._turn = threading.Lock()
        self._turn.acquire()

    def put(self, event: Event) -> None:
        """Have an event called soon; from any thread."""
        self._events.put(event)
        self.ring()

    def ring(self) -> None:
        """Have the coordinator's own thread take the turn, also without an event."""
        self._bell.put(None)

    def put_here(self, event: Event, act: Callable[[], None]) -> None:
        """Have an event called, in this thread if no other has the turn: `act` is to call `take_in`, and must not raise."""
        self._events.put(event)
        # Looked at again after each turn: another event may have come when it was not yet given back.
        while not self._events.empty() and self._turn.acquire(blocking=False):
            try:
                act()
            finally:
                self._turn.release()

    def is_empty(self) -> bool:
        return self._events.empty()

    def take_in(self) -> bool:
        """Call all events that have come; gives whether there were any. Only for the thread that has the turn."""
        is_any = False
        with contextlib.suppress(queue.Empty):
            while True:
                event = self._events.get_nowait()
                is_any = True
                event()
        return is_any

    def wait(self, timeout_s: float) -> None:
        """Give the turn away until there is something for the coordinator's own thread, or the time is over."""
        self._turn.release()
        try:
            if self._events.empty():
                with contextlib.suppress(queue.Empty):
                    self._bell.get(timeout=timeout_s)
        finally:
            self._turn.acquire()
        with contextlib.suppress(queue.Empty):
            while True:
                self._bell.get_nowait()
