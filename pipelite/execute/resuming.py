"""What a run that is continued need not do again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelite.execute.state import NodeRun
from pipelite.records import Status
from pipelite.store import EarlierStepRun, Store, decode_outputs

_DONE = (Status.COMPLETED.value, Status.REUSED.value)


class Resumption:
    """The step runs that a run had when it was interrupted, and which of them count."""

    def __init__(self, store: Store, earlier: Mapping[int, EarlierStepRun]) -> None:
        self._store = store
        self._earlier = earlier
        self._done: set[int] = set()

    def is_done(self, state: NodeRun) -> bool:
        """Whether a planned node was done before; then it has its outputs now.

        It was if the step run at its place was made under the same key, by this very run: so it counts also where no
        other run might reuse it, because it returned nothing or is never cached.
        """
        earlier = self._earlier.get(state.node.position)
        if earlier is None or earlier.status not in _DONE or not _is_same(earlier, state):
            return False
        outputs = decode_outputs(earlier.outputs)
        if not all(self._store.artifacts.is_intact(ref) for ref in outputs.values()):
            return False
        state.status, state.attempts = Status(earlier.status), earlier.attempts
        state.outputs, state.form = outputs, earlier.form
        self._done.add(state.node.position)
        return True

    def was_done(self, state: NodeRun) -> bool:
        """Whether a node was taken as done."""
        return state.node.position in self._done

    def takes_place(self, state: NodeRun) -> bool:
        """Whether a planned node that is not done stands where another one was, which may have logged something."""
        earlier = self._earlier.get(state.node.position)
        if earlier is None or _is_same(earlier, state):
            return False
        return earlier.status in _DONE or (earlier.key is not None and earlier.attempts > 0)

    def attempts_of(self, state: NodeRun) -> int:
        """How often a node was started before."""
        earlier = self._earlier.get(state.node.position)
        return earlier.attempts if earlier is not None and earlier.name == state.node.name else 0

    def key_of(self, state: NodeRun) -> str | None:
        """The key that a node had, if it had one."""
        earlier = self._earlier.get(state.node.position)
        return None if earlier is None else earlier.key

    def status_of(self, state: NodeRun) -> Status | None:
        """How the step run at the place of a node had ended; None if there was none."""
        earlier = self._earlier.get(state.node.position)
        return None if earlier is None else Status(earlier.status)

    def duration_of(self, state: NodeRun) -> float:
        """Seconds that a node took before."""
        earlier = self._earlier.get(state.node.position)
        return 0.0 if earlier is None else earlier.duration_s or 0.0

    def describe(self, position: int) -> str:
        """The step run that was at a position, for a sentence."""
        earlier = self._earlier.get(position)
        return f"step {position}" if earlier is None else repr(earlier.name)

    def is_same(self, state: NodeRun) -> bool:
        """Whether a planned node has the name and the key that it had before."""
        earlier = self._earlier.get(state.node.position)
        return earlier is not None and _is_same(earlier, state)

    def left_over(self, states: Sequence[NodeRun]) -> list[int]:
        """Positions of step runs that have no node any more: an expander did not make it again."""
        return [
            position
            for position in self._earlier
            if position < len(states) and states[position].node.position != position
        ]


def _is_same(earlier: EarlierStepRun, state: NodeRun) -> bool:
    return (earlier.key, earlier.name) == (state.key, state.node.name)
