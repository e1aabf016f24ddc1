"""The queue of runs of published pipelines: taken in order by whoever has a runner free, each by one.

A request is a row beside its run. The run's status says how it is; the state of the request says whose turn it is:
`waiting` until a dispatcher takes it, `taken` while that sees to it, `done` when the run has ended for good. What a
dispatcher that died had taken waits again, and so does a run whose runner died.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

import attrs

from pipelite.automate.versions import PublishedVersion
from pipelite.define import bind_parameters
from pipelite.errors import ParameterError, PublishError, ResumeError
from pipelite.records import FINAL, RunRecord, Status
from pipelite.store import Store, insert_run, is_alive, now_text, to_json

#: A run whose runner died so many times is not tried again: it is what kills them.
MOST_DEATHS = 3

_GIVEN_UP = "its runner ended {deaths} times in the middle of the run; `pipelite runs resume {id}` tries once more"

_FINAL = ", ".join(f"'{status.value}'" for status in FINAL)


@attrs.frozen(kw_only=True)
class Limits:
    """How many runs may be under way at once."""

    #: On the whole box.
    total: int
    #: Of one published name, and of one schedule; None for as many as there may be at all.
    per_name: int | None = None
    per_schedule: int | None = None


@attrs.frozen(kw_only=True)
class Taken:
    """A run that this dispatcher is to have executed."""

    run_id: str
    published_id: str
    #: Whether a runner had begun with it before.
    is_begun: bool


def submit(
    store: Store,
    version: PublishedVersion,
    assignments: Mapping[str, Any],
    *,
    experiment: str | None = None,
    description: str | None = None,
    keep_going: bool | None = None,
    tags: Mapping[str, str] | None = None,
    priority: int = 0,
    schedule: str | None = None,
    requested_by: str | None = None,
    idempotency_key: str | None = None,
    rerun_of: str | None = None,
) -> tuple[RunRecord, bool]:
    """Put a run into the queue; gives its record, and whether it is new: of equal idempotency keys there is one.

    Parameters
    ----------
    assignments : values of parameters by name, as JSON has them
    description, keep_going : for this run instead of what the version says

    Raises
    ------
    PublishError
        If the version cannot be called, or the idempotency key stands for another request.
    ParameterError
        If a parameter is unknown, missing or of the wrong type.
    """
    with store.as_default():
        bind_parameters(
            version.specs_for(assignments), _without_code_defaults(version, assignments), pipeline=version.name
        )
    with store.database.write() as connection:
        if idempotency_key is not None:
            found = _find_request(connection, idempotency_key)
            if found is not None:
                return _same_or_refused(found, version, assignments, idempotency_key), False
        _check_active(version)
        record = insert_request(
            connection,
            version,
            assignments,
            experiment=experiment,
            description=description,
            keep_going=keep_going,
            tags=tags,
            priority=priority,
            schedule=schedule,
            requested_by=requested_by,
            idempotency_key=idempotency_key,
            rerun_of=rerun_of,
        )
    return record, True


def check_call(version: PublishedVersion, assignments: Mapping[str, Any]) -> None:
    """Make sure that a version can be called with these values; raises what `submit` raises."""
    _check_active(version)
    bind_parameters(version.specs_for(assignments), _without_code_defaults(version, assignments), pipeline=version.name)


def _check_active(version: PublishedVersion) -> None:
    if version.status != "active":
        raise PublishError(f"{version.label} is {version.status}, and cannot be called")


def insert_request(
    connection: sqlite3.Connection,
    version: PublishedVersion,
    assignments: Mapping[str, Any],
    *,
    experiment: str | None = None,
    description: str | None = None,
    keep_going: bool | None = None,
    tags: Mapping[str, str] | None = None,
    priority: int = 0,
    schedule: str | None = None,
    requested_by: str | None = None,
    idempotency_key: str | None = None,
    rerun_of: str | None = None,
) -> RunRecord:
    """Put a run that was checked into the queue, as part of a transaction."""
    shown = {spec.name: spec.default for spec in version.parameters if not spec.required} | dict(assignments)
    sources = connection.execute("SELECT sources FROM published WHERE id = ?", (version.id,)).fetchone()[0]
    record = insert_run(
        connection,
        pipeline=version.pipeline,
        experiment=experiment or version.experiment,
        owner=None,
        status=Status.QUEUED,
        target=version.target,
        description=version.description if description is None else description,
        parameters=shown,
        options={
            "published": {"id": version.id, "name": version.name, "version": version.version},
            **({} if keep_going is None else {"keep_going": keep_going}),
        },
        tags=tags,
        rerun_of=rerun_of,
        # It runs in a copy of the snapshot, wherever that is.
        working_directory="",
        git_commit=version.git_commit,
        packages=version.packages,
        sources=json.loads(sources),
    )
    connection.execute(
        "INSERT INTO requests (run_id, number, published_id, state, priority, assignments, schedule, requested_by, "
        "idempotency_key) VALUES (?, ?, ?, 'waiting', ?, ?, ?, ?, ?)",
        (
            record.id,
            record.number,
            version.id,
            priority,
            to_json(dict(assignments)),
            schedule,
            requested_by,
            idempotency_key,
        ),
    )
    return record


def _without_code_defaults(version: PublishedVersion, assignments: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be checked: all that is given, and nothing for defaults that only the code has."""
    for each in version.described:
        if each.get("default_in_code") and each["type"]["kind"] == "other" and each["name"] in assignments:
            raise ParameterError(
                f"parameter {each['name']!r} of {version.label} takes values that only Python has, and keeps its default here",
                parameter=each["name"],
            )
    return dict(assignments)


def _find_request(connection: sqlite3.Connection, key: str) -> sqlite3.Row | None:
    found: sqlite3.Row | None = connection.execute(
        "SELECT requests.published_id, requests.assignments, runs.* FROM requests JOIN runs ON runs.id = requests.run_id "
        "WHERE requests.idempotency_key = ?",
        (key,),
    ).fetchone()
    return found


def _same_or_refused(
    row: sqlite3.Row, version: PublishedVersion, assignments: Mapping[str, Any], key: str
) -> RunRecord:
    from pipelite.store.rows import run_from_row

    if row["published_id"] != version.id or json.loads(row["assignments"]) != dict(assignments):
        raise PublishError(f"the idempotency key {key!r} was used for another request, that of run {row['id']}")
    return run_from_row(row)


def find_requested_version(store: Store, idempotency_key: str) -> str | None:
    """The id of the version that was called with a key; None if none was."""
    rows = store.database.read("SELECT published_id FROM requests WHERE idempotency_key = ?", (idempotency_key,))
    return str(rows[0][0]) if rows else None


def find_keyed_run(connection: sqlite3.Connection, key: str) -> str | None:
    """The id of the run that was made with an idempotency key, as part of a transaction; None if none was."""
    found = _find_request(connection, key)
    return None if found is None else str(found["id"])


def get_assignments(store: Store, run_id: str) -> dict[str, Any]:
    """The values that a run was requested with."""
    return dict(json.loads(store.database.read("SELECT assignments FROM requests WHERE run_id = ?", (run_id,))[0][0]))


def take(store: Store, owner: str, limits: Limits) -> Taken | None:
    """Take the next run that may start now, for a dispatcher that goes by the name of an owner; None if there is none."""
    with store.database.write() as connection:
        under_way = connection.execute(
            "SELECT published.name, requests.schedule FROM requests JOIN published ON published.id = requests.published_id "
            "WHERE requests.state = 'taken'"
        ).fetchall()
        if len(under_way) >= limits.total:
            return None
        full_names = _at_limit([row[0] for row in under_way], limits.per_name)
        schedules = [row[1] for row in under_way if row[1] is not None]
        full_schedules = _at_limit(schedules, limits.per_schedule) | _one_at_a_time(connection, schedules)
        best = None
        for published_id, name in connection.execute("SELECT id, name FROM published").fetchall():
            if name in full_names:
                continue
            head = connection.execute(
                "SELECT priority, -number, run_id FROM requests WHERE state = 'waiting' AND published_id = ? "
                "AND (schedule IS NULL OR schedule NOT IN (SELECT value FROM json_each(?))) "
                "ORDER BY priority DESC, number LIMIT 1",
                (published_id, json.dumps(sorted(full_schedules))),
            ).fetchone()
            if head is not None and (best is None or tuple(head[:2]) > best[0]):
                best = tuple(head[:2]), head[2], published_id
        if best is None:
            return None
        _, run_id, published_id = best
        connection.execute("UPDATE requests SET state = 'taken', taken_by = ? WHERE run_id = ?", (owner, run_id))
        status = connection.execute("SELECT status FROM runs WHERE id = ?", (run_id,)).fetchone()[0]
    return Taken(run_id=run_id, published_id=published_id, is_begun=status != Status.QUEUED.value)


def _at_limit(names: list[str], limit: int | None) -> set[str]:
    return set() if limit is None else {name for name in set(names) if names.count(name) >= limit}


def _one_at_a_time(connection: sqlite3.Connection, names: list[str]) -> set[str]:
    """Those of the schedules that have runs under way and do not let a second one begin before the first has ended."""
    rows = connection.execute(
        "SELECT name FROM schedules WHERE overlap <> 'allow' AND name IN (SELECT value FROM json_each(?))",
        (json.dumps(names),),
    )
    return {row["name"] for row in rows}


def settle(store: Store, mine: str, *, at_work: frozenset[str] = frozenset()) -> None:
    """Bring requests in line with what has become of their runs and of those who had taken them.

    Parameters
    ----------
    mine : name of the owner that this dispatcher takes requests for
    at_work : runs that a runner of this dispatcher has in hand
    """
    rows = store.database.read(
        "SELECT requests.run_id, requests.taken_by, runs.status, runs.owner FROM requests "
        "JOIN runs ON runs.id = requests.run_id WHERE requests.state = 'taken'"
    )
    canceled = store.database.read(
        "SELECT requests.run_id FROM requests JOIN runs ON runs.id = requests.run_id "
        "WHERE requests.state = 'waiting' AND runs.status = 'canceled' LIMIT 1"
    )
    done, again, died = [], [], []
    final = {status.value for status in FINAL}
    for row in rows:
        if row["run_id"] in at_work:
            continue
        if row["status"] in final:
            done.append(row["run_id"])
        elif row["owner"] is not None:
            # A runner goes on with it, though its dispatcher may have gone; one that is dead is found elsewhere.
            continue
        elif row["taken_by"] == mine:
            # Its runner is gone, alone: before it had begun with the run, or in the middle of it.
            died.append(row["run_id"])
        elif not is_alive(store.path, row["taken_by"]):
            again.append(row["run_id"])
    if not (done or again or died or canceled):
        return
    with store.database.write() as connection:
        connection.executemany(_SET_STATE.format("done"), [(run_id,) for run_id in done])
        connection.executemany(_SET_STATE.format("waiting"), [(run_id,) for run_id in again])
        for run_id in died:
            _bring_back(connection, run_id)
        if canceled:
            connection.execute(
                "UPDATE requests SET state = 'done' WHERE state = 'waiting' AND run_id IN "
                f"(SELECT id FROM runs WHERE status IN ({_FINAL}))"
            )


_SET_STATE = "UPDATE requests SET state = '{}', taken_by = NULL WHERE run_id = ? AND state = 'taken'"


def _bring_back(connection: sqlite3.Connection, run_id: str) -> None:
    row = connection.execute(
        "UPDATE requests SET state = 'waiting', taken_by = NULL, deaths = deaths + 1 WHERE run_id = ? AND state = 'taken' "
        "RETURNING deaths",
        (run_id,),
    ).fetchone()
    if row is not None and row[0] >= MOST_DEATHS:
        connection.execute("UPDATE requests SET state = 'done' WHERE run_id = ?", (run_id,))
        connection.execute(
            "UPDATE runs SET status = 'failed', error = ?, ended_at = ? WHERE id = ? AND owner IS NULL "
            "AND status IN ('queued', 'interrupted')",
            (_GIVEN_UP.format(deaths=row[0], id=run_id), now_text(), run_id),
        )


def give_back(store: Store, run_id: str) -> None:
    """Put a run back that was taken and not executed to its end through no fault of its own: the box shuts down."""
    with store.database.write() as connection:
        connection.execute(_SET_STATE.format("waiting"), (run_id,))


def requeue(store: Store, run_id: str) -> None:
    """Put a run that ended early back into the queue; it goes on where it was, or begins if it never did.

    Raises
    ------
    ResumeError
        If it did not end early, or goes on already.
    """
    with store.database.write() as connection:
        changed = connection.execute(
            "UPDATE runs SET status = iif(started_at IS NULL, 'queued', 'interrupted'), owner = NULL, "
            "error = NULL, ended_at = NULL, cancel_requested = 0 "
            "WHERE id = ? AND status IN ('failed', 'canceled', 'interrupted')",
            (run_id,),
        ).rowcount
        if not changed:
            raise ResumeError(f"run {run_id} did not end early, or goes on already", run_id=run_id)
        connection.execute(
            "UPDATE requests SET state = 'waiting', taken_by = NULL, deaths = 0 WHERE run_id = ?", (run_id,)
        )


def finish(store: Store, run_id: str) -> None:
    """Note that a run has ended for good."""
    with store.database.write() as connection:
        connection.execute(_SET_STATE.format("done"), (run_id,))


def refuse(store: Store, run_id: str, why: str) -> None:
    """End a run as failed that could not even begin."""
    with store.database.write() as connection:
        connection.execute(
            "UPDATE runs SET status = 'failed', error = ?, ended_at = ? WHERE id = ? AND owner IS NULL "
            "AND status IN ('queued', 'interrupted')",
            (why, now_text(), run_id),
        )
        connection.execute(_SET_STATE.format("done"), (run_id,))


def is_anything_waiting(store: Store) -> bool:
    """Whether a run waits."""
    return bool(store.database.read("SELECT 1 FROM requests WHERE state = 'waiting' LIMIT 1"))


def count_waiting(store: Store) -> int:
    """How many runs wait."""
    return int(store.database.read("SELECT count(*) FROM requests WHERE state = 'waiting'")[0][0])
