"""The slots of a machine, shared by all runs of a workspace, in whatever process: a lock file for each.

The kernel gives up the locks of a process that dies. A run that holds no slot waits in line, and is served in the order of
arrival; while anybody does, those that hold one give it up after a while, between two of their steps. A run that holds
fewer slots than another gets one of the other's, until they hold the same number or one apart.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from pipelite.clock import CLOCK
from pipelite.execute.threads import STEP_SLOTS_VARIABLE
from pipelite.store import FileLock

#: A slot is kept for this long at least: to pass it on costs some milliseconds.
KEEP_S = 0.1
#: Seconds between two looks of whoever is first in line, and of those that have a slot and could use another.
FIRST_LOOK_S = 0.005
LATER_LOOK_S = 0.02
#: Who has waited in line for this long is told so.
TOLD_AFTER_S = 1.0


class SharedSlots:
    """The slots of a workspace, as one run sees them. All but its waiting thread belongs to the coordinator's thread."""

    def __init__(self, folder: Path, size: int, wake: Callable[[], None], *, run_id: str) -> None:
        self._folder = folder
        self._wake = wake
        self._run_id = run_id
        #: Since when the run has waited in line (monotonic), and what was found out of that.
        self._in_line_since: float | None = None
        self._told: str | None = None
        # From the highest down: those that count fewer slots on this machine find the low ones free.
        self._places = [FileLock(folder / f"{number}.lock", stays_open=True) for number in reversed(range(size))]
        self._line = FileLock(folder / "line.lock", stays_open=True)
        self._signals = [FileLock(folder / f"short-{held}.lock", stays_open=True) for held in range(size)]
        self._guard = threading.Lock()
        self._held = 0
        self._wanted = 0
        #: Locks that the waiting thread has taken and the coordinator has not.
        self._ready: list[FileLock] = []
        self._thread: threading.Thread | None = None
        #: When a slot was given up last, and when it was last looked whether one has to be (monotonic).
        self._yielded_at = self._looked_at = 0.0

    def acquire(self, count: int) -> list[FileLock] | None:
        """Take the locks of `count` slots; None if they are not free or others are before us.

        `wake` is called when they are there, except where slots that this run itself holds are what is missing.
        """
        if self._held + count > len(self._places):
            return None
        with self._guard:
            locks, self._ready = self._ready, []
            if len(locks) < count:
                _release(locks)
                locks = []
                if self._thread is None and not self._is_anybody_in_line():
                    locks = self._take(count)
            if not locks:
                self._wanted = count
                if not self._held and self._in_line_since is None:
                    self._in_line_since = CLOCK.monotonic()
                if self._thread is None:
                    self._thread = threading.Thread(target=self._wait, name="pipelite-slot-line", daemon=True)
                    self._thread.start()
                return None
            _release(locks[count:])
            self._held += count
            self._in_line_since = self._told = None
            return locks[:count]

    def release(self, locks: list[FileLock]) -> None:
        """Let others have the slots."""
        with self._guard:
            _release(locks)
            self._held -= len(locks)

    def must_yield(self, since: float) -> bool:
        """Whether a slot that is held since then (by the monotonic clock) is to be given up as soon as it is idle."""
        now = CLOCK.monotonic()
        if now - since < KEEP_S or now - self._yielded_at < KEEP_S or now - self._looked_at < FIRST_LOOK_S:
            return False
        self._looked_at = now
        with self._guard:
            must = self._is_anybody_in_line() or any(
                not _is_free(signal) for signal in self._signals[1 : self._held - 1]
            )
        if must:
            # One at a time: whoever waits may not want more.
            self._yielded_at = now
        return must

    def find_wait(self) -> str | None:
        """What the run waits for, in words, with those that had the slots when it had waited for a moment; else None."""
        since = self._in_line_since
        if self._told is None and since is not None and CLOCK.monotonic() - since > TOLD_AFTER_S:
            with self._guard:
                holders = sorted({place.read_note() for place in self._places} - {"", self._run_id})
            self._told = f"a free slot ({len(self._places)} in use by run {' and run '.join(holders)})"
        return self._told

    def rest(self) -> None:
        """Nothing is to be sent now: leave the line, and what came of it."""
        self._in_line_since = self._told = None
        if self._wanted or self._ready:
            with self._guard:
                self._wanted = 0
                _release(self._ready)
                self._ready = []

    def close(self) -> None:
        """The run has ended."""
        self.rest()
        with self._guard:
            for lock in (*self._places, self._line, *self._signals):
                lock.close()

    def _wait(self) -> None:
        """Wait for slots, in a thread of its own: in line while the run has none, else for some that nobody needs."""
        line = FileLock(self._folder / "line.lock")
        signal: FileLock | None = None
        gathered: list[FileLock] = []
        try:
            while True:
                with self._guard:
                    wanted, held = self._wanted, self._held
                    if not wanted:
                        self._thread = None
                        return
                    if line.is_held:
                        gathered += self._take(wanted - len(gathered), at_least=1)
                    elif held and not self._is_anybody_in_line():
                        gathered = self._take(wanted)
                    if len(gathered) >= wanted:
                        self._ready, gathered = gathered, []
                        self._wanted, self._thread = 0, None
                        break
                    if signal is not None:
                        signal.release()
                    signal = self._signals[held] if held and self._signals[held].acquire(exclusive=False) else None
                if not held and not line.is_held:
                    # Sleeps in the kernel, which serves those in line one after the other.
                    line.wait()
                else:
                    CLOCK.sleep(FIRST_LOOK_S if line.is_held else LATER_LOOK_S)
        finally:
            with self._guard:
                if signal is not None:
                    signal.release()
                _release(gathered)
            line.close()
        self._wake()

    def _take(self, count: int, *, at_least: int | None = None) -> list[FileLock]:
        """Lock `count` free slots; if there are fewer, none at all, or those if they are `at_least` as many."""
        taken: list[FileLock] = []
        for place in self._places:
            if len(taken) == count:
                break
            if not place.is_held and place.acquire(exclusive=True):
                place.note(self._run_id)
                taken.append(place)
        if len(taken) < (count if at_least is None else at_least):
            _release(taken)
            return []
        return taken

    def _is_anybody_in_line(self) -> bool:
        # Shared, so that two who look do not take each other for somebody in line.
        if self._line.acquire(exclusive=False):
            self._line.release()
            return False
        return True


def share_slots(workspace: Path, size: int, wake: Callable[[], None], *, run_id: str) -> SharedSlots | None:
    """The shared slots for a run of this process; None inside of a step.

    A run that a step starts uses the slots that the step has: if it waited for others, and all were taken by such steps,
    they would wait for ever.
    """
    if STEP_SLOTS_VARIABLE in os.environ:
        return None
    return SharedSlots(workspace / "slots", size, wake, run_id=run_id)


def _is_free(signal: FileLock) -> bool:
    if signal.is_held:
        return True
    if signal.acquire(exclusive=True):
        signal.release()
        return True
    return False


def _release(locks: list[FileLock]) -> None:
    for lock in locks:
        lock.release()
