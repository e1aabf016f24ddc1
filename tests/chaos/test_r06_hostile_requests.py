"""R6: requests that break HTTP, JSON or the interface, and clients that never come to an end: refused, in nobody's way."""

from __future__ import annotations

import http.client
import json
import random
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

import psutil
from beside import Beside
from limits import allowed

from serve.hostility import BODIES, JSON, count_runs, requests_to_abuse, status_of, talk

N_RAW = {"small": 100, "full": 4_500}
N_BODIES = {"small": 100, "full": 3_500}
#: Of each operation that the OpenAPI document has; how many come of that is counted.
N_EXAMPLES = {"small": 0, "full": 150}
N_SLOW = {"small": 20, "full": 200}
#: Seconds after which a request that is not complete is cut off.
CUT_OFF_S = {"small": 60.0, "full": 10.0}
P99_MS = {"small": 10_000, "full": 250}
GROWTH_MB = 20


class SlowClients(threading.Thread):
    """Connections that send a byte now and then, and are opened again when they are cut off; as a context."""

    def __init__(self, url: str, n: int) -> None:
        super().__init__(daemon=True)
        parts = urlsplit(url)
        self._address = parts.hostname, parts.port
        self._n = n
        self._over = threading.Event()
        #: Seconds from the first byte to the end of a connection.
        self.lasted: list[float] = []

    def run(self) -> None:
        lines: dict[socket.socket, float] = {}
        while not self._over.is_set():
            while len(lines) < self._n:
                line = socket.create_connection(self._address)
                line.sendall(b"POST /pipelines/Lasting HTTP/1.1\r\nHost: localhost\r\n")
                lines[line] = time.monotonic()
            # Not `select`, which takes no descriptors from 1024 on.
            poll = select.poll()
            by_number = {line.fileno(): line for line in lines}
            for number in by_number:
                poll.register(number, select.POLLIN)
            for number, _ in poll.poll(200):
                self._hear(by_number[number], lines)
            for line in random.sample(list(lines), len(lines) // 5):
                try:
                    line.sendall(b"x")
                except OSError:
                    self._end(line, lines)
        for line in lines:
            line.close()

    def _hear(self, line: socket.socket, lines: dict[socket.socket, float]) -> None:
        try:
            if line.recv(65536):
                return
        except OSError:
            pass
        self._end(line, lines)

    def _end(self, line: socket.socket, lines: dict[socket.socket, float]) -> None:
        self.lasted.append(time.monotonic() - lines.pop(line))
        line.close()

    def __enter__(self) -> SlowClients:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def raw_requests(draw: random.Random, token: str, n: int):
    """Requests that break HTTP: as they are first, then cut off or with some of their bytes changed."""
    kinds = [text.encode("latin-1") for text in requests_to_abuse(token)]
    for number in range(n):
        content = bytearray(kinds[number % len(kinds)])
        if number >= len(kinds):
            for _ in range(draw.choice((0, 1, 1, 3))):
                content[draw.randrange(min(len(content), 400))] = draw.randrange(256)
            if draw.random() < 0.3:
                del content[draw.randrange(1, len(content)) :]
        yield bytes(content)


def values(draw: random.Random, depth: int = 0):
    """Any JSON."""
    kind = draw.randrange(9 if depth < 4 else 6)
    if kind < 6:
        return (
            None,
            True,
            draw.randint(-(10**20), 10**20),
            draw.random() * 1e300,
            "\u0000\u2028x" * draw.randrange(3),
            "",
        )[kind]
    if kind == 6:
        return [values(draw, depth + 1) for _ in range(draw.randrange(5))]
    return {draw.choice(FIELDS): values(draw, depth + 1) for _ in range(draw.randrange(5))}


FIELDS = ("ParameterAssignments", "ExperimentName", "Tags", "Priority", "n", "count", "__class__", "", "\U0001f600")


def bodies(draw: random.Random, n: int):
    """Bodies of which none is a call of a pipeline that needs a text: wrong JSON, or JSON without that text."""
    wrong = list(BODIES.values())
    for number in range(n):
        if number < len(wrong):
            yield wrong[number]
            continue
        content = bytearray(json.dumps(values(draw), ensure_ascii=draw.random() < 0.5, allow_nan=True).encode())
        for _ in range(draw.choice((0, 0, 1, 5))):
            content[draw.randrange(len(content))] = draw.randrange(256)
        yield bytes(content)


def generated(site, seed: int, examples: int) -> int:
    """Have schemathesis send what the document does not allow; gives how many requests it made."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{site.url}/openapi.json"),
            *(
                "--header",
                f"Authorization: Bearer {site.token}",
                "--mode",
                "negative",
                "--checks",
                "not_a_server_error",
            ),
            *("--max-examples", str(examples), "--seed", str(seed), "--no-color", "--suppress-health-check", "all"),
        ],
        cwd=site.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    return int(re.search(r"(\d+) generated", done.stdout)[1])


def test_hostile_requests_are_refused_start_nothing_and_are_in_nobodys_way(own_site, size, seed, figures):
    draw = random.Random(seed)
    own_site.start()
    own_site.call("Train", n=3)
    # A request without a body is a call like any other where nothing is required.
    for name, version in (("Train", "1.0"), ("Train", "1.1"), ("Kinds", "1.0")):
        own_site.command("endpoints", "disable", name, version)
    before = count_runs(own_site)
    server = psutil.Process(own_site.process.pid)
    grown_from = server.memory_info().rss
    statuses: Counter[int] = Counter()
    parts = urlsplit(own_site.url)
    with Beside(own_site.url, own_site.token) as beside, SlowClients(own_site.url, N_SLOW[size]) as slow:
        for content in raw_requests(draw, own_site.token, N_RAW[size]):
            statuses[status_of(talk(own_site, content))] += 1
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        headers = JSON | {"Authorization": f"Bearer {own_site.token}"}
        for content in bodies(draw, N_BODIES[size]):
            connection.request("POST", "/pipelines/Lasting", content, headers)
            answer = connection.getresponse()
            answer.read()
            statuses[answer.status] += 1
        connection.close()
        assert count_runs(own_site) == before
        n_generated = generated(own_site, seed, N_EXAMPLES[size]) if N_EXAMPLES[size] else 0
        grown_mb = (server.memory_info().rss - grown_from) / 1e6

    assert [status for status in statuses if status >= 500] == []
    assert statuses[413] and statuses[400]
    assert count_runs(own_site) == before
    assert own_site.get("/healthz").status_code == 200
    assert own_site.process.poll() is None
    assert "Traceback" not in own_site.errors
    assert grown_mb <= GROWTH_MB
    assert beside.refused == []
    assert beside.p99_ms() <= P99_MS[size]
    assert max(slow.lasted, default=0) <= allowed(CUT_OFF_S[size])
    figures.update(
        {
            "requests": statuses.total() + n_generated,
            "of them generated from the document": n_generated,
            "without an answer": statuses[0],
            "slow clients": N_SLOW[size],
            "cut off": len(slow.lasted),
            "after s at most": round(max(slow.lasted, default=0), 1),
            "memory grew by MB": round(grown_mb, 1),
            "valid requests beside": len(beside.took),
            "their p99 in ms": beside.p99_ms(),
        }
    )
