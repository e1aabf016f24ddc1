"""What nobody should send to a server, and ways to send it."""

from __future__ import annotations

import itertools
import json
import pickle
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

from serve.sites import Site

JSON = {"Content-Type": "application/json"}


def count_runs(site: Site) -> int:
    with closing(sqlite3.connect(site.workspace / "pipelite.db")) as connection:
        return connection.execute("SELECT count(*) FROM runs").fetchone()[0]


BODIES = {
    "no JSON": b"{",
    "a list": b"[]",
    "a text": b'"x"',
    "deep": b'{"ParameterAssignments": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "a little too deep": b'{"ParameterAssignments": {"n": ' + b"[" * 70 + b"]" * 70 + b"}}",
    "NaN": b'{"ParameterAssignments": {"scale": NaN}}',
    "infinity": b'{"ParameterAssignments": {"scale": -Infinity}}',
    "too large a number": b'{"ParameterAssignments": {"scale": 1e400}}',
    "digits without end": b'{"ParameterAssignments": {"n": ' + b"9" * 10_000 + b"}}",
    "a name twice": b'{"ParameterAssignments": {"n": 1, "n": 2}}',
    "a name twice above": b'{"ParameterAssignments": {}, "ParameterAssignments": {}}',
    "bad UTF-8": b'{"ExperimentName": "\xff\xfe"}',
    "half a character": b'{"ExperimentName": "\\ud800"}',
    "half a character in a name": b'{"Tags": {"\\udfff": "x"}}',
    "NUL": b'{"ExperimentName": "a\\u0000b"}',
    "a byte order mark": b'\xef\xbb\xbf{"ExperimentName": "a"}',
    "UTF-16": '{"ExperimentName": "a"}'.encode("utf-16"),
    "an unknown field": b'{"Experiment": "x"}',
    "a number for a name": b'{"ExperimentName": 3}',
    "no name": b'{"ExperimentName": ""}',
    "too long a name": json.dumps({"ExperimentName": "x" * 256}).encode(),
    "a list of parameters": b'{"ParameterAssignments": []}',
    "a true priority": b'{"Priority": true}',
    "a huge priority": b'{"Priority": 99999999999999999999}',
    "tags that are none": b'{"Tags": {"a": 1}}',
    "many tags": json.dumps({"Tags": {str(number): "" for number in range(200)}}).encode(),
    "a huge int": b'{"ParameterAssignments": {"n": "1"}}',
    "a pickle": pickle.dumps({"ParameterAssignments": {}}),
}


def talk(site: Site, content: bytes) -> bytes:
    """Send bytes as they are; what comes back until the server closes, or says no more."""
    parts = urlsplit(site.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=2) as line:
        received = b""
        try:
            line.sendall(content)
            line.shutdown(socket.SHUT_WR)
            while block := line.recv(65536):
                received += block
        except OSError:
            # It may have closed already, or say nothing more.
            pass
        return received


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


def requests_to_abuse(token: str) -> Iterator[str]:
    """Requests that break HTTP in some way; of a pipeline that does not start without a body."""
    head = f"POST /pipelines/Lasting HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    body = '{"Priority": 1, "Wrong": 1}'
    yield head + "Content-Length: 100000000\r\n\r\n" + body
    yield head + "Content-Length: -5\r\n\r\n" + body
    yield head + "Content-Length: abc\r\n\r\n" + body
    yield head + "Content-Length: 5, 6\r\n\r\n" + body
    yield head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + body
    yield head + "Content-Length: 3\r\nContent-Type: application/json\r\n\r\n" + body
    yield (
        head
        + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n0\r\n\r\nGET / HTTP/1.1"
    )
    yield head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
    yield head + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}"
    yield head + "Transfer-Encoding: gzip\r\n\r\n" + body
    yield head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
    yield head + "Expect: 200-ok\r\nContent-Length: 1\r\nContent-Type: application/json\r\n\r\n{"
    yield head + "X: " + "a" * 1_000_000 + "\r\n\r\n"
    yield head + "".join(f"X{number}: a\r\n" for number in range(20_000)) + "\r\n"
    yield head + "No colon here\r\n\r\n"
    yield head + " folded: x\r\n\r\n"
    yield head + "Bad\x00Name: x\r\n\r\n"
    yield head + "Content-Type: \x00\x01\xff\r\nContent-Length: 2\r\n\r\n{}"
    yield f"POST /pipelines/Lasting HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n"
    yield f"POST /pipelines/Lasting HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nAuthorization: Bearer {token}\r\n\r\n"
    for method in ("BREW", "TRACE", "CONNECT", "PROPFIND", "G E T", "\x00", "x" * 5000, "get"):
        yield f"{method} /runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    for target in (
        "http://evil.example/runs",
        "*",
        "runs",
        "//evil.example/runs",
        "/runs?" + "a" * 70_000,
        "http://[/runs",
        "/\xff",
        "/%",
        "/%zz%ff",
    ):
        yield f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    for version in ("HTTP/0.9", "HTTP/9.9", "HTTP/1.1.1", "HTTPS/1.1", ""):
        yield f"POST /pipelines/Nothing {version}\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    for range_ in ("bytes=5-1", "bytes=-", "bytes=a-b", "bytes=0-0," * 1000, "lines=1-2"):
        yield f"GET /runs HTTP/1.1\r\nHost: localhost\r\nRange: {range_}\r\nAuthorization: Bearer {token}\r\n\r\n"
    yield "\r\n" * 1000
    yield "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    yield "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def traversals(secret: str) -> Iterator[str]:
    """Paths that lead, in some way, to where they should not."""
    steps = (
        "..",
        "%2e%2e",
        "%252e%252e",
        "%2E%2E",
        "..%5c",
        "..%c0%af",
        "..;",
        "....//",
        "..%2f",
        "..\\",
        "%c0%ae%c0%ae",
        "\uff0e\uff0e",
        "..\x00",
        ". .",
        "~",
        "..%00",
    )
    ends = (secret, secret.lstrip("/"), "etc/passwd", "pipelite.db", "token", "")
    for step, depth, end in itertools.product(steps, (1, 2, 5, 12), ends):
        yield f"{step}/" * depth + end
        yield f"raw/{step}/" * depth + end
    for prefix in (
        "/",
        "//",
        "///",
        "/./",
        "//proc/self/root/",
        "/proc/self/cwd/",
        "file://",
        "file:",
        "\\\\host\\share\\",
        "C:\\",
        "C:/",
        "~/",
        "~root/",
        "|",
        "-",
        "#",
        "?",
        "data:,",
        "http://127.0.0.1/",
        "s3://bucket/",
        "memory://",
        "$HOME/",
        "${HOME}/",
        "{0}",
    ):
        for end in ends:
            yield prefix + end


class Poison:
    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __reduce__(self):
        return (open, (self.canary, "w"))
