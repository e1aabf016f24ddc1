"""The step runs of expanders: what they return is stored as the outputs of any other step are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pipelite.clock import CLOCK
from pipelite.define import Output, iter_handles, replace_handles
from pipelite.execute.recording import Recorder
from pipelite.execute.state import NodeRun
from pipelite.fingerprint import Identified
from pipelite.plan import Planner
from pipelite.records import RESULT, ArtifactRef
from pipelite.store import Part, Store, encode_outputs, join_parts


class GrownOutputs:
    """Stores what expanders return. Outputs of their children that stand in it are referred to, not stored again."""

    def __init__(self, store: Store, planner: Planner) -> None:
        self._store = store
        self._planner = planner
        self._started: dict[int, float] = {}

    def begin(self, state: NodeRun, recorder: Recorder) -> None:
        self._started[state.node.position] = CLOCK.time()
        recorder.add_grown(state, started_at=self._started_at(state))

    def complete(self, state: NodeRun, value: Any, duration_s: float, recorder: Recorder) -> None:
        """Give a node its outputs, and its step run its last row.

        Raises
        ------
        SerializationError
            If an output cannot be stored.
        """
        names = state.node.step.outputs
        if names:
            from pipelite.execute.worker import split_outputs

            state.form, parts = split_outputs(state.node.name, names, value)
        else:
            parts = {RESULT: value}
        refs = {name: self._put(state, name, part) for name, part in parts.items()}
        for ref in refs.values():
            recorder.add_artifact(ref)
        state.outputs = refs
        recorder.add_grown(
            state,
            started_at=self._started_at(state),
            outputs=encode_outputs(refs),
            form=state.form,
            reason=None if state.decision is None else state.decision.reason,
            duration_s=duration_s,
        )

    def _started_at(self, state: NodeRun) -> str:
        moment = datetime.fromtimestamp(self._started[state.node.position], UTC)
        return moment.isoformat(timespec="microseconds")

    def _put(self, state: NodeRun, name: str, value: Any) -> ArtifactRef:
        identify = self._planner.fingerprinter.value
        step = state.node.name
        if next(iter_handles(value), None) is None:
            return self._store.artifacts.put(value, output=name, step=step, identify=identify)
        identity = identify(replace_handles(value, lambda handle: Identified(self._planner.identity_of(handle))))

        def put(part: Any) -> ArtifactRef:
            return self._store.artifacts.put(part, output=name, step=step, identify=identify)

        return join_parts(replace_handles(value, self._part), identity=identity, put=put)

    def _part(self, handle: Output) -> Any:
        state = self._planner.state_of(handle)
        outputs = state.outputs
        assert outputs is not None
        if handle.output is None and state.form != "value":
            whole = {name: Part(ref, ()) for name, ref in outputs.items()}
            return whole if state.form == "dict" else tuple(whole.values())
        return Part(outputs[handle.output or RESULT], handle.path)
