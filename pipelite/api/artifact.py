"""One stored output, as the user holds it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.errors import ArtifactError
from pipelite.records import ArtifactRef
from pipelite.store import Store

if TYPE_CHECKING:
    from pipelite.data import Dataset


class Artifact:
    """One immutable, content-addressed output: a value, a file or a folder."""

    def __init__(self, store: Store, ref: ArtifactRef, name: str, *, made_by: tuple[str, str] | None = None) -> None:
        self._store = store
        self._ref = ref
        self._name = name
        #: Run and step run.
        self._made_by = made_by

    @property
    def name(self) -> str:
        """Name of the output."""
        return self._name

    @property
    def digest(self) -> str:
        """Identity of the value: equal values have equal ones, wherever they were made."""
        return self._ref.digest

    @property
    def kind(self) -> str:
        """How it is stored: "json", "npy", "dataframe", "estimator", "pickle", "file", "folder" or a registered kind."""
        return self._ref.kind

    @property
    def size_bytes(self) -> int:
        """Size as stored."""
        return len(self._ref.inline.encode()) if self._ref.inline is not None else self._ref.size_bytes

    @property
    def path(self) -> Path:
        """Where it lies in the workspace; read-only.

        Raises
        ------
        ArtifactError
            If it is a small value that is kept in the database; `load` gives it.
        """
        if self._ref.inline is not None:
            raise ArtifactError(
                f"output {self._name!r} is a small value kept in the database and has no file; use .load()"
            )
        return self._store.artifacts.path(self._ref)

    def load(self) -> Any:
        """The value; an ndarray is memory-mapped and read-only, a file or folder a read-only `Path`.

        Raises
        ------
        ArtifactError
            If it is missing or damaged.
        """
        return self._store.artifacts.load(self._ref)

    def download(self, folder: str | Path, *, show_progress: bool = False) -> Path:
        """Copy it into a folder, which is made where it is missing; gives the path of the copy.

        A value that is kept in the database is written as a JSON file.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        if self._ref.inline is not None:
            copy = target / f"{self._name}.json"
            copy.write_text(self._ref.inline + "\n")
        else:
            copy = _copy(self.path, target, self._name if self._ref.kind not in ("file", "folder") else None)
        if show_progress:
            sys.stderr.write(f"{self._name}: {copy}\n")
        return copy

    def register(self, name: str, description: str | None = None, tags: Mapping[str, str] | None = None) -> Dataset:
        """Keep it as a dataset, the next version of that name: a DataFrame, a file or a folder.

        Raises
        ------
        DatasetError
            If it is of another kind.
        """
        from pipelite.data import Dataset, Datasets

        made_by = None if self._made_by is None else (*self._made_by, self._name)
        dataset = Dataset.from_output(self._ref, self._name, workspace=self._store.path)
        return Datasets(self._store).register(dataset, name, description=description, tags=tags, made_by=made_by)

    def __repr__(self) -> str:
        return f"<artifact {self._name!r}: {self._ref.type_name or self._ref.kind}, {self.size_bytes} bytes>"


def _copy(source: Path, folder: Path, name: str | None) -> Path:
    """Copy a stored file or folder, and make the copy writable: only the stored one must not change."""
    copy = folder / (source.name if name is None else f"{name}{source.suffix}")
    if source.is_dir():
        shutil.copytree(source, copy, dirs_exist_ok=True, copy_function=shutil.copyfile)
        for place in (copy, *copy.rglob("*")):
            place.chmod(0o755 if place.is_dir() else 0o644)
    else:
        shutil.copyfile(source, copy)
    return copy
