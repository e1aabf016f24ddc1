"""Published pipelines: versions that never change, and the names that lead to one of them."""

from __future__ import annotations

import json
import re
import sqlite3
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from pipelite.define import ParameterSpec, read_parameter
from pipelite.errors import NotFoundError, PublishError
from pipelite.fingerprint import digest
from pipelite.store import Store, add_sources, now_text, to_json

#: What becomes of a version: it can be called, cannot for now, or is kept for the record only.
STATUSES = ("active", "disabled", "archived")
#: What the names of the settings begin with that numbered endpoints are kept in; their ids follow.
NUMBERED = "numbered_endpoints."
_NAME = re.compile(r"[^\W_][\w. -]{0,127}\Z")
_VERSION = re.compile(r"[^\W_][\w.+-]{0,63}\Z")
#: What an endpoint leads to: nothing, if it is a numbered one that was disabled.
_DEFAULT = (
    "id = (SELECT default_id FROM endpoints WHERE name = ? AND NOT EXISTS (SELECT 1 FROM settings "
    f"WHERE settings.name = '{NUMBERED}' || endpoints.name AND NOT json_extract(settings.value, '$.is_active')))"
)


@attrs.frozen(kw_only=True)
class Draft:
    """What is to be published."""

    name: str
    version: str
    description: str | None
    #: Of the pipeline itself.
    pipeline: str
    target: str
    experiment: str
    #: As `describe_parameter` gives them.
    parameters: Sequence[Mapping[str, Any]]
    #: Pickled values that take the place of defaults, of a version that was made from a run.
    defaults_pickle: bytes | None
    options: Mapping[str, Any]
    outputs: Sequence[str]
    #: Relative path of an own source file to its digest, and the text of each digest that is not stored yet.
    sources: Mapping[str, str]
    contents: Mapping[str, bytes]
    packages: Mapping[str, str]
    python: str
    git_commit: str | None
    run_id: str | None = None

    def identity(self) -> str:
        """What two versions of the same content have in common; descriptions and commits are not content."""
        fields = (
            self.pipeline,
            self.target,
            self.experiment,
            list(self.parameters),
            dict(self.options),
            dict(self.sources),
        )
        return digest("published", json.dumps(fields, sort_keys=True).encode(), self.defaults_pickle or b"")


@attrs.frozen(kw_only=True)
class PublishedVersion:
    """One version of a published pipeline, as stored."""

    id: str
    name: str
    version: str
    description: str | None
    status: str
    pipeline: str
    target: str
    experiment: str
    parameters: tuple[ParameterSpec, ...]
    #: As they were described; tells also of defaults that only the code has.
    described: tuple[Mapping[str, Any], ...]
    options: Mapping[str, Any]
    outputs: tuple[str, ...]
    packages: Mapping[str, str]
    python: str
    git_commit: str | None
    content: str
    #: The run that it was made from, if any.
    run_id: str | None
    #: UTC.
    created_at: datetime

    @property
    def label(self) -> str:
        return f"{self.name} {self.version}"

    def specs_for(self, given: Iterable[str]) -> tuple[ParameterSpec, ...]:
        """The parameters, to check values by; one that keeps a default which only the code has takes that unseen."""
        kept = {each["name"] for each in self.described if each.get("default_in_code")} - set(given)
        return tuple(
            attrs.evolve(spec, type=attrs.evolve(spec.type, kind="other")) if spec.name in kept else spec
            for spec in self.parameters
        )


@attrs.frozen(kw_only=True)
class EndpointRecord:
    """A name that leads to one version of a published pipeline."""

    name: str
    description: str | None
    default_id: str
    default_version: str
    #: UTC.
    updated_at: datetime


def check_names(name: str, version: str) -> None:
    """Make sure that a version can be called so.

    Raises
    ------
    PublishError
        Naming what is wrong.
    """
    if not _NAME.match(name):
        raise PublishError(
            f"a published pipeline cannot be called {name!r}; letters, digits, spaces and _ . - are taken, 128 at most"
        )
    if not _VERSION.match(version):
        raise PublishError(
            f'the version {version!r} is wrong; it is a text such as "1.0", of letters, digits and _ . + -'
        )


def add_version(store: Store, draft: Draft, *, make_default: bool) -> PublishedVersion:
    """Publish; the same content under the same name and version is the version that is there.

    The first version of a name makes the endpoint of that name.

    Raises
    ------
    PublishError
        If the version is there with other content.
    """
    check_names(draft.name, draft.version)
    content = draft.identity()
    with store.database.write() as connection:
        found = _find(connection, "name = ? AND version = ?", (draft.name, draft.version))
        if found is not None and found.content != content:
            raise PublishError(
                f"{found.label} is published already, with other content, on {found.created_at:%Y-%m-%d}; a published "
                "version never changes: publish under another version"
            )
        if found is None:
            found = _insert(connection, draft, content)
        now = now_text()
        connection.execute(
            "INSERT INTO endpoints (name, default_id, description, updated_at) VALUES (?, ?, ?, ?) "
            + (
                "ON CONFLICT (name) DO UPDATE SET default_id = excluded.default_id, updated_at = excluded.updated_at"
                if make_default
                else "ON CONFLICT (name) DO NOTHING"
            ),
            (draft.name, found.id, draft.description, now),
        )
    return found


def copy_version(
    store: Store, version: PublishedVersion, name: str, label: str, *, description: str | None, make_default: bool
) -> PublishedVersion:
    """Publish what a version is under another name or version too.

    Raises
    ------
    PublishError
        As `add_version`.
    """
    draft = Draft(
        name=name,
        version=label,
        description=version.description if description is None else description,
        pipeline=version.pipeline,
        target=version.target,
        experiment=version.experiment,
        parameters=version.described,
        defaults_pickle=get_defaults_pickle(store, version.id),
        options=version.options,
        outputs=version.outputs,
        sources=get_version_sources(store, version.id),
        contents={},
        packages=version.packages,
        python=version.python,
        git_commit=version.git_commit,
        run_id=version.run_id,
    )
    return add_version(store, draft, make_default=make_default)


def _insert(connection: sqlite3.Connection, draft: Draft, content: str) -> PublishedVersion:
    add_sources(connection, draft.contents)
    row = {
        "id": str(uuid.uuid4()),
        "name": draft.name,
        "version": draft.version,
        "description": draft.description,
        "status": STATUSES[0],
        "pipeline": draft.pipeline,
        "target": draft.target,
        "experiment": draft.experiment,
        "parameters": to_json(list(draft.parameters)),
        "defaults_pickle": draft.defaults_pickle,
        "options": to_json(dict(draft.options)),
        "outputs": to_json(list(draft.outputs)),
        "sources": to_json(dict(draft.sources)),
        "packages": to_json(dict(draft.packages)),
        "python": draft.python,
        "git_commit": draft.git_commit,
        "content": content,
        "run_id": draft.run_id,
        "created_at": now_text(),
    }
    marks = ", ".join(f":{column}" for column in row)
    connection.execute(f"INSERT INTO published ({', '.join(row)}) VALUES ({marks})", row)
    found = _find(connection, "id = ?", (row["id"],))
    assert found is not None
    return found


def find_version(store: Store, name: str, version: str | None = None) -> PublishedVersion:
    """A version by its id, or by its name: without `version` the endpoint's default.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    connection = store.database.connection()
    if version is not None:
        found = _find(connection, "name = ? AND version = ?", (name, version))
    else:
        found = _find(connection, "id = ?", (name,)) or _find(connection, _DEFAULT, (name,))
    if found is None:
        raise NotFoundError(_not_found(store, name, version))
    return found


def find_called(
    connection: sqlite3.Connection, published_id: str | None, endpoint: str | None
) -> PublishedVersion | None:
    """The version that an id, or the name of an endpoint, leads to at a moment of a transaction."""
    if published_id is not None:
        return _find(connection, "id = ?", (published_id,))
    return _find(connection, _DEFAULT, (endpoint,))


def _not_found(store: Store, name: str, version: str | None) -> str:
    rows = store.database.read("SELECT version FROM published WHERE name = ? ORDER BY created_at", (name,))
    if version is not None and rows:
        there = ", ".join(row["version"] for row in rows)
        return f"the published pipeline {name!r} has no version {version!r}; there are: {there}"
    return f"no pipeline is published as {name!r}; `pipelite endpoints list` shows what there is"


def list_versions(store: Store, name: str | None = None) -> list[PublishedVersion]:
    """All versions, or those of one name, the oldest first."""
    where, values = ("name = ?", (name,)) if name is not None else ("1", ())
    rows = store.database.read(f"SELECT {_COLUMNS} FROM published WHERE {where} ORDER BY created_at, rowid", values)
    return [_from_row(row) for row in rows]


def get_version_sources(store: Store, id: str) -> dict[str, str]:
    """Relative path of each own source file of a version to its digest."""
    return dict(json.loads(store.database.read("SELECT sources FROM published WHERE id = ?", (id,))[0]["sources"]))


def get_defaults_pickle(store: Store, id: str) -> bytes | None:
    """Values that take the place of defaults, pickled by this library for itself; None if there are none."""
    found: bytes | None = store.database.read("SELECT defaults_pickle FROM published WHERE id = ?", (id,))[0][0]
    return found


def set_status(store: Store, id: str, status: str) -> None:
    """Say whether a version can be called; an endpoint that leads to it is told so when it is called.

    Raises
    ------
    PublishError
        If there is no such status.
    """
    if status not in STATUSES:
        raise PublishError(f"status {status!r} is wrong; one of {', '.join(map(repr, STATUSES))} is expected")
    with store.database.write() as connection:
        connection.execute("UPDATE published SET status = ? WHERE id = ?", (status, id))


def set_default(store: Store, name: str, version: str) -> PublishedVersion:
    """Have an endpoint lead to another version, from one moment to the next.

    Raises
    ------
    NotFoundError
        If there is no such version.
    PublishError
        If it cannot be called.
    """
    with store.database.write() as connection:
        found = _find(connection, "name = ? AND version = ?", (name, version))
        if found is None:
            raise NotFoundError(_not_found(store, name, version))
        if found.status != STATUSES[0]:
            raise PublishError(f"{found.label} is {found.status}; enable it before it becomes the default")
        connection.execute(
            "UPDATE endpoints SET default_id = ?, updated_at = ? WHERE name = ?", (found.id, now_text(), name)
        )
    return found


def list_endpoints(store: Store) -> list[EndpointRecord]:
    """All endpoints by name, but for the numbered ones."""
    rows = store.database.read(
        "SELECT endpoints.*, published.version FROM endpoints JOIN published ON published.id = endpoints.default_id "
        "WHERE ? || endpoints.name NOT IN (SELECT name FROM settings) ORDER BY endpoints.name",
        (NUMBERED,),
    )
    return [
        EndpointRecord(
            name=row["name"],
            description=row["description"],
            default_id=row["default_id"],
            default_version=row["version"],
            updated_at=datetime.fromisoformat(row["updated_at"]),
        )
        for row in rows
    ]


_COLUMNS = (
    "id, name, version, description, status, pipeline, target, experiment, parameters, options, outputs, packages, "
    "python, git_commit, content, run_id, created_at"
)


def _find(connection: sqlite3.Connection, where: str, values: tuple[Any, ...]) -> PublishedVersion | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM published WHERE {where}", values).fetchone()
    return None if row is None else _from_row(row)


def _from_row(row: sqlite3.Row) -> PublishedVersion:
    described = tuple(json.loads(row["parameters"]))
    return PublishedVersion(
        id=row["id"],
        name=row["name"],
        version=row["version"],
        description=row["description"],
        status=row["status"],
        pipeline=row["pipeline"],
        target=row["target"],
        experiment=row["experiment"],
        parameters=tuple(read_parameter(each) for each in described),
        described=described,
        options=json.loads(row["options"]),
        outputs=tuple(json.loads(row["outputs"])),
        packages=json.loads(row["packages"]),
        python=row["python"],
        git_commit=row["git_commit"],
        content=row["content"],
        run_id=row["run_id"],
        created_at=datetime.fromisoformat(row["created_at"]),
    )
