"""Flows in these tests run for real; `lines` writes files of rows."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def quiet(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs print no progress; relative paths begin at the empty folder around the workspace."""
    monkeypatch.setenv("PIPELITE_PROGRESS", "quiet")
    return workspace


@pytest.fixture
def write(tmp_path: Path):
    """Write a text to a file below the test's folder."""

    def write_text(name: str, text: str, encoding: str = "utf8") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding=encoding)
        return path

    return write_text


@pytest.fixture
def bikes(write):
    """Three days of two regions."""
    for region in ("north", "south"):
        for day in (1, 2, 3):
            rows = "".join(f"{hour},{hour * day}\n" for hour in range(4))
            write(f"bikes/region={region}/2026-01-0{day}.csv", f"hour,count\n{rows}")
