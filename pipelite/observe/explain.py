"""Why each step of a run was reused or computed, in a line that names what changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from pipelite.errors import NotFoundError
from pipelite.observe.changes import compare_keys
from pipelite.observe.tables import one_line
from pipelite.records import RESULT, CodeFingerprint, RunRecord, Status, StepRunRecord
from pipelite.store import (
    STEP_RUNS_PER_RUN,
    Store,
    get_code,
    get_previous_step_run,
    get_previous_step_runs,
    get_step_run,
    get_step_run_by_id,
    get_step_runs,
)

#: More changes than this are counted only, where each step has one line.
SHOWN_CHANGES = 3

#: How the coordinator begins its reason when a step's result must not be taken by others.
_NOT_REUSABLE = "not reusable"

_VERBS = {
    Status.COMPLETED: "computed",
    Status.FAILED: "computed, and failed",
    Status.RUNNING: "computing",
    Status.CANCELED: "canceled",
    Status.INTERRUPTED: "interrupted",
    Status.SKIPPED: "skipped",
    Status.REUSED: "reused",
}

_ENDINGS = {
    Status.FAILED: "failed",
    Status.SKIPPED: "was skipped",
    Status.CANCELED: "was canceled",
    Status.INTERRUPTED: "was interrupted",
}


@attrs.frozen(kw_only=True)
class Explanation:
    """Why one step run was reused, computed or skipped."""

    #: Name of the node.
    step: str
    status: Status
    #: In half sentences; what changed if it was computed.
    reasons: tuple[str, ...]
    #: The run that it was compared with, if it was.
    compared_with: str | None = None
    #: Run and step whose result was reused.
    reused_from: tuple[str, str] | None = None
    #: What of its code could not be seen through, in words.
    not_tracked: tuple[str, ...] = ()

    @property
    def verb(self) -> str:
        """What happened to it: "reused", "computed", ..."""
        return _VERBS.get(self.status, self.status.value)

    @property
    def line(self) -> str:
        """All of it in one line, the first few reasons only."""
        shown = list(self.reasons[:SHOWN_CHANGES])
        if len(self.reasons) > SHOWN_CHANGES:
            shown.append(f"and {len(self.reasons) - SHOWN_CHANGES} more changes")
        if self.status is Status.REUSED:
            return one_line(" ".join([self.verb, *shown]))
        return one_line(f"{self.verb}: {'; '.join(shown)}") if shown else self.verb

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "step": self.step,
            "status": self.status.value,
            "reasons": list(self.reasons),
            "compared_with": self.compared_with,
            "reused_from": None
            if self.reused_from is None
            else {"run": self.reused_from[0], "step": self.reused_from[1]},
            "not_tracked": list(self.not_tracked),
        }


def explain_run(store: Store, run: RunRecord) -> list[Explanation]:
    """Explain every step run of a run, in the order of its graph."""
    step_runs = get_step_runs(store, run.id)
    computed = [each.name for each in step_runs if each.key is not None and each.computed_by is None]
    previous = get_previous_step_runs(store, run.id, computed) if computed else {}
    return _explain(store, run, step_runs, previous)


def explain_step(store: Store, run: RunRecord, step_name: str) -> Explanation:
    """Explain one step run.

    Raises
    ------
    NotFoundError
        If the run has no such step; the message names similar ones.
    """
    step_run = get_step_run(store, run.id, step_name)
    before = get_previous_step_run(store, step_run)
    return _explain(store, run, [step_run], {} if before is None else {step_name: before})[0]


def _explain(
    store: Store, run: RunRecord, step_runs: Sequence[StepRunRecord], previous: dict[str, StepRunRecord]
) -> list[Explanation]:
    codes = _Codes(store)
    origins = _find_origins(store, step_runs)
    is_first = not _has_earlier_run(store, run)
    return [
        _explain_one(step_run, previous.get(step_run.name), origins, codes, is_first=is_first) for step_run in step_runs
    ]


def _explain_one(
    step_run: StepRunRecord,
    previous: StepRunRecord | None,
    origins: dict[int, tuple[str, str]],
    codes: _Codes,
    *,
    is_first: bool,
) -> Explanation:
    code = codes.get(step_run.code)
    reused_from = None
    compared_with = None
    if step_run.computed_by is not None:
        reused_from = origins.get(step_run.computed_by)
        reasons = [_describe_reuse(step_run, reused_from)]
    elif step_run.key is None or step_run.status is Status.SKIPPED:
        reasons = [step_run.reason] if step_run.reason else []
    else:
        reasons = []
        if step_run.reason and not step_run.reason.startswith(_NOT_REUSABLE):
            # The plan said why: something is stored under its key, and was not taken.
            reasons.append(step_run.reason)
        else:
            compared_with = None if previous is None else previous.run_id
            reasons += _compare(step_run, previous, codes, is_first=is_first)
            reasons += [step_run.reason] if step_run.reason else []
    return Explanation(
        step=step_run.name,
        status=step_run.status,
        reasons=tuple(reasons),
        compared_with=compared_with,
        reused_from=reused_from,
        not_tracked=() if code is None else code.not_tracked,
    )


def _describe_reuse(step_run: StepRunRecord, origin: tuple[str, str] | None) -> str:
    if origin is None:
        return "from a run that is no longer stored"
    run_id, name = origin
    if run_id == step_run.run_id:
        return f"from step {name!r} of this run, which is equal"
    return f"from run {run_id}" if name == step_run.name else f"from run {run_id} (step {name!r})"


def _compare(step_run: StepRunRecord, previous: StepRunRecord | None, codes: _Codes, *, is_first: bool) -> list[str]:
    if previous is None:
        return ["the first run of this pipeline" if is_first else "new step, no earlier run of this pipeline has it"]
    if previous.key == step_run.key:
        return [_why_equal_is_computed(previous)]
    changes = compare_keys(previous, step_run, old_code=codes.get(previous.code), new_code=codes.get(step_run.code))
    return changes or ["the names of its outputs changed, or the rule by which pipelite makes keys"]


def _why_equal_is_computed(previous: StepRunRecord) -> str:
    """Why the result of an equal step run was not there to be taken."""
    run = f"run {previous.run_id}"
    if previous.status not in (Status.COMPLETED, Status.REUSED):
        return f"nothing changed, but in {run} it {_ENDINGS.get(previous.status, 'did not end')} and left no result"
    if previous.reason and previous.reason.startswith(_NOT_REUSABLE):
        return f"nothing changed, but its result in {run} is {previous.reason}"
    result = previous.outputs.get(RESULT)
    if result is not None and result.inline == "null" and result.digest.startswith("None"):
        return "it returned only None before, so it is taken to run for its effect (cache=True would reuse it)"
    return f"nothing changed, but the result of {run} is no longer stored, or was not stored yet"


class _Codes:
    """Code by digest, each read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, CodeFingerprint | None] = {}

    def get(self, digest: str | None) -> CodeFingerprint | None:
        if digest is None:
            return None
        if digest not in self._known:
            try:
                self._known[digest] = get_code(self._store, digest)
            except NotFoundError:
                self._known[digest] = None
        return self._known[digest]


def _find_origins(store: Store, step_runs: Sequence[StepRunRecord]) -> dict[int, tuple[str, str]]:
    """Run id and name of the step runs that were reused, by their id; many of one run are read at once."""
    by_run: dict[int, list[int]] = {}
    for step_run in step_runs:
        if step_run.computed_by is not None:
            by_run.setdefault(step_run.computed_by // STEP_RUNS_PER_RUN, []).append(step_run.computed_by)
    found: dict[int, tuple[str, str]] = {}
    for ids in by_run.values():
        try:
            first = get_step_run_by_id(store, ids[0])
        except NotFoundError:
            continue
        found[first.id] = first.run_id, first.name
        if len(ids) > 1:
            found.update({each.id: (each.run_id, each.name) for each in get_step_runs(store, first.run_id)})
    return found


def _has_earlier_run(store: Store, run: RunRecord) -> bool:
    sql = "SELECT 1 FROM runs WHERE pipeline = ? AND number < ? LIMIT 1"
    return bool(store.database.read(sql, (run.pipeline, run.number)))
