"""Fixtures for all tests, and the list of what this machine could not run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelite.store import workspace as workspaces

pytest_plugins = ["data.real_stores", "serve.publishing"]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace folder that does not exist yet; the test runs in the empty folder around it."""
    folder = tmp_path / ".pipelite"
    monkeypatch.setenv("PIPELITE_WORKSPACE", str(folder))
    monkeypatch.chdir(tmp_path)
    yield folder
    # A process holds workspaces open for as long as it lives: of a thousand tests that would be too many files.
    for path in [path for path in workspaces._held if path.is_relative_to(tmp_path.resolve())]:
        store, _ = workspaces._held.pop(path)
        store.close()


def pytest_configure() -> None:
    # What is started in the background by a shell ignores Ctrl-C, and so would all programs that tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def not_run(reporter, *, needed_only: bool = False) -> list[tuple[str, str]]:
    """Each skipped test with its reason: tests skip only what the machine cannot offer."""
    found = []
    for report in reporter.stats.get("skipped", []):
        if needed_only and "may_be_missing" in report.keywords:
            continue
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        found.append((report.nodeid, reason.removeprefix("Skipped: ")))
    return found


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter) -> None:
    for what, why in not_run(terminalreporter):
        terminalreporter.write_line(f"not run: {what}, because {why}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and session.exitstatus == 0 and os.environ.get("CI") == "true" and not_run(reporter, needed_only=True):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
