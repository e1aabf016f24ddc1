"""Who may call, what for, until when; and who guesses."""

import json
import re
import socket
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from pipelite import Workspace
from pipelite.serve.throttle import MOST_FAILURES, WINDOW_S, Throttle
from pipelite.store.tokens import create_token, find_token, keep_local_token, list_tokens, revoke_token
from serve.sites import wait_until

ROUTES = (
    ("GET", "/pipelines", "read"),
    ("GET", "/pipelines/Train", "read"),
    ("GET", "/endpoints", "read"),
    ("GET", "/endpoints/Train", "read"),
    ("GET", "/runs", "read"),
    ("GET", "/runs/20260101-000000-aaaaaa", "read"),
    ("GET", "/runs/20260101-000000-aaaaaa/steps/load/logs", "read"),
    ("GET", "/runs/20260101-000000-aaaaaa/outputs/total", "read"),
    ("GET", "/openapi.json", "read"),
    ("GET", "/metrics", "read"),
    ("POST", "/pipelines/Train", "submit"),
    ("POST", "/runs/20260101-000000-aaaaaa/cancel", "submit"),
    ("POST", "/runs/20260101-000000-aaaaaa/rerun", "submit"),
    ("POST", "/runs/20260101-000000-aaaaaa/resume", "submit"),
    ("PUT", "/endpoints/Train", "admin"),
    ("GET", "/schedules", "read"),
    ("GET", "/schedules/nightly", "read"),
    ("GET", "/schedules/nightly/next", "read"),
    ("GET", "/schedules/nightly/history", "read"),
    ("POST", "/schedules/nightly/run", "submit"),
    ("POST", "/schedules/nightly/backfill", "submit"),
    ("POST", "/schedules", "admin"),
    ("PATCH", "/schedules/nightly", "admin"),
    ("DELETE", "/schedules/nightly", "admin"),
    ("POST", "/schedules/nightly/pause", "admin"),
    ("POST", "/schedules/nightly/resume", "admin"),
    ("GET", "/triggers", "read"),
    ("GET", "/triggers/nightly", "read"),
    ("POST", "/triggers/nightly/pause", "admin"),
    ("POST", "/triggers/nightly/resume", "admin"),
    ("POST", "/PipelineRuns/PipelineSubmit/nightly", "submit"),
    ("POST", "/PipelineRuns/PipelineEndpointSubmit/Id/nightly", "submit"),
    ("POST", "/PipelineRuns/PipelineEndpointSubmit/Id/nightly/nightly", "submit"),
    ("POST", "/PipelineRuns/PipelineEndpointSubmit/Name", "submit"),
    ("GET", "/history/v1.0/nightly/experiments/nightly/runs/nightly/details", "read"),
    ("GET", "/history/v1.0/nightly/experiments/nightly/runs/nightly/children", "read"),
)
SCOPES = ("read", "submit", "admin")


@pytest.fixture(scope="module")
def tokens(site):
    return {scope: site.new_token("--scope", scope) for scope in SCOPES}


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_every_route_needs_a_token_with_its_scope(site, tokens, method, path, scope):
    assert requests.request(method, site.url + path, timeout=10).status_code == 401
    for held, token in tokens.items():
        answer = site.ask(method, path, token=token)
        if SCOPES.index(held) >= SCOPES.index(scope):
            assert answer.status_code not in (401, 403), (held, answer.text)
        else:
            assert (answer.status_code, '"Forbidden"' in answer.text) == (403, True)


def test_the_table_above_has_every_route_that_is_documented(site):
    paths = site.get("/openapi.json").json()["paths"]
    documented = {
        (method.upper(), re.sub(r"\{\w+\}", "*", path))
        for path, each in paths.items()
        for method in each
        if "/{" in path or path.count("/") == 1
    }
    named = {
        (
            method,
            re.sub(r"(?<=^/(?:runs/))[^/]+|(?<=/(?:steps)/)\w+|(?<=/outputs/)\w+|Train|nightly|arrivals", "*", path),
        )
        for method, path, _ in ROUTES
    }

    # Who knows the secret of a trigger needs no token.
    assert documented - named == {("GET", "/healthz"), ("POST", "/triggers/*")}


def test_only_health_is_told_to_everybody(site):
    for path in ("/", "/nothing", "/runs/x", "/static/x", "/healthz/", "/metrics"):
        answer = requests.get(site.url + path, timeout=10)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), path
    assert requests.get(f"{site.url}/healthz", timeout=10).status_code == 200


def test_the_token_of_the_local_user_is_in_a_file_that_nobody_else_reads(site):
    file = site.workspace / "token"

    assert file.stat().st_mode & 0o777 == 0o600
    assert str(file) in site.errors
    assert site.get("/runs", token=file.read_text().strip()).status_code == 200


def test_a_revoked_token_opens_nothing_from_the_next_request_on(site):
    made = json.loads(site.command("token", "create", "--scope", "read", "--name", "short", "--json").stdout)
    assert site.get("/runs", token=made["token"]).status_code == 200

    assert site.command("token", "revoke", made["id"]).stdout == f"token {made['id']} is revoked\n"

    assert site.get("/runs", token=made["token"]).status_code == 401
    listed = json.loads(site.command("token", "list", "--json").stdout)
    [found] = [each for each in listed if each["id"] == made["id"]]
    assert (found["valid"], found["name"], found["scope"]) == (False, "short", "read")
    assert found["last_used_at"] is not None
    assert made["id"] in site.command("token", "list").stdout
    assert site.command("token", "revoke", "nobody", check=False).returncode == 2


def test_an_expired_token_opens_nothing(site):
    token = site.new_token("--scope", "read", "--expires", "0.00001")

    wait_until(lambda: site.get("/runs", token=token).status_code == 401)


def test_a_limited_token_sees_and_calls_its_own_pipelines_only(site):
    mine = site.new_token("--scope", "submit", "--pipeline", "Train")
    other = site.call("Lasting", tag="o", count=1)["Id"]

    made = site.post("/pipelines/Train?wait=60", token=mine)

    assert made.status_code == 200
    run = made.json()["Id"]
    seen = site.get("/runs?limit=500", token=mine).json()["Runs"]
    assert run in {each["Id"] for each in seen}
    assert {each["Published"]["Name"] for each in seen} == {"Train"}
    assert {each["Name"] for each in site.get("/pipelines", token=mine).json()["Pipelines"]} == {"Train"}
    assert [each["Name"] for each in site.get("/endpoints", token=mine).json()["Endpoints"]] == ["Train"]
    assert site.get(f"/runs/{run}/steps/load/logs", token=mine).status_code == 200
    assert "/pipelines/Lasting" not in site.get("/openapi.json", token=mine).json()["paths"]
    for method, path in (
        ("POST", "/pipelines/Lasting"),
        ("GET", "/pipelines/Lasting"),
        ("GET", "/endpoints/Lasting"),
        ("GET", f"/runs/{other}"),
        ("POST", f"/runs/{other}/cancel"),
        ("GET", f"/runs/{other}/steps/work/logs"),
        ("GET", f"/runs/{other}/outputs/result"),
    ):
        assert site.ask(method, path, token=mine).status_code == 404, path
    assert site.get("/metrics", token=mine).status_code == 403


def test_runs_that_were_not_published_are_for_administrators_to_end(site, tokens):
    site.command("run", "flow.py:train", "--quiet")
    run = json.loads(site.command("runs", "list", "--json").stdout)[0]["id"]

    assert site.get(f"/runs/{run}", token=tokens["read"]).json()["Published"] is None
    assert site.post(f"/runs/{run}/cancel", token=tokens["submit"]).status_code == 403
    assert site.post(f"/runs/{run}/cancel", token=tokens["admin"]).json()["Status"] == "completed"
    assert site.post(f"/runs/{run}/rerun", token=tokens["admin"]).status_code == 409


def test_guessing_is_answered_by_429_and_others_are_not_in_its_way(own_site):
    own_site.start()
    known = own_site.new_token("--scope", "read")
    assert own_site.get("/runs", token=known).status_code == 200

    guesses = [own_site.get("/runs", token=f"pl_{number:012x}_{'A' * 43}") for number in range(30)]

    assert [each.status_code for each in guesses] == [401] * MOST_FAILURES + [429] * (30 - MOST_FAILURES)
    assert 0 < int(guesses[-1].headers["Retry-After"]) <= WINDOW_S
    # Not even a right one is looked at now, if it was not known before.
    assert own_site.get("/runs", token=own_site.new_token("--scope", "read")).status_code == 429
    assert own_site.get("/runs", token=known).status_code == 200
    assert requests.get(f"{own_site.url}/healthz", timeout=10).status_code == 200


def ask_for(site, client: str, *, over: str = "") -> int:
    """The status of a request with a wrong token that is said to be of a client."""
    token = f"pl_{'0' * 12}_{'A' * 43}"
    kind, place = (socket.AF_UNIX, over) if over else (socket.AF_INET, ("127.0.0.1", urlsplit(site.url).port))
    with socket.socket(kind) as line:
        line.connect(place)
        line.sendall(
            f"GET /runs HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {client}\r\nAuthorization: Bearer {token}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        return int(line.makefile("rb").read().split(b" ", 2)[1])


def test_nobody_is_believed_for_whom_a_request_is_unless_it_is_said_so(own_site):
    own_site.start("--trusted-proxy", "127.0.0.9")

    answers = [ask_for(own_site, f"10.0.0.{number}") for number in range(MOST_FAILURES + 1)]

    assert answers == [401] * MOST_FAILURES + [429]


def test_a_proxy_on_a_unix_socket_can_be_believed(own_site):
    path = str(own_site.folder / "socket")
    own_site.start("--unix-socket", path, "--trusted-proxy", "localhost", "--url", "https://ml.example.com")

    answers = [ask_for(own_site, "10.0.0.1", over=path) for _ in range(MOST_FAILURES + 1)]

    assert answers == [401] * MOST_FAILURES + [429]
    assert ask_for(own_site, "10.0.0.2", over=path) == 401


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--trusted-proxy", "localhost"), "'localhost' is no address"),
        (("--trusted-proxy", "127.0.0.1", "--unix-socket", "socket"), "give it with --trusted-proxy localhost"),
        (("--url", "https://ml.example.com/path"), "clients cannot call 'https://ml.example.com/path'"),
        (("--url", "ml.example.com"), "clients cannot call 'ml.example.com'"),
        (("--url", "https://["), "clients cannot call 'https://['"),
        (("--url", "https://somebody@ml.example.com"), "clients cannot call 'https://somebody@ml.example.com'"),
        (("--host", "nowhere.invalid"), "cannot listen on nowhere.invalid"),
    ],
)
def test_a_proxy_or_an_address_that_cannot_be_is_told(site, options, told):
    done = site.command("serve", "--port", "0", *options, check=False)

    assert (done.returncode, told in done.stderr) == (2, True), done.stderr


def test_a_name_with_several_addresses_has_one_port(own_site):
    own_site.start("--host", "localhost")
    port = urlsplit(own_site.url).port

    found = {
        each.laddr.port for each in psutil.Process(own_site.process.pid).net_connections() if each.status == "LISTEN"
    }

    assert found == {port}


def test_a_window_of_guesses_passes_and_addresses_do_not_share_it():
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    for number in range(MOST_FAILURES):
        assert throttle.wait_s("10.0.0.1", f"guess {number}") == 0
        throttle.note_failure("10.0.0.1", f"guess {number}")
        now[0] += 1

    assert throttle.wait_s("10.0.0.1", "next") == WINDOW_S - MOST_FAILURES
    assert throttle.wait_s("10.0.0.2", "next") == 0
    now[0] = WINDOW_S
    assert throttle.wait_s("10.0.0.1", "next") == 0
    throttle.note_failure("10.0.0.1", "next")
    assert throttle.wait_s("10.0.0.1", "next") == 1


def test_who_has_one_address_of_ipv6_has_all_of_its_network():
    throttle = Throttle()
    for number in range(MOST_FAILURES):
        throttle.note_failure(f"2001:db8::{number:x}", "guess")

    assert throttle.wait_s("2001:db8::ffff", "next") > 0
    assert throttle.wait_s("2001:db8:0:1::1", "next") == 0


def test_no_token_is_in_the_database_the_errors_or_the_list_of_processes(own_site):
    own_site.start()
    texts = [own_site.token, own_site.new_token("--scope", "admin")]
    wrong = texts[0][:-1] + ("A" if texts[0][-1] != "A" else "B")
    for token in (*texts, wrong):
        own_site.post("/pipelines/Train?wait=60", token=token)
        own_site.post("/pipelines/Train", token=token, data=b"{", headers={"Content-Type": "application/json"})
        own_site.ask("BREW", "/runs", token=token)
    process = psutil.Process(own_site.process.pid)
    told = [
        " ".join([*each.cmdline(), *each.environ().values()]) for each in (process, *process.children(recursive=True))
    ]
    own_site.stop()

    kept = b"".join(path.read_bytes() for path in own_site.folder.rglob("*") if path.is_file() and path.name != "token")

    for token in (*texts, wrong):
        secret = token.rpartition("_")[2] if token.count("_") == 2 else token[16:]
        assert len(secret) == 43
        assert secret.encode() not in kept
        assert all(secret not in each for each in told)


def test_a_server_that_others_can_reach_needs_a_token_for_them(own_site):
    refused = own_site.command("serve", "--host", "0.0.0.0", "--port", "0", check=False)

    assert refused.returncode == 2
    assert "make one first: pipelite token create --scope submit" in refused.stderr
    token = own_site.new_token("--scope", "read")
    own_site.start("--host", "0.0.0.0")
    assert own_site.get("/runs", token=token).status_code == 200


def test_hosts_and_origins_of_others_are_refused(site):
    port = site.url.rpartition(":")[2]
    for host in ("evil.example", f"evil.example:{port}", "10.0.0.1", "", "127.0.0.1.evil.example", "[::2]"):
        assert site.get("/runs", headers={"Host": host}).status_code in (400, 403), host
        assert requests.get(f"{site.url}/healthz", headers={"Host": host}, timeout=10).status_code in (400, 403)
    for host in ("localhost", f"LOCALHOST:{port}", "127.0.0.1", f"[::1]:{port}"):
        assert site.get("/runs", headers={"Host": host}).status_code == 200, host
    for origin in (
        "https://evil.example",
        "null",
        "http://localhost:1",
        f"http://127.0.0.1:{port}.evil.example",
        "http://[",
    ):
        assert site.post("/pipelines/Train", headers={"Origin": origin}).status_code == 403, origin
    assert site.get("/runs", headers={"Origin": site.url}).status_code == 200


def test_a_name_of_the_machine_can_be_added(own_site):
    own_site.start("--allow-host", "box.example")

    assert own_site.get("/runs", headers={"Host": "box.example"}).status_code == 200
    assert own_site.get("/runs", headers={"Host": "other.example"}).status_code == 403


def test_a_token_that_is_stored_is_a_hash_and_tells_what_it_is_for(workspace):
    store = Workspace().store
    made, text = create_token(store, scope="submit", name="ci", pipelines=["Train"])

    found = find_token(store, text)

    assert (found.id, found.may("read"), found.may("admin")) == (made.id, True, False)
    assert (found.sees("Train"), found.sees("Other"), found.sees(None)) == (True, False, False)
    assert text not in str(store.database.read("SELECT * FROM tokens")[0][:])
    last = list_tokens(store)[0].last_used_at
    find_token(store, text)
    assert list_tokens(store)[0].last_used_at == last, "noted once a minute"
    for wrong in ("", "pl_", text[:-1], text + "A", text.upper(), text.replace("pl_", ""), "\xff"):
        assert find_token(store, wrong) is None
    revoke_token(store, made.id)
    assert find_token(store, text) is None


def test_a_local_token_that_others_could_have_read_is_replaced(workspace):
    store = Workspace().store
    file = keep_local_token(store)
    first = file.read_text().strip()
    assert keep_local_token(store).read_text().strip() == first

    file.chmod(0o644)

    second = keep_local_token(store).read_text().strip()
    assert second != first
    assert find_token(store, first) is None
    assert find_token(store, second).is_local
    assert file.stat().st_mode & 0o777 == 0o600
