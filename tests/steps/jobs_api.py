"""A server that speaks the documented Jobs API 2.2 of Databricks, and as much of its other APIs as jobs need.

https://docs.databricks.com/api/workspace/jobs. What a run comes to is told by `plan`; it goes on with every look at it.
"""

from __future__ import annotations

import email
import email.policy
import itertools
import json
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "dapi-loopback-token"

#: What a run is until it is released.
HELD = "held"

_UNKNOWN_NOTEBOOK = {
    "states": ["INTERNAL_ERROR"],
    "result_state": "FAILED",
    "state_message": "Unable to access the notebook. Either it does not exist, or the identity used to run this job lacks it.",
    "code": "RESOURCE_NOT_FOUND",
}


class JobsApi:
    """The server, with what it was asked for."""

    def __init__(self) -> None:
        self.plans: dict[str, dict[str, Any]] = {}
        self.runs: dict[int, dict[str, Any]] = {}
        self.tokens: dict[str, int] = {}
        #: Requests as (method, path), bodies of submissions, ids of canceled runs.
        self.requests: list[tuple[str, str]] = []
        self.submitted: list[dict[str, Any]] = []
        self.canceled: list[int] = []
        #: What lies in the workspace there, and all that ever did.
        self.files: dict[str, bytes] = {}
        self.uploaded: dict[str, tuple[str, bytes]] = {}
        self._faults: list[tuple[str, Any]] = []
        self._numbers = itertools.count(8001)
        self.lock = threading.RLock()
        api = self

        class Handler(_Handler):
            jobs = api

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def plan(self, what: str, **outcome: Any) -> None:
        """What runs of a notebook, script or class come to: states one after the other, result_state, result, error, ..."""
        self.plans[what] = outcome

    def fail_next(self, path: str, *answers: Any) -> None:
        """Answer the next requests of a path with a status, (status, headers), or "drop" for no answer at all."""
        self._faults += [(path, answer) for answer in answers]

    def wait_for(self, what: str, n: int = 1, timeout_s: float = 30.0) -> None:
        """Wait until there are n of `submitted` or `canceled`."""
        until = time.monotonic() + timeout_s
        while len(getattr(self, what)) < n:
            assert time.monotonic() < until, (what, self.requests)
            time.sleep(0.02)

    def release(self) -> None:
        """Let runs that are held go on to their end."""
        with self.lock:
            for run in self.runs.values():
                run["is_held"] = False

    def take_fault(self, path: str) -> Any:
        with self.lock:
            for place, (at, answer) in enumerate(self._faults):
                if path.endswith(at):
                    del self._faults[place]
                    return answer
        return None

    def submit(self, body: Mapping[str, Any]) -> dict[str, Any]:
        with self.lock:
            known = self.tokens.get(body.get("idempotency_token", ""))
            if known is not None:
                return {"run_id": known}
            (task,) = body["tasks"]
            what = _what(task)
            if isinstance(task.get("new_cluster"), dict) and task["new_cluster"].get("node_type_id") == "unknown":
                raise ApiError(400, "INVALID_PARAMETER_VALUE", "Node type unknown is not supported")
            number = next(self._numbers)
            is_there = what in self.plans or what in self.files
            outcome = self.plans.get(what) or self.plans.get(what.rpartition("/")[2]) or {}
            if "notebook_task" in task and not is_there:
                outcome = _UNKNOWN_NOTEBOOK
            states = list(outcome.get("states", ["PENDING", "RUNNING", "TERMINATED"]))
            self.runs[number] = {"states": states, "outcome": outcome, "name": body.get("run_name"), "is_held": True}
            self.tokens[body.get("idempotency_token", str(number))] = number
            self.submitted.append(dict(body))
            return {"run_id": number}

    def get(self, number: int) -> dict[str, Any]:
        with self.lock:
            run = self.find(number)
            states = run["states"]
            if states[0] == HELD and not run["is_held"]:
                del states[0]
            state = "RUNNING" if states[0] == HELD else states[0]
            if len(states) > 1 and states[0] != HELD:
                del states[0]
            return self._describe(number, run, state)

    def get_output(self, number: int) -> dict[str, Any]:
        with self.lock:
            if number in self.runs:
                raise ApiError(
                    400, "INVALID_PARAMETER_VALUE", "Retrieving the output of runs with multiple tasks is not supported"
                )
            run = self.find(number // 10)
            outcome = run["outcome"]
            output: dict[str, Any] = {"metadata": self._describe(number // 10, run, "TERMINATED")}
            if "result" in outcome:
                output["notebook_output"] = {"result": outcome["result"], "truncated": outcome.get("truncated", False)}
            return output | {name: outcome[name] for name in ("error", "error_trace", "logs") if name in outcome}

    def cancel(self, number: int) -> dict[str, Any]:
        with self.lock:
            run = self.find(number)
            self.canceled.append(number)
            run["states"] = ["TERMINATING", "TERMINATED"]
            run["outcome"] = {"result_state": "CANCELED", "state_message": "Run cancelled."}
            return {}

    def find(self, number: int) -> dict[str, Any]:
        if number not in self.runs:
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"Run {number} does not exist.")
        return self.runs[number]

    def _describe(self, number: int, run: Mapping[str, Any], life_cycle: str) -> dict[str, Any]:
        outcome = run["outcome"]
        described: dict[str, Any] = {"life_cycle_state": life_cycle, "state_message": outcome.get("state_message", "")}
        status: dict[str, Any] = {"state": life_cycle}
        has_ended = life_cycle in ("TERMINATED", "INTERNAL_ERROR", "SKIPPED")
        times = {"start_time": 1_700_000_000_000}
        if has_ended:
            times |= {"end_time": 1_700_000_200_000}
            described["result_state"] = outcome.get("result_state", "SUCCESS")
            status = {
                "state": "TERMINATED",
                "termination_details": {
                    "code": outcome.get("code", "SUCCESS"),
                    "message": outcome.get("state_message", ""),
                },
            }
            times |= {"setup_duration": 61_000, "execution_duration": 12_500, "cleanup_duration": 0}
        task = {"run_id": number * 10, "task_key": "pipelite", "state": described, "status": status, **times}
        page = f"https://adb.example/?o=1#job/9/run/{number}"
        return {
            "run_id": number,
            "run_name": run["name"],
            "run_page_url": page,
            "run_type": "SUBMIT_RUN",
            "state": described,
            "status": status,
            "tasks": [task],
            **times,
        }


class ApiError(Exception):
    """What the server answers instead."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error_code": code, "message": message}


class _Handler(BaseHTTPRequestHandler):
    jobs: JobsApi
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        address = urlsplit(self.path)
        with self.jobs.lock:
            self.jobs.requests.append((self.command, address.path))
        fault = self.jobs.take_fault(address.path)
        if fault == "drop after":
            # It is done, but nobody hears of it.
            self._call(address.path, {}, content)
        if fault in ("drop", "drop after"):
            self.close_connection = True
            return
        if fault is not None:
            status, headers = fault if isinstance(fault, tuple) else (fault, {})
            code = {429: "REQUEST_LIMIT_EXCEEDED", 503: "TEMPORARILY_UNAVAILABLE"}.get(status, "INTERNAL_ERROR")
            self._send(status, {"error_code": code, "message": f"answered with {status}"}, headers)
            return
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        try:
            if (
                address.path != "/.well-known/databricks-config"
                and self.headers.get("Authorization") != f"Bearer {TOKEN}"
            ):
                raise ApiError(403, "PERMISSION_DENIED", "Invalid access token.")
            self._send(200, self._call(address.path, query, content))
        except ApiError as exc:
            self._send(exc.status, exc.body)

    def _call(self, path: str, query: Mapping[str, str], content: bytes) -> dict[str, Any]:
        jobs = self.jobs
        name = path.removeprefix("/api/2.0/").removeprefix("/api/2.1/").removeprefix("/api/2.2/")
        if path == "/.well-known/databricks-config":
            return {"workspace_id": "1", "oidc_endpoint": f"{jobs.host}/oidc"}
        if name == "preview/scim/v2/Me":
            return {"id": "1", "userName": "ann@example.org"}
        if name == "workspace/import":
            return self._import(content)
        body = json.loads(content) if content else {}
        if name == "workspace/mkdirs":
            return {}
        if name == "workspace/delete":
            for file in [file for file in jobs.files if file.startswith(body["path"])]:
                del jobs.files[file]
            return {}
        if name == "jobs/runs/submit":
            return jobs.submit(body)
        if name == "jobs/runs/get":
            return jobs.get(int(query["run_id"]))
        if name == "jobs/runs/get-output":
            return jobs.get_output(int(query["run_id"]))
        if name == "jobs/runs/cancel":
            return jobs.cancel(int(body["run_id"]))
        raise ApiError(404, "ENDPOINT_NOT_FOUND", f"No API found for '{self.command} {path}'")

    def _import(self, content: bytes) -> dict[str, Any]:
        header = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = email.message_from_bytes(header + content, policy=email.policy.HTTP)
        parts = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
        fields = {name: part.get_payload(decode=True) for name, part in parts.items()}
        path = fields["path"].decode()
        self.jobs.files[path] = fields["content"]
        self.jobs.uploaded[path] = fields["format"].decode(), fields["content"]
        return {"object_id": len(self.jobs.files)}

    def _send(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _what(task: Mapping[str, Any]) -> str:
    if "notebook_task" in task:
        return task["notebook_task"]["notebook_path"]
    if "spark_python_task" in task:
        return task["spark_python_task"]["python_file"]
    return task["spark_jar_task"]["main_class_name"]
