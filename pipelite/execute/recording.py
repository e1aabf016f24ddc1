"""Gathers what happened into rows and writes them in groups: the run's owner is the only writer of its records."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelite.define import Step
from pipelite.execute.messages import Outcome
from pipelite.execute.spool import SpoolReader
from pipelite.execute.state import NodeRun
from pipelite.fingerprint import ENVIRONMENT, digest, qualified_name
from pipelite.records import ArtifactRef, Status
from pipelite.store import RunWriter, now_text, to_json

#: Rows wait for company up to this long; what a step logged is to be visible within a second.
COMMIT_EVERY_S = 0.1
#: With this many rows in waiting, a commit costs little per row.
COMMIT_AT_ROWS = 1000
#: This many are written when there is nothing else to do, so that less is left for the end.
COMMIT_IDLE_ROWS = 200


class Recorder:
    """The records of one run, on their way to the database."""

    def __init__(self, writer: RunWriter, spool_folder: Path) -> None:
        self._writer = writer
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
        self._last_commit = time.monotonic()
        self._names: dict[int, str] = {}

    def start_tags(self, tags: Mapping[str, str]) -> None:
        self._tags = dict(tags)

    def add_computed(self, state: NodeRun, outcome: Outcome, log_file: str, *, reason: str | None) -> None:
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
            json.dumps([earlier.name for earlier in node.after]) if node.after else "[]",
            ENVIRONMENT,
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
            state, computed_by=computed_by, reason=reason, started_at=now, ended_at=now, duration_s=0.0
        )

    def add_ended(self, state: NodeRun, *, reason: str | None = None, **figures: Any) -> None:
        """A step run that ended without an outcome: skipped, canceled, or its worker died."""
        self._step_runs[state.id] = self._row(state, reason=reason, ended_at=now_text(), **figures)

    def add_running(self, state: NodeRun, started_at: float, log_file: str, log_start: int) -> None:
        """A step run that has been going on for a while."""
        self._step_runs[state.id] = self._row(
            state, started_at=_from_epoch(started_at), log=(log_file, log_start, None)
        )

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

    def spool_offset(self, name: str) -> int:
        """How far a spool has been read."""
        reader = self._spools.get(name)
        return 0 if reader is None else reader.offset

    def read_spool(self, name: str, states: list[NodeRun]) -> None:
        """Take over what steps logged since the last look."""
        reader = self._spools.get(name)
        if reader is None:
            reader = self._spools[name] = SpoolReader(self._spool_folder / name)
        for record in reader.read():
            if record["kind"] == "tag":
                self._tags[record["name"]] = record["value"]
                self._new_tags = True
                continue
            state = states[record["position"]]
            if state.id not in self._step_runs and state.status is Status.PENDING:
                # The row that a metric belongs to has to be there first.
                self._step_runs[state.id] = self._row(state, status=Status.RUNNING, started_at=record["at"])
            if record["kind"] in ("image", "file"):
                value = record["value"]
                self._artifacts[value["digest"], value["kind"]] = (*value.values(), now_text())
            self._metrics.append(
                (
                    state.id,
                    record["name"],
                    record["kind"],
                    record["step"],
                    json.dumps(record["value"], separators=(",", ":")),
                    record["at"],
                )
            )

    def read_grown_spools(self, names: Iterable[str], states: list[NodeRun]) -> None:
        for name in names:
            if name not in self._spools or self._spools[name].has_grown():
                self.read_spool(name, states)

    def is_worth_it(self) -> bool:
        """Whether so much waits that an idle moment is well used for a commit."""
        return len(self._step_runs) >= COMMIT_IDLE_ROWS

    def is_due(self) -> bool:
        """Whether it is time for a commit."""
        waiting = len(self._step_runs) + len(self._metrics) + len(self._released)
        return waiting >= COMMIT_AT_ROWS or (
            bool(waiting or self._new_tags) and time.monotonic() - self._last_commit > COMMIT_EVERY_S
        )

    def commit(self, **run: Any) -> None:
        """Write everything that waits, and what is given of the run itself, in one transaction."""
        if self._new_tags:
            run["tags"] = self._tags
        if not (self._step_runs or self._metrics or self._artifacts or self._results or self._released or run):
            self._last_commit = time.monotonic()
            return
        self._writer.commit(
            step_runs=self._step_runs.values(),
            results=self._results,
            released=self._released.items(),
            artifacts=self._artifacts.values(),
            metrics=self._metrics,
            **run,
        )
        self._step_runs = {}
        self._results = []
        self._released = {}
        self.unwritten = set()
        self._artifacts = {}
        self._metrics = []
        self._new_tags = False
        self._last_commit = time.monotonic()

    def give_up(self, **run: Any) -> None:
        """Write only how the run ended, since something of the rest may be what cannot be written."""
        self._writer.commit(ended_at=datetime.now(UTC), **run)

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
        log: tuple[str | None, int | None, int | None] = (None, None, None),
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
            json.dumps([earlier.name for earlier in node.after]) if node.after else "[]",
            ENVIRONMENT,
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
            *log,
        )

    def _name_of(self, step: Step[..., Any]) -> str:
        name = self._names.get(id(step))
        if name is None:
            name = self._names[id(step)] = qualified_name(step.func)
        return name


def format_failure(step: str, failure: Any) -> str:
    """Text of a failed step: the step, the message, the traceback."""
    head = f"step {step!r} failed: {failure.type_name}: {failure.message}"
    return f"{head}\n\n{failure.traceback}".rstrip() if failure.traceback else head


def _from_epoch(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
