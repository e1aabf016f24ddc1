"""Flows in these tests run for real: a workspace in a temporary folder, the slots of the test process."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def quiet(workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIPELITE_PROGRESS", "quiet")
    return workspace
