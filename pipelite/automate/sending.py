"""Sends what hooks have to send: each delivery once it is due, again with longer and longer pauses until it is taken.

A delivery is claimed by the name of the owner whose lock the sending process holds: of several processes one sends it,
and what a dead one had claimed is sent by the next. So a receiver has each at least once, under an id that stays the same.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from pipelite import __version__
from pipelite.automate.hooks import Hook, find_hook, list_hooks, load_secrets, make_body
from pipelite.automate.templates import render
from pipelite.clock import CLOCK
from pipelite.errors import DeliveryError, StorageError, WorkspaceBusyError
from pipelite.store import Store, get_version, is_alive, now_text, to_text

if TYPE_CHECKING:
    from pipelite.automate.posting import Answer, Post, Timeouts

#: Seconds between two looks at whether others have written something.
POLL_S = 0.25
#: Seconds between two looks at what dead processes have left.
LOOK_S = 5.0
#: How many requests are under way at once, and of one hook: a receiver that does not answer leaves room for the others.
MOST_AT_ONCE = 8
MOST_OF_A_HOOK = 4
#: A receiver may put off the next attempt by so many seconds, and no longer.
MOST_PUT_OFF_S = 6 * 3600.0
#: What was delivered is forgotten after so long, and what was not later.
KEEP_DELIVERED = timedelta(days=30)
KEEP_DEAD = timedelta(days=365)
_PRUNE_S = 3600.0


@attrs.frozen(kw_only=True)
class Backoff:
    """When a delivery that was not taken is tried again."""

    #: Twelve attempts in about a day (22 hours).
    attempts: int = 12
    #: Seconds before the second attempt, and how much longer each later pause is.
    first_s: float = 5.0
    factor: float = 2.5
    #: Part of a pause that it may be shorter or longer by, so that many do not come back at once.
    jitter: float = 0.2

    def pause_s(self, attempts: int, *, draw: Callable[[float, float], float] | None = None) -> float:
        """Seconds to wait after so many attempts."""
        from random import uniform

        return self.first_s * self.factor ** (attempts - 1) * (draw or uniform)(1 - self.jitter, 1 + self.jitter)


@attrs.frozen(kw_only=True)
class _Claimed:
    number: int
    id: str
    hook: Hook
    #: Which attempt this is, from 1.
    attempt: int
    body: bytes


class HookSender:
    """The part of a serving process that sends what hooks have to send. `start` begins, `stop` ends it.

    Any number of processes may have one on the same workspace.
    """

    def __init__(self, store: Store, *, backoff: Backoff | None = None, timeouts: Timeouts | None = None) -> None:
        self._store = store
        self._owner = store.owner.name
        self._backoff = backoff or Backoff()
        self._timeouts = timeouts
        self._guard = threading.Lock()
        self._posts: dict[int, Post] = {}
        self._at_work: Counter[str] = Counter()
        self._bell = threading.Event()
        self._ending = threading.Event()
        self._has_news = True
        self._next_look = 0.0
        self._next_prune = 0.0
        self._pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="pipelite-hook")
        self._thread = threading.Thread(target=self._serve, name="pipelite-hooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, grace_s: float = 0.0) -> None:
        """Begin nothing more, and break off what is under way after so many seconds; it is sent again by who comes next."""
        self._ending.set()
        self._bell.set()
        if self._thread.is_alive():
            self._thread.join()
        until = CLOCK.monotonic() + grace_s
        while posts := self._posts_under_way():
            if CLOCK.monotonic() >= until:
                for post in posts:
                    post.abort()
            CLOCK.sleep(0.02)
        self._pool.shutdown()

    def _posts_under_way(self) -> list[Post]:
        with self._guard:
            return list(self._posts.values())

    def _serve(self) -> None:
        connection = self._store.database.connection()
        version = -1
        while not self._ending.is_set():
            self._bell.wait(POLL_S)
            self._bell.clear()
            seen = get_version(connection)
            if seen != version or self._has_news or CLOCK.monotonic() >= self._next_look:
                version, self._has_news = seen, False
                # A full disk or a workspace that another keeps busy passes; the next look comes soon.
                self._next_look = CLOCK.monotonic() + LOOK_S
                with contextlib.suppress(StorageError, WorkspaceBusyError):
                    self._look()

    def _look(self) -> None:
        if CLOCK.monotonic() >= self._next_prune:
            self._next_prune = CLOCK.monotonic() + _PRUNE_S
            self._prune()
        self._take_back_from_the_dead()
        for hook in list_hooks(self._store):
            for claimed in self._claim(hook):
                with self._guard:
                    self._at_work[hook.name] += 1
                self._pool.submit(self._deliver, claimed)
            self._look_again_when_due(hook)

    def _prune(self) -> None:
        now = CLOCK.now()
        limits = (to_text(now - KEEP_DELIVERED), to_text(now - KEEP_DEAD))
        old = "ended_at < ? AND (state = 'delivered' OR ended_at < ?)"
        if self._store.database.read(f"SELECT 1 FROM deliveries WHERE {old} LIMIT 1", limits):
            with self._store.database.write() as connection:
                connection.execute(f"DELETE FROM deliveries WHERE {old}", limits)

    def _take_back_from_the_dead(self) -> None:
        claimants = self._store.database.read("SELECT DISTINCT claimed_by FROM deliveries WHERE state = 'sending'")
        dead = [row[0] for row in claimants if not is_alive(self._store.path, row[0])]
        if dead:
            with self._store.database.write() as connection:
                connection.executemany(
                    "UPDATE deliveries SET state = 'waiting', claimed_by = NULL WHERE state = 'sending' AND claimed_by = ?",
                    [(owner,) for owner in dead],
                )

    def _claim(self, hook: Hook) -> list[_Claimed]:
        """Take what is due of a hook, as far as there is room."""
        with self._guard:
            room = min(MOST_OF_A_HOOK - self._at_work[hook.name], MOST_AT_ONCE - self._at_work.total())
        rows = self._store.database.read(
            "SELECT number, id, body FROM deliveries WHERE hook = ? AND state = 'waiting' AND due_at <= ? "
            "ORDER BY due_at, number LIMIT ?",
            (hook.name, now_text(), max(0, room)),
        )
        if not rows:
            return []
        # Kept before it is sent: every attempt has the same body, though the run goes on changing.
        bodies = [row["body"] or make_body(self._store, hook, row["id"]) for row in rows]
        claimed = []
        with self._store.database.write() as connection:
            for row, body in zip(rows, bodies, strict=True):
                taken = connection.execute(
                    "UPDATE deliveries SET state = 'sending', claimed_by = ?, attempts = attempts + 1, body = ? "
                    "WHERE number = ? AND state = 'waiting' RETURNING attempts",
                    (self._owner, body, row["number"]),
                ).fetchone()
                if taken is not None and body is not None:
                    claimed.append(
                        _Claimed(number=row["number"], id=row["id"], hook=hook, attempt=taken[0], body=body.encode())
                    )
        return claimed

    def _look_again_when_due(self, hook: Hook) -> None:
        next_due = self._store.database.read(
            "SELECT min(due_at) FROM deliveries WHERE hook = ? AND state = 'waiting'", (hook.name,)
        )[0][0]
        if next_due is not None:
            wait_s = (datetime.fromisoformat(next_due) - CLOCK.now()).total_seconds()
            # What is due already waits for room, and the end of another one is news.
            if wait_s > 0:
                self._next_look = min(self._next_look, CLOCK.monotonic() + wait_s)

    def _deliver(self, claimed: _Claimed) -> None:
        try:
            self._keep(claimed, *self._send(claimed))
        finally:
            with self._guard:
                self._posts.pop(claimed.number, None)
                self._at_work[claimed.hook.name] -= 1
            self._has_news = True
            self._bell.set()

    def _send(self, claimed: _Claimed) -> tuple[Answer | None, str | None]:
        """The answer, and what is wrong with it or the reason why there is none."""
        try:
            post = make_post(self._store, claimed.hook, claimed.id, claimed.body, self._timeouts)
            with self._guard:
                self._posts[claimed.number] = post
            if self._ending.is_set():
                post.abort()
            answer = post.send()
        except DeliveryError as exc:
            return None, str(exc)
        return answer, explain_answer(answer.status)

    def _keep(self, claimed: _Claimed, answer: Answer | None, problem: str | None) -> None:
        now, pause_s = CLOCK.now(), 0.0
        if problem is None:
            state = "delivered"
        elif self._ending.is_set():
            # Broken off, perhaps: no fault of the receiver's.
            state = "waiting"
        elif claimed.attempt < self._backoff.attempts:
            asked_s = 0.0 if answer is None else answer.retry_after_s or 0.0
            state, pause_s = "waiting", max(self._backoff.pause_s(claimed.attempt), min(asked_s, MOST_PUT_OFF_S))
        else:
            state = "dead"
        due_at = to_text(now + timedelta(seconds=pause_s))
        ended_at = None if state == "waiting" else to_text(now)
        status = None if answer is None else answer.status
        while True:
            try:
                with self._store.database.write() as connection:
                    connection.execute(
                        "UPDATE deliveries SET state = ?, claimed_by = NULL, due_at = ?, answer = ?, problem = ?, ended_at = ? "
                        "WHERE number = ? AND state = 'sending' AND claimed_by = ?",
                        (state, due_at, status, problem, ended_at, claimed.number, self._owner),
                    )
                return
            except (StorageError, WorkspaceBusyError):
                # It stays claimed until the disk takes it, or this process ends: then another sends it once more.
                if self._ending.wait(1.0):
                    return


def make_post(store: Store, hook: Hook, delivery_id: str, body: bytes, timeouts: Timeouts | None = None) -> Post:
    """The request of one attempt.

    Raises
    ------
    DeliveryError
        If a secret of the hook cannot be had.
    """
    # Here, because most processes that know of hooks send nothing.
    from pipelite.automate.posting import Post, Timeouts, sign

    url, headers, secrets = load_secrets(hook, store.path)
    timestamp = int(CLOCK.time())
    headers |= {
        "Content-Type": "application/json",
        "User-Agent": f"pipelite/{__version__}",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
    }
    if secrets is not None:
        headers["webhook-signature"] = sign(secrets, delivery_id, timestamp, body)
    return Post(url, headers, body, timeouts or Timeouts())


def explain_answer(answer: int) -> str | None:
    """Why an answer does not count as one that took the request; None for one that did."""
    if 200 <= answer < 300:
        return None
    if 300 <= answer < 400:
        return f"it answered {answer}, and redirects are not followed"
    return f"it answered {answer}"


def send_test(store: Store, name: str) -> int:
    """Send what a hook sends, of a run that never was, once; returns the status of the answer.

    Raises
    ------
    UnknownNameError
        If there is no hook of that name.
    DeliveryError
        If it was not taken.
    """
    hook = find_hook(store, name)
    delivery_id, now = f"msg_test_{os.urandom(8).hex()}", now_text()
    run = {
        "id": "20260101-000000-sample",
        "number": 0,
        "pipeline": "sample",
        "experiment": "sample",
        "published": None,
        "version": None,
        "status": "completed",
        "error": None,
        "created_at": now,
        "started_at": now,
        "ended_at": now,
        "duration_s": 0.0,
        "parameters": {},
        "tags": {},
        "metrics": {},
    }
    fields = {"event": "test", "at": now, "hook": name, "delivery": delivery_id, "run": run}
    try:
        post = make_post(store, hook, delivery_id, render(hook.body, fields))
        answer = post.send().status
        if problem := explain_answer(answer):
            raise DeliveryError(problem)
    except DeliveryError as exc:
        raise DeliveryError(f"the request of hook {name!r} was not taken: {exc}") from None
    return answer
