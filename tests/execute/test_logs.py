"""What a step prints is there while it runs, whole up to a cap, and never stands in its way."""

from __future__ import annotations

import os
import time

import pytest

import pipelite.execute.logs
import pipelite.store.logs
from pipelite import pipeline, step


@step
def flood(megabytes: int):
    print("first line")
    block = b"x" * 99 + b"\n"
    for _ in range(megabytes):
        os.write(1, block * 10_000)
        time.sleep(0.02)
    print("last line")


@step
def speak_and_wait(path: str):
    print("I am at work")
    while not os.path.exists(path):
        time.sleep(0.01)


def test_output_beyond_the_cap_keeps_its_first_and_last_part_and_frees_the_disk(workspace, monkeypatch):
    for module in (pipelite.execute.logs, pipelite.store.logs):
        monkeypatch.setattr(module, "LOG_CAP_BYTES", 4 * 2**20)
    monkeypatch.setitem(pipelite.store.logs.read_log.__kwdefaults__, "cap_bytes", 4 * 2**20)

    @pipeline
    def flow():
        flood(40)

    step_run = flow.run().steps["flood"]

    logs = step_run.logs
    assert logs.startswith("first line\n")
    assert logs.endswith("last line\n")
    assert "left out" in logs
    assert len(logs) < 5 * 2**20
    file = workspace / "logs" / step_run.record.log_file
    assert file.stat().st_size > 40_000_000
    if not is_kept_whole(file):
        assert file.stat().st_blocks * 512 < 20 * 2**20


def is_kept_whole(file) -> bool:
    """Whether this file system cannot free the middle of a file."""
    probe = file.with_name("probe")
    probe.write_bytes(b"x" * 3 * 2**20)
    freed = pipelite.execute.logs._punch(probe, 2**20, 2**20)
    probe.unlink()
    return not freed


def test_output_can_be_read_while_the_step_runs(workspace, tmp_path):
    @pipeline
    def flow():
        speak_and_wait(str(tmp_path / "go"))

    run = flow.submit()
    until = time.monotonic() + 30
    while time.monotonic() < until and "speak_and_wait" not in run.steps:
        time.sleep(0.02)

    running = run.steps["speak_and_wait"]
    assert running.status == "running"
    assert running.logs == "I am at work\n"
    (tmp_path / "go").touch()
    assert run.wait(30).status == "completed"


def test_each_step_has_its_own_output_though_they_share_a_process(workspace):
    @step
    def speak(x):
        print(f"line of {x}")
        return x

    @pipeline
    def flow():
        return speak.map(list(range(100)))

    steps = flow.run().steps

    assert [steps[f"speak[{i}]"].logs for i in range(100)] == [f"line of {i}\n" for i in range(100)]


def test_a_step_that_closes_its_streams_harms_nobody(workspace):
    @step(cache=False)
    def close():
        import sys

        sys.stdout.close()
        return 1

    @step(cache=False)
    def speak(x):
        print("still here")
        return x

    @pipeline
    def flow():
        return speak.map([close(), 2, 3])

    steps = flow.run().steps

    assert [step_run.logs for name, step_run in steps.items() if name != "close"] == ["still here\n"] * 3


@pytest.mark.parametrize("text", ["ümlaut ☃", "\ud800", "\x00\x1b[31m"])
def test_any_text_can_be_printed(workspace, text):
    @step
    def speak(text):
        print(text)
        return len(text)

    @pipeline
    def flow():
        return speak(text)

    run = flow.run()

    assert run.outputs["result"] == len(text)
    assert run.steps["speak"].logs
