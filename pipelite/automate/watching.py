"""Sees what triggers wait for; any number of processes may do so on one workspace.

There is no leader. The files of a trigger are compared with what is known of them, and that is changed in the transaction
that puts their run into the queue, if nobody has changed it since: so a change is decided once, and one that came while
nobody looked is found by the next who does.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import traceback
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs

from pipelite.automate.listing import LocalPlace, is_fresh, open_place
from pipelite.automate.noticing import Notices
from pipelite.automate.ticking import POLL_S
from pipelite.automate.triggers import (
    BATCH,
    MOST_FILES,
    FileChange,
    Firing,
    TriggerRecord,
    decide_files,
    decide_waiting,
    find_trigger,
    forgotten_at,
    list_watching,
    load_seen,
    note_problem,
)
from pipelite.automate.trouble import Listener, Trouble
from pipelite.clock import CLOCK, Clock
from pipelite.errors import PipeliteError, StorageError, UnknownNameError, WorkspaceBusyError
from pipelite.store import Store, get_version

#: Changes of which a native event tells within so many seconds go together.
GATHER_S = 0.1
#: Looks that go on at once, each in a thread: another store may take its time.
_MOST_LOOKS = 8
#: Seconds until the next try where the workspace could not be written.
_RETRY_S = 5.0
#: Seconds until the next try for a trigger of which nothing can be looked at: its datastore may be gone.
_TROUBLED_S = 10.0
#: Seconds that looks have to end.
_END_S = 2.0
#: How many times as long as a look took there is none that is asked for by new folders.
_REST = 20


class FileWatch:
    """The files of one trigger, as this process sees them; looked at by one thread at a time."""

    def __init__(self, store: Store, record: TriggerRecord, clock: Clock, ring: Callable[[], None]) -> None:
        assert isinstance(record.source, FileChange)
        self.name = record.name
        self.source = record.source
        self._store = store
        self._clock = clock
        #: Called when a look is due earlier.
        self._ring = ring
        self._created_at = record.created_at
        self.place = open_place(store, record.source.path)
        #: Of what is known of the files, which is path to stamp, and since when those are gone that are.
        self._generation = -1
        self._seen: dict[str, str] = {}
        self._gone: dict[str, datetime] = {}
        #: Changed files that may not be complete: stamp, and since when it is that.
        self._unsettled: dict[str, tuple[str, float]] = {}
        self._next_poll = 0.0
        #: For new folders no earlier than this: in a tree where they come all the time most of the time is for others.
        self._rests_until = 0.0
        self._guard = threading.Lock()
        #: Complete files, and when that was heard.
        self._heard: dict[str, float] = {}
        self._heard_first = 0.0
        #: Files that were decided as soon as that was heard, and when.
        self._decided_at: dict[str, float] = {}

    @property
    def _settle_s(self) -> float:
        return 0.0 if self.place.is_atomic else self.source.settle

    def hear(self, path: str, is_folder: bool) -> None:  # noqa: FBT001 -- The form of listeners.
        """Take notice of a file that is complete, or of a new folder."""
        now = CLOCK.monotonic()
        assert isinstance(self.place, LocalPlace)
        if is_folder:
            due = max(now + GATHER_S, self._rests_until)
            if not self.place.may_hold(path) or self._next_poll <= due:
                return
            self._next_poll = due
        else:
            name = self.place.name_of(path)
            if name is None:
                return
            with self._guard:
                is_first = not self._heard
                if is_first:
                    self._heard_first = now
                self._heard[name] = now
            if not is_first:
                return
        self._ring()

    def poll_soon(self) -> None:
        """Look at everything at the next opportunity."""
        self._next_poll = 0.0

    def find_due(self) -> float:
        """When it is to be looked at next, by the monotonic clock."""
        due = self._next_poll
        with self._guard:
            if self._heard:
                # More may be on its way, but it is not waited for without end.
                last = max(self._heard.values())
                due = min(due, last + GATHER_S, self._heard_first + max(GATHER_S, self._settle_s))
        if self._unsettled:
            due = min(due, min(since for _, since in self._unsettled.values()) + self._settle_s)
        return due

    def look(self) -> list[Firing]:
        """Compare what is there with what is known, and decide what has changed and is complete.

        Raises
        ------
        PipeliteError
            If it cannot be listed.
        """
        started = CLOCK.monotonic()
        is_poll = started >= self._next_poll
        heard = self._take_heard(started)
        if is_poll:
            self._next_poll = started + self.source.interval
            if self.source.path.datastore is not None:
                # It may have been registered anew.
                self.place = open_place(self._store, self.source.path)
        made: list[Firing] = []
        while (record := self._refresh()) is not None:
            # What nobody has decided since it was known is compared with what is there after that.
            now = CLOCK.monotonic()
            found = self.place.scan() if is_poll else self.place.look_at({*heard, *self._unsettled})
            changed = {name: stamp for name, stamp in found.items() if self._seen.get(name) != stamp}
            complete = self._find_complete(changed, heard, began_at=now, ended_at=CLOCK.monotonic())
            gone = [name for name in self._seen if name not in found and name not in self._gone] if is_poll else []
            back = {name: self._seen[name] for name in self._gone if found.get(name) == self._seen[name]}
            if self._decide(record, complete, gone, back, made):
                break
        if is_poll:
            ended = CLOCK.monotonic()
            self._rests_until = ended + _REST * (ended - started)
        return made

    def _take_heard(self, now: float) -> list[str]:
        """The files that were heard of, and not again just now."""
        with self._guard:
            heard = [name for name, at in self._heard.items() if now - at >= GATHER_S]
            for name in heard:
                del self._heard[name]
            self._heard_first = now
        return heard

    def _decide(
        self,
        record: TriggerRecord,
        complete: dict[str, str],
        gone: list[str],
        back: dict[str, str],
        made: list[Firing],
    ) -> bool:
        """Decide all changes, which adds to what was made; false if others were faster, and they have to be found anew."""
        names = sorted(complete)
        most = BATCH if self.source.per_file else MOST_FILES
        while names or gone or back:
            part = {name: complete[name] for name in names[:most]}
            now = self._clock.now()
            decided = decide_files(self._store, record, part, gone, back, show=self.place.show, now=now)
            if decided is None:
                return False
            made += decided
            # As the transaction has left it.
            record = attrs.evolve(record, generation=record.generation + 1, problem=None)
            self._generation = record.generation
            self._seen |= part
            for name in (*part, *back):
                self._gone.pop(name, None)
            self._gone |= dict.fromkeys(gone, now)
            names, gone, back = names[most:], [], {}
        if record.problem is not None:
            note_problem(self._store, self.name, None, now=self._clock.now())
        return True

    def _refresh(self) -> TriggerRecord | None:
        """Know what others have decided; None if the trigger is gone, another one, or paused."""
        try:
            record = find_trigger(self._store, self.name)
        except UnknownNameError:
            return None
        if record.created_at != self._created_at or record.is_paused:
            return None
        if record.generation != self._generation:
            for name, (stamp, gone_at) in load_seen(self._store, self.name, since=self._generation).items():
                self._seen[name] = stamp
                if gone_at is None:
                    self._gone.pop(name, None)
                else:
                    self._gone[name] = gone_at
            self._generation = record.generation
        last = forgotten_at(self._clock.now())
        for name in [name for name, gone_at in self._gone.items() if gone_at < last]:
            del self._gone[name], self._seen[name]
        return record

    def _find_complete(
        self, changed: dict[str, str], heard: list[str], *, began_at: float, ended_at: float
    ) -> dict[str, str]:
        """Those of the changed files that are complete; of the others it is noted since when they are as they are.

        A look takes its time: a file was the same from the end of one to the beginning of another.
        """
        complete, unsettled = {}, {}
        # One that is closed again and again is written bit by bit.
        self._decided_at = {name: at for name, at in self._decided_at.items() if began_at - at < self._settle_s}
        closed = set(heard) - self._decided_at.keys()
        for name, stamp in changed.items():
            before, since = self._unsettled.get(name, ("", ended_at))
            if before != stamp:
                since = ended_at
            is_settled = self._settle_s <= 0 or began_at - since >= self._settle_s
            if is_settled or (name in closed and not is_fresh(stamp)):
                complete[name] = stamp
                if name in closed:
                    self._decided_at[name] = began_at
            else:
                unsettled[name] = stamp, since
        self._unsettled = unsettled
        return complete


@attrs.define
class _Watching:
    """A trigger on files that this process sees to."""

    #: What tells it from an earlier one of that name.
    created_at: str
    watch: FileWatch | None = None
    #: When it is tried again to make one, where that failed.
    retry_at: float = 0.0
    is_busy: bool = False

    def find_due(self) -> float:
        return self.retry_at if self.watch is None else max(self.retry_at, self.watch.find_due())


class Watcher:
    """The part of a serving process that sees to triggers; `start` begins, `stop` ends it."""

    def __init__(
        self, store: Store, clock: Clock = CLOCK, *, tell: Listener | None = None, trouble: Trouble | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._tell = tell or (lambda event, details: None)
        self._bell = threading.Event()
        self._is_ending = False
        self._notices = Notices() if Notices.are_there() else None
        self._trouble = trouble or Trouble(self._tell)
        self._watching: dict[str, _Watching] = {}
        self._looks: queue.SimpleQueue[tuple[str, _Watching] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._serve, name="pipelite-watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Look at nothing more; a look at a store that does not answer is left alone."""
        self._is_ending = True
        self._bell.set()
        if self._thread.is_alive():
            self._thread.join()
        for _ in self._threads:
            self._looks.put(None)
        until = CLOCK.monotonic() + _END_S
        for thread in self._threads:
            thread.join(max(0.0, until - CLOCK.monotonic()))
        if self._notices is not None:
            self._notices.stop()

    @property
    def is_alive(self) -> bool:
        """Whether it sees to triggers."""
        return self._thread.is_alive()

    def reload(self) -> None:
        """Look at everything now; from any thread."""
        for each in list(self._watching.values()):
            each.retry_at = 0.0
            if each.watch is not None:
                each.watch.poll_soon()
        self._bell.set()

    def _serve(self) -> None:
        connection = self._store.database.connection()
        version = -1
        while not self._is_ending:
            try:
                seen = get_version(connection)
                if seen != version:
                    version = seen
                    self._tell_all(decide_waiting(self._store, now=self._clock.now()))
                    self._find_triggers()
                    self._trouble.passed(self)
            except (StorageError, WorkspaceBusyError, sqlite3.Error) as exc:
                # A full disk, or a workspace that another keeps busy, passes; what waits is decided then.
                self._trouble.met(self, exc)
                version = -1
            now = CLOCK.monotonic()
            wait_s = POLL_S
            for name, each in self._watching.items():
                left = POLL_S if each.is_busy else each.find_due() - now
                if left > 0:
                    wait_s = min(wait_s, left)
                else:
                    each.is_busy = True
                    self._looks.put((name, each))
            self._keep_threads()
            self._bell.wait(wait_s)
            self._bell.clear()

    def _find_triggers(self) -> None:
        there = list_watching(self._store)
        for name in [name for name, each in self._watching.items() if there.get(name) != each.created_at]:
            left = self._watching.pop(name)
            if left.watch is not None and self._notices is not None:
                self._notices.ignore(left.watch.hear)
        for name, created_at in there.items():
            self._watching.setdefault(name, _Watching(created_at))

    def _keep_threads(self) -> None:
        """Have as many threads as there are looks to be made, up to the most."""
        busy = sum(each.is_busy for each in self._watching.values())
        while len(self._threads) < min(busy, _MOST_LOOKS):
            # A daemon: a store that does not answer keeps nobody from ending.
            thread = threading.Thread(target=self._look_on, name=f"pipelite-look-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _look_on(self) -> None:
        while (item := self._looks.get()) is not None:
            name, each = item
            if not self._is_ending:
                self._look(name, each)
            each.is_busy = False
            self._bell.set()

    def _look(self, name: str, each: _Watching) -> None:
        problem: str | None = None
        try:
            if each.watch is None:
                each.watch = FileWatch(self._store, find_trigger(self._store, name), self._clock, self._bell.set)
            if self._watching.get(name) is each:
                self._listen(each.watch)
            self._tell_all(each.watch.look())
            return
        except (StorageError, WorkspaceBusyError, sqlite3.Error) as exc:
            self._trouble.met(self, exc)
            each.retry_at = CLOCK.monotonic() + _RETRY_S
            if each.watch is not None:
                each.watch.poll_soon()
            return
        except (PipeliteError, OSError) as exc:
            problem = str(exc)
        except Exception:
            # What is wrong with one trigger must not keep the others from being looked at.
            problem = traceback.format_exc()
        each.retry_at = CLOCK.monotonic() + (_TROUBLED_S if each.watch is None else each.watch.source.interval)
        try:
            firing = note_problem(self._store, name, problem, now=self._clock.now())
            self._tell_all([] if firing is None else [firing])
        except (StorageError, WorkspaceBusyError, sqlite3.Error) as exc:
            self._trouble.met(self, exc)

    def _listen(self, watch: FileWatch) -> None:
        if self._notices is None or not isinstance(watch.place, LocalPlace):
            return
        folder = watch.place.find_folder()
        if folder is not None and self._notices.listen(watch.hear, folder[0], is_deep=folder[1]):
            # What came before is found by a look.
            watch.poll_soon()

    def _tell_all(self, firings: list[Firing]) -> None:
        for firing in firings:
            self._tell(firing.outcome, describe_firing(firing))


def describe_firing(firing: Firing) -> dict[str, Any]:
    """What is logged of something that happened."""
    cause = {name: value for name, value in firing.cause.items() if name != "paths"}
    rest = {"run": firing.run_id, "reason": firing.reason}
    return {"trigger": firing.trigger} | cause | {name: value for name, value in rest.items() if value is not None}
