"""Publishing takes a second a pipeline, so it is done once for all processes that test, and copied.

For the tests of the server, and for those that treat it badly.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.sites import Site


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose workspace has published pipelines."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    with (shared / "published.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "published").exists():
            made = Site(shared / "publishing")
            made.folder.mkdir()
            made.publish()
            made.folder.rename(shared / "published")
    return shared / "published"


@pytest.fixture
def own_site(published: Path, tmp_path: Path) -> Iterator[Site]:
    """A server of a test's own, not started yet."""
    made = Site(shutil.copytree(published, tmp_path / "folder"))
    yield made
    if made.process is not None:
        made.stop()
