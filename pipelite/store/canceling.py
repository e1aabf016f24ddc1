"""Asking for the end of a run, from whichever process."""

from __future__ import annotations

import sqlite3

from pipelite.errors import NotFoundError
from pipelite.store.rows import now_text
from pipelite.store.schema import OPEN_RUNS
from pipelite.store.workspace import Store


def request_cancel(store: Store, run_id: str) -> bool:
    """Ask the owner of a run to cancel it; one that has no owner, queued or interrupted, is canceled here and now.

    False if the run has ended already.
    """
    with store.database.write() as connection:
        changed = mark_canceled(connection, run_id)
        if not changed and connection.execute("SELECT 1 FROM runs WHERE id = ?", (run_id,)).fetchone() is None:
            raise NotFoundError(f"there is no run {run_id!r}; `pipelite runs list` shows what there is")
    return changed


def mark_canceled(connection: sqlite3.Connection, run_id: str) -> bool:
    """The same as part of a transaction."""
    changed = connection.execute(
        "UPDATE runs SET status = 'canceled', error = NULL, ended_at = ? "
        "WHERE id = ? AND owner IS NULL AND status IN ('queued', 'interrupted')",
        (now_text(), run_id),
    ).rowcount
    changed = (
        changed
        or connection.execute(f"UPDATE runs SET cancel_requested = 1 WHERE id = ? AND {OPEN_RUNS}", (run_id,)).rowcount
    )
    return changed > 0
