"""How many steps are in which state, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from pipelite.observe.figures import format_count
from pipelite.records import Status

#: Named first; the others follow as they are declared.
_FIRST = (Status.REUSED, Status.COMPLETED)

#: A completed step run has computed its outputs, which is what a reader wants to tell from reused ones.
_WORDS = {Status.COMPLETED: "computed"}


def count_statuses(statuses: Iterable[Status]) -> str:
    """ "8 steps: 5 reused, 3 computed"."""
    counts = Counter(statuses)
    return describe_counts(counts, counts.total())


def describe_counts(counts: Mapping[Status, int], total: int, *, separator: str = ": ") -> str:
    """The same from counts by status; `total` may be more than has been counted."""
    order = dict.fromkeys((*_FIRST, *Status))
    named = [f"{counts[status]:,} {_WORDS.get(status, status.value)}" for status in order if counts.get(status)]
    return format_count(total, "step") + (separator + ", ".join(named) if named else "")
