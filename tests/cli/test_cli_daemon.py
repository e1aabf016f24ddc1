"""`pipelite daemon`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest


@pytest.fixture
def daemon(folder):
    """Starts daemons on the workspace; gives the process, whose log is in `lines`."""
    started = []

    def start(*words, **environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelite", "daemon", "--json", *words],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def read_until(process, event):
    """The next line of the log about an event."""
    for line in process.stdout:
        found = json.loads(line)
        if found["event"] == event:
            return found
    raise AssertionError(f"it ended without {event}")


class TestDaemon:
    def test_it_runs_what_is_due_and_ends_when_told(self, command, read_json, daemon):
        command("publish", "flow.py:train", "--name", "Training")
        process = daemon("--grace", "0.1")
        read_until(process, "started")
        command("schedules", "add", "each second", "Training", "--every", "1s")

        fired = read_until(process, "fired")

        assert fired["schedule"] == "each second"
        command("runs", "wait", fired["run"])
        command("schedules", "remove", "each second")
        process.send_signal(signal.SIGHUP)
        read_until(process, "reloaded")
        process.send_signal(signal.SIGTERM)
        assert read_until(process, "ending")["signal"] == "SIGTERM"
        assert process.wait(30) == 0
        assert read_json("runs", "show", fired["run"])["status"] == "completed"

    def test_systemd_is_told_when_it_is_ready_alive_and_ending(self, daemon, tmp_path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
            heard.settimeout(30)
            heard.bind(str(tmp_path / "notify"))
            process = daemon(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="200000")

            assert [heard.recv(99) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
            process.send_signal(signal.SIGTERM)
            told = b"WATCHDOG=1"
            while told == b"WATCHDOG=1":
                told = heard.recv(99)
            assert told == b"STOPPING=1"
        assert process.wait(30) == 0

    def test_a_log_that_nobody_reads_any_more_is_no_reason_to_end(self, command, read_json, daemon):
        command("publish", "flow.py:train", "--name", "Training")
        process = daemon()
        read_until(process, "started")
        process.stdout.close()

        command("schedules", "add", "each second", "Training", "--every", "1s")

        until = time.monotonic() + 30
        while len(read_json("schedules", "history", "each second")) < 2:
            assert process.poll() is None
            assert time.monotonic() < until

    @pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
    def test_the_unit_is_one_that_systemd_takes(self, command, workspace, tmp_path):
        unit = tmp_path / "pipelite.service"
        unit.write_text(command("daemon", "--print-systemd-unit", "--grace", "5").stdout)

        done = subprocess.run(
            ["systemd-analyze", "--user", "verify", unit],
            env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

        assert (done.returncode, done.stderr) == (0, "")
        assert f"ReadWritePaths={workspace}\n" in unit.read_text()
        assert "TimeoutStopSec=20\n" in unit.read_text()
