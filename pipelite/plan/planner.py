"""Gives every node its key as soon as its inputs are known, and decides what to do with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from json.encoder import encode_basestring_ascii as quote
from pathlib import Path
from typing import Any

import attrs

from pipelite.clock import CLOCK
from pipelite.define import Expander, Graph, Item, Node, Output, Step, iter_handles, replace_handles
from pipelite.errors import (
    DatasetError,
    DatastoreError,
    EnvironmentFailed,
    FingerprintError,
    UnhashableError,
    UnknownNameError,
)
from pipelite.fingerprint import (
    ENVIRONMENT,
    Fingerprinter,
    Identified,
    combine,
    compute_key,
    describe_call,
    dict_identity,
    identify,
    tuple_identity,
)
from pipelite.fingerprint.tracked import TrackedData
from pipelite.plan.decide import Decision, decide
from pipelite.plan.reads import find_changed_read, uses_of
from pipelite.records import RESULT, ArtifactRef, Claim, CodeFingerprint
from pipelite.store import Snapshot, SourceFolder, Store, take_snapshot

#: Types whose identity is cheaper to compute than to remember.
_SMALL = frozenset({int, float, str, bool, type(None)})


class PlannedNode:
    """One node on its way: what is known of it so far."""

    __slots__ = ("code", "decision", "environment", "form", "inputs", "key", "node", "outputs", "paths")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.key: str | None = None
        self.code: str | None = None
        #: Python's minor version, and what of packages it asks for.
        self.environment = ENVIRONMENT
        #: Its inputs as the store keeps them: JSON of name to identity and origin.
        self.inputs = "{}"
        #: Inputs that are files or folders, or stand for data in files.
        self.paths: tuple[Path | TrackedData, ...] = ()
        self.decision: Decision | None = None
        #: References of its outputs, once it has any.
        self.outputs: dict[str, ArtifactRef] | None = None
        self.form = "value"


@attrs.frozen
class StepCode:
    """What all calls of one step have in common."""

    fingerprint: CodeFingerprint
    #: Input names as JSON text.
    quoted: dict[str, str]
    #: Output names, one at least.
    outputs: tuple[str, ...]
    #: See `PlannedNode`.
    environment: str
    #: What its keys begin with.
    call: str


class Planner:
    """Keys and decisions for the nodes of one graph."""

    def __init__(
        self, graph: Graph, states: Sequence[PlannedNode], *, store: Store, regenerate: bool, working_directory: str
    ) -> None:
        self._states = states
        self._store = store
        self._regenerate = regenerate
        self._working_directory = working_directory
        #: Gives for many keys who else is at work on them; nobody is, as long as it is not set.
        self.find_claims: Callable[[Sequence[str]], Mapping[str, Claim]] = lambda keys: {}
        self.fingerprinter = Fingerprinter(files=store.file_cache)
        self._codes: dict[int, StepCode] = {}
        self._remembered: dict[int, str] = {}
        self._items: dict[tuple[str, str], str] = {}
        #: What the source folders of steps held when they were first looked at.
        self._snapshots: dict[SourceFolder, Snapshot] = {}
        #: Gives the identity that what a step read under a name of this form has now; raises PipeliteError if it has none.
        self.identify_read: Callable[[str], str] | None = None
        self._uses: list[tuple[int, str, int]] = []
        for step in {id(node.step): node.step for node in graph.nodes}.values():
            self._add_step(step)

    def codes(self) -> Iterable[CodeFingerprint]:
        """The code fingerprints of all steps of the graph."""
        return {code.fingerprint.digest: code.fingerprint for code in self._codes.values()}.values()

    def add_steps(self, nodes: Iterable[Node]) -> list[CodeFingerprint]:
        """Look at the steps of nodes that came later; gives the code that was not known."""
        known = {code.digest for code in self.codes()}
        for step in {id(node.step): node.step for node in nodes}.values():
            if id(step) not in self._codes:
                self._add_step(step)
        return [code for code in self.codes() if code.digest not in known]

    def _add_step(self, step: Step[..., Any]) -> None:
        if isinstance(step, Expander):
            for each in step.steps:
                self._add_step(each)
            if step.is_transparent:
                return
        self._codes[id(step)] = self._look_at(step)

    def code_of(self, step: Step[..., Any]) -> StepCode:
        return self._codes[id(step)]

    def plan(self, states: Sequence[PlannedNode]) -> None:
        """Give keys to nodes whose inputs are all there, and decide on each."""
        for state in states:
            self._give_key(state)
        wanted = [
            state.key
            for state in states
            if state.key is not None and state.node.step.options.cache is not False and not self._regenerates(state)
        ]
        stored = self._store.find_results(wanted) if wanted else {}
        # After the results: work that ends in between is then found as a claim that is gone when it is to be taken.
        claims = self.find_claims(wanted) if wanted else {}
        now = CLOCK.now()
        for state in states:
            state.decision = decision = decide(
                stored.get(state.key, ()) if state.key is not None else (),
                cache=state.node.step.options.cache,
                regenerate=self._regenerates(state),
                now=now,
                is_intact=self._store.artifacts.is_intact,
                changed_read=self._find_changed_read,
                claim=claims.get(state.key) if claims and state.key is not None else None,
            )
            if decision.result is not None and decision.result.reads:
                self._uses += uses_of(state.node.position, [read.path for read in decision.result.reads])

    def take_uses(self) -> list[tuple[int, str, int]]:
        """Position of a node, name and version of a dataset that it takes or that its result read; of the new ones."""
        uses, self._uses = self._uses, []
        return uses

    def has_changed_inputs(self, state: PlannedNode) -> Path | None:
        """An input file or folder that is not as it was when the node got its key."""
        fresh = Fingerprinter(files=self._store.file_cache)
        for path in state.paths:
            if isinstance(path, TrackedData):
                changed = path.changed_file()
                if changed is not None:
                    return Path(changed)
                continue
            try:
                if fresh.value(path) != self._remembered[id(path)]:
                    return path
            except (FingerprintError, OSError):
                return path
        return None

    def identity_of(self, handle: Output) -> str:
        """Identity of the value that a handle stands for; its node must be done."""
        if type(handle) is Item:
            return self._identify_element(handle)
        state = self._states[handle.node.position]
        outputs = state.outputs
        assert outputs is not None
        if handle.output is None and len(outputs) > 1:
            names = self._codes[id(state.node.step)].outputs
            whole = _combine_outputs(state.form, names, outputs)
        else:
            whole = outputs[handle.output or RESULT].digest
        if not handle.path:
            return whole
        return self._identify_item(handle, outputs, whole)

    def check_constants(self) -> None:
        """Identify every constant input now, so that one without a stable hash is met before any work.

        Raises
        ------
        UnhashableError
            Names the step, the argument and the place in it.
        """
        for state in self._states:
            if state.node.step.is_expander:
                # What it gives to steps is looked at with them.
                continue
            for name, value in state.node.inputs.items():
                kind = type(value)
                if kind in _SMALL or kind is Output or next(iter_handles(value), None) is not None:
                    continue
                self._identify_input(state, name, value)

    def snapshots(self) -> Mapping[SourceFolder, Snapshot]:
        """Snapshots of the source folders of all steps that may have to run."""
        return self._snapshots

    def snapshot_of(self, folder: SourceFolder) -> Snapshot:
        """What a source folder held when this run first looked at it."""
        snapshot = self._snapshots.get(folder)
        if snapshot is None:
            snapshot = self._snapshots[folder] = take_snapshot(folder, self._store.file_cache)
        return snapshot

    def state_of(self, handle: Output) -> PlannedNode:
        """The state of the node that a handle comes from."""
        return self._states[handle.node.position]

    def load(self, handle: Output) -> Any:
        """The value that a handle stands for; its node must be done."""
        if type(handle) is Item:
            return handle.value
        state = self._states[handle.node.position]
        assert state.outputs is not None
        value = load_outputs(self._store, state.outputs, state.form, handle.output)
        for part in handle.path:
            value = value[part]
        return value

    def _regenerates(self, state: PlannedNode) -> bool:
        return self._regenerate or state.node.step.options.regenerate_outputs

    def _look_at(self, step: Step[..., Any]) -> StepCode:
        options = step.options
        environment = ENVIRONMENT
        try:
            if options.environment is not None:
                environment = options.environment.identity()
            for default in step.signature.defaults.values():
                if isinstance(default, SourceFolder):
                    self.snapshot_of(default)
            fingerprint = self.fingerprinter.code(
                step.func, version=options.version, depends_on=options.depends_on, track=options.track
            )
        except (FingerprintError, EnvironmentFailed) as exc:
            raise type(exc)(f"step {step.name!r}: {exc}", step=step.name) from exc
        outputs = step.outputs or (RESULT,)
        return StepCode(
            fingerprint,
            {name: quote(name) for name in step.parameters},
            outputs,
            environment,
            describe_call(fingerprint.digest, outputs, environment),
        )

    def _give_key(self, state: PlannedNode) -> None:
        node = state.node
        code = self._codes[id(node.step)]
        identities = []
        texts = []
        for name, value in node.inputs.items():
            quoted = code.quoted[name]
            kind = type(value)
            if kind in _SMALL:
                identity = self.fingerprinter.value(value)
                texts.append(f'{quoted}:{{"id":{quote(identity)}}}')
            elif kind is Output:
                identity = self.identity_of(value)
                texts.append(f'{quoted}:{{"id":{quote(identity)},"from":[{_origin(value)}]}}')
            elif kind is Item:
                identity = self._identify_element(value, state, name)
                texts.append(f'{quoted}:{{"id":{quote(identity)},"from":[{_origin(value)}]}}')
            else:
                identity = self._identify_input(state, name, value)
                origins = ",".join(_origin(handle) for handle in iter_handles(value))
                texts.append(
                    f'{quoted}:{{"id":{quote(identity)},"from":[{origins}]}}'
                    if origins
                    else f'{quoted}:{{"id":{quote(identity)}}}'
                )
            identities.append((name, identity))
        state.code = code.fingerprint.digest
        state.environment = code.environment
        state.inputs = "{" + ",".join(texts) + "}"
        state.key = compute_key(code.call, identities)

    def _identify_input(self, state: PlannedNode, name: str, value: Any) -> str:
        if isinstance(value, SourceFolder):
            return self.snapshot_of(value).ref.digest
        # Remembered by the object itself, which the graph keeps alive: a data frame that a thousand steps share is
        # hashed once.
        remembered = self._remembered.get(id(value))
        if remembered is None:
            for path in _iter_paths(value):
                if isinstance(path, Path) and not path.exists():
                    raise FingerprintError(
                        f"step {state.node.name!r}, argument {name!r}: there is no file or folder {str(path)!r} "
                        f"(seen from {os.getcwd()})",
                        step=state.node.name,
                    )
            try:
                remembered = self.fingerprinter.value(
                    replace_handles(value, lambda handle: Identified(self.identity_of(handle)))
                )
            except UnhashableError as exc:
                step = state.node.name
                raise UnhashableError(f"step {step!r}, argument {name!r}: {exc}", step=step, argument=name) from exc
            except (FingerprintError, DatasetError, DatastoreError, UnknownNameError) as exc:
                raise type(exc)(f"step {state.node.name!r}, argument {name!r}: {exc}", step=state.node.name) from exc
            self._remembered[id(value)] = remembered
        paths = tuple(_iter_paths(value))
        if paths and state.paths[-len(paths) :] != paths:
            for path in paths:
                if id(path) not in self._remembered:
                    self._remembered[id(path)] = self.fingerprinter.value(path)
                if isinstance(path, TrackedData) and path.registered_as is not None:
                    self._uses.append((state.node.position, *path.registered_as))
            state.paths += paths
        return remembered

    def _identify_element(self, handle: Item, state: PlannedNode | None = None, name: str = "") -> str:
        """Identity of an element of a list that was loaded once for all of its elements."""
        value = handle.value
        if type(value) in _SMALL:
            return self.fingerprinter.value(value)
        if state is not None and next(iter(_iter_paths(value)), None) is not None:
            return self._identify_input(state, name, value)
        identity = self._remembered.get(id(value))
        if identity is None:
            try:
                identity = self.fingerprinter.value(value)
            except UnhashableError:
                whole = Output(handle.node, handle.output)
                identity = combine("item", (self.identity_of(whole), repr(handle.path)))
            # The graph keeps the value alive.
            self._remembered[id(value)] = identity
        return identity

    def _identify_item(self, handle: Output, outputs: dict[str, ArtifactRef], whole: str) -> str:
        """Identity of a part of an output: by its content too, so that changes beside it do not matter."""
        asked = (whole, repr(handle.path))
        identity = self._items.get(asked)
        if identity is None:
            identity = self._store.find_item_identity(*asked)
            if identity is None:
                try:
                    value = self.load(handle)
                except (LookupError, TypeError) as exc:
                    raise FingerprintError(
                        f"the output of step {handle.node.name!r} has no item {_format_path(handle.path)}: "
                        f"{type(exc).__name__}: {exc}",
                        step=handle.node.name,
                    ) from exc
                try:
                    identity = self.fingerprinter.value(value)
                except UnhashableError:
                    # Stored values need no stable hash of their own: what they are part of has an identity.
                    identity = combine("item", asked)
                self._store.keep_item_identity(*asked, identity)
            self._items[asked] = identity
        return identity

    def _find_changed_read(self, reads: Any) -> str | None:
        return find_changed_read(
            reads,
            working_directory=self._working_directory,
            files=self._store.file_cache,
            identify_read=self.identify_read,
        )


def load_outputs(store: Store, outputs: dict[str, ArtifactRef], form: str, name: str | None) -> Any:
    """Load one output, or all of a step together in the form in which its function returned them."""
    if name is not None or form == "value":
        return store.artifacts.load(outputs[name or RESULT])
    values = {key: store.artifacts.load(ref) for key, ref in outputs.items()}
    return values if form == "dict" else tuple(values.values())


def _iter_paths(value: Any) -> Iterable[Path | TrackedData]:
    if isinstance(value, (Path, TrackedData)):
        yield value
    elif type(value) is dict:
        for part in value.values():
            yield from _iter_paths(part)
    elif type(value) in (list, tuple):
        for part in value:
            yield from _iter_paths(part)


def _combine_outputs(form: str, names: Sequence[str], outputs: dict[str, ArtifactRef]) -> str:
    """Identity of all outputs together: that of the tuple or dict which holds them."""
    if form == "dict":
        return dict_identity([(identify("str", name), outputs[name].digest) for name in names])
    return tuple_identity([outputs[name].digest for name in names])


def _origin(handle: Output) -> str:
    return f"[{quote(handle.node.name)},{quote(handle.output or RESULT)}]"


def _format_path(path: tuple[Any, ...]) -> str:
    return "".join(f"[{part!r}]" for part in path)
