"""Hands ready steps to free slots: at once, one by one where they take long, in batches where they are tiny."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from pipelite.clock import CLOCK
from pipelite.errors import StorageError
from pipelite.execute.ending import WorkerProcess
from pipelite.execute.messages import Batch, Returned, RunSetup, WorkItem
from pipelite.execute.sending import Sender
from pipelite.execute.shared_slots import SharedSlots
from pipelite.execute.spool import Mark, MarkFile
from pipelite.execute.state import NodeRun
from pipelite.execute.targets import Target, TargetSlot
from pipelite.records import Status
from pipelite.store import FileLock

#: A batch is made to last about this long, so that others of its steps are handed on in time.
BATCH_S = 0.02
#: Sending a batch costs so much that a shorter one is not worth it.
LEAST_S = 0.0005
#: A worker hands the rest of a batch back after this long: the estimate was wrong.
BUDGET_S = 0.1
#: What a worker does around a tiny step.
OVERHEAD_S = 1.5e-5
#: Steps estimated below this go in batches, and a slot gets its next batch while it works on one.
TINY_S = 0.005
#: A worker that was sent this many functions is replaced: a program that makes lambdas for ever would fill it.
MOST_FUNCTIONS = 1000
#: Seconds per step as last measured in this process, by the digest of its code.
_durations: dict[str, float] = {}


class Doom(NamedTuple):
    """Why a worker was ended on purpose."""

    #: In words, or what becomes of its step because the run ends.
    why: str | Status
    #: The step that is to blame.
    step: NodeRun | None


class Lease:
    """Slots held for the steps of one run: one that works, and those it needs the cores of."""

    def __init__(self, target: Target, slots: list[TargetSlot], locks: list[FileLock], mark_folder: Path) -> None:
        self.target = target
        self.slots = slots
        #: What keeps other runs from using the slots meanwhile.
        self.locks = locks
        self.since = CLOCK.monotonic()
        #: Whether another run is to have a slot of it as soon as it is idle.
        self.is_to_yield = False
        self.batches: deque[list[NodeRun]] = deque()
        #: Set when the worker is ended on purpose.
        self.doom: Doom | None = None
        #: Largest resident size of the worker at the step it is at, as of the last look.
        self.memory_seen: int | None = None
        #: The worker's process, where it is a child of this one.
        self.worker: WorkerProcess | None = None
        #: Name of the worker's files, once it is known.
        self.files: str | None = None
        #: The mark that was seen at the last look; of the one that the records have the number, and how many batches
        #: the worker had then.
        self.seen: Mark | None = None
        self.recorded: tuple[int, int] | None = None
        #: The batch that was first in line at the last look, and since when (monotonic).
        self.first_in_line: tuple[list[NodeRun], float] | None = None
        self._mark_folder = mark_folder
        self._mark: MarkFile | None = None
        self._mark_of: str | None = None

    @property
    def slot(self) -> TargetSlot:
        return self.slots[0]

    @property
    def name(self) -> str:
        """Name of its worker's files in the spool and log folders."""
        return f"{self._mark_folder.name}/{self.files}"

    def read_mark(self) -> Mark | None:
        """Which step the worker is at; None before the first."""
        if self.files is None:
            self.files = self.slot.files_name()
        if self.files is None or not self._has_mark(self.files):
            return None
        mark = self._open_mark(self.files).get()
        return mark if mark.number else None

    def hold_back(self) -> None:
        """Have the worker start no further step of what it was sent; they come back."""
        # What stands in line at a target elsewhere need not begin.
        self.slot.cancel(now=False)
        # A worker that is not ready yet is to find it there; on a full disk it has other reasons not to start.
        if self.files is not None:
            with contextlib.suppress(StorageError):
                self._open_mark(self.files).stop()

    def _has_mark(self, files: str) -> bool:
        return self._mark_of == files or (self._mark_folder / f"{files}.mark").exists()

    def _open_mark(self, files: str) -> MarkFile:
        if self._mark is None or self._mark_of != files:
            self.close()
            self._mark, self._mark_of = MarkFile(self._mark_folder / f"{files}.mark"), files
        return self._mark

    def close(self) -> None:
        if self._mark is not None:
            self._mark.close()
            self._mark = None
            self._mark_of = None


class Dispatcher:
    """The leases of one run."""

    def __init__(
        self,
        target: Target,
        sender: Sender,
        setup: RunSetup,
        mark_folder: Path,
        returned: Callable[[Lease, list[NodeRun], Future[bytes]], None],
        claim: Callable[[list[NodeRun]], list[NodeRun]],
        shared: SharedSlots | None,
    ) -> None:
        self.target = target
        self._sender = sender
        self._setup = target.adapt(setup)
        self._mark_folder = mark_folder
        self._returned = returned
        self._claim = claim
        self._shared = shared
        self.leases: list[Lease] = []
        self.queue: deque[NodeRun] = deque()
        #: Positions of steps that were lost together with others: sent alone, the next loss tells whose it is.
        self._singly: set[int] = set()

    def dispatch(self) -> None:
        """Send as much of the queue as there is room for."""
        while self.queue:
            state = self.queue[0]
            cpus = min(state.node.step.options.cpus, self.target.size)
            lease = self._find_room(state, cpus)
            if lease is None:
                return
            batch = self._claim(self._take_batch(cpus))
            if batch:
                self._send(lease, batch, cpus)

    def release_idle(self) -> None:
        """Give back the slots that have nothing to do."""
        if self._shared is not None and not self.queue:
            self._shared.rest()
        idle = [lease for lease in self.leases if not lease.batches]
        for lease in idle:
            self.leases.remove(lease)
            lease.close()
            if self._shared is not None:
                self._shared.release(lease.locks)
            self.target.release(lease.slots)

    def close(self) -> None:
        """The run is over."""
        if self._shared is not None:
            self._shared.close()

    def send_singly(self, batch: list[NodeRun]) -> None:
        """Send each of these steps alone from now on."""
        self._singly.update(state.node.position for state in batch)

    def find_wait(self) -> str | None:
        """What the run waits for, in words, if it has waited in line for a slot for a moment."""
        return None if self._shared is None else self._shared.find_wait()

    def running_count(self) -> int:
        return sum(len(lease.batches) for lease in self.leases)

    def _find_room(self, state: NodeRun, cpus: int) -> Lease | None:
        for lease in self.leases:
            if not lease.batches and len(lease.slots) == cpus and not self._must_yield(lease):
                return lease
        found = self._acquire(cpus)
        if found is None:
            # A lease of another size stands idle: its slots may be what is missing.
            if any(not lease.batches for lease in self.leases):
                self.release_idle()
                found = self._acquire(cpus)
        if found is not None:
            self._refresh(found.slot)
            self.leases.append(found)
            return found
        if cpus == 1 and self.target.takes_ahead and self._estimate(state) < TINY_S:
            for lease in self.leases:
                is_room = len(lease.batches) == 1 and len(lease.slots) == 1 and self._is_tiny(lease.batches[0])
                if is_room and not self._must_yield(lease):
                    return lease
        return None

    def _acquire(self, cpus: int) -> Lease | None:
        """Take slots of this process, and keep other runs of the workspace from using as many."""
        locks: list[FileLock] = []
        if self._shared is not None:
            taken = self._shared.acquire(cpus)
            if taken is None:
                return None
            locks = taken
        slots = self.target.acquire(cpus)
        if slots is None:
            if self._shared is not None:
                self._shared.release(locks)
            return None
        return Lease(self.target, slots, locks, self._mark_folder)

    def _must_yield(self, lease: Lease) -> bool:
        # Once said it holds until the lease is idle and released: the slot works ahead, on a batch of tiny steps.
        if self._shared is not None and not lease.is_to_yield:
            lease.is_to_yield = self._shared.must_yield(lease.since)
        return lease.is_to_yield

    def _refresh(self, slot: TargetSlot) -> None:
        """Replace a worker that holds an older version of the code, or more functions than it will need again."""
        if len(slot.functions) > MOST_FUNCTIONS:
            slot.replace()
            return
        for path, digest in self._sender.sources().items():
            if slot.sources.get(path, digest) != digest:
                slot.replace()
                return

    def _take_batch(self, cpus: int) -> list[NodeRun]:
        queue = self.queue
        first = queue.popleft()
        batch = [first]
        total = self._estimate(first)
        if cpus > 1 or total >= TINY_S:
            return batch
        if self._singly and first.node.position in self._singly:
            return batch
        # Never more than a fair share of what is ready: the slots are to end at about the same time. A difference of
        # less than LEAST_S between them does not matter.
        most = max(len(queue) // (2 * self.target.size), min(len(queue), int(LEAST_S / total)))
        while len(batch) < most and total < BATCH_S:
            following = queue[0]
            estimate = self._estimate(following)
            if following.node.step.options.cpus > 1 or estimate >= TINY_S:
                break
            batch.append(queue.popleft())
            total += estimate
        return batch

    def _send(self, lease: Lease, batch: list[NodeRun], cpus: int) -> None:
        for state in batch:
            self._sender.ship(state.node.step)
            state.attempts += 1
        items = tuple([self._sender.make_item(state, cpus) for state in batch])
        if self.target.exchange is not None:
            for state, item in zip(batch, items, strict=True):
                self.target.exchange.send(self._sender.refs_of(state, item))
        try:
            future = self._submit(lease.slot, batch, items)
        except RuntimeError:
            # Its worker died while it had nothing to do: no step of this run is to blame.
            if lease.batches:
                # What it was sent before comes back as a death, and this with it.
                lease.batches.append(batch)
                return
            lease.slot.replace()
            future = self._submit(lease.slot, batch, items)
        lease.batches.append(batch)
        lease.worker, lease.files = lease.slot.worker, lease.slot.files_name()
        future.add_done_callback(lambda done: self._returned(lease, batch, done))

    def _submit(self, slot: TargetSlot, batch: list[NodeRun], items: tuple[WorkItem, ...]) -> Future[bytes]:
        functions = []
        for state in batch:
            shipped = self._sender.ship(state.node.step)
            if shipped.id not in slot.functions:
                functions.append(shipped)
                slot.functions.add(shipped.id)
                slot.sources.update(shipped.code.sources)
        setup = None if slot.setup == self._setup.id else self._setup
        slot.setup = self._setup.id
        return slot.submit(Batch(setup, tuple(functions), items, BUDGET_S))

    def _estimate(self, state: NodeRun) -> float:
        return _durations.get(state.code or "", TINY_S)

    def _is_tiny(self, batch: list[NodeRun]) -> bool:
        return all(self._estimate(state) < TINY_S for state in batch)


def learn_durations(batch: list[NodeRun], returned: Returned) -> None:
    """Remember how long steps take, what the worker does around them included."""
    spent: dict[str, list[float]] = {}
    for state, outcome in zip(batch, returned.outcomes, strict=False):
        spent.setdefault(state.code or "", []).append(outcome.duration_s + OVERHEAD_S)
    for code, times in spent.items():
        latest = sum(times) / len(times)
        before = _durations.get(code)
        _durations[code] = latest if before is None or latest > before else (before + latest) / 2
    if len(_durations) > 10_000:
        _durations.clear()
