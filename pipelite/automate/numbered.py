"""Endpoints that count their versions from "0": a name, which may change, for published versions of any names.

Each is also an endpoint, called by its id, which leads to its default version: so schedules and requests follow it.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Mapping
from typing import Any

import attrs

from pipelite.automate.versions import NUMBERED, PublishedVersion, find_version
from pipelite.errors import NotFoundError, PublishError
from pipelite.store import Store, get_settings, now_text


@attrs.frozen(kw_only=True)
class NumberedEndpoint:
    """A name for several published versions, of which one is the default."""

    #: Stays the same whatever it is called.
    id: str
    name: str
    description: str | None
    #: Whether it leads anywhere for now.
    is_active: bool
    #: Ids of published versions: their number is their place.
    versions: tuple[str, ...]
    #: A number.
    default: int

    def load(self, store: Store, number: str | None = None) -> PublishedVersion:
        """The version with a number as text, or the default one.

        Raises
        ------
        NotFoundError
            If there is no such number.
        """
        place = str(self.default) if number is None else str(number)
        if place not in map(str, range(len(self.versions))):
            known = ", ".join(map(str, range(len(self.versions))))
            raise NotFoundError(f"the endpoint {self.name!r} has no version {number!r}; there are: {known}")
        return find_version(store, self.versions[int(place)])


def add_numbered(store: Store, name: str, version: PublishedVersion, *, description: str | None) -> NumberedEndpoint:
    """Make an endpoint with one version, which is its "0".

    Raises
    ------
    PublishError
        If there is one of that name.
    """
    endpoint = NumberedEndpoint(
        id=str(uuid.uuid4()), name=name, description=description, is_active=True, versions=(version.id,), default=0
    )
    with store.database.write() as connection:
        _check_free(store, endpoint)
        connection.execute(
            "INSERT INTO endpoints (name, default_id, updated_at) VALUES (?, ?, ?)",
            (endpoint.id, version.id, now_text()),
        )
        _keep(connection, endpoint)
    return endpoint


def change_numbered(
    store: Store,
    id: str,
    *,
    add: PublishedVersion | None = None,
    default: int | None = None,
    name: str | None = None,
    description: str | None = None,
    is_active: bool | None = None,
) -> NumberedEndpoint:
    """Change an endpoint from one moment to the next.

    Parameters
    ----------
    add : its next version
    default : the number of its default version; -1 for the last

    Raises
    ------
    NotFoundError
        If there is no such endpoint, or no version of that number.
    PublishError
        If another has that name.
    """
    with store.database.write() as connection:
        endpoint = find_numbered(store, id=id)
        versions = endpoint.versions if add is None else (*endpoint.versions, add.id)
        endpoint = attrs.evolve(
            endpoint,
            versions=versions,
            default=endpoint.default if default is None else default % len(versions),
            name=endpoint.name if name is None else name,
            description=endpoint.description if description is None else description,
            is_active=endpoint.is_active if is_active is None else is_active,
        )
        _check_free(store, endpoint)
        _keep(connection, endpoint)
    return endpoint


def find_numbered(store: Store, *, id: str | None = None, name: str | None = None) -> NumberedEndpoint:
    """An endpoint by its id or its name.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    for each in list_numbered(store):
        if each.id == id or (id is None and each.name == name):
            return each
    raise NotFoundError(f"there is no pipeline endpoint {id if name is None else name!r}")


def list_numbered(store: Store) -> list[NumberedEndpoint]:
    """All of them, by name."""
    found = [_read(key, fields) for key, fields in get_settings(store, NUMBERED).items()]
    return sorted(found, key=lambda each: each.name)


def _check_free(store: Store, endpoint: NumberedEndpoint) -> None:
    for each in list_numbered(store):
        if each.name == endpoint.name and each.id != endpoint.id:
            raise PublishError(f"there is a pipeline endpoint {endpoint.name!r} already")


def _keep(connection: sqlite3.Connection, endpoint: NumberedEndpoint) -> None:
    fields = attrs.asdict(endpoint)
    del fields["id"]
    connection.execute(
        "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (NUMBERED + endpoint.id, json.dumps(fields)),
    )
    # Who looks at all endpoints knows it by its name, too.
    shown = endpoint.name if endpoint.description is None else f"{endpoint.name}: {endpoint.description}"
    connection.execute(
        "UPDATE endpoints SET default_id = ?, description = ?, updated_at = ? WHERE name = ?",
        (endpoint.versions[endpoint.default], shown, now_text(), endpoint.id),
    )


def _read(id: str, fields: Mapping[str, Any]) -> NumberedEndpoint:
    return NumberedEndpoint(**{**fields, "id": id, "versions": tuple(fields["versions"])})
