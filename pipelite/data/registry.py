"""The registered datasets of a workspace, and what they were made from and used by."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs

from pipelite.data.dataset import Dataset, Registration
from pipelite.data.definition import Definition
from pipelite.data.finding import total_size
from pipelite.errors import DatasetError, UnknownNameError
from pipelite.fingerprint import FileCache
from pipelite.fingerprint.tracked import READ_PREFIX
from pipelite.store import STEP_RUNS_PER_RUN, Store, now_text, to_json

_NAME = re.compile(r"[A-Za-z_][\w.-]{0,254}\Z")


@attrs.frozen(kw_only=True)
class DatasetRecord:
    """One version of a registered dataset, as stored."""

    id: int
    name: str
    version: int
    definition: Definition
    #: Identity of its content when it was registered.
    identity: str
    #: How many files it had then, and their size.
    files: int
    size_bytes: int
    description: str | None
    tags: Mapping[str, str]
    #: UTC.
    created_at: datetime
    #: The run, step run and output that it is, if it is one.
    run_id: str | None
    step_run: str | None
    output: str | None

    @property
    def label(self) -> str:
        return f"{self.name}:{self.version}"

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain JSON."""
        definition = json.loads(self.definition.to_json())
        sources = [str(source) for source in self.definition.sources]
        return {
            "name": self.name,
            "version": self.version,
            "format": self.definition.format,
            "sources": sources,
            "options": definition["options"],
            "operations": definition["operations"],
            "identity": self.identity,
            "files": self.files,
            "size_bytes": self.size_bytes,
            "description": self.description,
            "tags": dict(self.tags),
            "created_at": self.created_at.isoformat(),
            "made_by": None
            if self.run_id is None
            else {"run": self.run_id, "step": self.step_run, "output": self.output},
        }


@attrs.frozen(kw_only=True)
class Use:
    """A step run that took a dataset as an input or read it."""

    run_id: str
    pipeline: str
    step_run: str
    dataset: str


class Datasets(Mapping[str, Dataset]):
    """The registered datasets of a workspace, by name; each its latest version."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getitem__(self, name: str) -> Dataset:
        return self.get_version(name)

    def __iter__(self) -> Iterator[str]:
        return iter([row[0] for row in self._store.database.read("SELECT DISTINCT name FROM datasets ORDER BY name")])

    def __len__(self) -> int:
        return int(self._store.database.read("SELECT count(DISTINCT name) FROM datasets")[0][0])

    def get_version(self, name: str, version: int | None = None) -> Dataset:
        """One version of a dataset; the latest by default.

        Raises
        ------
        UnknownNameError
            If there is none of that name, or no such version.
        """
        record = self.record(name, version)
        registration = Registration(name=record.name, version=record.version, is_latest=version is None)
        found = Dataset(record.definition, workspace=self._store.path, registration=registration)
        found.note_use()
        return found

    def record(self, name: str, version: int | None = None) -> DatasetRecord:
        """What is stored of one version; of the latest by default."""
        rows = self._store.database.read("SELECT * FROM datasets WHERE name = ? ORDER BY version DESC", (name,))
        if not rows:
            known = ", ".join(self) or "none"
            raise UnknownNameError(f"there is no dataset {name!r}; there are: {known}")
        row = rows[0] if version is None else next((row for row in rows if row["version"] == version), None)
        if row is None:
            raise UnknownNameError(f"dataset {name!r} has no version {version}; the latest is {rows[0]['version']}")
        return _record(row)

    def records(self, name: str | None = None) -> list[DatasetRecord]:
        """All versions of all datasets, or of one; the latest first."""
        where, values = ("", ()) if name is None else ("WHERE name = ?", (name,))
        rows = self._store.database.read(f"SELECT * FROM datasets {where} ORDER BY name, version DESC", values)
        return [_record(row) for row in rows]

    def register(
        self,
        dataset: Dataset,
        name: str,
        *,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        made_by: tuple[str, str, str] | None = None,
    ) -> Dataset:
        """Keep a dataset under a name, as its next version; see `Dataset.register`.

        Parameters
        ----------
        made_by : (run, step run, output), optional
            What it is the output of.
        """
        if not _NAME.match(name):
            raise DatasetError(f"{name!r} is no name for a dataset; letters, digits, '_', '-' and '.' are allowed")
        identity, files = dataset.look()
        definition, tag_text = dataset.definition.to_json(), to_json(dict(tags or {}))
        made = made_by or (None, None, None)
        # Looked at inside of the transaction: two that register at once get two versions.
        with self._store.database.write() as connection:
            row = connection.execute(
                "SELECT * FROM datasets WHERE name = ? ORDER BY version DESC LIMIT 1", (name,)
            ).fetchone()
            version = 1 if row is None else row["version"]
            is_new = row is None or (row["definition"], row["identity"]) != (definition, identity)
            if row is not None and not is_new:
                is_new = (description or row["description"], tag_text if tags else row["tags"]) != (
                    row["description"],
                    row["tags"],
                )
            if is_new:
                version = 1 if row is None else row["version"] + 1
                connection.execute(
                    "INSERT INTO datasets (name, version, definition, identity, files, size_bytes, description, tags, "
                    "created_at, run_id, step_run, output) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        name,
                        version,
                        definition,
                        identity,
                        len(files),
                        total_size(files),
                        description,
                        tag_text,
                        now_text(),
                        *made,
                    ),
                )
        registration = Registration(name=name, version=version)
        return Dataset(dataset.definition, workspace=self._store.path, registration=registration)

    # Lineage.

    def uses(self, name: str, version: int | None = None) -> list[Use]:
        """The step runs that took a dataset as an input or read it, the newest run first; of one version or all."""
        return self._uses(
            "datasets.name = ? AND (? IS NULL OR datasets.version = ?) ORDER BY runs.number DESC, dataset_uses.position",
            (name, version, version),
        )

    def made_from(self, record: DatasetRecord) -> list[Use]:
        """The datasets that the output which a dataset is was made from, and the step runs that took them."""
        if record.run_id is None or record.step_run is None:
            return []
        rows = self._store.database.read("SELECT number FROM runs WHERE id = ?", (record.run_id,))
        if not rows:
            return []
        first = rows[0][0] * STEP_RUNS_PER_RUN
        steps = {
            row["name"]: row
            for row in self._store.database.read(
                "SELECT name, position, inputs FROM step_runs WHERE id BETWEEN ? AND ?",
                (first, first + STEP_RUNS_PER_RUN - 1),
            )
        }
        before = _before(record.step_run, steps)
        positions = json.dumps([steps[name]["position"] for name in before if name in steps])
        return self._uses(
            "runs.id = ? AND dataset_uses.position IN (SELECT value FROM json_each(?)) ORDER BY dataset_uses.position",
            (record.run_id, positions),
        )

    def _uses(self, where: str, values: tuple[Any, ...]) -> list[Use]:
        rows = self._store.database.read(
            "SELECT datasets.name, datasets.version, runs.id AS run_id, runs.pipeline, "
            "coalesce(step_runs.name, '') AS step_run FROM dataset_uses "
            "JOIN datasets ON datasets.id = dataset_uses.dataset_id JOIN runs ON runs.id = dataset_uses.run_id "
            f"LEFT JOIN step_runs ON step_runs.id = runs.number * {STEP_RUNS_PER_RUN} + dataset_uses.position "
            f"WHERE {where}",
            values,
        )
        return [
            Use(
                run_id=row["run_id"],
                pipeline=row["pipeline"],
                step_run=row["step_run"],
                dataset=f"{row['name']}:{row['version']}",
            )
            for row in rows
        ]


def identify_read(store: Store, read: str, files: FileCache | None = None) -> str:
    """Identity that what a step read as a dataset has now.

    Raises
    ------
    PipeliteError
        If it is not there any more.
    """
    text = read.removeprefix(READ_PREFIX)
    if text.startswith("?"):
        return Dataset(Definition.from_json(text[1:]), workspace=store.path).identity_only(files)
    return Datasets(store).get_version(*parse_label(text)).identity_only(files)


def parse_label(text: str) -> tuple[str, int | None]:
    """Name and version out of `name` or `name:version`.

    Raises
    ------
    DatasetError
        If the version is no number.
    """
    name, colon, version = text.partition(":")
    if not colon:
        return name, None
    if not version.isdecimal():
        raise DatasetError(f"{text!r} is not of the form NAME or NAME:VERSION, such as 'bikes' or 'bikes:3'")
    return name, int(version)


def _before(step_run: str, steps: Mapping[str, sqlite3.Row]) -> set[str]:
    """A step run and all that its inputs come from."""
    found: set[str] = set()
    waiting = [step_run]
    while waiting:
        name = waiting.pop()
        if name in found or name not in steps:
            continue
        found.add(name)
        for given in json.loads(steps[name]["inputs"]).values():
            waiting += [origin[0] for origin in given.get("from", ())]
    return found


def _record(row: sqlite3.Row) -> DatasetRecord:
    return DatasetRecord(
        id=row["id"],
        name=row["name"],
        version=row["version"],
        definition=Definition.from_json(row["definition"]),
        identity=row["identity"],
        files=row["files"],
        size_bytes=row["size_bytes"],
        description=row["description"],
        tags=json.loads(row["tags"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        run_id=row["run_id"],
        step_run=row["step_run"],
        output=row["output"],
    )
