"""Flows in these tests run for real: a workspace in a temporary folder, the slots of the test process."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def quiet(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs print no progress."""
    monkeypatch.setenv("PIPELITE_PROGRESS", "quiet")
    return workspace
