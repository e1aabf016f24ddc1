"""Gathers what happened into rows and writes them in groups: the run's owner is the only writer of its records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelite.clock import CLOCK
from pipelite.define import Node, Step, describe_place, iter_handles
from pipelite.execute.messages import Outcome
from pipelite.execute.spool import SpoolReader
from pipelite.execute.state import NodeRun
from pipelite.fingerprint import digest, qualified_name
from pipelite.plan import uses_of
from pipelite.records import ArtifactRef, Status
from pipelite.store import RunWriter, now_text, to_json

#: Rows wait for company up to this long; what a step logged is to be visible within a second.
COMMIT_EVERY_S = 0.1
#: With this many rows in waiting, a commit costs little per row.
COMMIT_AT_ROWS = 1000
#: The row of a step that took longer than this is written as soon as there is nothing else to do: it would be a pity to
#: do it again.
COSTLY_S = 0.05
#: This many are written when there is nothing else to do, so that less is left for the end.
COMMIT_IDLE_ROWS = 200


class Recorder:
    """The records of one run, on their way to the database."""

    def __init__(
        self, writer: RunWriter, spool_folder: Path, *, hear: Callable[[NodeRun, str, Any, int | None], None]
    ) -> None:
        self._writer = writer
        self._hear = hear
        self._spool_folder = spool_folder
        self._spools: dict[str, SpoolReader] = {}
        self._step_runs: dict[int, tuple[Any, ...]] = {}
        self._results: list[tuple[Any, ...]] = []
        self._released: dict[str, int] = {}
        #: Keys whose results wait to be written: they are not found yet.
        self.unwritten: set[str] = set()
        self._artifacts: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._metrics: list[tuple[Any, ...]] = []
        self._tags: dict[str, str] = {}
        self._new_tags = False
        self._growth: list[tuple[Any, ...]] = []
        #: Whether an expander has made steps, and that is still to be written.
        self.has_made = False
        self._outputs: dict[str, Any] | None = None
        self._total: int | None = None
        self._waits: Mapping[str, Any] | None = None
        #: Steps that were last recorded as behind another one.
        self._behind: set[int] = set()
        self._last_commit = CLOCK.monotonic()
        self._names: dict[int, str] = {}
        #: Spools of which more was read than the database knows.
        self._new_spools = False
        #: Steps that have ended in their worker, but whose outcome did not come yet, and when; until that is written.
        self._printed: dict[int, str] = {}
        #: Where the output of such steps is. If their worker dies, their outcome never comes.
        self._logs: dict[int, tuple[str | None, int | None, int | None]] = {}
        #: Whether a step that took long waits to be written.
        self._has_costly = False
        self._replaced: list[int] = []
        #: Registered datasets that steps read.
        self._uses: list[tuple[int, str, int]] = []

    @property
    def run_id(self) -> str:
        return self._writer.run_id

    def start_tags(self, tags: Mapping[str, str]) -> None:
        self._tags = dict(tags)

    def add_computed(self, state: NodeRun, outcome: Outcome, log_file: str | None, *, reason: str | None) -> None:
        """A step run that ended in a worker, completed or failed for good."""
        node, failure = state.node, state.failure
        # Written out, and not by `_row`: this is the hottest place of a run that computes.
        self._step_runs[state.id] = (
            state.id,
            self._writer.run_id,
            node.position,
            node.name,
            self._name_of(node.step),
            state.status.value,
            state.key,
            state.code,
            state.inputs,
            _names_before(node) if node.after or node.conditions else "[]",
            state.environment,
            outcome.outputs if failure is None else None,
            outcome.form,
            None,
            reason,
            state.attempts,
            outcome.started_at,
            outcome.ended_at,
            outcome.duration_s,
            outcome.cpu_s,
            outcome.peak_memory_bytes,
            None if failure is None else format_failure(node.name, failure),
            to_json(dict(outcome.reads)) if outcome.reads else "{}",
            log_file,
            outcome.log_start,
            outcome.log_end,
        )
        if self._logs:
            self._printed.pop(node.position, None)
            self._logs.pop(node.position, None)
        if outcome.duration_s > COSTLY_S:
            self._has_costly = True
        if outcome.reads:
            self._uses += uses_of(node.position, [path for path, _ in outcome.reads])
        if outcome.artifacts:
            now = now_text()
            for artifact in outcome.artifacts:
                self._artifacts[artifact[:2]] = (*artifact, now)

    def add_result(self, state: NodeRun, outcome: Outcome) -> None:
        """What a step run computed may be taken by others from now on."""
        reads_digest = digest("reads", repr(outcome.reads).encode()) if outcome.reads else ""
        self._results.append((state.key, reads_digest, state.id))
        self.unwritten.add(state.key or "")

    def release_claim(self, state: NodeRun) -> None:
        """Others may do what a step run did not: it gives up its claim, if it has one, with the next commit."""
        if state.key is not None and state.decision is not None and state.decision.is_shared:
            self._released[state.key] = state.id
        if state.id in self._behind:
            self._behind.discard(state.id)
            self._step_runs[state.id] = self._row(state)

    def keep_claims(self, keys: Iterable[str]) -> None:
        """Claims that were to be given up were made again."""
        if self._released:
            for key in keys:
                self._released.pop(key, None)

    def add_waiting(self, state: NodeRun, reason: str) -> None:
        """A step run that waits for another run."""
        self._step_runs[state.id] = self._row(state, reason=reason)

    def add_reused(self, state: NodeRun, computed_by: int, now: str, reason: str | None = None) -> None:
        self._step_runs[state.id] = self._row(
            state,
            computed_by=computed_by,
            reason=reason,
            started_at=now,
            ended_at=now,
            duration_s=0.0,
            log=(None, None, None),
        )

    def add_ended(self, state: NodeRun, *, reason: str | None = None, **figures: Any) -> None:
        """A step run that ended without an outcome: skipped, canceled, or its worker died."""
        self._step_runs[state.id] = self._row(state, reason=reason, ended_at=now_text(), **figures)

    def add_grown(self, state: NodeRun, *, started_at: str, **figures: Any) -> None:
        """A step run of an expander: it goes on, or with a duration has completed."""
        is_over = "duration_s" in figures
        self._step_runs[state.id] = self._row(
            state,
            status=Status.COMPLETED if is_over else Status.RUNNING,
            started_at=started_at,
            ended_at=now_text() if is_over else None,
            **figures,
        )

    def add_running(self, state: NodeRun, started_at: float, log_file: str, log_start: int) -> None:
        """A step run that has been going on for a while."""
        self._step_runs[state.id] = self._row(state, started_at=from_epoch(started_at), log=(log_file, log_start, None))

    def add_behind(self, state: NodeRun, log_file: str, reason: str) -> None:
        """A step run that a worker was sent, and comes to when the one it is at has ended, which takes a while."""
        self._step_runs[state.id] = self._row(state, reason=reason, log=(log_file, 0, 0))
        self._behind.add(state.id)

    def add_artifact(self, ref: ArtifactRef) -> None:
        if ref.inline is None:
            row = (
                ref.digest,
                ref.kind,
                ref.path,
                ref.size_bytes,
                ref.mtime_ns,
                ref.file_digest,
                ref.type_name,
                now_text(),
            )
            self._artifacts[row[:2]] = row

    def add_growth(self, state: NodeRun, kind: str, value: Any) -> None:
        """What an expander did, or was told, in order: a resume drives it through the same again."""
        self._growth.append((self._writer.run_id, state.node.position, kind, to_json(value)))
        self.has_made = self.has_made or kind == "made"

    def set_outputs(self, outputs: Mapping[str, Any]) -> None:
        """Where the outputs of the pipeline come from, now that more is known."""
        self._outputs = {name: describe_place(value) for name, value in outputs.items()}

    def set_total(self, n_steps: int) -> None:
        """How many steps the run has as far as is known."""
        self._total = n_steps

    def set_waits(self, waits: Mapping[str, Any]) -> None:
        """What the run waits for now; empty if nothing."""
        self._waits = waits

    def spool_offset(self, name: str) -> int:
        """How far a spool has been read."""
        reader = self._spools.get(name)
        return 0 if reader is None else reader.offset

    def read_spool(self, name: str, states: list[NodeRun]) -> None:
        """Take over what steps logged since the last look."""
        reader = self._spools.get(name)
        if reader is None:
            reader = self._spools[name] = SpoolReader(self._spool_folder / name)
        self.take_records(name, reader.read(), states)

    def take_records(self, name: str, records: Iterable[dict[str, Any]], states: list[NodeRun]) -> None:
        """Take over what steps logged, from records of the spool of that name."""
        for record in records:
            self._new_spools = True
            if record["kind"] == "printed":
                self._printed[record["position"]] = record["at"]
                log_file = f"{name.removesuffix('.jsonl')}.log"
                self._logs[record["position"]] = (log_file, record["start"], record["end"])
                continue
            if record["kind"] == "tag":
                self._tags[record["name"]] = record["value"]
                self._new_tags = True
                continue
            state = states[record["position"]]
            if state.id not in self._step_runs and state.status is Status.PENDING:
                # The row that a metric belongs to has to be there first.
                self._step_runs[state.id] = self._row(state, status=Status.RUNNING, started_at=record["at"])
            if record["kind"] in ("image", "file"):
                row = artifact_row(record)
                self._artifacts[row[:2]] = row
            if state.parent is not None and record["kind"] == "scalar":
                self._hear(state, record["name"], record["value"], record["step"])
            self._metrics.append(metric_row(record, state.id))

    def read_grown_spools(self, names: Iterable[str], states: list[NodeRun]) -> None:
        for name in names:
            if name not in self._spools or self._spools[name].has_grown():
                self.read_spool(name, states)

    def add_printed(self, states: list[NodeRun]) -> None:
        """Record where the output is of steps that have ended in their worker, in case that nothing more comes."""
        printed, self._printed = self._printed, {}
        for position, started_at in printed.items():
            state = states[position]
            if not state.is_final:
                self._step_runs[state.id] = self._row(state, status=Status.RUNNING, started_at=started_at)

    def read_all_spools(self, states: list[NodeRun]) -> None:
        """Take over the last of what was logged: also by threads and processes that outlived their step."""
        self.read_grown_spools(list(self._spools), states)

    def replace(self, step_run_ids: Iterable[int]) -> None:
        """Step runs from before the run was resumed make way for others, or have no place any more."""
        self._replaced += step_run_ids

    def is_worth_it(self) -> bool:
        """Whether so much waits that an idle moment is well used for a commit."""
        return self._has_costly or len(self._step_runs) >= COMMIT_IDLE_ROWS

    def is_due(self) -> bool:
        """Whether it is time for a commit."""
        waiting = len(self._step_runs) + len(self._metrics) + len(self._growth) + len(self._released)
        return waiting >= COMMIT_AT_ROWS or (
            bool(waiting or self._new_tags or self._new_spools or self._waits is not None)
            and CLOCK.monotonic() - self._last_commit > COMMIT_EVERY_S
        )

    def commit(self, **run: Any) -> None:
        """Write everything that waits, and what is given of the run itself, in one transaction."""
        if self._new_tags:
            run["tags"] = self._tags
        if self._outputs is not None:
            run["outputs"], self._outputs = self._outputs, None
        if self._total is not None:
            run["n_steps"], self._total = self._total, None
        if self._waits is not None:
            run["waits"], self._waits = self._waits, None
        if self._growth:
            run["growth"], self._growth = self._growth, []
            self.has_made = False
        if self._uses:
            run["uses"], self._uses = [*run.get("uses", ()), *self._uses], []
        if self._new_spools:
            run["spools"] = {name: spool.offset for name, spool in self._spools.items()}
        if not (self._step_runs or self._metrics or self._artifacts or self._results or self._released or run):
            self._last_commit = CLOCK.monotonic()
            return
        self._writer.commit(
            step_runs=self._step_runs.values(),
            results=self._results,
            released=self._released.items(),
            artifacts=self._artifacts.values(),
            metrics=self._metrics,
            replaced=self._replaced,
            **run,
        )
        self._step_runs = {}
        self._results = []
        self._released = {}
        self.unwritten = set()
        self._artifacts = {}
        self._metrics = []
        self._replaced = []
        self._new_tags = self._new_spools = self._has_costly = False
        self._last_commit = CLOCK.monotonic()

    def give_up(self, **run: Any) -> None:
        """Write only how the run ended, since something of the rest may be what cannot be written."""
        self._writer.commit(ended_at=CLOCK.now(), **run)

    def _row(
        self,
        state: NodeRun,
        *,
        status: Status | None = None,
        outputs: str | None = None,
        form: str = "value",
        computed_by: int | None = None,
        reason: str | None = None,
        started_at: str | None = None,
        ended_at: str | None = None,
        duration_s: float | None = None,
        cpu_s: float | None = None,
        peak_memory_bytes: int | None = None,
        reads: str = "{}",
        log: tuple[str | None, int | None, int | None] | None = None,
    ) -> tuple[Any, ...]:
        """One row in the order of STEP_RUN_COLUMNS."""
        node = state.node
        failure = state.failure
        return (
            state.id,
            self._writer.run_id,
            node.position,
            node.name,
            self._name_of(node.step),
            (status or state.status).value,
            state.key,
            state.code,
            state.inputs,
            _names_before(node) if node.after or node.conditions else "[]",
            state.environment,
            outputs,
            form,
            computed_by,
            reason,
            state.attempts,
            started_at,
            ended_at,
            duration_s,
            cpu_s,
            peak_memory_bytes,
            None if failure is None else format_failure(node.name, failure),
            reads,
            *(log or self._logs.get(node.position, (None, None, None))),
        )

    def _name_of(self, step: Step[..., Any]) -> str:
        name = self._names.get(id(step))
        if name is None:
            name = self._names[id(step)] = qualified_name(step.func)
        return name


def metric_row(record: Mapping[str, Any], step_run_id: int) -> tuple[Any, ...]:
    """The row of something that a step logged, in the order of METRIC_COLUMNS."""
    value = json.dumps(record["value"], separators=(",", ":"))
    return (step_run_id, record["name"], record["kind"], record["step"], value, record["at"])


def artifact_row(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """The row of a file that a step logged, in the order of ARTIFACT_COLUMNS."""
    return (*record["value"].values(), now_text())


def format_failure(step: str, failure: Any) -> str:
    """Text of a failed step: the step, the message, the traceback."""
    head = f"step {step!r} failed: {failure.type_name}: {failure.message}"
    return f"{head}\n\n{failure.traceback}".rstrip() if failure.traceback else head


def _names_before(node: Node) -> str:
    """Names of the nodes that one waits for without taking their output, those of its conditions included."""
    names = [earlier.name for earlier in node.after]
    names += [handle.node.name for condition, _ in node.conditions for handle in iter_handles(condition)]
    return json.dumps(list(dict.fromkeys(names)))


def from_epoch(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
