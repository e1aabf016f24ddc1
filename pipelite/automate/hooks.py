"""Hooks: requests that are sent on events of runs, and the list of those that were and were not taken.

Deliveries are rows that the database makes in the transaction that changes a run (see the triggers of the schema): there
is no moment in which an event can be seen and its deliveries can be lost.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from pipelite.automate.templates import DEFAULT_BODY, find_mistakes, render
from pipelite.errors import DeliveryError, HookError, UnknownNameError
from pipelite.store import Store, get_metrics, now_text, to_json

EVENTS = ("queued", "started", "completed", "failed", "canceled", "interrupted")
#: With a run that is over for good.
ENDS = ("completed", "failed", "canceled")

_NAME = re.compile(r"[^\W_][\w. -]{0,127}\Z")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
#: Characters that a value of a header can have: no line ends, with which it would become two headers.
_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*\Z")
_SECRET_HEADER = re.compile(r"key|secret|token|password|auth|cookie|signature", re.IGNORECASE)
#: Headers that a request has by itself.
_OWN_HEADERS = ("host", "content-length", "content-type", "transfer-encoding", "connection", "expect", "upgrade")


@attrs.frozen(kw_only=True)
class Hook:
    """A request that is sent on events of runs."""

    name: str
    #: Where to: an address, or `env:NAME` or `file:PATH` where it is one that nobody is to see.
    url: str
    events: tuple[str, ...] = ENDS
    #: Only of runs of these published pipelines; of these pipelines. None for all.
    published: tuple[str, ...] | None = None
    pipelines: tuple[str, ...] | None = None
    #: JSON with placeholders.
    body: Any = attrs.field(factory=lambda: dict(DEFAULT_BODY))
    headers: Mapping[str, str] = attrs.field(factory=dict)
    #: Header to where its value is: `env:NAME` or `file:PATH`.
    secret_headers: Mapping[str, str] = attrs.field(factory=dict)
    #: Where the secret is that requests are signed with.
    secret: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain JSON; of secrets where they are."""
        return attrs.asdict(self, recurse=False)


@attrs.frozen(kw_only=True)
class Delivery:
    """One event for one hook."""

    #: What the receiver sees as `webhook-id`, the same at each attempt.
    id: str
    hook: str
    run_id: str
    event: str
    #: UTC.
    event_at: datetime
    #: waiting, sending, delivered or dead.
    state: str
    #: How many were begun.
    attempts: int
    #: UTC; when the next attempt is due, of one that waits.
    due_at: datetime
    #: Status of the last answer, if there was one.
    answer: int | None
    #: What went wrong at the last attempt.
    problem: str | None
    #: UTC; when it was delivered or given up.
    ended_at: datetime | None

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain JSON."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in attrs.asdict(self, recurse=False).items()
        }


def check_hook(hook: Hook) -> None:
    """Make sure that a hook can be kept and sent.

    Raises
    ------
    HookError
        Naming what is wrong; without what may be a secret.
    """
    for message in _find_mistakes(hook):
        raise HookError(f"hook {hook.name!r}: {message}", hook=hook.name)


def _find_mistakes(hook: Hook) -> Iterator[str]:
    from pipelite.automate.posting import check_url
    from pipelite.data.credentials import is_reference

    if not _NAME.match(hook.name):
        yield "its name is wrong; letters, digits, spaces and _ . - are taken, 128 at most"
    if not is_reference(hook.url) and (wrong := check_url(hook.url)):
        yield wrong
    if not hook.events or not set(hook.events) <= set(EVENTS):
        yield f"its events are {', '.join(map(repr, hook.events)) or 'none'}; there are: {', '.join(EVENTS)}"
    yield from (f"its body is wrong: {mistake}" for mistake in find_mistakes(hook.body))
    for name, value in hook.headers.items():
        if _SECRET_HEADER.search(name):
            yield (
                f"the header {name!r} looks like a secret, and headers are kept in the database; give it as a secret "
                f"header, 'env:NAME' or 'file:PATH'"
            )
        if not _VALUE.match(value):
            yield f"the value of the header {name!r} has line ends or other characters that a header cannot hold"
    for name in (*hook.headers, *hook.secret_headers):
        if not _HEADER.match(name) or name.lower() in _OWN_HEADERS or name.lower().startswith("webhook-"):
            yield f"{name!r} is no name for a header of your own"
    references = dict(hook.secret_headers) | ({} if hook.secret is None else {"secret": hook.secret})
    for what, reference in references.items():
        if not is_reference(reference):
            yield (
                f"the {what} is to say where it is, 'env:NAME' for an environment variable or 'file:PATH' for a file with "
                "mode 0600, not what it is"
            )


def add_hook(store: Store, hook: Hook) -> None:
    """Keep a hook; one of the same name is replaced, and its deliveries stay.

    Raises
    ------
    HookError
        If it cannot be kept or sent so.
    """
    check_hook(hook)
    row = {
        "name": hook.name,
        "url": hook.url,
        "events": to_json(list(hook.events)),
        "published": None if hook.published is None else to_json(list(hook.published)),
        "pipelines": None if hook.pipelines is None else to_json(list(hook.pipelines)),
        "body": to_json(hook.body),
        "headers": to_json(dict(hook.headers)),
        "secret_headers": to_json(dict(hook.secret_headers)),
        "secret": hook.secret,
        "created_at": now_text(),
    }
    updates = ", ".join(f"{name} = excluded.{name}" for name in row if name not in ("name", "created_at"))
    with store.database.write() as connection:
        connection.execute(
            f"INSERT INTO hooks ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)}) "
            f"ON CONFLICT (name) DO UPDATE SET {updates}",
            row,
        )


def remove_hook(store: Store, name: str) -> None:
    """Forget a hook and its deliveries.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    """
    with store.database.write() as connection:
        found = connection.execute("DELETE FROM hooks WHERE name = ?", (name,)).rowcount
    if not found:
        raise _unknown(store, name)


def list_hooks(store: Store) -> list[Hook]:
    """All hooks by name."""
    return [_hook(row) for row in store.database.read("SELECT * FROM hooks ORDER BY name")]


def find_hook(store: Store, name: str) -> Hook:
    """One hook.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    """
    rows = store.database.read("SELECT * FROM hooks WHERE name = ?", (name,))
    if not rows:
        raise _unknown(store, name)
    return _hook(rows[0])


def _unknown(store: Store, name: str) -> UnknownNameError:
    known = ", ".join(hook.name for hook in list_hooks(store)) or "none"
    return UnknownNameError(f"there is no hook {name!r}; there are: {known}")


def _hook(row: sqlite3.Row) -> Hook:
    return Hook(
        name=row["name"],
        url=row["url"],
        events=tuple(json.loads(row["events"])),
        published=_names(row["published"]),
        pipelines=_names(row["pipelines"]),
        body=json.loads(row["body"]),
        headers=json.loads(row["headers"]),
        secret_headers=json.loads(row["secret_headers"]),
        secret=row["secret"],
    )


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(json.loads(text))


def list_deliveries(
    store: Store, *, hook: str | None = None, state: str | None = None, limit: int | None = 50
) -> list[Delivery]:
    """Deliveries that match everything given, the newest first."""
    rows = store.database.read(
        "SELECT * FROM deliveries WHERE (:hook IS NULL OR hook = :hook) AND (:state IS NULL OR state = :state) "
        "ORDER BY number DESC LIMIT :limit",
        {"hook": hook, "state": state, "limit": -1 if limit is None else limit},
    )
    return [_delivery(row) for row in rows]


def _delivery(row: sqlite3.Row) -> Delivery:
    values = {name: row[name] for name in attrs.fields_dict(Delivery)}
    for name in ("event_at", "due_at", "ended_at"):
        values[name] = None if values[name] is None else datetime.fromisoformat(values[name])
    return Delivery(**values)


def count_deliveries(store: Store) -> dict[tuple[str, str], int]:
    """How many there are of each hook in each state."""
    rows = store.database.read("SELECT hook, state, count(*) AS n FROM deliveries GROUP BY hook, state")
    return {(row["hook"], row["state"]): row["n"] for row in rows}


def redeliver(store: Store, ids: Sequence[str]) -> None:
    """Have deliveries sent again, under the same ids, to what the hook is now and with the body that it gives now.

    Raises
    ------
    HookError
        If one is being sent, or there is none of that id; then none is sent again.
    """
    with store.database.write() as connection:
        for delivery_id in ids:
            found = connection.execute(
                "UPDATE deliveries SET state = 'waiting', attempts = 0, due_at = ?, body = NULL, ended_at = NULL "
                "WHERE id = ? AND state <> 'sending'",
                (now_text(), delivery_id),
            ).rowcount
            if not found:
                raise HookError(
                    f"there is no delivery {delivery_id!r} that could be sent again; `pipelite hooks deliveries` shows what there is"
                )


def make_body(store: Store, hook: Hook, delivery_id: str) -> str | None:
    """The body of a delivery: the run as it is, but what the event changed as it was then; None if it has been removed."""
    rows = store.database.read(
        "SELECT deliveries.event, deliveries.event_at, deliveries.seen, runs.* FROM deliveries "
        "JOIN runs ON runs.id = deliveries.run_id WHERE deliveries.id = ?",
        (delivery_id,),
    )
    if not rows:
        return None
    row = rows[0]
    published = json.loads(row["options"]).get("published") or {}
    run = {
        "id": row["id"],
        "number": row["number"],
        "pipeline": row["pipeline"],
        "experiment": row["experiment"],
        "published": published.get("name"),
        "version": published.get("version"),
        "created_at": row["created_at"],
        **json.loads(row["seen"]),
        "parameters": json.loads(row["parameters"]),
        "tags": json.loads(row["tags"]),
        "metrics": _last_values(store, row["id"]),
    }
    fields = {"event": row["event"], "at": row["event_at"], "hook": hook.name, "delivery": delivery_id, "run": run}
    return render(hook.body, fields).decode()


def _last_values(store: Store, run_id: str) -> dict[str, Any]:
    """What was logged last under each name, and under "step/name"; a name that several steps logged only so."""
    logged_by: dict[str, dict[str, Any]] = {}
    for metric in get_metrics(store, run_id):
        if metric.kind == "scalar":
            logged_by.setdefault(metric.name, {})[metric.step_run] = metric.value
    values = {name: next(iter(steps.values())) for name, steps in logged_by.items() if len(steps) == 1}
    return values | {f"{step}/{name}": value for name, steps in logged_by.items() for step, value in steps.items()}


def load_secrets(hook: Hook, folder: Path) -> tuple[str, dict[str, str], str | None]:
    """Address, headers and signing secret of a hook, secrets looked up; relative files lie in `folder`.

    Raises
    ------
    DeliveryError
        If a secret is not there, others may read it, or it is not what it is to be.
    """
    from pipelite.automate.posting import check_url
    from pipelite.data.credentials import is_reference, load_secret

    def load(reference: str, what: str) -> str:
        return load_secret(reference, folder, what=what, refuse=DeliveryError)

    url = hook.url
    if is_reference(url):
        url = load(url, "URL")
        if wrong := check_url(url):
            raise DeliveryError(wrong)
    headers = dict(hook.headers)
    for name, reference in hook.secret_headers.items():
        headers[name] = load(reference, f"header {name!r}")
        if not _VALUE.match(headers[name]):
            raise DeliveryError(f"its header {name!r} has line ends or other characters that a header cannot hold")
    return url, headers, None if hook.secret is None else load(hook.secret, "secret")
