"""What a step runs under: `step.when(condition)` and `step.unless(condition)`."""

from __future__ import annotations

from typing import Any

from pipelite.define.context import active
from pipelite.define.handles import ListOutput, Output
from pipelite.define.mistakes import described
from pipelite.define.wording import with_article
from pipelite.errors import DefinitionError


def read_condition(step: str, condition: Any, *, expected: bool) -> Any:
    """The condition as a node keeps it: a handle or a truth value.

    Raises
    ------
    DefinitionError
        If in a pipeline's body it is neither.
    """
    if active.trace is None:
        # Outside of a pipeline there are only values, and each has a truth.
        return condition if isinstance(condition, Output) else bool(condition)
    if isinstance(condition, (Output, bool)):
        return condition
    if type(condition).__name__ in ("bool", "bool_") and type(condition).__module__ == "numpy":
        return bool(condition)
    method = "when" if expected else "unless"
    if isinstance(condition, ListOutput):
        what = described(condition)
        advice = "which is many conditions; decide in a step that takes the list"
    else:
        what = with_article(type(condition).__name__)
        advice = "and not the output of a step, or True or False"
    raise DefinitionError(f"step {step!r}: .{method}(...) got {what}, {advice}", step=step)


def are_met(conditions: tuple[tuple[Any, bool], ...]) -> bool:
    """Whether conditions that are plain truth values allow a call."""
    return all(bool(condition) is expected for condition, expected in conditions)
