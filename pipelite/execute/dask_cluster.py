"""A Dask cluster as a compute target."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import attrs

from pipelite._optional import require
from pipelite.clock import CLOCK
from pipelite.errors import ComputeTargetError
from pipelite.execute.exchange import Exchange
from pipelite.execute.executors import ExecutorTarget
from pipelite.execute.messages import RunSetup
from pipelite.execute.supervise import run_supervised
from pipelite.execute.threads import make_worker_environment
from pipelite.records import Failure

#: Seconds to wait for a scheduler, at first and when the connection was lost.
TIMEOUT_S = 10.0
#: Batches on their way to each thread of a worker: a round trip by way of the scheduler takes milliseconds.
AHEAD_OF_DASK = 4
#: Seconds between two looks at how many workers there are.
SIZE_EVERY_S = 2.0


class DaskTarget(ExecutorTarget):
    """A `Client.get_executor()` of a Dask cluster, for one run.

    Parameters
    ----------
    shared : a folder that this machine and the workers see under the same path, for stored values; None if the workers
        see the workspace
    """

    def __init__(self, name: str, executor: Any, shared: str | None = None) -> None:
        self._dask_executor = executor
        self._client: Any = self._dask_executor._client
        self._looked = 0.0
        self._shared = None if shared is None else Path(shared)
        super().__init__(name, executor, AHEAD_OF_DASK)
        self._look_at_size()

    def acquire(self, count: int) -> list[Any] | None:
        """Take slots; none while the scheduler is out of reach, as it may come back."""
        if self._client.status == "connecting":
            return None
        if CLOCK.monotonic() - self._looked > SIZE_EVERY_S:
            self._look_at_size()
        return super().acquire(count)

    def adapt(self, setup: RunSetup) -> RunSetup:
        """What its workers are told of a run: they may be on other machines, with variables of their own."""
        limits = make_worker_environment({})
        if self._shared is not None:
            self.exchange = Exchange(Path(setup.root), self._shared, setup.prefix)
            setup = attrs.evolve(setup, root=str(self._shared))
        return super().adapt(attrs.evolve(setup, is_elsewhere=True, environment=limits))

    def explain_loss(self, future: Future[bytes]) -> Failure | None:
        """Why a batch did not come back; None if the connection was lost, which is not its fault."""
        if self._client.status == "closed":
            return Failure(
                type_name="ComputeTargetError",
                message=(
                    f"compute target {self.name!r}: the Dask scheduler {_address_of(self._client)} is out of reach, "
                    "and did not come back; start it, and run the pipeline again: what had finished is reused"
                ),
                traceback="",
            )
        if future.cancelled():
            return None
        error = future.exception()
        if type(error).__name__ == "KilledWorker":
            return Failure(type_name="WorkerDied", message=f"the Dask workers that ran it died: {error}", traceback="")
        return super().explain_loss(future)

    def _submit(self, payload: bytes) -> Future[bytes]:
        # A batch that was lost is the coordinator's to send again, after the step's own retry policy.
        return self._dask_executor.submit(run_supervised, payload, pure=False, retries=0)  # type: ignore[no-any-return]

    def _look_at_size(self) -> None:
        self._looked = CLOCK.monotonic()
        if self._client.status == "running":
            # A connection that breaks just now is met when the futures come back.
            with contextlib.suppress(OSError, TimeoutError, CancelledError):
                # Also without workers something is sent, so that a cluster which grows on demand does so.
                self.size = AHEAD_OF_DASK * max(1, sum(self._client.nthreads().values()))


_clients: dict[tuple[int, str, float], Any] = {}
_guard = threading.Lock()


def connect(name: str, setting: Mapping[str, Any]) -> DaskTarget:
    """The target of a setting; the connection is kept for further runs of this process.

    Raises
    ------
    ComputeTargetError
        If no scheduler answers at the address, or the shared folder is not there.
    MissingExtraError
        If `distributed` is not installed.
    """
    distributed = require("distributed", extra="dask")
    shared = setting.get("shared")
    if shared is not None and not os.path.isdir(shared):
        raise ComputeTargetError(f'compute target {name!r}: there is no folder {shared!r}, its setting "shared"')
    address, timeout_s = setting["address"], setting.get("timeout", TIMEOUT_S)
    with _guard:
        key = os.getpid(), address, timeout_s
        client = _clients.get(key)
        if client is None or client.status != "running":
            if client is not None:
                client.close()
            try:
                client = distributed.Client(address, timeout=timeout_s, set_as_default=False, name="pipelite")
            except (OSError, ValueError) as exc:
                raise ComputeTargetError(
                    f"compute target {name!r}: no Dask scheduler answers at {address}: {exc}; start one "
                    f"(`dask scheduler`), or correct Workspace().compute[{name!r}]"
                ) from exc
            if not _clients:
                atexit.register(_close_clients)
            _clients[key] = client
    return DaskTarget(name, client.get_executor(), shared)


def _close_clients() -> None:
    for (pid, *_), client in _clients.items():
        if pid == os.getpid():
            client.close()


def _address_of(client: Any) -> str:
    return str(client.scheduler.address if client.scheduler is not None else "")
