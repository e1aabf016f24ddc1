"""What a run that is continued need not do again."""

from __future__ import annotations

from collections.abc import Mapping

from pipelite.execute.state import NodeRun
from pipelite.records import Status
from pipelite.store import EarlierStepRun, Store, decode_outputs

_DONE = (Status.COMPLETED.value, Status.REUSED.value)


class Resumption:
    """The step runs that a run had when it was interrupted, and which of them count."""

    def __init__(self, store: Store, earlier: Mapping[int, EarlierStepRun]) -> None:
        self._store = store
        self._earlier = earlier

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
        return True

    def takes_place(self, state: NodeRun) -> bool:
        """Whether a planned node that is not done stands where another one was."""
        earlier = self._earlier.get(state.node.position)
        return earlier is not None and earlier.status in _DONE and not _is_same(earlier, state)

    def attempts_of(self, state: NodeRun) -> int:
        """How often a node was started before."""
        earlier = self._earlier.get(state.node.position)
        return earlier.attempts if earlier is not None and earlier.name == state.node.name else 0


def _is_same(earlier: EarlierStepRun, state: NodeRun) -> bool:
    return (earlier.key, earlier.name) == (state.key, state.node.name)
