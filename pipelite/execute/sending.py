"""Turns a node into what a worker is sent: references for stored values, the rest by value."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelite.define import Expander, Item, Output, Step, iter_handles, replace_handles
from pipelite.execute.functions import hold_function, script_file, ship_function
from pipelite.execute.messages import Nested, Packed, RunSetup, ShippedFunction, Stored, WorkItem
from pipelite.execute.state import NodeRun
from pipelite.execute.threads import make_worker_environment
from pipelite.fingerprint import main_name
from pipelite.fingerprint.tracked import TrackedData
from pipelite.plan import Planner
from pipelite.records import RESULT, ArtifactRef
from pipelite.store import SourceFolder, Store, dumps_value, get_environments_mode, keep_snapshot, temporary_prefix

#: Plain pickle brings these across as they are.
_PLAIN = frozenset({int, float, str, bool, type(None)})
#: A constant larger than this is stored once and loaded by each step, instead of being sent with each.
STORE_CONSTANTS_FROM_BYTES = 64 * 1024

_setups = itertools.count(1)


def make_setup(store: Store, run_id: str, pipeline: str, working_directory: str) -> RunSetup:
    """What the workers of a run are told once."""
    file, name = script_file(), main_name()
    return RunSetup(
        id=next(_setups),
        run_id=run_id,
        pipeline=pipeline,
        root=str(store.path),
        prefix=temporary_prefix(store.owner.name),
        working_directory=working_directory,
        sys_path=tuple(os.path.abspath(place) for place in sys.path),
        environment=make_worker_environment(os.environ),
        main=None if file is None or name is None else (file, name),
    )


class Sender:
    """Makes work items from the nodes of one run."""

    def __init__(self, store: Store, planner: Planner, *, is_held: Callable[[Step[..., Any]], bool]) -> None:
        self._store = store
        #: Whether a step stays in this process, so that its function need not travel.
        self._is_held = is_held
        self._planner = planner
        self._environments = get_environments_mode(store)
        self._shipped: dict[int, ShippedFunction] = {}
        self._constants: dict[int, Any] = {}
        #: Whether all steps that may have to run are known to be sendable.
        self.is_ready = False
        #: References of constants that were stored and are not yet recorded.
        self.stored_constants: list[ArtifactRef] = []

    def ship_all(self, steps: list[Step[..., Any]]) -> None:
        """Make sure that every step that may have to run can be sent, before the first one starts."""
        for step in steps:
            if isinstance(step, Expander):
                for each in step.steps:
                    self.ship(each)
            else:
                self.ship(step)
        self.is_ready = True

    def ship(self, step: Step[..., Any]) -> ShippedFunction:
        shipped = self._shipped.get(id(step))
        if shipped is None:
            prepare = hold_function if self._is_held(step) else ship_function
            shipped = self._shipped[id(step)] = prepare(
                step, self._planner.code_of(step).fingerprint, self._environments
            )
        return shipped

    def sources(self) -> dict[str, str]:
        """Own source files of all shipped functions, to their digests."""
        return {path: digest for shipped in self._shipped.values() for path, digest in shipped.code.sources.items()}

    def make_item(self, state: NodeRun, cpus: int) -> WorkItem:
        """The work item of a node whose upstream nodes are done."""
        node = state.node
        step = node.step
        args, kwargs = step.split(node.inputs)
        return WorkItem(
            position=node.position,
            name=node.name,
            function=self._shipped[id(step)].id,
            attempt=state.attempts,
            args=tuple([arg if type(arg) in _PLAIN else self._convert(state, arg) for arg in args]),
            kwargs={name: self._convert(state, arg) for name, arg in kwargs.items()} if kwargs else kwargs,
            outputs=step.outputs,
            cpus=cpus,
            records_reads=step.options.cache is not False,
            input_paths=tuple(place for path in state.paths for place in _places_of(path)),
            timeout_s=step.options.timeout_s,
        )

    def refs_of(self, state: NodeRun, item: WorkItem) -> list[ArtifactRef]:
        """Stored values that a node's function is given."""
        refs = [
            ref
            for handle in iter_handles(state.node.inputs)
            for ref in (self._planner.state_of(handle).outputs or {}).values()
        ]
        return [*refs, *(arg.ref for arg in (*item.args, *item.kwargs.values()) if type(arg) is Stored)]

    def _convert(self, state: NodeRun, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is Output:
            return self._convert_handle(value)
        if kind is Item:
            value = value.value
            # Few elements are used twice, so what becomes of them is not kept.
            return value if type(value) in _PLAIN else self._pack(state, value)
        if next(iter_handles(value), None) is not None:
            return Nested(dumps_value(replace_handles(value, self._convert_handle)))
        return self._convert_constant(state, value)

    def _convert_handle(self, handle: Output) -> Any:
        if type(handle) is Item:
            return handle.value
        state = self._planner.state_of(handle)
        outputs = state.outputs
        assert outputs is not None
        if handle.output is None and state.form != "value":
            whole = {name: Stored(ref, ()) for name, ref in outputs.items()}
            if not handle.path:
                return Nested(dumps_value(whole if state.form == "dict" else tuple(whole.values())))
            first, *rest = handle.path
            ref = outputs[first] if state.form == "dict" else list(outputs.values())[first]
            return Stored(ref, tuple(rest))
        ref = outputs[handle.output or RESULT]
        if ref.inline is not None and not handle.path and len(ref.inline) <= 64:
            value = json.loads(ref.inline)
            if type(value) in _PLAIN:
                return value
        return Stored(ref, handle.path)

    def _convert_constant(self, state: NodeRun, value: Any) -> Any:
        # By the object itself, which the graph keeps alive.
        converted = self._constants.get(id(value))
        if converted is None:
            converted = self._constants[id(value)] = self._pack(state, value)
        return converted

    def _pack(self, state: NodeRun, value: Any) -> Any:
        if isinstance(value, Path):
            return Packed(dumps_value(value))
        if isinstance(value, SourceFolder):
            snapshot = self._planner.snapshot_of(value)
            keep_snapshot(value, snapshot, self._store.artifacts)
            self.stored_constants.append(snapshot.ref)
            return Stored(snapshot.ref, ())
        size = getattr(value, "nbytes", 0)
        pickled = b"" if isinstance(size, int) and size > STORE_CONSTANTS_FROM_BYTES else dumps_value(value)
        if pickled and len(pickled) <= STORE_CONSTANTS_FROM_BYTES:
            return Packed(pickled)
        ref = self._store.artifacts.put(
            value, output="an argument", step=state.node.name, identify=self._planner.fingerprinter.value
        )
        self.stored_constants.append(ref)
        return Stored(ref, ())


def _places_of(path: Path | TrackedData) -> tuple[str, ...]:
    return path.local_paths() if isinstance(path, TrackedData) else (os.path.abspath(path),)
