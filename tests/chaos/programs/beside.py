"""A client that asks for what it may, over and over, and notes how long each answer takes."""

from __future__ import annotations

import http.client
import threading
import time
from urllib.parse import urlsplit

#: Seconds between an answer and the next request.
PAUSE_S = 0.02


class Beside(threading.Thread):
    """Asks while others misbehave; as a context."""

    def __init__(self, url: str, token: str, path: str = "/runs?limit=5") -> None:
        super().__init__(daemon=True)
        self._place = urlsplit(url)
        self._path = path
        self._headers = {"Authorization": f"Bearer {token}"}
        self._over = threading.Event()
        self.took: list[float] = []
        self.refused: list[int] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._place.hostname or "", self._place.port, timeout=60)
        while not self._over.wait(PAUSE_S):
            began = time.perf_counter()
            connection.request("GET", self._path, headers=self._headers)
            answer = connection.getresponse()
            answer.read()
            self.took.append(time.perf_counter() - began)
            if answer.status != 200:
                self.refused.append(answer.status)
        connection.close()

    def __enter__(self) -> Beside:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def p99_ms(self) -> int:
        return round(1000 * sorted(self.took)[int(0.99 * len(self.took))])
