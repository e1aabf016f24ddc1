"""Starts a published pipeline over REST and waits for its end; for CI, so with nothing but Python's own library.

The address and the token are taken from PIPELITE_URL and PIPELITE_TOKEN: what is on a command line, everybody on the
machine can read. Exit codes: 0 the run completed, 1 it did not, 2 it was not accepted.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
import uuid
from urllib.parse import quote

FINAL = ("completed", "failed", "canceled")
#: Seconds that the server waits for the end of a run before it answers, and between two questions at least.
WAIT_S = 20
PAUSE_S = 1
#: Seconds for which a server that is not there, or says that it is busy, is asked again.
PATIENCE_S = 120


class Refused(Exception):
    """The server does not do what it was asked to."""


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """The token is for the server that it was given for."""

    def redirect_request(self, *words: object) -> None:
        return None


class Server:
    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.opener = urllib.request.build_opener(NoRedirects)

    def ask(self, method: str, path: str, body: dict | None = None, **headers: str) -> dict:
        """Ask until there is an answer: whatever is asked here can be asked twice."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._ask_once(method, path, body, headers)
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code != 429:
                    raise Refused(explain(error)) from None
                reason = explain(error)
            except (OSError, http.client.HTTPException) as error:
                reason = str(error)
            if time.monotonic() > until:
                raise Refused(f"no answer from {self.url}: {reason}")
            time.sleep(PAUSE_S)

    def _ask_once(self, method: str, path: str, body: dict | None, headers: dict[str, str]) -> dict:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **headers}
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)  # noqa: S310 - checked
        with self.opener.open(request, timeout=WAIT_S + 30) as answer:
            return json.load(answer)


def explain(error: urllib.error.HTTPError) -> str:
    try:
        return json.load(error)["Error"]["Message"]
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"


def say(text: str, *, problem: bool = False) -> None:
    """Print to the log of the job; what begins with ## there is a command to Azure Pipelines, and only ours may be."""
    text = text.replace("##", "# #")
    print(text, flush=True)
    if problem:
        print(f"##vso[task.logissue type=error]{text.splitlines()[0]}", flush=True)


def parse_value(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def follow(server: Server, run_id: str, timeout_s: float) -> dict:
    """The run when it has ended; it is canceled if that takes too long."""
    until, status = time.monotonic() + timeout_s, ""
    while True:
        asked = time.monotonic()
        # The first answer comes at once, so that the log of the job names the run.
        wait_s = min(WAIT_S, max(0.0, until - asked)) if status else 0.0
        run = server.ask("GET", f"/runs/{run_id}?wait={wait_s:.1f}")
        if run["Status"] != status:
            status = run["Status"]
            say(f"run {run_id} is {status}")
        if status in FINAL:
            return run
        if time.monotonic() >= until:
            until = float("inf")
            say(f"run {run_id} takes longer than {timeout_s:g} s, and is canceled", problem=True)
            server.ask("POST", f"/runs/{run_id}/cancel")
        # Where many wait, the server answers earlier.
        time.sleep(max(0.0, PAUSE_S - (time.monotonic() - asked)))


def stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pipeline", help="name of the endpoint, or id of a version")
    parser.add_argument("-p", "--parameter", action="append", default=[], type=parse_value, metavar="NAME=VALUE")
    parser.add_argument("--version", help="another than the default one")
    parser.add_argument("--experiment")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds after which the run is canceled")
    options = parser.parse_args()
    missing = [name for name in ("PIPELITE_URL", "PIPELITE_TOKEN") if not os.environ.get(name)]
    if missing:
        parser.error(f"{' and '.join(missing)} have to be in the environment")
    if not os.environ["PIPELITE_URL"].startswith(("http://", "https://")):
        parser.error("PIPELITE_URL has to begin with http:// or https://")

    server = Server(os.environ["PIPELITE_URL"], os.environ["PIPELITE_TOKEN"])
    query = f"?version={quote(options.version, safe='')}" if options.version else ""
    body: dict = {"ParameterAssignments": dict(options.parameter)}
    if options.experiment:
        body["ExperimentName"] = options.experiment
    # A request that was accepted and whose answer was lost is not a second run.
    key = f"ci-{uuid.uuid4()}"
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    run_id = None
    try:
        path = f"/pipelines/{quote(options.pipeline, safe='')}{query}"
        run_id = server.ask("POST", path, body, **{"Idempotency-Key": key})["Id"]
        run = follow(server, run_id, options.timeout)
    except Refused as refusal:
        say(str(refusal), problem=True)
        return 2
    except KeyboardInterrupt:
        say("the job was canceled, and so is its run", problem=True)
        if run_id is not None:
            server.ask("POST", f"/runs/{run_id}/cancel")
        return 1
    if run["Status"] == "completed":
        for name, value in run["Metrics"].items():
            say(f"{name}: {value}")
        return 0
    say(f"run {run_id} {run['Status']}" + (f": {run['Error']}" if run["Error"] else ""), problem=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
