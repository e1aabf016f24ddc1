"""The way to a local worker and back: a pair of connected sockets, with one thread that takes in what comes.

A pool's own queues hand a call from the caller to a thread, to another, to the worker, and its result back through a third:
170 us there and back where these take 50.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from concurrent.futures import BrokenExecutor, Future
from multiprocessing.connection import Connection

from pipelite.execute.framing import frame, receive


class Channel:
    """The coordinating process's end. A worker answers in the order in which it was asked.

    `worker_end` is for the worker's process; `open` is called when that has it.
    """

    def __init__(self) -> None:
        self._socket, other = socket.socketpair()
        # Connections, unlike sockets, are passed on as they are: no second descriptor stays open beside it.
        self.worker_end = Connection(other.detach())
        self._lock = threading.Lock()
        #: Of what was sent and has not come back.
        self._futures: deque[Future[bytes]] = deque()
        #: What did not fit into the socket: the worker has not read what was sent before.
        self._unsent: deque[memoryview] = deque()
        self._is_over = False

    def open(self) -> None:
        """Begin to take in what comes back."""
        # Were it open here too, its end could not be seen.
        self.worker_end.close()
        threading.Thread(target=self._take_in, name="pipelite-results", daemon=True).start()

    def submit(self, payload: bytes) -> Future[bytes]:
        """Send something, without waiting for the worker to read it; the future gives the answer.

        It fails with `BrokenExecutor` if the worker ends before it answers.

        Raises
        ------
        RuntimeError
            If the worker has ended already.
        """
        future: Future[bytes] = Future()
        with self._lock:
            if self._is_over:
                raise RuntimeError(_ENDED)
            self._futures.append(future)
            try:
                self._send(frame(payload))
            except OSError as exc:
                self._futures.pop()
                raise RuntimeError(_ENDED) from exc
        return future

    def close(self) -> None:
        """Say no more; what has come already is taken in. A worker ends when it has answered."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _send(self, message: bytes) -> None:
        rest = memoryview(message)
        if not self._unsent:
            with contextlib.suppress(BlockingIOError):
                rest = rest[self._socket.send(rest, socket.MSG_DONTWAIT) :]
            if not rest:
                return
            threading.Thread(target=self._send_rest, name="pipelite-batches", daemon=True).start()
        self._unsent.append(rest)

    def _send_rest(self) -> None:
        while True:
            with self._lock:
                if not self._unsent:
                    return
                part = self._unsent[0]
            try:
                self._socket.sendall(part)
            except OSError:
                # The worker has gone, which the other thread tells.
                return
            with self._lock:
                self._unsent.popleft()

    def _take_in(self) -> None:
        with contextlib.suppress(OSError):
            while (payload := receive(self._socket.fileno())) is not None:
                self._futures.popleft().set_result(payload)
        with self._lock:
            self._is_over = True
        while self._futures:
            self._futures.popleft().set_exception(BrokenExecutor(_ENDED))
        self._socket.close()


_ENDED = "the connection to its worker is closed"
