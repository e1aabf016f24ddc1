"""Triggers and their firings, as the workspace keeps them.

Whatever happens is decided once, whoever decides it: what is known of it, the row that says what became of it and its run
in the queue are written in one transaction.
"""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from pipelite.automate.hooks import ENDS
from pipelite.automate.queue import check_call, find_keyed_run, insert_request
from pipelite.automate.versions import PublishedVersion, find_called
from pipelite.define import bind_parameters
from pipelite.errors import ParameterError, PipeliteError, PublishError, TriggerError, UnknownNameError
from pipelite.store import Store, to_json, to_text

if TYPE_CHECKING:
    from pipelite.automate.listing import Place
    from pipelite.data import Source

WAITING, FIRED, SKIPPED, FAILED = "waiting", "fired", "skipped", "failed"
_PAUSED = "the trigger was paused"

#: The most files that one run is told of; of more there are several runs.
MOST_FILES = 10_000
#: Runs, of one file each or of an event each, that are made in one transaction: others write in between.
BATCH = 200
#: Of the files that something happened to, the history names the first so many.
_NAMED = 20
#: Rows of history of a trigger.
KEPT_ROWS = 10_000
#: How long a file is remembered that is gone.
_REMEMBERED = timedelta(days=30)

_NAME = re.compile(r"[^\W_][\w. -]{0,127}\Z")


def _to_seconds(span: float | timedelta) -> float:
    return span.total_seconds() if isinstance(span, timedelta) else float(span)


def _to_tuple(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)


def _to_source(path: Any) -> Source:
    from pipelite.data import Source, to_source

    return path if isinstance(path, Source) else to_source(path)


def _open_place(store: Store, source: Source) -> Place:
    # What it takes to list data takes longer to import than all else here, and is for triggers on files only.
    from pipelite.automate.listing import open_place

    return open_place(store, source)


@attrs.frozen
class FileChange:
    """Files that are new or changed: of a path, of all below a folder, or of a pattern; on any datastore.

    Parameters
    ----------
    path
        What a dataset can be made from: a path or pattern of this machine, a URL, or one on a datastore
        (`Workspace().datastores["lake"].path("raw/*.csv")`).
    per_file : bool
        Whether each file has a run of its own, and not all that changed together one.
    interval : float or timedelta
        Seconds between two looks at what is there. Native events, where there are some, are not waited for so long.
    settle : float or timedelta
        Seconds for which size and time of a file have to stay the same before it counts as complete. Not for stores whose
        objects appear when they are complete, nor where it is heard that its writer has closed it.
    """

    path: Source = attrs.field(converter=_to_source)
    per_file: bool = attrs.field(default=False, kw_only=True)
    interval: float = attrs.field(default=60.0, kw_only=True, converter=_to_seconds)
    settle: float = attrs.field(default=5.0, kw_only=True, converter=_to_seconds)

    def __str__(self) -> str:
        return f"{'each file' if self.per_file else 'files'} of {self.path}"


@attrs.frozen
class RunEnd:
    """The end of a run of another pipeline, by its own name or its published one.

    Parameters
    ----------
    states : sequence of "completed", "failed", "canceled"
    """

    pipeline: str
    states: tuple[str, ...] = attrs.field(default=("completed",), kw_only=True, converter=_to_tuple)

    def __str__(self) -> str:
        return f"{self.pipeline} {' or '.join(self.states)}"


@attrs.frozen
class NewVersion:
    """A new version of a registered dataset, which may not be there yet."""

    dataset: str

    def __str__(self) -> str:
        return f"new version of {self.dataset}"


@attrs.frozen
class HttpCall:
    """A request to an address that nobody else knows."""

    def __str__(self) -> str:
        return "call of its URL"


Cause = FileChange | RunEnd | NewVersion | HttpCall
_KINDS: dict[str, type[Cause]] = {"files": FileChange, "run": RunEnd, "dataset": NewVersion, "http": HttpCall}


@attrs.frozen(kw_only=True)
class TriggerRecord:
    """A trigger, as stored."""

    name: str
    description: str | None
    #: The version that is called; or else the endpoint, whatever it leads to then.
    published_id: str | None
    endpoint: str | None
    experiment: str | None
    #: Values of parameters by name, as JSON has them.
    parameters: Mapping[str, Any]
    #: files, run, dataset or http.
    kind: str
    source: Cause
    #: Name of the parameter that is given the changed paths, the id of the run that ended, or the new version.
    cause_parameter: str | None
    #: SHA-256 of the secret of its URL; None if it has none.
    secret_hash: str | None
    is_paused: bool
    #: Counts the decisions on files.
    generation: int
    #: Why the last look at its files failed; None if it did not.
    problem: str | None
    #: UTC.
    changed_at: datetime
    created_at: datetime


@attrs.frozen(kw_only=True)
class Firing:
    """Something that happened, and what became of it."""

    trigger: str
    #: UTC.
    at: datetime
    #: What happened: the number of `files` and the first of their `paths`, the `run` and its `status`, the `dataset` and its
    #: `version`; nothing for a call of a URL, and for a problem with looking.
    cause: Mapping[str, Any]
    #: waiting, fired, skipped or failed.
    outcome: str
    reason: str | None
    run_id: str | None
    #: UTC; None while it waits.
    decided_at: datetime | None


def add_trigger(
    store: Store,
    name: str,
    version: PublishedVersion,
    parameters: Mapping[str, Any],
    source: Cause,
    *,
    endpoint: str | None,
    cause_parameter: str | None = None,
    experiment: str | None = None,
    description: str | None = None,
    now: datetime,
) -> str | None:
    """Keep a new trigger; what is there now is what changes are counted from. Gives the secret of its URL, if it has one.

    Parameters
    ----------
    endpoint : str, optional
        Name of the one that leads to the version now; each run is of the version that it leads to then.

    Raises
    ------
    TriggerError
        If there is one of that name, or it cannot be made so.
    ParameterError
        If a parameter is unknown, missing or of the wrong type.
    DatastoreError
        If what is there now cannot be listed.
    """
    if not _NAME.match(name):
        raise TriggerError(
            f"a trigger cannot be called {name!r}; letters, digits, spaces and _ . - are taken, 128 at most"
        )
    secret = make_secret() if isinstance(source, HttpCall) else None
    record = TriggerRecord(
        name=name,
        description=description,
        published_id=version.id if endpoint is None else None,
        endpoint=endpoint,
        experiment=experiment,
        parameters=parameters,
        kind=next(kind for kind, each in _KINDS.items() if isinstance(source, each)),
        source=source,
        cause_parameter=cause_parameter,
        secret_hash=None if secret is None else _hash(secret),
        is_paused=False,
        generation=0,
        problem=None,
        changed_at=now,
        created_at=now,
    )
    with store.as_default():
        _check(record, version)
    seen = _open_place(store, source.path).scan() if isinstance(source, FileChange) else {}
    with store.database.write() as connection:
        if _find(connection, name) is not None:
            raise TriggerError(f"there is a trigger {name!r} already; remove it first")
        _check_circles(connection, record, version)
        row = _to_row(record)
        marks = ", ".join(f":{column}" for column in row)
        connection.execute(f"INSERT INTO triggers ({', '.join(row)}) VALUES ({marks})", row)
        _keep_seen(connection, name, seen, (), generation=0, now=now)
    return secret


def _check(record: TriggerRecord, version: PublishedVersion) -> None:
    source, given = record.source, record.cause_parameter
    if isinstance(source, FileChange) and not (0.1 <= source.interval <= 86_400 and 0 <= source.settle <= 86_400):
        raise TriggerError("interval is from a tenth of a second to a day, and settle at most a day")
    if isinstance(source, RunEnd) and not (source.states and set(source.states) <= set(ENDS)):
        raise TriggerError(f"states are {source.states!r}; some of {', '.join(map(repr, ENDS))} are expected")
    if given is None:
        check_call(version, record.parameters)
        return
    if isinstance(source, HttpCall):
        raise TriggerError(f"a call of a URL has nothing to give to parameter {given!r}; leave it out")
    if given in record.parameters:
        raise TriggerError(
            f"parameter {given!r} has a value, and is also the one that is told what happened; leave one of both out"
        )
    kinds = {spec.name: spec.type.kind for spec in version.parameters}
    if kinds.get(given) == "dataset":
        # The version that it will get is not there yet.
        rest = [spec for spec in version.specs_for(record.parameters) if spec.name != given]
        bind_parameters(rest, record.parameters, pipeline=version.name)
        return
    example: Any = "20260101-000000-abcdef"
    if isinstance(source, FileChange):
        example = "/in/new.csv" if source.per_file else ["/in/new.csv"]
    elif isinstance(source, NewVersion):
        example = 1 if kinds.get(given) == "int" else f"{source.dataset}:1"
    assignments = {**record.parameters, given: example}
    try:
        check_call(version, assignments)
    except ParameterError as exc:
        if exc.parameter != given or not isinstance(source, FileChange) or given not in kinds:
            raise
        hint = "it is given one path" if source.per_file else "it is given a list of paths; have a run for each file"
        raise TriggerError(f"parameter {given!r} cannot take what it would be given: {hint} ({exc})") from None
    value = bind_parameters(version.specs_for(assignments), assignments, pipeline=version.name)[given]
    is_path = any(isinstance(each, Path) for each in (value if isinstance(value, (list, tuple)) else [value]))
    if isinstance(source, FileChange) and is_path and "://" in source.path.path:
        raise TriggerError(
            f"parameter {given!r} takes paths of this machine, and {source.path} is elsewhere; declare it as str"
        )


def _check_circles(connection: sqlite3.Connection, record: TriggerRecord, version: PublishedVersion) -> None:
    """Refuse a trigger whose run would lead to itself."""
    if not isinstance(record.source, RunEnd):
        return
    others = [_from_row(row) for row in connection.execute("SELECT * FROM triggers WHERE kind = 'run'")]
    reached, new = set[str](), {version.name, version.pipeline}
    while new:
        reached |= new
        called = [
            find_called(connection, each.published_id, each.endpoint)
            for each in others
            if isinstance(each.source, RunEnd) and each.source.pipeline in new
        ]
        new = {name for each in called if each is not None for name in (each.name, each.pipeline)} - reached
    if record.source.pipeline in reached:
        raise TriggerError(
            f"trigger {record.name!r} would have {record.source.pipeline!r} lead to itself, over and over; "
            "use a schedule for what is to run again and again"
        )


def _keep_seen(
    connection: sqlite3.Connection,
    name: str,
    seen: Mapping[str, str],
    gone: Iterable[str],
    *,
    generation: int,
    now: datetime,
) -> None:
    connection.executemany(
        "INSERT INTO watched_files (trigger_name, path, stamp, generation) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (trigger_name, path) DO UPDATE SET stamp = excluded.stamp, generation = excluded.generation, "
        "gone_at = NULL",
        ((name, path, stamp, generation) for path, stamp in seen.items()),
    )
    rows = [(to_text(now), generation, name, path) for path in gone]
    if rows:
        connection.executemany(
            "UPDATE watched_files SET gone_at = ?, generation = ? WHERE trigger_name = ? AND path = ?", rows
        )
        connection.execute(
            "DELETE FROM watched_files WHERE trigger_name = ? AND gone_at < ?", (name, to_text(forgotten_at(now)))
        )


def forgotten_at(now: datetime) -> datetime:
    """Files that were gone before are not remembered any more."""
    return now - _REMEMBERED


def pause_trigger(store: Store, name: str, *, now: datetime) -> None:
    """Have a trigger make no runs until it is resumed."""
    with store.database.write() as connection:
        _get(connection, name)
        connection.execute(
            "UPDATE triggers SET is_paused = 1, changed_at = ? WHERE name = ? AND is_paused = 0", (to_text(now), name)
        )


def resume_trigger(store: Store, name: str, *, now: datetime) -> None:
    """Have a paused trigger go on; what happened meanwhile has no runs, and is noted.

    Raises
    ------
    DatastoreError
        If what files are there now cannot be listed.
    """
    while True:
        record = find_trigger(store, name)
        if not record.is_paused:
            return
        changed: dict[str, str] = {}
        if isinstance(record.source, FileChange):
            place = _open_place(store, record.source.path)
            known = load_seen(store, name)
            changed = {path: stamp for path, stamp in place.scan().items() if known.get(path, ("",))[0] != stamp}
        with store.database.write() as connection:
            if _get(connection, name) != record:
                continue
            generation = record.generation + 1
            if changed:
                cause = _files_cause(sorted(changed), place.show)
                _note(connection, name, now, cause, SKIPPED, _PAUSED, None)
                _keep_seen(connection, name, changed, (), generation=generation, now=now)
            connection.execute(
                "UPDATE triggers SET is_paused = 0, generation = ?, problem = NULL, changed_at = ? WHERE name = ?",
                (generation, to_text(now), name),
            )
            return


def remove_trigger(store: Store, name: str) -> None:
    """Forget a trigger and its history; its runs stay."""
    with store.database.write() as connection:
        _get(connection, name)
        connection.execute("DELETE FROM triggers WHERE name = ?", (name,))


def renew_secret(store: Store, name: str) -> str:
    """Make a new secret for the URL of a trigger; the one before opens nothing any more.

    Raises
    ------
    TriggerError
        If it is not one that is called.
    """
    secret = make_secret()
    _put_secret(store, name, _hash(secret))
    return secret


def revoke_secret(store: Store, name: str) -> None:
    """Have the URL of a trigger open nothing any more."""
    _put_secret(store, name, None)


def _put_secret(store: Store, name: str, hashed: str | None) -> None:
    with store.database.write() as connection:
        if _get(connection, name).kind != "http":
            raise TriggerError(f"trigger {name!r} is not one that is called by a URL")
        connection.execute("UPDATE triggers SET secret_hash = ? WHERE name = ?", (hashed, name))


def make_secret() -> str:
    """256 random bits as the last part of a URL."""
    return secrets.token_urlsafe(32)


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def fire_called(store: Store, secret: str, *, key: str | None = None, now: datetime) -> Firing | None:
    """Put a run of the trigger with this secret into the queue, or note why there is none; None if there is no such trigger.

    Parameters
    ----------
    key
        Of calls with the same one, the first has a run, and the others give it.
    """
    hashed = _hash(secret)
    # A wrong one is found out without having anybody wait who writes.
    if not store.database.read("SELECT 1 FROM triggers WHERE secret_hash = ?", (hashed,)):
        return None
    with store.as_default(), store.database.write() as connection:
        row = connection.execute("SELECT * FROM triggers WHERE secret_hash = ?", (hashed,)).fetchone()
        if row is None:
            return None
        record = _from_row(row)
        # Those of other requests have no spaces.
        full_key = None if key is None else f"trigger {record.name} {key}"
        earlier = None if full_key is None else find_keyed_run(connection, full_key)
        if earlier is not None:
            return _firing(record.name, now, {}, FIRED, "the same key was given before", earlier, now)
        _prune(connection, record.name)
        if record.is_paused:
            return _note(connection, record.name, now, {}, SKIPPED, _PAUSED, None)
        return _fire(connection, record, {}, None, now, key=full_key)


def decide_waiting(store: Store, *, now: datetime) -> list[Firing]:
    """Put runs into the queue for the ends of runs and the new versions that wait for it; gives what became of them."""
    decided: list[Firing] = []
    while store.database.read("SELECT 1 FROM firings WHERE outcome = 'waiting' LIMIT 1"):
        with store.as_default(), store.database.write() as connection:
            rows = connection.execute(
                "SELECT * FROM firings WHERE outcome = 'waiting' ORDER BY number LIMIT ?", (BATCH,)
            ).fetchall()
            for row in rows:
                record = _get(connection, row["trigger_name"])
                cause = json.loads(row["cause"])
                outcome, reason, run_id = _start(connection, record, _told_of(cause))
                connection.execute(
                    "UPDATE firings SET outcome = ?, reason = ?, run_id = ?, decided_at = ? WHERE number = ?",
                    (outcome, reason, run_id, to_text(now), row["number"]),
                )
                at = datetime.fromisoformat(row["at"])
                decided.append(_firing(record.name, at, cause, outcome, reason, run_id, now))
            for name in {row["trigger_name"] for row in rows}:
                _prune(connection, name)
    return decided


def _told_of(cause: Mapping[str, Any]) -> Any:
    return cause["run"] if "run" in cause else (cause["dataset"], cause["version"])


def decide_files(
    store: Store,
    record: TriggerRecord,
    changed: Mapping[str, str],
    gone: Sequence[str],
    back: Mapping[str, str],
    *,
    show: Callable[[str], str],
    now: datetime,
) -> list[Firing] | None:
    """Put runs into the queue for files that changed; None if what they were compared with is out of date.

    Parameters
    ----------
    record
        As it was when the files were compared with what was seen before; the look at them came later.
    changed, back : mapping of path to stamp
        Files that are new or changed, and those that are again as they were.
    gone : paths of files that are not there any more
    show : gives a path as the pipeline is told of it
    """
    assert isinstance(record.source, FileChange)
    with store.as_default(), store.database.write() as connection:
        if _find(connection, record.name) != record:
            return None
        paths = sorted(changed)
        groups = [[path] for path in paths] if record.source.per_file else [paths] if paths else []
        made = []
        for group in groups:
            told = [show(path) for path in group]
            value = told[0] if record.source.per_file else told
            made.append(_fire(connection, record, _files_cause(group, show), value, now))
        generation = record.generation + 1
        _keep_seen(connection, record.name, {**changed, **back}, gone, generation=generation, now=now)
        connection.execute(
            "UPDATE triggers SET generation = ?, problem = NULL WHERE name = ?", (generation, record.name)
        )
        _prune(connection, record.name)
    return made


def _files_cause(paths: Sequence[str], show: Callable[[str], str]) -> dict[str, Any]:
    return {"files": len(paths), "paths": [show(path) for path in paths[:_NAMED]]}


def note_problem(store: Store, name: str, problem: str | None, *, now: datetime) -> Firing | None:
    """Note why the files of a trigger cannot be looked at, or that they can again; None if that is known."""
    with store.database.write() as connection:
        record = _find(connection, name)
        if record is None or record.problem == problem:
            return None
        connection.execute("UPDATE triggers SET problem = ? WHERE name = ?", (problem, name))
        _prune(connection, name)
        return None if problem is None else _note(connection, name, now, {}, FAILED, problem, None)


def _fire(
    connection: sqlite3.Connection,
    record: TriggerRecord,
    cause: Mapping[str, Any],
    value: Any,
    now: datetime,
    *,
    key: str | None = None,
) -> Firing:
    return _note(connection, record.name, now, cause, *_start(connection, record, value, key=key))


def _start(
    connection: sqlite3.Connection, record: TriggerRecord, value: Any, *, key: str | None = None
) -> tuple[str, str | None, str | None]:
    """Put a run into the queue; gives the outcome, the reason if there is none, and its id."""
    connection.execute("SAVEPOINT firing")
    try:
        version = find_called(connection, record.published_id, record.endpoint)
        if version is None:
            raise PublishError(f"what trigger {record.name!r} calls is not published any more")
        assignments = _fill(record, version, value)
        check_call(version, assignments)
        run = insert_request(
            connection,
            version,
            assignments,
            experiment=record.experiment,
            tags={"trigger": record.name},
            requested_by=f"trigger {record.name}",
            idempotency_key=key,
        )
        return FIRED, None, run.id
    except sqlite3.Error:
        raise
    except Exception as exc:
        # One trigger that cannot fire must not keep the others from it.
        connection.execute("ROLLBACK TO firing")
        return FAILED, str(exc) if isinstance(exc, PipeliteError) else traceback.format_exc(), None
    finally:
        connection.execute("RELEASE firing")


def _fill(record: TriggerRecord, version: PublishedVersion, value: Any) -> dict[str, Any]:
    """The values that a run is given."""
    given = record.cause_parameter
    if given is None:
        return dict(record.parameters)
    if isinstance(record.source, NewVersion):
        name, number = value
        is_number = any(spec.name == given and spec.type.kind == "int" for spec in version.parameters)
        value = number if is_number else f"{name}:{number}"
    return {**record.parameters, given: value}


def _note(
    connection: sqlite3.Connection,
    name: str,
    now: datetime,
    cause: Mapping[str, Any],
    outcome: str,
    reason: str | None,
    run_id: str | None,
) -> Firing:
    connection.execute(
        "INSERT INTO firings (trigger_name, at, cause, outcome, reason, run_id, decided_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (name, to_text(now), to_json(dict(cause)), outcome, reason, run_id, to_text(now)),
    )
    return _firing(name, now, cause, outcome, reason, run_id, now)


def _firing(
    name: str,
    at: datetime,
    cause: Mapping[str, Any],
    outcome: str,
    reason: str | None,
    run_id: str | None,
    decided_at: datetime | None,
) -> Firing:
    return Firing(
        trigger=name, at=at, cause=cause, outcome=outcome, reason=reason, run_id=run_id, decided_at=decided_at
    )


def _prune(connection: sqlite3.Connection, name: str) -> None:
    connection.execute(
        "DELETE FROM firings WHERE trigger_name = :name AND outcome <> 'waiting' AND number <= "
        "(SELECT number FROM firings WHERE trigger_name = :name ORDER BY number DESC LIMIT 1 OFFSET :kept)",
        {"name": name, "kept": KEPT_ROWS},
    )


def describe_cause(record: TriggerRecord) -> dict[str, Any]:
    """What makes a trigger run, for people and as plain JSON."""
    source = record.source
    described: dict[str, Any] = {"waits_for": str(source), "kind": record.kind}
    if isinstance(source, FileChange):
        parts = {"path": source.path.path, "datastore": source.path.datastore, "per_file": source.per_file}
        return described | parts | {"interval_s": source.interval, "settle_s": source.settle}
    if isinstance(source, HttpCall):
        return described | {"has_url": record.secret_hash is not None}
    if isinstance(source, RunEnd):
        return described | {"after": source.pipeline, "states": list(source.states)}
    return described | {"dataset": source.dataset}


def find_trigger(store: Store, name: str) -> TriggerRecord:
    """A trigger by its name.

    Raises
    ------
    UnknownNameError
        If there is none.
    """
    return _get(store.database.connection(), name)


def list_triggers(store: Store) -> list[TriggerRecord]:
    """All triggers by name."""
    return [_from_row(row) for row in store.database.read("SELECT * FROM triggers ORDER BY name")]


def list_watching(store: Store) -> dict[str, str]:
    """The triggers on files that are not paused: name to what tells one from an earlier one of that name."""
    rows = store.database.read("SELECT name, created_at FROM triggers WHERE kind = 'files' AND is_paused = 0")
    return {row["name"]: row["created_at"] for row in rows}


def load_seen(store: Store, name: str, *, since: int = -1) -> dict[str, tuple[str, datetime | None]]:
    """Path to stamp, and since when it is gone, of the files of a trigger that were decided on after a generation."""
    rows = store.database.read(
        "SELECT path, stamp, gone_at FROM watched_files WHERE trigger_name = ? AND generation > ?", (name, since)
    )
    return {path: (stamp, None if gone is None else datetime.fromisoformat(gone)) for path, stamp, gone in rows}


def list_firings(store: Store, name: str, *, limit: int | None = 50) -> list[Firing]:
    """What happened to a trigger and what became of it, the latest first.

    Raises
    ------
    UnknownNameError
        If there is no such trigger.
    """
    find_trigger(store, name)
    rows = store.database.read(
        "SELECT * FROM firings WHERE trigger_name = ? ORDER BY number DESC LIMIT ?",
        (name, -1 if limit is None else limit),
    )
    return [
        _firing(
            row["trigger_name"],
            datetime.fromisoformat(row["at"]),
            json.loads(row["cause"]),
            row["outcome"],
            row["reason"],
            row["run_id"],
            None if row["decided_at"] is None else datetime.fromisoformat(row["decided_at"]),
        )
        for row in rows
    ]


def _get(connection: sqlite3.Connection, name: str) -> TriggerRecord:
    found = _find(connection, name)
    if found is None:
        raise UnknownNameError(f"there is no trigger {name!r}; `pipelite triggers list` shows what there is")
    return found


def _find(connection: sqlite3.Connection, name: str) -> TriggerRecord | None:
    row = connection.execute("SELECT * FROM triggers WHERE name = ?", (name,)).fetchone()
    return None if row is None else _from_row(row)


def _to_row(record: TriggerRecord) -> dict[str, Any]:
    return {
        **attrs.asdict(record, recurse=False),
        "parameters": to_json(dict(record.parameters)),
        "source": to_json(attrs.asdict(record.source)),
        "is_paused": int(record.is_paused),
        "changed_at": to_text(record.changed_at),
        "created_at": to_text(record.created_at),
    }


def _from_row(row: sqlite3.Row) -> TriggerRecord:
    source = json.loads(row["source"])
    if row["kind"] == "files":
        from pipelite.data import Source

        source["path"] = Source(**source["path"])
    return TriggerRecord(
        **{
            **dict(row),
            "parameters": json.loads(row["parameters"]),
            "source": _KINDS[row["kind"]](**source),
            "is_paused": bool(row["is_paused"]),
            "changed_at": datetime.fromisoformat(row["changed_at"]),
            "created_at": datetime.fromisoformat(row["created_at"]),
        }
    )
