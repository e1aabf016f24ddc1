"""A workspace with published pipelines, and the server process that serves it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import requests

FLOW = '''
import os
import sys
import time
from enum import Enum
from pathlib import Path

from pipelite import current_run, pipeline, step


@step
def load(n: int):
    print("loading")
    for number in range(n):
        print(f"line {number}")
    return list(range(n))


@step
def total(numbers, scale: float):
    current_run().log("largest", max(numbers))
    return sum(numbers) * scale


@pipeline
def train(n: int = 4, scale: float = 1.0):
    """Adds up."""
    return {"total": total(load(n), scale)}


@step(cache=False)
def work(number: int, before, tag: str, seconds: float):
    with open(Path(os.environ["PIPELITE_WORKSPACE"]).parent / "ledger.txt", "a") as file:
        file.write(f"{tag}{number}\\n")
    time.sleep(seconds)
    return number


@pipeline
def lasting(tag: str, count: int = 3, seconds: float = 0.1):
    """Notes in a ledger what it does."""
    last = None
    for number in range(count):
        last = work(number, last, tag, seconds)
    return last


class Thing:
    def __reduce__(self):
        return (Thing, ())


@step
def array():
    import numpy

    return numpy.arange(10.0)


@step
def frame():
    import pandas

    return pandas.DataFrame({"x": [1, 2], "y": ["a", "b"]})


@step
def text_file():
    path = current_run().scratch / "a text.txt"
    path.write_text("0123456789")
    return path


@step
def folder():
    path = current_run().scratch / "pages"
    (path / "inner").mkdir(parents=True)
    (path / "one.txt").write_text("1")
    (path / "inner" / "two.txt").write_text("2" * 1000)
    return path


@step
def thing():
    return Thing()


@step
def words():
    return {"a": [1, None, "ü"], "b": float(1)}


@pipeline
def kinds():
    """An output of each kind."""
    plain = words()
    return {
        "array": array(), "frame": frame(), "file": text_file(), "folder": folder(), "thing": thing(), "words": plain,
        "part": plain["a"], "both": [plain, plain["b"]], "mixed": [plain, array()],
    }


@step
def read(path: Path):
    return path.read_text()


@pipeline
def reading(data: Path, more: list[Path] = []):
    return {"text": read(data), "more": [read(each) for each in more]}


@step
def fail(path: str):
    if not Path(path).exists():
        raise RuntimeError("not yet")
    return "done"


@pipeline
def failing(path: str):
    return fail(path)
'''

PUBLISH = """
import flow
from pipelite import Workspace

for name in ("train", "lasting", "kinds", "reading", "failing"):
    getattr(flow, name).publish(name.capitalize(), version="1.0")
flow.train.with_options(experiment="other").publish("Train", version="1.1")
"""


@attrs.define
class Site:
    """A workspace with published pipelines, and the server process that serves it."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    url: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PIPELITE_WORKSPACE": str(self.workspace),
            "PIPELITE_GRACE": "5",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    @property
    def workspace(self) -> Path:
        return self.folder / ".pipelite"

    @property
    def errors(self) -> str:
        return (self.folder / "stderr.txt").read_text()

    def publish(self) -> None:
        (self.folder / "flow.py").write_text(FLOW)
        (self.folder / "publish.py").write_text(PUBLISH)
        self.run(sys.executable, "publish.py")

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=check, timeout=60
        )

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "pipelite", *words, check=check)

    def start(self, *options: str) -> None:
        with (self.folder / "stderr.txt").open("ab") as errors:
            before = errors.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipelite", "serve", "--port", "0", *options],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
        wait_until(lambda: "token of the local user" in self.errors[before:] or self.process.poll() is not None)
        found = re.search(r"pipelite serves (http://\S+)", self.errors[before:])
        assert found or "--unix-socket" in options, self.errors
        self.url = found[1] if found else ""

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.process = None
        return code

    @property
    def token(self) -> str:
        return (self.workspace / "token").read_text().strip()

    def new_token(self, *options: str) -> str:
        return self.command("token", "create", *options).stdout.strip()

    def ask(self, method: str, path: str, token: str | None = None, **given: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token or self.token}", **given.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=60, **given)

    def get(self, path: str, **given: Any) -> requests.Response:
        return self.ask("GET", path, **given)

    def post(self, path: str, **given: Any) -> requests.Response:
        return self.ask("POST", path, **given)

    def call(self, name: str, *, wait: float = 60, **values: Any) -> dict[str, Any]:
        """Have a pipeline run to its end."""
        done = self.post(f"/pipelines/{name}?wait={wait}", json={"ParameterAssignments": values})
        assert done.status_code == 200, done.text
        return done.json()

    def ledger(self) -> list[str]:
        path = self.folder / "ledger.txt"
        return path.read_text().split() if path.exists() else []


def wait_until(holds: Callable[[], Any], timeout_s: float = 60.0) -> None:
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)
