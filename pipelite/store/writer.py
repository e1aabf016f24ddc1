"""Writing runs: one owner a run, everything of one moment in one transaction."""

from __future__ import annotations

import os
import sqlite3
import sys
import zlib
from base64 import b32encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelite.clock import CLOCK
from pipelite.errors import OwnershipLost
from pipelite.records import FINAL, CodeFingerprint, RunRecord, Status
from pipelite.store.claims import Refusals, Wish, release_all_claims, release_claims, take_claims
from pipelite.store.rows import now_text, run_from_row, to_json, to_text
from pipelite.store.schema import STEP_RUNS_PER_RUN
from pipelite.store.statements import INSERT_GROWTH, INSERT_METRIC, UPSERT_ARTIFACT, UPSERT_RESULT, UPSERT_STEP_RUN
from pipelite.store.takeover import set_aside
from pipelite.store.workspace import Store

Row = tuple[Any, ...]

#: Numbers of runs are not given twice, not even after the newest run was removed: others refer to it by number.
_NEXT_NUMBER = (
    "INSERT INTO settings (name, value) VALUES ('last_run_number', '1') "
    "ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + 1 RETURNING CAST(value AS INTEGER)"
)


#: What a run waits for; it stands there only as long as it does.
_SET_WAITS = "UPDATE runs SET options = json_set(options, '$.waits', json(?)) WHERE id = ? AND owner = ?"
_END_WAITS = "UPDATE runs SET options = json_remove(options, '$.waits') WHERE id = ? AND owner = ?"

_SKIP = (
    "UPDATE step_runs SET status = 'skipped', reason = 'the run ended before it came to this step again' "
    "WHERE id = ? AND status = 'pending'"
)
#: How many steps a run has as far as is known; a graph that grows tells more and more.
_SET_TOTAL = "UPDATE runs SET options = json_set(options, '$.steps', ?) WHERE id = ? AND owner = ?"

_ADD_USE = (
    "INSERT OR IGNORE INTO dataset_uses (dataset_id, run_id, position) "
    "SELECT id, ?1, ?2 FROM datasets WHERE name = ?3 AND version = ?4"
)


def create_run(store: Store, **fields: Any) -> RunRecord:
    """Store a new run, and return it with the id and number it was given; takes what `insert_run` takes."""
    with store.database.write() as connection:
        return insert_run(connection, **fields)


def insert_run(
    connection: sqlite3.Connection,
    *,
    pipeline: str,
    experiment: str | None = None,
    owner: str | None,
    status: Status = Status.RUNNING,
    target: str | None = None,
    description: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    parameters_pickle: bytes | None = None,
    options: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    rerun_of: str | None = None,
    working_directory: str | None = None,
    git_commit: str | None = None,
    packages: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
) -> RunRecord:
    """Store a new run inside a write transaction, and return it with the id and number it was given.

    Parameters
    ----------
    experiment : str, optional
        By default the pipeline's name.
    owner : str or None
        Name of the owner's lock; None for a run that waits in the queue for one.
    sources : mapping, optional
        Relative path of an own source file to the digest under which its text is stored.
    """
    now = CLOCK.now()
    row = {
        "id": _new_id(now),
        "pipeline": pipeline,
        "target": target,
        "experiment": pipeline if experiment is None else experiment,
        "description": description,
        "status": status.value,
        "parameters": to_json(dict(parameters or {})),
        "parameters_pickle": parameters_pickle,
        "options": to_json(dict(options or {})),
        "outputs": to_json(dict(outputs or {})),
        "tags": to_json(dict(tags or {})),
        "created_at": to_text(now),
        "started_at": to_text(now) if status is Status.RUNNING else None,
        "owner": owner,
        "rerun_of": rerun_of,
        "host": os.uname().nodename,
        "python": ".".join(map(str, sys.version_info[:3])),
        "working_directory": str(Path.cwd()) if working_directory is None else working_directory,
        "git_commit": git_commit,
        "packages": to_json(dict(packages or {})),
        "sources": to_json(dict(sources or {})),
    }
    row["number"] = connection.execute(_NEXT_NUMBER).fetchone()[0]
    marks = ", ".join(f":{column}" for column in row)
    connection.execute(f"INSERT INTO runs ({', '.join(row)}) VALUES ({marks})", row)
    return run_from_row(connection.execute("SELECT * FROM runs WHERE id = ?", (row["id"],)).fetchone())


def _new_id(now: datetime) -> str:
    random = b32encode(os.urandom(4)).decode()[:6].lower()
    return f"{now:%Y%m%d-%H%M%S}-{random}"


class RunWriter:
    """One owner's view of one run; it ends with `OwnershipLost` once the run belongs to another."""

    def __init__(self, store: Store, run_id: str, owner: str) -> None:
        self.run_id = run_id
        self.owner = owner
        #: Whether someone had asked for the run to be canceled at the last commit or look.
        self.cancel_requested = False
        self._store = store

    def commit(
        self,
        *,
        step_runs: Iterable[Row] = (),
        results: Iterable[Row] = (),
        released: Iterable[tuple[str, int]] = (),
        artifacts: Iterable[Row] = (),
        metrics: Iterable[Row] = (),
        growth: Iterable[Row] = (),
        codes: Iterable[CodeFingerprint] = (),
        sources: Mapping[str, bytes] | None = None,
        status: Status | None = None,
        error: str | None = None,
        outputs: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        run_sources: Mapping[str, str] | None = None,
        spools: Mapping[str, int] | None = None,
        replaced: Iterable[int] = (),
        unreached: Iterable[int] = (),
        started_at: datetime | None = None,
        ended_at: datetime | None = None,
        duration_s: float | None = None,
        n_steps: int | None = None,
        waits: Mapping[str, Any] | None = None,
        uses: Iterable[tuple[int, str, int]] = (),
    ) -> None:
        """Store everything that is given in one transaction, or nothing.

        Parameters
        ----------
        step_runs, results, artifacts, metrics, growth : iterables of tuples
            In the orders of STEP_RUN_COLUMNS, RESULT_COLUMNS, ARTIFACT_COLUMNS, METRIC_COLUMNS, GROWTH_COLUMNS; step runs, results and
            artifacts take the place of rows with the same key.
        released : iterable of pairs of key and step run
            Claims that are given back; a run that ends gives all of its claims back.
        sources : mapping, optional
            Digest to text of own source files; those that are stored already are left as they are.
        replaced : iterable of int
            Ids of step runs that others take the place of, or that have none any more; they are kept elsewhere.
        unreached : iterable of int
            Ids of step runs that have not been started again, of a run that was resumed and ends before it came to them.
        spools : mapping, optional
            Spool file to the bytes of it that are stored with this.
        waits : mapping, optional
            What the run waits for, empty if nothing: "for" in words; of a run inside of a step "keys" and, as RUN/PROCESS,
            the workers that it is "inside" of.
        uses : iterable of (position, name, version)
            Registered datasets that a step run took as an input or read; one that is not there any more is left out.
        status, error, outputs, tags, run_sources, started_at, ended_at, duration_s, n_steps : optional
            Of the run itself; None leaves it as it is.

        Raises
        ------
        OwnershipLost
            If the run is no longer this owner's; nothing is stored then.
        """
        run = {
            "status": None if status is None else status.value,
            "error": error,
            "outputs": None if outputs is None else to_json(dict(outputs)),
            "tags": None if tags is None else to_json(dict(tags)),
            "sources": None if run_sources is None else to_json(dict(run_sources)),
            "spools": None if spools is None else to_json(dict(spools)),
            "started_at": to_text(started_at),
            "ended_at": to_text(ended_at),
            "duration_s": duration_s,
        }
        with self._store.database.write() as connection:
            self._check_ownership(connection)
            _add_code(connection, codes, sources or {})
            if replaced:
                set_aside(connection, replaced)
            connection.executemany(UPSERT_STEP_RUN, step_runs)
            connection.executemany(_SKIP, [(step_run,) for step_run in unreached])
            # In the order of the table: keys are random, and neighbours then go to the same page while it is at hand.
            connection.executemany(UPSERT_RESULT, sorted(results))
            if status in FINAL:
                release_all_claims(connection, run_id=self.run_id)
            else:
                release_claims(connection, released)
            connection.executemany(UPSERT_ARTIFACT, artifacts)
            connection.executemany(INSERT_METRIC, metrics)
            connection.executemany(INSERT_GROWTH, growth)
            connection.executemany(_ADD_USE, [(self.run_id, *use) for use in uses])
            if n_steps is not None:
                connection.execute(_SET_TOTAL, (n_steps, self.run_id, self.owner))
            if waits:
                connection.execute(_SET_WAITS, (to_json(dict(waits)), self.run_id, self.owner))
            elif waits is not None:
                connection.execute(_END_WAITS, (self.run_id, self.owner))
            self._change_run(connection, {column: value for column, value in run.items() if value is not None})
            self._store.write_new_identities(connection)

    def claim(self, wishes: Sequence[Wish], *, version: int | None = None) -> Refusals:
        """Claim the keys of steps that are about to be sent; see `take_claims`.

        Raises
        ------
        OwnershipLost
            If the run is no longer this owner's.
        """
        with self._store.database.write(is_small=True) as connection:
            self._check_ownership(connection)
            return take_claims(self._store, connection, wishes, run_id=self.run_id, version=version)

    def release(self, why: str) -> None:
        """Give the run up as interrupted, for another to go on with; `why` says what came in between.

        Raises
        ------
        OwnershipLost
            If the run is no longer this owner's.
        """
        now = now_text()
        with self._store.database.write() as connection:
            self._check_ownership(connection)
            release_all_claims(connection, run_id=self.run_id)
            number = connection.execute(
                "UPDATE runs SET status = 'interrupted', owner = NULL, error = ?, ended_at = ? WHERE id = ? "
                "RETURNING number",
                (why, now, self.run_id),
            ).fetchone()[0]
            first = number * STEP_RUNS_PER_RUN
            connection.execute(
                "UPDATE step_runs SET status = 'interrupted', ended_at = ? "
                "WHERE id BETWEEN ? AND ? AND status = 'running'",
                (now, first, first + STEP_RUNS_PER_RUN - 1),
            )

    def look(self) -> bool:
        """Return whether someone asked for the run to be canceled.

        Raises
        ------
        OwnershipLost
            If the run is no longer this owner's.
        """
        self._check_ownership(self._store.database.connection())
        return self.cancel_requested

    def _check_ownership(self, connection: sqlite3.Connection) -> None:
        # Inside a write transaction nobody else can change the owner, so one look fences all that follows in it.
        row = connection.execute(
            "SELECT cancel_requested FROM runs WHERE id = ? AND owner = ?", (self.run_id, self.owner)
        ).fetchone()
        if row is None:
            raise OwnershipLost(
                f"run {self.run_id} belongs to another process by now, or was marked as interrupted; "
                f"`pipelite runs show {self.run_id}` tells its state",
                run_id=self.run_id,
            )
        self.cancel_requested = bool(row[0])

    def _change_run(self, connection: sqlite3.Connection, changes: Mapping[str, Any]) -> None:
        if changes:
            assignments = ", ".join(f"{column} = ?" for column in changes)
            connection.execute(
                f"UPDATE runs SET {assignments} WHERE id = ? AND owner = ?",
                (*changes.values(), self.run_id, self.owner),
            )


def _add_code(connection: sqlite3.Connection, codes: Iterable[CodeFingerprint], sources: Mapping[str, bytes]) -> None:
    connection.executemany(
        "INSERT INTO code (digest, parts, not_tracked, sources) VALUES (?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING",
        [
            (code.digest, to_json(dict(code.parts)), to_json(list(code.not_tracked)), to_json(dict(code.sources)))
            for code in codes
        ],
    )
    add_sources(connection, sources)


def add_sources(connection: sqlite3.Connection, sources: Mapping[str, bytes]) -> None:
    """Keep own source files by their digest, inside a write transaction; what is stored already is left as it is."""
    connection.executemany(
        "INSERT INTO sources (digest, content) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING",
        [(digest, zlib.compress(content)) for digest, content in sources.items()],
    )
