"""What the server costs: a request that puts a run into the queue, a run's start, an idle server, a full queue.

Run it with nothing else going on: `python benchmarks/serving.py [--quick] [--peers]`. Requests go over loopback, one
connection that stays open, with a token. With `--peers` requests to the servers of Prefect and Dagster are measured in turn
with it; their environments are made below build/benchmarks, for which the network is needed once. Linux only.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from environments import environment_python
from peers import ROOT, TOOLS
from tables import machine, simple_table

CACHE = ROOT / "build" / "benchmarks"

FLOW = """
from pipelite import pipeline, step


@step
def add(x: int):
    return x + 1


@pipeline
def flow(x: int = 0):
    return add(x)
"""

#: The claim of the next of many runs, in a process of its own.
TAKE = """
import statistics, sys, time
from pipelite import Workspace
from pipelite.automate import find_version, queue, submit

store = Workspace().store
version = find_version(store, "flow")
for number in range(int(sys.argv[1])):
    submit(store, version, {"x": number})
took = []
for _ in range(200):
    began = time.perf_counter()
    taken = queue.take(store, store.owner.name, queue.Limits(total=10**6))
    took.append(time.perf_counter() - began)
    queue.finish(store, taken.run_id)
print(statistics.median(took))
"""


#: What Dagster's server is given to run, and that it has a queue, as its documentation recommends.
DAGSTER = """
from dagster import job, op


@op(config_schema={"x": int})
def add(context) -> int:
    return context.op_config["x"] + 1


@job
def flow():
    add()
"""
DAGSTER_SETTINGS = """
telemetry:
  enabled: false
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
"""
LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId status } } }
}
"""
#: What each server is called, and what its environment has.
PEERS = {
    "prefect": ("Prefect 3.8.8", TOOLS["prefect"][2]),
    "dagster": ("Dagster 1.13.27", ["dagster-webserver==1.13.27"]),
}


class Client:
    """One connection to the server."""

    def __init__(self, url: str, token: str = "") -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        text = None if body is None else json.dumps(body)
        self._connection.request(method, path, text, self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status in (200, 201, 202), content
        return dict(json.loads(content))

    def submit(self, x: int, *, wait_s: float = 0) -> dict[str, Any]:
        return self.ask("POST", f"/pipelines/flow?wait={wait_s:g}", {"ParameterAssignments": {"x": x}})


@contextmanager
def published() -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder with a published pipeline, and the variables of its workspace."""
    with tempfile.TemporaryDirectory(prefix="pipelite-serving-") as name:
        folder = Path(name)
        (folder / "flow.py").write_text(FLOW)
        variables = {**os.environ, "PIPELITE_WORKSPACE": f"{folder}/.pipelite", "PIPELITE_GRACE": "1"}
        command = [sys.executable, "-m", "pipelite", "publish", "flow.py:flow"]
        subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True)
        yield folder, variables


@contextmanager
def served(*options: str) -> Iterator[tuple[Client, psutil.Process]]:
    """A server of a published pipeline, with a client."""
    with published() as (folder, variables):
        command = [sys.executable, "-m", "pipelite", "serve", "--port", "0", "--json", *options]
        with subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = ""
            while not said.endswith("}\n"):
                said += process.stdout.readline()
            told = json.loads(said)
            try:
                yield Client(told["url"], Path(told["token_file"]).read_text().strip()), psutil.Process(process.pid)
            finally:
                process.terminate()


def measure_requests(n: int) -> tuple[float, float]:
    """Seconds of a request at the median, where nobody else asks; requests a second, one after the other."""
    with served("--max-concurrent-runs", "1") as (client, _):
        client.submit(0, wait_s=60)
        took = []
        for number in range(n // 10):
            began = time.perf_counter()
            client.submit(number)
            took.append(time.perf_counter() - began)
            time.sleep(0.02)
        began = time.perf_counter()
        for number in range(n):
            client.submit(number)
        rate = n / (time.perf_counter() - began)
    return statistics.median(took), rate


def measure_start(n: int) -> float:
    """Seconds from a request to the start of the run's first step, with a warm runner; the median."""
    with served() as (client, _):
        client.submit(-1, wait_s=60)
        took = []
        for number in range(n):
            began = time.time()
            run = client.submit(1000 + number, wait_s=60)
            step = client.ask("GET", f"/runs/{run['Id']}")["Steps"]["add"]
            took.append(parse(step["StartedAt"]) - began)
    return statistics.median(took)


def parse(text: str) -> float:
    import datetime as dt

    return dt.datetime.fromisoformat(text).timestamp()


def measure_idle(seconds: int) -> tuple[float, float]:
    """Megabytes, and per cent of a core, of a server with nothing to do."""
    with served() as (_, process):
        time.sleep(3)
        before = sum(process.cpu_times()[:2])
        time.sleep(seconds)
        used = sum(process.cpu_times()[:2]) - before
        return process.memory_info().rss / 1e6, 100 * used / seconds


def measure_take(n: int) -> float:
    """Seconds of the claim of a run, with so many that wait; the median."""
    with published() as (folder, variables):
        command = [sys.executable, "-c", TAKE, str(n)]
        done = subprocess.run(command, cwd=folder, env=variables, check=True, stdout=subprocess.PIPE, text=True)
        return float(done.stdout)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def peer(tool: str, python: Path, *command: str) -> Iterator[tuple[Client, Path]]:
    """The server of another tool, started by a command of its environment in a folder that is its home."""
    # What a server has started of its own ends a little later, and may still write.
    with tempfile.TemporaryDirectory(prefix=f"{tool}-serving-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        (folder / "repository.py").write_text(DAGSTER)
        (folder / "dagster.yaml").write_text(DAGSTER_SETTINGS)
        variables = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PREFECT", "DAGSTER"))},
            "HOME": name,
            "PREFECT_HOME": f"{name}/prefect",
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DAGSTER_HOME": name,
            "DO_NOT_TRACK": "1",
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        }
        with (folder / "log.txt").open("w") as log:
            process = subprocess.Popen(
                [str(python.parent / command[0]), *command[1:], str(port)],
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            until = time.monotonic() + 120
            while not listens(port):
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"{tool} did not start: {(folder / 'log.txt').read_text()[-2000:]}")
                time.sleep(0.2)
            yield Client(f"http://127.0.0.1:{port}"), folder
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def on_prefect(client: Client) -> Callable[[int], None]:
    """Makes a deployment; gives what has it run."""
    flow = client.ask("POST", "/api/flows/", {"name": "flow"})["id"]
    made = client.ask("POST", "/api/deployments/", {"name": "flow", "flow_id": flow, "enforce_parameter_schema": False})

    def call(x: int) -> None:
        run = client.ask("POST", f"/api/deployments/{made['id']}/create_flow_run", {"parameters": {"x": x}})
        assert run["state_type"] == "SCHEDULED", run

    return call


def on_dagster(client: Client) -> Callable[[int], None]:
    """Finds the job; gives what has it run."""
    query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
    [node] = client.ask("POST", "/graphql", {"query": query})["data"]["repositoriesOrError"]["nodes"]
    selector = {
        "repositoryName": node["name"],
        "repositoryLocationName": node["location"]["name"],
        "jobName": "flow",
    }

    def call(x: int) -> None:
        params = {"selector": selector, "runConfigData": {"ops": {"add": {"config": {"x": x}}}}}
        answer = client.ask("POST", "/graphql", {"query": LAUNCH, "variables": {"params": params}})
        assert answer["data"]["launchRun"]["run"]["status"] == "QUEUED", answer

    return call


def measure_peers(n: int) -> dict[str, float]:
    """Seconds from a request to the answer that its run was accepted, of each server in turn; medians."""
    pythons = {tool: environment_python(CACHE / tool, needs) for tool, (_, needs) in PEERS.items()}
    with (
        served("--max-concurrent-runs", "1") as (ours, _),
        peer("prefect", pythons["prefect"], "prefect", "server", "start", "--no-ui", "--port") as (prefect, _),
        peer("dagster", pythons["dagster"], "dagster-webserver", "-f", "repository.py", "-p") as (dagster, _),
    ):
        calls: dict[str, Callable[[int], Any]] = {
            "pipelite": ours.submit,
            "prefect": on_prefect(prefect),
            "dagster": on_dagster(dagster),
        }
        ours.submit(0, wait_s=60)
        took: dict[str, list[float]] = {tool: [] for tool in calls}
        for number in range(n):
            for tool, call in calls.items():
                # What a server still does for the request before is not counted with the next one's.
                time.sleep(0.05)
                began = time.perf_counter()
                call(number)
                took[tool].append(time.perf_counter() - began)
    # The first requests import what a server needs.
    return {tool: statistics.median(times[n // 10 :]) for tool, times in took.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, to see that it works")
    parser.add_argument("--peers", action="store_true", help="requests to the servers of Prefect and Dagster, too")
    arguments = parser.parse_args()
    # An end from outside goes the way of every other: the servers that were started are ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    part = 10 if arguments.quick else 1
    request_s, rate = measure_requests(2_000 // part)
    start_s = measure_start(200 // part)
    megabytes, percent = measure_idle(60 // part)
    n = 100_000 // part
    rows = [
        ("from a POST to its 202, the run being in the queue", f"{1e3 * request_s:.1f} ms", "5 ms"),
        ("such requests in a row, runs being executed beside", f"{rate:.0f} a second", "300 a second"),
        ("from a POST to the start of the first step, warm", f"{1e3 * start_s:.0f} ms", "100 ms"),
        ("idle server: memory", f"{megabytes:.0f} MB", "60 MB"),
        ("idle server: processor", f"{percent:.2f} % of a core", "0.2 %"),
        (f"claim of the next of {n:,} runs", f"{1e3 * measure_take(n):.2f} ms", "2 ms"),
    ]
    print(machine())
    print(simple_table(("what", "figure", "target"), rows))
    if arguments.peers:
        found = measure_peers(60 // part)
        names = {"pipelite": "pipelite (this checkout)", **{tool: name for tool, (name, _) in PEERS.items()}}
        print()
        print(
            simple_table(
                ("server", "from a POST to its accepted run", "times pipelite"),
                [
                    (names[tool], f"{1e3 * each:.1f} ms", f"{each / found['pipelite']:.1f}")
                    for tool, each in found.items()
                ],
            )
        )


if __name__ == "__main__":
    main()
