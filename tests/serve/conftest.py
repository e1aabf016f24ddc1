"""One server for all tests that only ask."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.sites import Site


@pytest.fixture(scope="session")
def site(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server for all tests that only ask."""
    made = Site(shutil.copytree(published, tmp_path_factory.mktemp("site") / "folder"))
    (made.folder / "allowed").mkdir()
    made.start("--allow-path", str(made.folder / "allowed"))
    yield made
    if made.process is not None:
        made.stop()
