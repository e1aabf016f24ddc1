"""Requests on events of runs: over real connections to a receiver on this machine."""

import base64
import hashlib
import hmac
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from receiving import Receiver

from certificates import make_certificate
from pipelite import Workspace, current_run, pipeline, step
from pipelite.automate import EVENTS, Backoff, HookSender, requeue
from pipelite.automate.posting import Timeouts, is_refused, read_retry_after, sign
from pipelite.automate.templates import find_mistakes, render
from pipelite.errors import DeliveryError, HookError, StepFailed, UnknownNameError

pytestmark = pytest.mark.filterwarnings("ignore:run .* waits in the queue")

QUICK = Backoff(attempts=4, first_s=0.02, factor=1, jitter=0)
#: For receivers that say nothing; a busy machine's receiver may take longer, and would be given up with it.
SHORT = Timeouts(connect_s=2, read_s=1, total_s=2)


@step
def measure(text, fail):
    current_run().log("accuracy", 0.75)
    if fail:
        raise ValueError(text)
    return text


@pipeline(compute="inline", quiet=True)
def measuring(text: str = "fine", fail: bool = False):
    return measure(text, fail)


@pipeline(compute="inline", quiet=True)
def other(text: str = "other"):
    return measure(text, fail=False)


def wait_until(holds, timeout_s=30.0):
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def hooks(workspace):
    return Workspace().hooks


@pytest.fixture
def send():
    """Starts senders on the workspace, and stops them at the end."""
    started = []

    def start(**options):
        sender = HookSender(Workspace().store, **{"backoff": QUICK} | options)
        sender.start()
        started.append(sender)
        return sender

    yield start
    for sender in started:
        sender.stop()


def states():
    return [delivery.state for delivery in Workspace().hooks.deliveries()]


def test_a_run_is_told_when_it_starts_and_ends_with_what_it_was(hooks, receiver, send):
    hooks.add("all", receiver.url, events=("started", "completed"))
    send()

    run = measuring.run(text="x")

    wait_until(lambda: states() == ["delivered"] * 2)
    started, completed = sorted(receiver.requests, key=lambda request: request.data["timestamp"])
    assert started.path == "/hook?from=pipelite"
    assert started.headers["content-type"] == "application/json"
    assert (started.data["type"], started.data["data"]["status"]) == ("run.started", "running")
    assert started.data["data"]["ended_at"] is None
    assert completed.data["type"] == "run.completed"
    data = completed.data["data"]
    assert (data["id"], data["pipeline"], data["status"]) == (run.id, "measuring", "completed")
    assert (data["parameters"], data["metrics"]["accuracy"]) == ({"text": "x", "fail": False}, 0.75)
    assert data["duration_s"] == pytest.approx(run.duration_s)


def test_what_ended_badly_is_told_with_the_error_as_it_was_then(hooks, receiver, send):
    hooks.add("bad", receiver.url, events=("failed",), body=["{{run.status}}", "{{run.error}}"])
    run = measuring.submit(text="no good", fail=True)
    wait_until(lambda: run.status == "failed")

    # Nobody was sending when it happened.
    send()

    wait_until(lambda: receiver.requests)
    status, error = receiver.requests[0].data
    assert status == "failed"
    assert "ValueError: no good" in error


def test_that_a_run_which_had_ended_is_put_back_to_be_resumed_is_no_event(hooks):
    hooks.add("all", "http://127.0.0.1:9/", events=EVENTS)
    with pytest.raises(StepFailed):
        measuring.run(fail=True)
    run = Workspace().run()

    requeue(Workspace().store, run.id)

    assert run.status == "interrupted"
    assert [delivery.event for delivery in reversed(hooks.deliveries())] == ["started", "failed"]


def verified(request, secret):
    """The check of a receiver, as docs/hooks.rst has it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    is_recent = abs(time.time() - int(request.headers["webhook-timestamp"])) < 300
    return is_recent and expected in request.headers["webhook-signature"].split(" ")


def test_a_receiver_can_verify_a_request_also_while_one_secret_takes_the_place_of_another(
    hooks, receiver, send, monkeypatch
):
    old, new = ("whsec_" + base64.b64encode(os.urandom(24)).decode() for _ in range(2))
    monkeypatch.setenv("HOOK_SECRET", f"{new} {old}")
    hooks.add("signed", receiver.url, secret="env:HOOK_SECRET")
    send()

    measuring.run()

    wait_until(lambda: receiver.requests)
    [request] = receiver.requests
    assert verified(request, old)
    assert verified(request, new)
    assert not verified(request, "whsec_" + base64.b64encode(os.urandom(24)).decode())
    request.body = request.body.replace(b"completed", b"failed")
    assert not verified(request, new)


def test_signatures_are_those_of_standard_webhooks():
    signature = sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )

    # Of the reference libraries of https://github.com/standard-webhooks/standard-webhooks.
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def drop(handler):
    handler.connection.shutdown(socket.SHUT_RDWR)


def babble(handler):
    handler.wfile.write(b"220 mail.example.com ESMTP\r\n\r\n")


def test_what_is_not_taken_is_sent_again_with_the_same_id_and_body_until_it_is(hooks, receiver, send):
    hooks.add("stubborn", receiver.url, events=("completed",))
    receiver.answers = [500, receiver.hang, drop, babble, 429, 204]
    send(backoff=Backoff(attempts=6, first_s=0.02, factor=1, jitter=0), timeouts=SHORT)

    measuring.run().wait()

    wait_until(lambda: states() == ["delivered"])
    assert len(receiver.requests) == 6
    assert len({(request.id, request.body) for request in receiver.requests}) == 1
    [delivery] = hooks.deliveries()
    assert (delivery.attempts, delivery.answer, delivery.problem) == (6, 204, None)
    assert receiver.requests[0].id == delivery.id


def put_off(handler):
    handler.send_response(429)
    handler.send_header("retry-after", "1")
    handler.end_headers()


def test_a_receiver_that_asks_for_time_is_given_it(hooks, receiver, send):
    hooks.add("busy", receiver.url, events=("completed",))
    receiver.answers = [put_off]
    send()

    measuring.run()

    wait_until(lambda: states() == ["delivered"])
    first, second = receiver.requests
    assert second.at - first.at >= 0.9


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("9" * 5000, 999_999_999_999),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("", None),
        (None, None),
    ],
)
def test_how_long_a_receiver_wants_to_be_left_alone_is_read_or_ignored(text, seconds):
    assert read_retry_after(text) == seconds


def test_a_date_until_which_a_receiver_wants_to_be_left_alone_is_understood():
    assert 3500 < read_retry_after(formatdate(time.time() + 3600, usegmt=True)) <= 3600


def test_a_receiver_that_is_not_there_is_found_when_it_is(hooks, send):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    hooks.add("later", f"http://127.0.0.1:{port}/", events=("completed",))
    send(backoff=Backoff(attempts=1000, first_s=0.05, factor=1))
    measuring.run()
    wait_until(lambda: (hooks.deliveries()[0].problem or "").endswith("Connection refused"))

    receiver = Receiver(port)

    try:
        wait_until(lambda: states() == ["delivered"])
        assert len(receiver.requests) == 1
    finally:
        receiver.close()


def test_pauses_grow_to_about_a_day_altogether():
    pauses = [Backoff().pause_s(attempt, draw=lambda low, high: 1.0) for attempt in range(1, Backoff().attempts)]

    assert pauses[:3] == [5.0, 12.5, 31.25]
    assert 20 < sum(pauses) / 3600 < 26
    assert len({Backoff().pause_s(3) for _ in range(10)}) == 10


def test_what_is_never_taken_is_kept_as_a_dead_letter_and_sent_again_when_told(hooks, receiver, send):
    hooks.add("broken", receiver.url, events=("completed",), body={"old": "{{run.id}}"})
    receiver.answers = [503] * QUICK.attempts
    send()
    run = measuring.run()
    wait_until(lambda: states() == ["dead"])
    [dead] = hooks.deliveries(state="dead")
    assert (dead.attempts, dead.answer, dead.problem) == (4, 503, "it answered 503")

    hooks.add("broken", receiver.url, events=("completed",), body={"new": "{{run.id}}"})
    hooks.redeliver(dead.id)

    wait_until(lambda: states() == ["delivered"])
    assert len(receiver.requests) == 5
    assert receiver.requests[-1].id == dead.id
    assert receiver.requests[-1].data == {"new": run.id}
    with pytest.raises(HookError, match="there is no delivery 'msg_none'"):
        hooks.redeliver("msg_none")


def trickle(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.05)


def flood(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        handler.wfile.write(b"x" * 65536)


def redirect(handler):
    handler.send_response(307)
    handler.send_header("location", "/elsewhere")
    handler.end_headers()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (redirect, "it answered 307, and redirects are not followed"),
        (trickle, "there was no answer in time"),
        (flood, None),
    ],
)
def test_a_receiver_cannot_lead_a_request_elsewhere_nor_hold_it_up(hooks, receiver, send, answer, problem):
    hooks.add("odd", receiver.url, events=("completed",))
    receiver.answers = [answer]
    send(backoff=Backoff(attempts=1), timeouts=SHORT)

    measuring.run()

    wait_until(lambda: states() in (["dead"], ["delivered"]))
    [delivery] = hooks.deliveries()
    assert delivery.problem == problem
    assert [request.path for request in receiver.requests] == ["/hook?from=pipelite"]


def test_a_receiver_that_does_not_answer_leaves_room_for_the_others(hooks, receiver, send):
    slow = Receiver()
    slow.answers = [slow.hang] * 6
    hooks.add("a slow one", slow.url, events=("completed",))
    hooks.add("quick", receiver.url, events=("completed",))
    runs = [measuring.run(text=str(number)) for number in range(6)]
    try:
        send(timeouts=Timeouts(read_s=20))

        wait_until(lambda: len(receiver.requests) == len(runs))
        assert {delivery.state for delivery in hooks.deliveries("a slow one")} == {"sending", "waiting"}
    finally:
        slow.close()


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("10.1.2.3", False),
        ("93.184.215.14", False),
        ("169.254.169.254", True),
        ("::ffff:169.254.169.254", True),
        ("fe80::1", True),
        ("fd00:ec2::254", True),
        ("224.0.0.1", True),
        ("0.0.0.0", True),
    ],
)
def test_addresses_where_clouds_give_out_credentials_are_not_sent_to(address, refused):
    assert is_refused(address) is refused


def test_a_hook_to_the_metadata_of_a_cloud_is_not_sent(hooks):
    hooks.add("sneaky", "http://169.254.169.254/latest/meta-data/")

    with pytest.raises(DeliveryError, match="'sneaky' was not taken: its host leads to an address that is not sent to"):
        hooks.test("sneaky")


def test_only_runs_that_a_hook_asks_for_are_told(hooks, receiver, send):
    hooks.add("mine", receiver.url, events=("completed",), pipelines=("measuring",), body="{{run.pipeline}}")
    hooks.add("published", receiver.url, events=("completed",), published=("Measuring",), body="published")
    send()

    other.run()
    measuring.run()

    wait_until(lambda: states() == ["delivered"])
    assert [request.data for request in receiver.requests] == ["measuring"]


def test_a_published_run_is_told_in_all_that_becomes_of_it(flow, hooks, receiver, serve, ledger):
    published = flow().lasting.publish("Lasting", version="1.0")
    body = ["{{event}}", "{{run.published}} {{run.version}}", "{{run.parameters.count}}"]
    events = ("queued", "started", "completed", "canceled", "interrupted")
    hooks.add("lasting", receiver.url, events=events, published=("Lasting",), body=body)
    published.submit(tag="c", count=2).cancel()
    first = serve()
    run = published.submit(tag="s", count=4, seconds=0.2)
    wait_until(lambda: "s1" in ledger())
    first.stop(grace_s=10)
    serve()
    wait_until(lambda: run.status == "completed")

    wait_until(lambda: states() == ["delivered"] * 7)
    told = [delivery.event for delivery in reversed(hooks.deliveries())]
    assert told == ["queued", "canceled", "queued", "started", "interrupted", "started", "completed"]
    assert sorted(request.data[0] for request in receiver.requests) == sorted(told)
    assert {tuple(request.data[1:]) for request in receiver.requests} == {("Lasting 1.0", 2), ("Lasting 1.0", 4)}


SENDER = """
import sys
from pipelite import Workspace
from pipelite.automate import EVENTS, Backoff, HookSender, requeue

sender = HookSender(Workspace().store, backoff=Backoff(first_s=0.05, factor=1))
sender.start()
print("ready", flush=True)
sys.stdin.read()
sender.stop()
"""


@pytest.fixture
def sender():
    """Starts senders in processes of their own."""
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", SENDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.stdin.close()
        process.stdout.close()
        process.wait(30)


def test_what_a_killed_process_was_sending_is_sent_by_the_next_under_the_same_id(hooks, receiver, sender, send):
    hooks.add("vital", receiver.url, events=("completed",))
    receiver.answers = [receiver.hang] * 4
    runs = {measuring.run(text=str(number)).id for number in range(6)}
    process = sender()
    wait_until(lambda: len(receiver.requests) == 4)

    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    assert states().count("sending") == 4
    send()

    wait_until(lambda: states() == ["delivered"] * 6)
    before, after = receiver.requests[:4], receiver.requests[4:]
    assert {request.id: request.body for request in before}.items() <= {
        request.id: request.body for request in after
    }.items()
    assert sorted(request.data["data"]["id"] for request in after) == sorted(runs)


def test_two_processes_send_each_delivery_once(hooks, receiver, sender):
    hooks.add("once", receiver.url, events=("completed", "started"))
    sender(), sender()

    for number in range(10):
        measuring.run(text=str(number))

    wait_until(lambda: states() == ["delivered"] * 20)
    assert len(receiver.requests) == 20
    assert len({request.id for request in receiver.requests}) == 20


def test_a_hook_that_is_removed_takes_its_deliveries_along(hooks, receiver, send):
    hooks.add("gone", receiver.url)
    measuring.run()
    assert states() == ["waiting"]

    hooks.remove("gone")

    assert (states(), list(hooks)) == ([], [])
    with pytest.raises(UnknownNameError, match="there is no hook 'gone'; there are: none"):
        hooks.remove("gone")


HOSTILE = '"},\n{"x": "{{run.id}}\\ \u2028 \x00 \U0001f600'


def test_hostile_values_stay_within_their_strings(hooks, receiver, send):
    body = {
        "whole": "{{run.parameters.text}}",
        "part": "<{{run.parameters.text}}|{{ run.metrics.none }}>",
        "all": "{{run}}",
    }
    hooks.add("careful", receiver.url, events=("completed",), body=body)
    send()

    measuring.run(text=HOSTILE)

    wait_until(lambda: receiver.requests)
    data = receiver.requests[0].data
    assert set(data) == {"whole", "part", "all"}
    assert data["whole"] == data["all"]["parameters"]["text"]
    assert data["part"] == f"<{data['whole']}|>"
    assert '"},\n{"x": "{{run.id}}' in data["whole"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(), parts, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_whatever_a_field_holds_the_body_is_json_of_the_templates_form(value):
    template = {"whole": "{{run.parameters.x}}", "part": ["a {{run.parameters.x}} b"], "number": 3}

    body = json.loads(
        render(template, {"run": {"parameters": {"x": value}}}).decode("ascii"), parse_constant=pytest.fail
    )

    assert list(body) == ["whole", "part", "number"]
    assert body["number"] == 3
    if isinstance(value, str):
        assert (body["whole"], body["part"]) == (value, [f"a {value} b"])


@pytest.mark.parametrize(
    ("template", "mistake"),
    [
        ("{{run.secret}}", "{{run.secret}} stands for nothing"),
        ({"a": ["{{ events }}"]}, "{{events}} stands for nothing"),
        ({"{{run.id}}": 1}, "the key '{{run.id}}' is wrong"),
        ("{{run.id.x}}", "{{run.id.x}} stands for nothing"),
        (float("nan"), "NaN and infinity are no JSON"),
        (b"x", "bytes is no JSON"),
    ],
)
def test_a_template_that_cannot_be_filled_is_told(template, mistake):
    assert mistake in next(find_mistakes(template))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "../up"}, "its name is wrong"),
        ({"url": "ftp://example.com/"}, "begin with http:// or https:// and a host"),
        ({"url": "http:///path"}, "begin with http:// or https:// and a host"),
        ({"url": "http://example.com:99999/"}, "its URL is none"),
        ({"url": "http://example.com/a b"}, "spaces"),
        ({"url": "http://example.com/\r\nX: y"}, "spaces"),
        ({"url": "https://me:PASSWORD-7@example.com/"}, "a user or a password"),
        ({"events": ("ended",)}, "its events are 'ended'; there are: queued, started"),
        ({"events": ()}, "its events are none"),
        ({"body": {"x": "{{x}}"}}, "its body is wrong: {{x}} stands for nothing"),
        ({"headers": {"Authorization": "Bearer PASSWORD-7"}}, "looks like a secret"),
        ({"headers": {"X-Team": "a\r\nX: b"}}, "line ends"),
        ({"headers": {"Host": "example.com"}}, "'Host' is no name for a header of your own"),
        ({"secret_headers": {"webhook-id": "env:X"}}, "no name for a header of your own"),
        ({"secret_headers": {"Authorization": "PASSWORD-7"}}, "the Authorization is to say where it is"),
        ({"secret": "PASSWORD-7"}, "the secret is to say where it is"),
    ],
)
def test_a_hook_that_cannot_work_is_refused_without_repeating_what_may_be_secret(hooks, wrong, message):
    arguments = {"name": "right", "url": "http://127.0.0.1:9/"} | wrong
    with pytest.raises(HookError) as caught:
        hooks.add(arguments.pop("name"), arguments.pop("url"), **arguments)

    assert message in str(caught.value)
    assert "PASSWORD-7" not in str(caught.value)
    assert list(hooks) == []


def echo(handler):
    """Everything that came, in the status line, the headers and the body of an answer."""
    said = str(dict(handler.headers)).encode().replace(b"\n", b" ")
    handler.wfile.write(b"HTTP/1.1 500 " + said + b"\r\nx: " + said + b"\r\n\r\n" + said)


def test_secrets_are_nowhere_but_in_the_request(hooks, receiver, send, monkeypatch, workspace, capfd):
    monkeypatch.setenv("HOOK_URL", f"{receiver.url}&token=SECRET-IN-URL")
    monkeypatch.setenv("HOOK_SIGNING", "SECRET-OF-SIGNING")
    file = workspace.parent / "token"
    file.write_text("Bearer SECRET-IN-HEADER\n")
    file.chmod(0o600)
    monkeypatch.chdir(workspace.parent)
    hooks.add(
        "quiet",
        "env:HOOK_URL",
        events=("completed",),
        secret="env:HOOK_SIGNING",
        secret_headers={"Authorization": "file:token"},
    )
    receiver.answers = [echo] * QUICK.attempts
    monkeypatch.chdir("/")
    send()
    measuring.run()
    wait_until(lambda: states() == ["dead"])

    assert receiver.requests[0].path.endswith("SECRET-IN-URL")
    assert receiver.requests[0].headers["authorization"] == "Bearer SECRET-IN-HEADER"
    receiver.answers = [echo]
    with pytest.raises(DeliveryError) as caught:
        hooks.test("quiet")
    for name, value in (
        ("HOOK_URL", "http://127.0.0.1:bad/SECRET-IN-URL"),
        ("HOOK_URL", "http://127.0.0.1:1/SECRET-IN-URL"),
        ("HOOK_SIGNING", "whsec_SECRET-OF-SIGNING!"),
    ):
        monkeypatch.setenv(name, value)
        with pytest.raises(DeliveryError) as another:
            hooks.test("quiet")
        assert "SECRET" not in str(another.value)
    shown = str([hooks["quiet"], *hooks.deliveries(), caught.value, *capfd.readouterr()])
    assert "SECRET" not in shown
    for path in workspace.rglob("*"):
        assert not path.is_file() or b"SECRET-" not in path.read_bytes(), path


def test_a_secret_that_is_not_there_or_open_to_others_is_told_and_tried_again(
    hooks, receiver, send, tmp_path, monkeypatch
):
    file = tmp_path / "secret"
    hooks.add("careful", receiver.url, events=("completed",), secret=f"file:{file}")
    send(backoff=Backoff(attempts=1000, first_s=0.02, factor=1))
    measuring.run()

    wait_until(lambda: "cannot be read (No such file or directory)" in (hooks.deliveries()[0].problem or ""))
    file.write_text("open")
    file.chmod(0o644)
    wait_until(lambda: f"mode 0644); run: chmod 600 {file}" in (hooks.deliveries()[0].problem or ""))
    assert receiver.requests == []
    file.chmod(0o600)
    wait_until(lambda: states() == ["delivered"])


@pytest.fixture
def certificate(tmp_path):
    return make_certificate(tmp_path / "receiver.pem", "127.0.0.1")


def test_over_tls_only_a_certificate_that_is_trusted_is_sent_to(hooks, certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    receiver = Receiver(context=context)
    hooks.add("tls", receiver.url)
    try:
        with pytest.raises(DeliveryError, match="its certificate was not accepted: self-signed certificate"):
            hooks.test("tls")
        assert receiver.requests == []

        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert hooks.test("tls") == 200
        assert receiver.requests[0].headers["host"] == f"127.0.0.1:{receiver.port}"
    finally:
        receiver.close()


def test_the_end_of_a_process_breaks_off_what_is_under_way_and_leaves_it_to_the_next(hooks, receiver, send):
    hooks.add("long", receiver.url, events=("completed",))
    receiver.answers = [receiver.hang]
    first = send(timeouts=Timeouts(read_s=60, total_s=60), backoff=Backoff(attempts=1))
    measuring.run()
    wait_until(lambda: receiver.requests)

    first.stop()

    assert states() == ["waiting"]
    assert [thread for thread in threading.enumerate() if thread.name.startswith("pipelite-hook")] == []
    send(backoff=Backoff(attempts=1))
    wait_until(lambda: states() == ["delivered"])
    assert len({request.id for request in receiver.requests}) == 1


def test_old_deliveries_are_forgotten(hooks, receiver, send):
    hooks.add("old", receiver.url, events=("started", "completed", "failed"))
    run = measuring.run()
    with Workspace().store.database.write() as connection:
        for number, (state, at) in enumerate((("delivered", "2020"), ("dead", "2020"), ("dead", "2999")), 100):
            connection.execute(
                "INSERT INTO deliveries (number, id, hook, run_id, event, event_at, seen, state, attempts, due_at, ended_at) "
                "VALUES (?1, ?2, 'old', ?3, 'failed', ?5, '{}', ?4, 1, ?5, ?5)",
                (number, f"msg_{number}", run.id, state, f"{at}-01-01T00:00:00.000000+00:00"),
            )

    send()

    wait_until(lambda: [each.id for each in hooks.deliveries(state="dead")] == ["msg_102"])
    wait_until(lambda: states().count("delivered") == 2)
