"""The SQL of hot rows, in the column orders of the schema."""

from __future__ import annotations

from collections.abc import Sequence

from pipelite.store.schema import ARTIFACT_COLUMNS, GROWTH_COLUMNS, METRIC_COLUMNS, RESULT_COLUMNS, STEP_RUN_COLUMNS


def _insert(table: str, columns: Sequence[str]) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})"


def _upsert(table: str, columns: Sequence[str], *, by: Sequence[str], also: str = "") -> str:
    changes = ", ".join(f'"{column}" = excluded."{column}"' for column in columns if column not in by)
    return f"{_insert(table, columns)} ON CONFLICT ({', '.join(by)}) DO UPDATE SET {changes}{also}"


#: A step run's row is first written when it starts or is planned, and again when it ends.
UPSERT_STEP_RUN = _upsert("step_runs", STEP_RUN_COLUMNS, by=("id",))

#: A result that was computed anew takes the place of the older one.
UPSERT_RESULT = _upsert("results", RESULT_COLUMNS, by=("key", "reads_digest"))

#: Storing an artifact that is there and marked for removal lifts the mark.
UPSERT_ARTIFACT = _upsert("artifacts", ARTIFACT_COLUMNS, by=("digest", "kind"), also=", removal_marked_at = NULL")

INSERT_GROWTH = _insert("growth", GROWTH_COLUMNS)
#: A step that was started before its owner died: it takes the place of a row that says no more than that.
INSERT_RECOVERED = (
    _insert("step_runs", STEP_RUN_COLUMNS)
    + " ON CONFLICT (id) DO UPDATE SET status = excluded.status, attempts = max(attempts, excluded.attempts), "
    "started_at = coalesce(excluded.started_at, started_at), ended_at = excluded.ended_at, "
    "log_start = iif(excluded.log_file IS NULL, log_start, excluded.log_start), "
    "log_end = iif(excluded.log_file IS NULL, log_end, excluded.log_end), "
    "log_file = coalesce(excluded.log_file, log_file) WHERE status IN ('pending', 'running', 'interrupted')"
)

INSERT_METRIC = _insert("metrics", METRIC_COLUMNS)
