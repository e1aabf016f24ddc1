"""Finds runs that wait for each other in a circle.

A run that a step has started keeps the worker of that step busy. While it waits for a step that was handed to another
worker, the one worker waits for the other; and that never ends if it leads back to where it began. Each such run tells in
its row what it waits for and which workers it keeps busy, and each run which workers its longer steps were handed to.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable

from pipelite.store.database import explained
from pipelite.store.owners import is_alive
from pipelite.store.schema import OPEN_RUNS
from pipelite.store.workspace import Store

#: The worker of a step run is told by the name of its log file.
_SUFFIX = ".log"
_WORKER = f"substr(step_runs.log_file, 1, length(step_runs.log_file) - {len(_SUFFIX)})"
_CLAIMED = (
    "CROSS JOIN claims ON claims.key = wanted.value "
    "CROSS JOIN step_runs ON step_runs.id = claims.step_run_id AND step_runs.log_file IS NOT NULL"
)
_FIND_WORKERS = f"SELECT wanted.value, {_WORKER} FROM json_each(?) AS wanted {_CLAIMED}"
_FIND_WAITING = (
    f"SELECT runs.owner, busy.value, {_WORKER} FROM runs "
    "CROSS JOIN json_each(runs.options, '$.waits.inside') AS busy "
    "CROSS JOIN json_each(runs.options, '$.waits.keys') AS wanted "
    f"{_CLAIMED} WHERE runs.{OPEN_RUNS} AND runs.number < (SELECT number FROM runs WHERE id = ?)"
)


def find_circles(store: Store, keys: Iterable[str], *, run_id: str, inside: Collection[str]) -> set[str]:
    """Return those of many keys that a run is the one to give up waiting for: the newest of all that wait in a circle.

    Parameters
    ----------
    keys : iterable of str
        What the run waits for; others have claimed it.
    inside : collection of str
        The workers that the run keeps busy while it waits, as RUN/PROCESS.
    """
    with explained(store.database.path):
        connection = store.database.connection()
        holders = connection.execute(_FIND_WORKERS, (json.dumps(list(keys)),)).fetchall()
        # Only of older runs: then of the runs in a circle exactly one finds it.
        waiting = connection.execute(_FIND_WAITING, (run_id,)).fetchall() if holders else []
    alive = {owner for owner in {row[0] for row in waiting} if owner is not None and is_alive(store.path, owner)}
    waits_for: dict[str, set[str]] = defaultdict(set)
    for owner, busy, worker in waiting:
        if owner in alive:
            waits_for[busy].add(worker)
    return {key for key, worker in holders if _leads_to(worker, set(inside), waits_for)}


def _leads_to(worker: str, wanted: set[str], waits_for: dict[str, set[str]]) -> bool:
    seen: set[str] = set()
    ahead = {worker}
    while ahead:
        if ahead & wanted:
            return True
        seen |= ahead
        ahead = {further for each in ahead for further in waits_for.get(each, ())} - seen
    return False
