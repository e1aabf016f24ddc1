"""R8: who guesses tokens finds none, is slowed down, learns nothing from times, and is in nobody's way."""

from __future__ import annotations

import http.client
import ipaddress
import json
import random
import secrets
import statistics
import subprocess
import sys
import time
from urllib.parse import urlsplit

import guesser
import psutil
import pytest
from beside import Beside
from scipy.stats import mannwhitneyu

from pipelite.serve.throttle import MOST_FAILURES, WINDOW_S

N_GUESSES = {"small": 700, "full": 100_000}
P99_MS = {"small": 10_000, "full": 250}
#: Of each kind.
N_SAMPLES = {"small": 200, "full": 10_000}
#: That two kinds take equally long is given up below this.
LEAST_P = {"small": 1e-4, "full": 0.01}


@pytest.mark.parametrize("n_addresses", [1, 50])
def test_of_many_guesses_none_is_accepted_and_others_are_unharmed(own_site, size, seed, figures, n_addresses):
    own_site.start()
    texts = [own_site.token, own_site.new_token("--scope", "read")]
    command = [
        *(sys.executable, guesser.__file__, own_site.url, str(N_GUESSES[size])),
        *("127.0.1.1", str(n_addresses), texts[0].split("_")[1]),
    ]

    with Beside(own_site.url, texts[0]) as beside:
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        took = time.monotonic() - began

    told = json.loads(done.stdout)
    statuses = {int(status): count for status, count in told["statuses"].items()}
    assert set(statuses) == {401, 429}
    assert told["without_retry_after"] == 0
    for times in told["looked_at"].values():
        # Of eleven in a row, the last is a minute after the first; what the way takes is not the server's.
        for first, last in zip(times, times[MOST_FAILURES:], strict=False):
            assert last - first > WINDOW_S - 1
    assert beside.refused == []
    assert beside.p99_ms() <= P99_MS[size]
    # One that was never shown before, from an address that guesses nothing.
    assert own_site.get("/runs", token=texts[1]).status_code == 200
    check_secrecy(own_site, texts)
    figures.update(
        {
            "addresses": n_addresses,
            "guesses": sum(statuses.values()),
            "looked at": statuses[401],
            "answered by 429": statuses[429],
            "accepted": 0,
            "seconds": round(took),
            "valid requests beside": len(beside.took),
            "their p99 in ms": beside.p99_ms(),
        }
    )


def check_secrecy(own_site, texts: list[str]) -> None:
    """Tokens are nowhere but in the file of the local user's."""
    server = psutil.Process(own_site.process.pid)
    told = " ".join(
        word
        for each in (server, *server.children(recursive=True))
        for word in (*each.cmdline(), *each.environ().values())
    )
    kept = [path.read_bytes() for path in own_site.folder.rglob("*") if path.is_file() and path.name != "token"]
    for text in texts:
        secret = text[-43:]
        assert secret not in told
        assert not any(secret.encode() in content for content in kept)
        assert secret not in own_site.errors


def test_a_wrong_token_takes_as_long_however_much_of_it_is_right(own_site, size, seed, figures):
    draw = random.Random(seed)
    own_site.start()
    token = own_site.token
    parts = urlsplit(own_site.url)
    kinds = {
        "near": lambda: token[:-4] + secrets.token_urlsafe(3),
        "far": lambda: f"{token[:16]}{secrets.token_urlsafe(32)}",
        "of nobody": lambda: f"pl_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}",
    }
    order = [kind for kind in kinds for _ in range(N_SAMPLES[size])]
    draw.shuffle(order)
    took: dict[str, list[float]] = {kind: [] for kind in kinds}
    # As many from an address as are looked at: this machine has sixteen million.
    for number, some in enumerate(batches(order)):
        address = str(ipaddress.ip_address("127.1.0.1") + number)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60, source_address=(address, 0))
        connection.connect()
        for kind in some:
            headers = {"Authorization": f"Bearer {kinds[kind]()}"}
            began = time.perf_counter()
            connection.request("GET", "/runs", headers=headers)
            answer = connection.getresponse()
            answer.read()
            took[kind].append(time.perf_counter() - began)
            assert answer.status == 401
        connection.close()

    p = {other: float(mannwhitneyu(took["near"], took[other]).pvalue) for other in ("far", "of nobody")}
    assert min(p.values()) > LEAST_P[size], p
    figures["samples of each"] = N_SAMPLES[size]
    figures.update({f"median of {kind} in us": round(1e6 * statistics.median(times)) for kind, times in took.items()})
    figures.update({f"p of near and {kind}": round(each, 3) for kind, each in p.items()})


def batches(order: list[str]) -> list[list[str]]:
    return [order[number : number + MOST_FAILURES] for number in range(0, len(order), MOST_FAILURES)]
