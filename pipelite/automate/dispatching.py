"""Takes runs from the queue and hands them to runners; several processes may do so on one workspace."""

from __future__ import annotations

import contextlib
import os
import threading

from pipelite.automate import queue
from pipelite.automate.queue import Limits
from pipelite.automate.runners import WARM_S, Runner
from pipelite.automate.sending import HookSender
from pipelite.automate.serving import announce, withdraw
from pipelite.automate.trouble import Trouble
from pipelite.clock import CLOCK
from pipelite.errors import StorageError, WorkspaceBusyError
from pipelite.execute import recover_dead_runs
from pipelite.store import Store, find_dead_runs, get_version

#: Seconds between two looks at whether others have written something.
POLL_S = 0.25
#: Seconds between two looks at what has become of all that was taken.
SETTLE_S = 2.0


class Dispatcher:
    """The part of a serving process that has runs executed; one a process. `start` begins, `stop` ends it.

    `url` is where the process answers requests, if it does; `trouble` hears of what keeps it from taking runs.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits | None = None,
        *,
        url: str | None = None,
        trouble: Trouble | None = None,
    ) -> None:
        self._store = store
        self._trouble = trouble or Trouble(lambda event, details: None)
        self._url = url
        self._limits = limits or Limits(total=max(2, os.cpu_count() or 1))
        self._owner = store.owner.name
        self._runners: list[Runner] = []
        self._guard = threading.Lock()
        self._bell = threading.Event()
        self._is_ending = False
        self._has_news = True
        self._settled = 0.0
        self._hooks = HookSender(store)
        self._thread = threading.Thread(target=self._serve, name="pipelite-dispatcher", daemon=True)

    def start(self) -> None:
        announce(self._store, self._url)
        self._hooks.start()
        self._thread.start()

    def wake(self) -> None:
        """Tell it that there is something in the queue; from any thread."""
        self._has_news = True
        self._bell.set()

    @property
    def is_alive(self) -> bool:
        """Whether it takes runs."""
        return self._thread.is_alive()

    def stop(self, *, grace_s: float) -> None:
        """Take nothing more, and interrupt what runs once its running steps have finished or had their time.

        What is interrupted goes back into the queue, for whoever serves next.
        """
        self._is_ending = True
        self._bell.set()
        if self._thread.is_alive():
            self._thread.join()
        runners = self._living()
        for runner in runners:
            is_busy = not runner.is_idle
            # One that is busy ends after its run, however that ends.
            runner.let_go()
            if is_busy:
                runner.terminate()
        # The runners keep to the grace themselves; this is for one that cannot.
        if not _wait_for(runners, grace_s + 5.0):
            for runner in self._living():
                runner.terminate()
            if not _wait_for(runners, 3.0):
                for runner in self._living():
                    runner.process.kill()
        with contextlib.suppress(StorageError, WorkspaceBusyError):
            withdraw(self._store)
            recover_dead_runs(self._store)
            for runner in runners:
                if runner.run_id is not None:
                    self._bring_home(runner.run_id)
        # Last, so that it can tell of runs that were interrupted just now.
        self._hooks.stop(grace_s=1.0)

    def runners(self) -> list[tuple[int, str, str | None]]:
        """Process id, version and run of each living runner."""
        return [(runner.process.pid, runner.published_id, runner.run_id) for runner in self._living()]

    def _serve(self) -> None:
        connection = self._store.database.connection()
        version = -1
        while not self._is_ending:
            self._bell.wait(POLL_S)
            self._bell.clear()
            seen = get_version(connection)
            if seen != version or self._has_news or CLOCK.monotonic() - self._settled > SETTLE_S:
                version, self._has_news = seen, False
                # A full disk or a workspace that another keeps busy passes; the next look comes soon.
                try:
                    self._look()
                except (StorageError, WorkspaceBusyError) as exc:
                    self._trouble.met(self, exc)
                else:
                    self._trouble.passed(self)
            self._retire()

    def _look(self) -> None:
        if CLOCK.monotonic() - self._settled > SETTLE_S:
            self._settled = CLOCK.monotonic()
            if find_dead_runs(self._store):
                recover_dead_runs(self._store)
            queue.settle(self._store, self._owner, at_work=self._at_work())
        while not self._is_ending and queue.is_anything_waiting(self._store):
            taken = queue.take(self._store, self._owner, self._limits)
            if taken is None:
                return
            self._runner_for(taken.published_id).start(taken.run_id)

    def _runner_for(self, published_id: str) -> Runner:
        for runner in self._living():
            if runner.is_idle and runner.published_id == published_id:
                return runner
        runner = Runner(self._store.path, published_id, self._hear_end)
        with self._guard:
            self._runners.append(runner)
        return runner

    def _hear_end(self, runner: Runner) -> None:
        """A run has ended, or a runner with or without one; called in the runner's thread."""
        # What has become of the run is found in the workspace, as after a restart: one way for all ends.
        self._settled = 0.0
        if runner.is_gone:
            with self._guard:
                self._runners.remove(runner)
        self.wake()

    def _retire(self) -> None:
        now = CLOCK.monotonic()
        for runner in self._living():
            if runner.is_idle and now - runner.idle_since > WARM_S:
                runner.let_go()

    def _living(self) -> list[Runner]:
        with self._guard:
            return list(self._runners)

    def _at_work(self) -> frozenset[str]:
        return frozenset(runner.run_id for runner in self._living() if runner.run_id is not None)

    def _bring_home(self, run_id: str) -> None:
        queue.give_back(self._store, run_id)
        queue.settle(self._store, self._owner)


def _wait_for(runners: list[Runner], timeout_s: float) -> bool:
    until = CLOCK.monotonic() + timeout_s
    while not all(runner.is_gone for runner in runners):
        if CLOCK.monotonic() > until:
            return False
        CLOCK.sleep(0.02)
    return True
