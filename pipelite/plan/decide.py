"""One decision: reuse what is stored under a key, compute it, or wait for another run that is at it; and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import attrs

from pipelite.records import ArtifactRef, Claim, FileRead, StoredResult
from pipelite.store import decode_outputs

#: Why a step is computed, in the words that a person reads. `None` stands for the ordinary case, no equal one before.
REGENERATED = "regenerate_outputs is set"
NEVER_CACHED = "cache=False"
RUNS_FOR_ITS_EFFECT = "it returns only None, so it runs for its effect, unless cache=True is written"


@attrs.frozen
class Decision:
    """What to do with one node."""

    #: The stored result to take; None means compute, or wait.
    result: StoredResult | None
    #: Why it is computed although something is stored, or could have been; None in the ordinary cases.
    reason: str | None = None
    #: Who is at the same work: wait for the result.
    waits_for: Claim | None = None
    #: Whether others may take the result, and so wait for it.
    is_shared: bool = True
    #: Step runs whose results were looked at and not taken.
    known: tuple[int, ...] = ()


def decide(
    stored: Sequence[StoredResult],
    *,
    cache: bool | timedelta | None,
    regenerate: bool,
    now: datetime,
    is_intact: Callable[[ArtifactRef], bool],
    changed_read: Callable[[Sequence[FileRead]], str | None],
    claim: Claim | None = None,
) -> Decision:
    """Choose among what is stored under a node's key.

    Parameters
    ----------
    stored : results under the key, the newest first; they differ in the files that the step read
    cache : the step's option; a timedelta is the age up to which a result is taken
    regenerate : compute in any case
    is_intact : whether an output is still there as it was stored
    changed_read : the first file that is not as the step read it, in words; None if all are
    claim : who else is at work under the key
    """
    if regenerate:
        return Decision(None, REGENERATED, is_shared=False)
    if cache is False:
        return Decision(None, NEVER_CACHED, is_shared=False)
    if not stored:
        return Decision(None, None, claim)
    reason = None
    for result in stored:
        obstacle = _find_obstacle(result, cache=cache, now=now, is_intact=is_intact, changed_read=changed_read)
        if obstacle is None:
            return Decision(result)
        reason = reason or obstacle
    return Decision(None, reason, claim, known=tuple([result.step_run_id for result in stored]))


def _find_obstacle(
    result: StoredResult,
    *,
    cache: bool | timedelta | None,
    now: datetime,
    is_intact: Callable[[ArtifactRef], bool],
    changed_read: Callable[[Sequence[FileRead]], str | None],
) -> str | None:
    """What keeps one stored result from being taken, in words."""
    if isinstance(cache, timedelta) and now - datetime.fromisoformat(result.created_at) > cache:
        return f"the stored result is older than {cache}"
    only_none = cache is None and result.needs_look
    for name, ref in decode_outputs(result.outputs).items() if result.needs_look else ():
        if ref.inline is None and not is_intact(ref):
            return f"its stored output {name!r} is missing or damaged"
        if ref.inline != "null":
            only_none = False
    if only_none:
        return RUNS_FOR_ITS_EFFECT
    if result.reads:
        return changed_read(result.reads)
    return None
