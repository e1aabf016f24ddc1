"""What nobody should send: refused by a 4xx, with nothing started, read or loaded."""

import http.client
import json
import os
import pickle
import random
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from urllib.parse import quote, urlsplit

import pytest

from pipelite import Workspace
from serve.hostility import BODIES, JSON, Poison, count_runs, requests_to_abuse, status_of, talk, traversals
from serve.sites import wait_until


@pytest.fixture
def nothing_starts(site):
    """The test starts no run, and the server works afterwards."""
    before = count_runs(site)
    yield
    assert count_runs(site) == before
    assert site.get("/healthz").status_code == 200
    assert "Traceback" not in site.errors


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_wrong_is_a_400_and_no_run(site, nothing_starts, name):
    answer = site.post("/pipelines/Train", data=BODIES[name], headers=JSON)

    assert answer.status_code == 400, answer.text
    assert set(answer.json()["Error"]) == {"Code", "Message", "Parameter"}


def test_a_body_of_another_type_is_a_415(site, nothing_starts):
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
    ):
        answer = site.post("/pipelines/Train", data=b"{}", headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["Error"]["Code"]) == (415, "UnsupportedMediaType")


def test_a_body_that_is_too_large_is_refused_before_it_is_read(site, nothing_starts):
    head = f"POST /pipelines/Train HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {site.token}\r\n"
    for size in (100_000_000, 10**30):
        answer = talk(site, f"{head}Content-Length: {size}\r\n\r\n".encode())
        assert status_of(answer) == 413
        assert b'{"Error": {"Code": "' in answer


def test_wrong_keys_and_queries_are_refused(site, nothing_starts):
    for key in ("a b", "x" * 256, "\xe4"):
        assert site.post("/pipelines/Train", headers={"Idempotency-Key": key}).status_code == 400
    for query in (
        "wait=-1",
        "wait=inf",
        "wait=nan",
        "wait=1e3",
        "wait=301",
        "wait=1&wait=1",
        "version=",
        "more=1",
        "wait=٣",
    ):
        assert site.post(f"/pipelines/Train?{query}").status_code == 400, query


def test_broken_http_is_no_5xx_and_starts_nothing(site, nothing_starts):
    noise = random.Random(7)
    for number, text in enumerate(requests_to_abuse(site.token)):
        content = text.encode("latin-1")
        answer = talk(site, content)
        assert status_of(answer) < 500, (number, content[:200], answer[:300])
        # Any of it cut off, and with a byte changed.
        talk(site, content[: noise.randrange(1, min(len(content), 300))])
        changed = bytearray(content[:5000])
        changed[noise.randrange(min(len(changed), 30))] = noise.randrange(256)
        assert status_of(talk(site, bytes(changed))) < 500, bytes(changed)[:200]


def test_slow_clients_are_in_nobodys_way(site, nothing_starts):
    parts = urlsplit(site.url)
    lines = [socket.create_connection((parts.hostname, parts.port)) for _ in range(200)]
    try:
        for number, line in enumerate(lines):
            line.sendall(
                b"POST /pipelines/Train HTTP/1.1\r\nHost: localhost\r\n" + b"Content-Length: 100\r\n\r\n" * (number % 2)
            )
        for _ in range(20):
            assert site.get("/runs").status_code == 200
    finally:
        for line in lines:
            line.close()


def test_a_request_that_drips_in_is_cut_off_however_active_its_connection_is(workspace, monkeypatch):
    from pipelite.serve import server as module

    monkeypatch.setattr(module, "REQUEST_S", 1)
    server = module.Server(Workspace().store, host="127.0.0.1", port=0)
    threading.Thread(target=server._http.run, daemon=True).start()
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=0.1) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")

        def is_cut_off() -> bool:
            try:
                line.sendall(b"X: y\r\n")
                return line.recv(1) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        wait_until(is_cut_off, 20)
    server._http.task_dispatcher.shutdown()
    server._http.close()


def test_who_takes_nothing_of_the_answers_is_given_up(workspace, monkeypatch):
    from pipelite.serve import server as module

    monkeypatch.setattr(module, "STALLED_S", 0.5)
    server = module.Server(Workspace().store, host="127.0.0.1", port=0)
    threading.Thread(target=server._http.run, daemon=True).start()
    parts = urlsplit(server.url)
    token = server.token_file.read_text().strip()
    ask = f"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as line, pytest.raises(ConnectionError):
        while True:
            line.sendall(ask * 100)
    wait_until(lambda: not server._http.active_channels, 20)
    server._http.task_dispatcher.shutdown()
    server._http.close()


def test_no_id_or_name_leads_to_a_file(site, nothing_starts, request):
    secret = site.folder / "secret.txt"
    secret.write_text("CANARY")
    parts = urlsplit(site.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    request.addfinalizer(connection.close)
    headers = {"Authorization": f"Bearer {site.token}"}
    run = site.get("/runs?limit=1").json()["Runs"]
    id_ = run[0]["Id"] if run else "20260101-000000-aaaaaa"
    texts = list(dict.fromkeys(traversals(str(secret))))
    places = (
        "/runs/{}",
        "/runs/{}/steps/load/logs",
        f"/runs/{id_}/steps/{{}}/logs",
        f"/runs/{id_}/outputs/{{}}",
        "/pipelines/{}",
        "/endpoints/{}",
        "/{}",
        "/runs/{}/outputs/total",
    )
    noise = random.Random(11)
    asked = 0
    for text in texts:
        # Each in some of the places; in one as it is, in the other with all that may be encoded.
        for place, safe in zip(noise.sample(places, 2), ("/.%;\\~:", ""), strict=True):
            target = place.format(quote(text, safe=safe))
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
            asked += 1
            # What is nothing but dots and slashes may come to a listing.
            assert 200 <= answer.status < 500, (target, answer.status)
            assert b"CANARY" not in content
            assert b"root:" not in content
    assert asked >= 1000


def test_no_parameter_that_is_a_path_leads_out(site, nothing_starts):
    data = site.workspace / "data"
    (data / "raw").mkdir(parents=True, exist_ok=True)
    secret = site.folder / "secret.txt"
    secret.write_text("CANARY")
    for folder in (data / "raw", site.folder / "allowed"):
        (folder / "out").unlink(missing_ok=True)
        (folder / "out").symlink_to(site.folder)
    allowed = site.folder / "allowed"
    texts = [
        *traversals(str(secret)),
        "local/raw/out/secret.txt",
        "local",
        "local/",
        "local/missing.txt",
        "raw/secret.txt",
        str(secret),
        str(allowed / "out" / "secret.txt"),
        f"{allowed}/../secret.txt",
        f"{allowed}-not/secret.txt",
        str(site.workspace / "token"),
        "x" * 5000,
        "local/" + "x" * 5000,
    ]
    texts += [f"local/{text}" for text in texts if not text.startswith("local/")]
    texts += [f"{allowed}/{text}" for text in texts[:400] if ".." in text]
    noise = random.Random(13)
    session = noise.sample(texts, 500) + texts[-60:]
    for text in session:
        body = {"ParameterAssignments": noise.choice(({"data": text}, {"data": "local/raw", "more": [text]}))}
        answer = site.post("/pipelines/Reading", json=body)
        assert answer.status_code == 400, (text, answer.text)
        assert answer.json()["Error"]["Parameter"] in ("data", "more", None), answer.text


def test_a_poisoned_artifact_is_never_loaded(site):
    run = site.call("Kinds")
    canary = site.folder / "canary"
    steps = {}
    with closing(sqlite3.connect(site.workspace / "pipelite.db")) as connection:
        for name, text in connection.execute(
            "SELECT name, coalesce((SELECT outputs FROM step_runs AS origin WHERE origin.id = step_runs.computed_by), outputs) "
            "FROM step_runs WHERE run_id = ?",
            (run["Id"],),
        ):
            steps[name] = json.loads(text)["result"]
    kept = {}
    for name in ("frame", "thing"):
        file = site.workspace / "artifacts" / steps[name]["path"]
        kept[file] = file.read_bytes(), file.stat()
        poison = pickle.dumps(Poison(str(canary)))
        file.chmod(0o600)
        # Of the same size and time, so that only its bytes tell.
        file.write_bytes(poison.ljust(len(kept[file][0]), b"\0"))
        os.utime(file, ns=(kept[file][1].st_atime_ns, kept[file][1].st_mtime_ns))
    try:
        outputs = f"/runs/{run['Id']}/outputs"
        assert site.get(f"{outputs}/frame").status_code == 410
        assert site.get(f"{outputs}/frame?format=csv").status_code == 410
        assert b"canary" in site.get(f"{outputs}/thing").content
        assert site.get(f"/runs/{run['Id']}").status_code == 200
        assert not canary.exists()
        pickle.loads(poison).close()
        assert canary.exists(), "it would have done"
    finally:
        for file, (content, status) in kept.items():
            file.write_bytes(content)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_an_artifact_that_the_database_says_is_elsewhere_is_gone(own_site):
    own_site.start()
    run = own_site.call("Kinds")
    with closing(sqlite3.connect(own_site.workspace / "pipelite.db")) as connection, connection:
        secret = own_site.folder / "secret.txt"
        secret.write_text("CANARY")
        status = secret.stat()
        described = {
            "digest": "d",
            "kind": "file",
            "path": "../../secret.txt",
            "size_bytes": 6,
            "mtime_ns": status.st_mtime_ns,
        }
        connection.execute(
            "UPDATE step_runs SET outputs = ? WHERE name = 'text_file' AND run_id = ?",
            (json.dumps({"result": described}), run["Id"]),
        )

    answer = own_site.get(f"/runs/{run['Id']}/outputs/file")

    assert (answer.status_code, answer.json()["Error"]["Code"]) == (410, "Gone")


def test_what_the_document_does_not_allow_is_refused(site, nothing_starts):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{site.url}/openapi.json"),
            *("--header", f"Authorization: Bearer {site.token}", "--mode", "negative"),
            *(
                "--checks",
                "not_a_server_error,negative_data_rejection,status_code_conformance,response_schema_conformance",
            ),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "5", "--seed", "5", "--no-color"),
        ],
        cwd=site.folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
