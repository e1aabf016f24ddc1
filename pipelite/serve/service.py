"""What all requests share: the workspace, whom it answers, what it counts."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from pipelite.automate import Dispatcher
from pipelite.clock import CLOCK
from pipelite.records import FINAL, Status
from pipelite.serve.counters import Counters
from pipelite.serve.hosts import Hosts
from pipelite.serve.refusals import Refusal
from pipelite.serve.throttle import Throttle
from pipelite.store import Store, get_version

#: Bytes of a request's body.
MOST_BYTES = 1 << 20
#: Requests that may wait for the end of a run at once: each takes a thread of the server. The others are answered at once.
MOST_WAITING = 8
#: Seconds between two looks at whether anything has changed.
_LOOK_S = 0.02


class Service:
    """One workspace, as it is served."""

    def __init__(
        self,
        store: Store,
        *,
        hosts: Sequence[str] = (),
        paths: Sequence[str | os.PathLike[str]] = (),
        bound_to: str = "127.0.0.1",
        dispatcher: Dispatcher | None = None,
    ) -> None:
        self.store = store
        self.hosts = Hosts(hosts, bound_to=bound_to)
        #: Real folders.
        self.paths = tuple(os.path.realpath(path) for path in paths)
        #: What executes the runs, if this process does.
        self.dispatcher = dispatcher
        self.throttle = Throttle()
        self.counters = Counters()
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        self._is_ending = threading.Event()

    def end(self) -> None:
        """Take no more runs, and let nobody wait: the process ends soon."""
        self._is_ending.set()

    @property
    def is_ending(self) -> bool:
        return self._is_ending.is_set()

    def check_taking(self) -> None:
        """Make sure that runs are taken.

        Raises
        ------
        Refusal
            If the process ends.
        """
        if self.is_ending:
            raise Refusal(
                503, "Ending", "the server ends and takes no more runs; try again soon", headers={"Retry-After": "5"}
            )

    def wake(self) -> None:
        """Tell whoever executes runs that there is one."""
        if self.dispatcher is not None:
            self.dispatcher.wake()

    def wait_for_end(self, run_id: str, timeout_s: float) -> None:
        """Return when a run has ended, the time is over, or too many wait already."""
        if timeout_s <= 0 or not self._waiting.acquire(blocking=False):
            return
        try:
            until = CLOCK.monotonic() + timeout_s
            connection = self.store.database.connection()
            seen = -1
            while not self.is_ending and CLOCK.monotonic() < until:
                version = get_version(connection)
                if version != seen:
                    seen = version
                    status = connection.execute("SELECT status FROM runs WHERE id = ?", (run_id,)).fetchone()
                    if status is None or Status(status[0]) in FINAL:
                        return
                CLOCK.sleep(_LOOK_S)
        finally:
            self._waiting.release()
