"""Digests of objects of other stores that are known: as long as a store says that an object is the same, so are its bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pipelite.store import Store, now_text

if TYPE_CHECKING:
    from pipelite.data.datastores import Datastore
    from pipelite.data.locations import Entry

_KEEP = (
    "INSERT INTO fetched (url, validator, size_bytes, digest, fetched_at) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (url) DO UPDATE SET validator = excluded.validator, size_bytes = excluded.size_bytes, "
    "digest = excluded.digest, fetched_at = excluded.fetched_at"
)


class KnownDigests:
    """Digests of some objects of a datastore, as they were known when this was made."""

    def __init__(self, store: Store, datastore: Datastore, paths: Iterable[str]) -> None:
        urls = {url_of(datastore, path): path for path in paths}
        rows = store.database.read(
            "SELECT fetched.url, validator, digest FROM json_each(?) AS wanted "
            "CROSS JOIN fetched ON fetched.url = wanted.value",
            (json.dumps(list(urls)),),
        )
        self._known: Mapping[str, tuple[str, str]] = {urls[row[0]]: (row[1], row[2]) for row in rows}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, entry: Entry) -> str | None:
        """blake3 digest of an object that is as it was when it was looked at."""
        known = self._known.get(entry.path)
        return known[1] if known is not None and known[0] == entry.validator else None


def remember(store: Store, objects: Iterable[tuple[Datastore, Entry, str]]) -> None:
    """Keep the digests of objects; of those that the store says nothing of, nothing is kept."""
    rows = [
        (url_of(datastore, entry.path), entry.validator, entry.size_bytes, digest, now_text())
        for datastore, entry, digest in objects
        if entry.validator is not None
    ]
    if rows:
        with store.database.write() as connection:
            connection.executemany(_KEEP, rows)


def url_of(datastore: Datastore, path: str) -> str:
    """What an object is known under."""
    # The same URL may mean another server, by an option.
    options = json.dumps(dict(datastore.options), sort_keys=True) if datastore.options else ""
    return f"{datastore.url.rstrip('/')}/{path}{options}"
