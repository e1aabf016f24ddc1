"""Waiting for signals without looking for them again and again."""

from __future__ import annotations

import contextlib
import select
import signal
import socket


class SignalBell:
    """Rings in the main thread when a signal comes, whichever thread the system gives it to.

    A lock that the main thread waits for does not: it goes on waiting, and its handler is not called, when another thread
    got the signal. Handlers have to be installed; they are called as soon as `wait` has returned.
    """

    def __enter__(self) -> SignalBell:
        self._reading, self._writing = socket.socketpair()
        for end in (self._reading, self._writing):
            end.setblocking(False)
        self._earlier = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *error: object) -> None:
        signal.set_wakeup_fd(self._earlier)
        self._reading.close()
        self._writing.close()

    def wait(self, timeout_s: float | None = None) -> None:
        """Return when a signal has come since the last call, or after so many seconds."""
        # Not `select`, which takes no descriptors from 1024 on.
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        poll.poll(None if timeout_s is None else timeout_s * 1000)
        with contextlib.suppress(BlockingIOError):
            while self._reading.recv(4096):
                pass
