"""Slots that are handed out and given back: what all targets but the local one have in common."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

from pipelite.execute.exchange import Exchange
from pipelite.execute.messages import RunSetup


class FreeSlots:
    """The slots of one target; made as they are needed, by `make_slot`."""

    can_end_steps = True
    takes_ahead = False
    is_in_process = False
    is_inline = False
    shares_slots = False
    exchange: Exchange | None = None

    def __init__(self, name: str, size: int, make_slot: Callable[[], Any]) -> None:
        self.name = name
        self.size = size
        self._make_slot = make_slot
        self._guard = threading.Lock()
        self._free: list[Any] = []
        self._taken = 0
        self._waiting: dict[int, Callable[[], None]] = {}
        self._tickets = itertools.count()

    def acquire(self, count: int) -> list[Any] | None:
        """Take `count` slots, or none at all: None if fewer are free."""
        with self._guard:
            if self._taken + count > self.size:
                return None
            self._taken += count
            return [self._free.pop() if self._free else self._make_slot() for _ in range(count)]

    def release(self, slots: list[Any]) -> None:
        """Give slots back, and wake whoever waits for one."""
        with self._guard:
            self._taken -= len(slots)
            self._free.extend(slots)
            waiting = list(self._waiting.values())
        for wake in waiting:
            wake()

    def call_when_free(self, wake: Callable[[], None]) -> int:
        """Have `wake` called, from any thread, whenever slots come free; gives a ticket to end it with."""
        ticket = next(self._tickets)
        with self._guard:
            self._waiting[ticket] = wake
        return ticket

    def forget(self, ticket: int) -> None:
        with self._guard:
            self._waiting.pop(ticket, None)

    def adapt(self, setup: RunSetup) -> RunSetup:
        """What its workers are told of a run that begins."""
        return setup

    def finish_run(self) -> None:
        """Nothing: what is here is there for the next run."""
