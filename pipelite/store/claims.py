"""Claims: equal work that is under way is not begun a second time, in whatever process.

A claim is a row under a key. It is made in one transaction with a last look for a result, when a step is sent to a slot,
and removed in the transaction that stores its result, or that its end without one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import attrs

from pipelite.records import Claim
from pipelite.store.database import explained
from pipelite.store.owners import is_alive
from pipelite.store.schema import OPEN_RUNS, STEP_RUNS_PER_RUN
from pipelite.store.workspace import Store

# A claim of the same run is of an equal step that has ended, and whose end waits to be written.
_TAKE = (
    "INSERT INTO claims (key, step_run_id, step) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE "
    "SET step_run_id = excluded.step_run_id, step = excluded.step "
    f"WHERE step_run_id / {STEP_RUNS_PER_RUN} = excluded.step_run_id / {STEP_RUNS_PER_RUN}"
)
_FIND = (
    "SELECT claims.key, runs.owner, runs.id, claims.step FROM json_each(?) AS wanted "
    "CROSS JOIN claims ON claims.key = wanted.value "
    f"LEFT JOIN runs ON runs.number = claims.step_run_id / {STEP_RUNS_PER_RUN} AND runs.{OPEN_RUNS}"
)
_FIND_STORED = "SELECT results.key, results.step_run_id FROM json_each(?) AS wanted CROSS JOIN results ON results.key = wanted.value"


class Wish(NamedTuple):
    """A step that is about to be sent."""

    key: str
    step_run_id: int
    step: str
    #: Step runs whose results under the key were looked at before, and found to be of no use.
    known: Sequence[int] = ()


@attrs.frozen(kw_only=True)
class Refusals:
    """Keys that were not claimed, and why; all others were."""

    #: A result was stored since the last look.
    stored: frozenset[str] = frozenset()
    #: Another run is at it.
    held: Mapping[str, Claim] = attrs.field(factory=dict)


NONE_REFUSED = Refusals()


def take_claims(
    store: Store,
    connection: sqlite3.Connection,
    wishes: Sequence[Wish],
    *,
    run_id: str,
    version: int | None = None,
) -> Refusals:
    """Claim keys inside a write transaction, except for those that need no work or have somebody at work on them.

    Parameters
    ----------
    version : int, optional
        As given by `get_version` before the last look for results: if nobody has written since, it is not repeated.
    """
    is_fresh = version is not None and version == get_version(connection)
    stored: frozenset[str] = frozenset() if is_fresh else _find_new_results(connection, wishes)
    rows = [wish[:3] for wish in wishes if wish.key not in stored]
    if len(rows) == 1:
        taken = connection.execute(_TAKE, rows[0]).rowcount
    else:
        taken = connection.executemany(_TAKE, rows).rowcount if rows else 0
    if taken == len(rows):
        return Refusals(stored=stored) if stored else NONE_REFUSED
    held = {}
    for claim in _find(connection, [row[0] for row in rows]):
        if claim.run_id == run_id:
            continue
        if _is_alive(store, claim):
            held[claim.key] = claim
        else:
            connection.execute("DELETE FROM claims WHERE key = ?", (claim.key,))
            connection.executemany(_TAKE, [row for row in rows if row[0] == claim.key])
    return Refusals(stored=stored, held=held)


def find_claims(store: Store, keys: Iterable[str], *, run_id: str | None = None) -> dict[str, Claim]:
    """Return who is at work on each of many keys; the claims of this run and of the dead are left out."""
    with explained(store.database.path):
        claims = _find(store.database.connection(), list(keys))
    others = [claim for claim in claims if claim.run_id != run_id]
    alive = {claim.run_id: claim for claim in others}
    alive = {run_id: claim for run_id, claim in alive.items() if _is_alive(store, claim)}
    return {claim.key: claim for claim in others if claim.run_id in alive}


def get_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes whenever another connection has committed something."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def release_claims(connection: sqlite3.Connection, claims: Iterable[tuple[str, int]]) -> None:
    """Give claims back, inside a write transaction: pairs of key and step run."""
    connection.executemany("DELETE FROM claims WHERE key = ? AND step_run_id = ?", sorted(claims))


def release_all_claims(connection: sqlite3.Connection, *, run_id: str) -> None:
    """Give back whatever a run that ends still holds."""
    connection.execute(
        f"DELETE FROM claims WHERE step_run_id / {STEP_RUNS_PER_RUN} = (SELECT number FROM runs WHERE id = ?)",
        (run_id,),
    )


def remove_void_claims(connection: sqlite3.Connection) -> None:
    """Remove the claims of runs that have no owner any more, inside a write transaction."""
    connection.execute(
        f"DELETE FROM claims WHERE step_run_id / {STEP_RUNS_PER_RUN} NOT IN "
        f"(SELECT number FROM runs WHERE {OPEN_RUNS} AND owner IS NOT NULL)"
    )


def _find_new_results(connection: sqlite3.Connection, wishes: Sequence[Wish]) -> frozenset[str]:
    known = {wish.key: wish.known for wish in wishes}
    rows = connection.execute(_FIND_STORED, (json.dumps(list(known)),))
    return frozenset(key for key, step_run_id in rows if step_run_id not in known[key])


def _find(connection: sqlite3.Connection, keys: list[str]) -> list[Claim]:
    rows = connection.execute(_FIND, (json.dumps(keys),))
    return [Claim(key=key, owner=owner, run_id=run_id, step=step) for key, owner, run_id, step in rows]


def _is_alive(store: Store, claim: Claim) -> bool:
    return claim.owner is not None and is_alive(store.path, claim.owner)
