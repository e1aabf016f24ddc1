"""Tokens: who may call a server of the workspace, what for, and until when.

A token is `pl_ID_SECRET`: the id is public, for people and for logs, the secret is 256 random bits of which only a hash is kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from pipelite.clock import CLOCK
from pipelite.errors import NotFoundError, ParameterError, StorageError, WorkspaceBusyError
from pipelite.store.owners import temporary_prefix
from pipelite.store.rows import now_text, to_json, to_text

if TYPE_CHECKING:
    from pipelite.store.workspace import Store

#: Each may do what those before it may.
SCOPES = ("read", "submit", "admin")
#: Below the workspace: the token of the user that it belongs to, readable by nobody else.
LOCAL_FILE = "token"
LOCAL_NAME = "local"
#: Seconds between two notes of when a token was used last.
NOTED_EVERY_S = 60.0


@attrs.frozen(kw_only=True)
class Token:
    """What is stored of a token."""

    id: str
    name: str
    #: One of SCOPES.
    scope: str
    #: The published names that it is limited to; None for all.
    pipelines: tuple[str, ...] | None
    #: UTC, as all times.
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    def may(self, scope: str) -> bool:
        """Whether it may do what a scope stands for."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    def sees(self, published_name: str | None) -> bool:
        """Whether what belongs to a published name is its business; None stands for what was never published."""
        return self.pipelines is None or published_name in self.pipelines

    @property
    def is_valid(self) -> bool:
        """Whether it opens anything now."""
        return self.revoked_at is None and (self.expires_at is None or CLOCK.now() < self.expires_at)

    @property
    def is_local(self) -> bool:
        """Whether it is the one in the workspace's own file."""
        return self.name == LOCAL_NAME


def create_token(
    store: Store,
    *,
    scope: str,
    name: str = "",
    pipelines: Sequence[str] | None = None,
    lasts: timedelta | None = None,
) -> tuple[Token, str]:
    """Make a token; gives what is stored of it, and the token itself, which nobody can tell again.

    Parameters
    ----------
    name : str
        For people.
    pipelines : names, optional
        Published names that it is limited to.
    lasts : timedelta, optional
        How long it is valid; for ever by default.

    Raises
    ------
    ParameterError
        If there is no such scope, or the name is that of the workspace's own token.
    """
    if scope not in SCOPES:
        raise ParameterError(f"there is no scope {scope!r}; one of {', '.join(SCOPES)} is expected")
    if name == LOCAL_NAME:
        raise ParameterError(f"the name {LOCAL_NAME!r} is that of the workspace's own token; choose another")
    with store.database.write() as connection:
        return _insert(connection, scope=scope, name=name, pipelines=pipelines, lasts=lasts)


def _insert(
    connection: sqlite3.Connection,
    *,
    scope: str,
    name: str,
    pipelines: Sequence[str] | None = None,
    lasts: timedelta | None = None,
) -> tuple[Token, str]:
    token_id = secrets.token_hex(6)
    text = f"pl_{token_id}_{secrets.token_urlsafe(32)}"
    expires_at = None if lasts is None else CLOCK.now() + lasts
    connection.execute(
        "INSERT INTO tokens (id, hash, name, scope, pipelines, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            token_id,
            _hash(text),
            name,
            scope,
            to_json(list(pipelines)) if pipelines else None,
            now_text(),
            to_text(expires_at),
        ),
    )
    return _from_row(connection.execute("SELECT * FROM tokens WHERE id = ?", (token_id,)).fetchone()), text


def find_token(store: Store, text: str) -> Token | None:
    """The token that a client shows, if it is a valid one; its use is noted."""
    # By its hash: what a wrong one has in common with a right one makes no difference, so time tells nothing of it.
    rows = store.database.read("SELECT * FROM tokens WHERE hash = ?", (_hash(text),))
    if not rows:
        return None
    token = _from_row(rows[0])
    if not token.is_valid:
        return None
    _note_use(store, token)
    return token


def _note_use(store: Store, token: Token) -> None:
    now = CLOCK.now()
    last = token.last_used_at
    if last is not None and abs((now - last).total_seconds()) < NOTED_EVERY_S:
        return
    # To be told when is no reason to refuse a request.
    with contextlib.suppress(StorageError, WorkspaceBusyError), store.database.write() as connection:
        connection.execute("UPDATE tokens SET last_used_at = ? WHERE id = ?", (to_text(now), token.id))


def list_tokens(store: Store) -> list[Token]:
    """All tokens, also those that are revoked or have expired; the oldest first."""
    return [_from_row(row) for row in store.database.read("SELECT * FROM tokens ORDER BY created_at, id")]


def revoke_token(store: Store, id: str) -> Token:
    """Have a token open nothing any more, from the next request on.

    Raises
    ------
    NotFoundError
        If there is none with that id.
    """
    with store.database.write() as connection:
        connection.execute("UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (now_text(), id))
        row = connection.execute("SELECT * FROM tokens WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no token with the id {id!r}; `pipelite token list` shows what there is")
    return _from_row(row)


def keep_local_token(store: Store) -> Path:
    """Make sure that the workspace's own token is in its file, for servers and for scripts that call them; gives the file.

    It is made anew where the file is missing, can be read by others, or holds no valid token.
    """
    path = store.path / LOCAL_FILE
    # Of several servers that start at once one makes it, and the others find it.
    with store.database.write() as connection:
        if _holds_valid(connection, path):
            return path
        connection.execute(
            "UPDATE tokens SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL", (now_text(), LOCAL_NAME)
        )
        _, text = _insert(connection, scope="admin", name=LOCAL_NAME)
        partial = store.path / "tmp" / f"{temporary_prefix(store.owner.name)}token"
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(f"{text}\n")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def _holds_valid(connection: sqlite3.Connection, path: Path) -> bool:
    try:
        if path.is_symlink() or path.stat().st_mode & 0o077:
            return False
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return False
    row = connection.execute("SELECT * FROM tokens WHERE hash = ?", (_hash(text),)).fetchone()
    return row is not None and _from_row(row).is_valid


def has_token_for_others(store: Store) -> bool:
    """Whether there is a valid token besides the workspace's own."""
    return any(token.is_valid and not token.is_local for token in list_tokens(store))


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _from_row(row: sqlite3.Row) -> Token:
    times = {
        name: None if row[name] is None else datetime.fromisoformat(row[name])
        for name in ("expires_at", "last_used_at", "revoked_at")
    }
    return Token(
        id=row["id"],
        name=row["name"],
        scope=row["scope"],
        pipelines=None if row["pipelines"] is None else tuple(json.loads(row["pipelines"])),
        created_at=datetime.fromisoformat(row["created_at"]),
        **times,
    )
