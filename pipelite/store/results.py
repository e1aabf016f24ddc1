"""What is stored under keys: the one look-up that every node of every run makes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from pipelite.records import StoredResult
from pipelite.store.database import Database, explained
from pipelite.store.rows import decode_reads

_COLUMNS = "results.key, results.step_run_id, step_runs.ended_at, step_runs.form, step_runs.reads, step_runs.outputs"
# The join order is fixed: from each key to its results, from each result to the step run that computed it.
_FIND = (
    f"SELECT {_COLUMNS} FROM json_each(?) AS wanted CROSS JOIN results ON results.key = wanted.value "
    "CROSS JOIN step_runs ON step_runs.id = results.step_run_id"
)
_FIND_ONE = (
    f"SELECT {_COLUMNS} FROM results CROSS JOIN step_runs ON step_runs.id = results.step_run_id WHERE results.key = ?"
)


def find_results(database: Database, keys: Iterable[str]) -> dict[str, list[StoredResult]]:
    """Return what is stored under each of many keys, newest first; a key with nothing is left out."""
    wanted = list(keys)
    with explained(database.path):
        cursor = database.connection().cursor()
        cursor.row_factory = None
        if len(wanted) == 1:
            rows = cursor.execute(_FIND_ONE, wanted).fetchall()
        else:
            rows = cursor.execute(_FIND, (json.dumps(wanted),)).fetchall()
    found: dict[str, list[StoredResult]] = {}
    for row in rows:
        result = _result(row)
        others = found.get(result.key)
        if others is None:
            found[result.key] = [result]
        else:
            others.append(result)
            others.sort(key=attrgetter("step_run_id"), reverse=True)
    return found


def _result(row: tuple[Any, ...]) -> StoredResult:
    outputs = row[5] or "{}"
    return StoredResult(
        key=row[0],
        step_run_id=row[1],
        outputs=outputs,
        # Both are written by `encode_outputs`. In a text that was stored the marks cannot occur, as its quotes are
        # escaped; an output that is called "path" is looked at in vain.
        needs_look='"path":' in outputs or '"inline":"null"' in outputs,
        form=row[3],
        reads=decode_reads(row[4]),
        created_at=row[2],
    )
