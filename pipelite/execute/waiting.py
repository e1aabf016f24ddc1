"""Single flight: a step whose equal is under way in another run waits for its result, and its slot works on others.

Only steps that were sent to a worker hold claims, and a worker waits for nobody: so no two runs wait for each other. The one
exception is a run that a step has started, whose worker does wait: it may hold up the very step that it waits for, if that
comes next in the same worker, or has itself started a run that waits for this one. Such a run looks for circles while it
waits, and computes what it would wait for for ever.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from pipelite.clock import CLOCK
from pipelite.execute.recording import Recorder
from pipelite.execute.state import NodeRun
from pipelite.execute.threads import STEP_WORKERS_VARIABLE
from pipelite.records import Claim, Status
from pipelite.store import NONE_REFUSED, Refusals, RunWriter, Store, Wish, find_circles, find_claims, get_version

#: Seconds between two looks at what is waited for: soon at first, for work that is short.
FIRST_LOOK_S = 0.01
LONGEST_LOOK_S = 0.1


class SingleFlight:
    """The claims of one run, and those of its steps that wait for the claims of others."""

    def __init__(self, store: Store, writer: RunWriter, recorder: Recorder) -> None:
        self._store = store
        self._writer = writer
        self._recorder = recorder
        self._parked: dict[str, NodeRun] = {}
        #: The workers that this run keeps busy while it waits.
        self._inside = os.environ.get(STEP_WORKERS_VARIABLE, "").split()
        #: Keys that would be waited for for ever.
        self._given_up: set[str] = set()
        self._look_s = FIRST_LOOK_S
        self._next_look = 0.0
        self._version = get_version(store.database.connection())
        # Nobody else is at work as long as nobody else writes: most runs never ask further.
        self._was_alone = not store.database.read("SELECT 1 FROM claims LIMIT 1")

    @property
    def is_anybody_parked(self) -> bool:
        """Whether steps wait for claims of others."""
        return bool(self._parked)

    def find_others(self, keys: Sequence[str]) -> Mapping[str, Claim]:
        """Who else is at work on each of many keys."""
        if self._was_alone and get_version(self._store.database.connection()) == self._version:
            return {}
        wanted = [key for key in keys if key not in self._given_up] if self._given_up else keys
        return find_claims(self._store, wanted, run_id=self._writer.run_id)

    def claim(self, batch: list[NodeRun]) -> Refusals:
        """Claim the steps of a batch in one transaction, right before it is sent."""
        wishes = [
            Wish(state.key, state.id, state.node.name, state.decision.known)
            for state in batch
            if state.key is not None
            and state.decision is not None
            and state.decision.is_shared
            and state.key not in self._given_up
        ]
        if not wishes:
            return NONE_REFUSED
        refusals = self._writer.claim(wishes, version=self._version)
        self._recorder.keep_claims([wish.key for wish in wishes])
        return refusals

    def park(self, state: NodeRun, claim: Claim) -> str:
        """Set a step aside until the claim that it met is gone; gives the reason for people."""
        assert state.key is not None
        where = "this process" if claim.owner == self._writer.owner else "another process"
        reason = f"waits for step {claim.step!r} of run {claim.run_id} in {where}"
        state.status = Status.PENDING
        self._parked[state.key] = state
        self._look_s = FIRST_LOOK_S
        self._next_look = CLOCK.monotonic() + self._look_s
        self._recorder.add_waiting(state, reason)
        self._tell()
        return reason

    def bring_back(self) -> Iterable[NodeRun]:
        """Steps that wait no more: what they waited for is stored, or was given up."""
        now = CLOCK.monotonic()
        if not self._parked or now < self._next_look:
            return ()
        held = find_claims(self._store, list(self._parked), run_id=self._writer.run_id)
        if self._inside and held:
            self._given_up |= find_circles(self._store, held, run_id=self._writer.run_id, inside=self._inside)
        freed = [self._parked.pop(key) for key in list(self._parked) if key not in held or key in self._given_up]
        if freed:
            self._tell()
        # One that an expander has stopped meanwhile is not to come back.
        freed = [state for state in freed if not state.is_final]
        self._look_s = FIRST_LOOK_S if freed else min(1.5 * self._look_s, LONGEST_LOOK_S)
        self._next_look = now + self._look_s
        return freed

    def _tell(self) -> None:
        """Let others know, who may wait for one of the workers that this run keeps busy."""
        if self._inside:
            self._recorder.set_waits({"keys": list(self._parked), "inside": self._inside} if self._parked else {})

    def seconds_to_look(self, most: float) -> float:
        """How long the coordinator may wait for something else."""
        return min(most, max(0.0, self._next_look - CLOCK.monotonic())) if self._parked else most
