"""`pipelite hooks`."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest


@pytest.fixture
def receiver():
    """Takes requests, with the status that is first in its `answers`, then 200."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
            self.end_headers()

        def log_message(self, *words):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.bodies, server.answers = [], []
    server.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class TestHooks:
    def test_one_is_added_listed_tested_and_removed(self, command, read_json, receiver, folder):
        (folder / "body.json").write_text('{"text": "{{run.pipeline}} {{event}}"}')
        words = (
            "--on",
            "failed",
            "--on",
            "completed",
            "--published",
            "A",
            "--body",
            "@body.json",
            "--header",
            "X-Team=ml",
        )
        added = read_json("hooks", "add", "team", receiver.url, *words, "--secret", "file:key")

        assert read_json("hooks", "list") == [
            added | {"deliveries": {"waiting": 0, "sending": 0, "delivered": 0, "dead": 0}}
        ]
        assert (added["events"], added["published"], added["secret"]) == (
            ["failed", "completed"],
            ["A"],
            f"file:{folder}/key",
        )
        (folder / "key").write_text("k")
        (folder / "key").chmod(0o600)
        assert command("hooks", "test", "team").stdout == "team answered 200\n"
        assert receiver.bodies == [{"text": "sample test"}]
        receiver.answers = [404]
        refused = command("hooks", "test", "team", exit_code=1)
        assert refused.stderr == "Error: the request of hook 'team' was not taken: it answered 404\n"
        command("hooks", "remove", "team")
        assert read_json("hooks", "list") == []

    def test_deliveries_are_listed_and_sent_again(self, command, read_json, receiver):
        command("hooks", "add", "ends", receiver.url)
        run = read_json("run", "flow.py:train", "-p", "n=2")

        [delivery] = read_json("hooks", "deliveries", "ends", "--state", "waiting")

        assert (delivery["run_id"], delivery["event"], delivery["attempts"]) == (run["id"], "completed", 0)
        assert f"{delivery['id']}  ends  completed  {run['id']}  waiting" in command("hooks", "deliveries").stdout
        assert command("hooks", "list").stdout.splitlines()[1].split()[-2:] == ["1", "0"]
        assert command("hooks", "redeliver", delivery["id"]).stdout == "1 to be sent again\n"
        assert command("hooks", "redeliver", "--dead", "ends").stdout == "0 to be sent again\n"

    def test_what_is_wrong_is_wrong_usage(self, command):
        command("hooks", "add", "right", "http://127.0.0.1:9/")
        for words, message in (
            (("add", "x", "ftp://example.com/"), "its URL has to begin with http:// or https:// and a host"),
            (("add", "x", "http://a/", "--body", "{"), "it is no JSON"),
            (("add", "x", "http://a/", "--body", "@missing.json"), "missing.json cannot be read"),
            (("test", "other"), "there is no hook 'other'; there are: right"),
            (("redeliver",), "name deliveries by their ids, or a hook with --dead"),
        ):
            assert message in command("hooks", *words, exit_code=2).stderr
