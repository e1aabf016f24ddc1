"""What keeps the parts of a serving process from working, told once for all of them: a full disk would fill its log."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

#: Told of what happens: an event's name, and what belongs to it.
Listener = Callable[[str, dict[str, Any]], None]


class Trouble:
    """Whether any part of a process is kept from working; each says so of itself whenever it has tried."""

    def __init__(self, tell: Listener) -> None:
        self._tell = tell
        self._parts: set[object] = set()
        self._guard = threading.Lock()

    def met(self, part: object, error: Exception) -> None:
        """A part could not do what it wanted to."""
        with self._guard:
            if not self._parts:
                self._tell("error", {"message": str(error)})
            self._parts.add(part)

    def passed(self, part: object) -> None:
        """A part could do all that it wanted to."""
        with self._guard:
            if part in self._parts:
                self._parts.remove(part)
                if not self._parts:
                    self._tell("works again", {})
