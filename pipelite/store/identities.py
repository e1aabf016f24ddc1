"""Identities that are known already, so that nothing unchanged is read and hashed again.

What is new is collected in memory, and written with the next commit of a run or when the workspace is closed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from pipelite.store.database import Database

_UPSERT_FILE = (
    "INSERT INTO file_digests (path, size_bytes, mtime_ns, inode, digest) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (path) DO UPDATE SET size_bytes = excluded.size_bytes, mtime_ns = excluded.mtime_ns, "
    "inode = excluded.inode, digest = excluded.digest"
)
_INSERT_ITEM = (
    "INSERT INTO item_identities (whole, item, identity) VALUES (?, ?, ?) ON CONFLICT (whole, item) DO NOTHING"
)


class StoredFileCache:
    """Digests of files by path, size, modification time and inode."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._new: dict[str, tuple[int, int, int, str]] = {}

    def get(self, path: str, size: int, mtime_ns: int, inode: int) -> str | None:
        """Return the digest of a file that still is what it was."""
        known = self._new.get(path)
        if known is None:
            rows = self._database.read(
                "SELECT size_bytes, mtime_ns, inode, digest FROM file_digests WHERE path = ?", (_as_text(path),)
            )
            known = tuple(rows[0]) if rows else None
        return known[3] if known is not None and known[:3] == (size, mtime_ns, inode) else None

    def get_many(self, paths: Sequence[str]) -> dict[str, tuple[int, int, int, str]]:
        """Return size, time, inode and digest of those of many files that are known, by path."""
        texts = {_as_text(path): path for path in paths}
        rows = self._database.read(
            "SELECT file_digests.path, size_bytes, mtime_ns, inode, digest FROM json_each(?) AS wanted "
            "CROSS JOIN file_digests ON file_digests.path = wanted.value",
            (json.dumps(list(texts)),),
        )
        found = {texts[row[0]]: (row[1], row[2], row[3], row[4]) for row in rows}
        return found | {path: self._new[path] for path in paths if path in self._new}

    def put(self, path: str, size: int, mtime_ns: int, inode: int, digest: str) -> None:
        """Remember a digest."""
        self._new[path] = (size, mtime_ns, inode, digest)

    @property
    def has_new(self) -> bool:
        """Whether something is not written yet."""
        return bool(self._new)

    def write_new(self, connection: sqlite3.Connection) -> None:
        """Write what was collected, as part of a transaction."""
        if self._new:
            new, self._new = self._new, {}
            connection.executemany(_UPSERT_FILE, [(_as_text(path), *known) for path, known in new.items()])


class ItemIdentities:
    """Identities of parts of outputs, by the identity of the whole and the place within it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._new: dict[tuple[str, str], str] = {}

    def find(self, whole: str, item: str) -> str | None:
        """Return the identity of a part of an output, if it is known."""
        known = self._new.get((whole, item))
        if known is None:
            rows = self._database.read(
                "SELECT identity FROM item_identities WHERE whole = ? AND item = ?", (_as_text(whole), _as_text(item))
            )
            known = rows[0][0] if rows else None
        return known

    def keep(self, whole: str, item: str, identity: str) -> None:
        """Remember the identity of a part of an output."""
        self._new[whole, item] = identity

    @property
    def has_new(self) -> bool:
        """Whether something is not written yet."""
        return bool(self._new)

    def write_new(self, connection: sqlite3.Connection) -> None:
        """Write what was collected, as part of a transaction."""
        if self._new:
            new, self._new = self._new, {}
            rows = [(_as_text(whole), _as_text(item), identity) for (whole, item), identity in new.items()]
            connection.executemany(_INSERT_ITEM, rows)


def _as_text(text: str) -> str:
    # Names of files that are no valid text hold halves of surrogate pairs, which the database does not take.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
