"""Slows down those who guess tokens, and nobody else."""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from hashlib import sha256

from pipelite.clock import CLOCK

#: So many wrong tokens are looked at in a window; the next is not.
MOST_FAILURES = 10
WINDOW_S = 60.0
#: Of addresses and of tokens, the last so many are remembered.
_REMEMBERED = 10_000


class Throttle:
    """Counts wrong tokens by the address of who showed them. Safe to use from every thread.

    A token that was accepted before is looked at whatever others behind the same address do: behind a proxy all clients
    have one address, and a guess is no token that was accepted.
    """

    def __init__(self, clock: Callable[[], float] = CLOCK.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._accepted: OrderedDict[bytes, None] = OrderedDict()
        self._guard = threading.Lock()

    def wait_s(self, address: str, token: str) -> float:
        """Seconds after which a token from an address is looked at; 0 for now."""
        with self._guard:
            failures = self._failures.get(_group(address))
            if failures is None or _digest(token) in self._accepted:
                return 0.0
            now = self._clock()
            while failures and now - failures[0] >= WINDOW_S:
                failures.popleft()
            return WINDOW_S - (now - failures[0]) if len(failures) >= MOST_FAILURES else 0.0

    def note_failure(self, address: str, token: str) -> None:
        """A token was wrong."""
        with self._guard:
            self._accepted.pop(_digest(token), None)
            failures = self._failures.setdefault(_group(address), deque(maxlen=MOST_FAILURES))
            failures.append(self._clock())
            _remember(self._failures, _group(address))

    def note_success(self, token: str) -> None:
        """A token was right."""
        with self._guard:
            self._accepted[_digest(token)] = None
            _remember(self._accepted, _digest(token))


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()


def _group(address: str) -> str:
    """Who has one address of IPv6 has 2**64 of them."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False))
    except ValueError:
        return address


def _remember(memory: OrderedDict[str, deque[float]] | OrderedDict[bytes, None], key: str | bytes) -> None:
    memory.move_to_end(key)  # type: ignore[arg-type]
    while len(memory) > _REMEMBERED:
        memory.popitem(last=False)
