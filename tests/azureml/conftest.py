"""Scripts in the style of Azure ML, in a workspace of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azureml_scripts import write_file

from pipelite.azureml import _notices
from pipelite.azureml.core import Workspace

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write a file below the test's folder."""
    return lambda name, text="": write_file(tmp_path / name, text)


@pytest.fixture
def ws(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An empty workspace; what is said once is said anew."""
    monkeypatch.setenv("PIPELITE_PROGRESS", "quiet")
    monkeypatch.setattr(_notices, "_said", set())
    return Workspace("sub", "group", "shop")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a workspace for all tests of a module; they run in it."""
    folder = tmp_path_factory.mktemp("azureml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIPELITE_WORKSPACE", str(folder / ".pipelite"))
        patch.setenv("PIPELITE_PROGRESS", "quiet")
        patch.chdir(folder)
        yield folder
