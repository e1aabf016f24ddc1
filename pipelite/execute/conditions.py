"""Whether a node runs: its conditions, and how those ended that it waits for; with the reasons in words."""

from __future__ import annotations

from typing import Any

from pipelite.define import Node, Output, iter_handles
from pipelite.execute.state import NodeRun
from pipelite.plan import Planner
from pipelite.records import Failure, Status


def find_unmet(node: Node, planner: Planner) -> str | Failure | None:
    """Why the conditions of a node keep it from running; a failure if one of them is neither true nor false."""
    for condition, expected in node.conditions:
        try:
            truth = bool(planner.load(condition) if isinstance(condition, Output) else condition)
        except Exception as exc:
            # Also from the value's own code: a truth value is whatever its class says.
            return _bad_condition(condition, exc)
        if truth is not expected:
            if condition is truth:
                return f"its condition is {condition}"
            return f"its condition, {_origin_of(condition)}, came out {str(truth).lower()}"
    return None


def explain_obstacle(ended: NodeRun, node: Node) -> str:
    """Why a node is skipped that waited for one that left no output."""
    what = f"step {ended.node.name!r}"
    for condition, _ in node.conditions:
        if any(handle.node is ended.node for handle in iter_handles(condition)):
            return f"its condition, {what}, {describe_end(ended.status)}"
    return f"{what}, which it needs, {describe_end(ended.status)}"


def describe_end(status: Status) -> str:
    return {Status.FAILED: "failed", Status.SKIPPED: "was skipped", Status.CANCELED: "was canceled"}.get(
        status, status.value
    )


def _origin_of(condition: Any) -> str:
    if not isinstance(condition, Output):
        names = list(dict.fromkeys(handle.node.name for handle in iter_handles(condition)))
        return f"a list of the outputs of {len(names)} steps"
    path = "".join(f"[{part!r}]" for part in condition.path)
    output = f"output {condition.output!r} of " if condition.output in condition.node.step.outputs else ""
    return f"{path + ' of ' if path else ''}{output}step {condition.node.name!r}"


def _bad_condition(condition: Any, error: Exception) -> Failure:
    message = f"its condition, {_origin_of(condition)}, is neither true nor false: {type(error).__name__}: {error}"
    return Failure(type_name="DefinitionError", message=message, traceback="")
