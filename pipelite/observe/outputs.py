"""What a run returned, as text: small plain values themselves, of others what and how large they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelite.observe.figures import format_count, format_size
from pipelite.observe.tables import shorten
from pipelite.records import RESULT, ArtifactRef, RunRecord, StepRunRecord

#: Characters of a value in a line.
VALUE_WIDTH = 80


def describe_outputs(run: RunRecord, step_runs: Sequence[StepRunRecord]) -> list[tuple[str, str]]:
    """Name and text of each output of a run."""
    by_name = {each.name: each for each in step_runs}
    return [(name, shorten(_describe_place(place, by_name), VALUE_WIDTH)) for name, place in run.outputs.items()]


def _describe_place(place: Mapping[str, Any], by_name: Mapping[str, StepRunRecord]) -> str:
    """Describe what stands at one place of a pipeline's outputs: a step's output, a plain value, or several of these."""
    if "value" in place:
        return str(place["value"])
    if "dict" in place:
        parts = (f"{key}: {_describe_place(part, by_name)}" for key, part in place["dict"].items())
        return "{" + ", ".join(parts) + "}"
    several = place.get("list", place.get("tuple"))
    if several is not None:
        return "[" + ", ".join(_describe_place(part, by_name) for part in several) + "]"
    return _describe_step_output(place, by_name.get(place["step"]))


def _describe_step_output(place: Mapping[str, Any], step_run: StepRunRecord | None) -> str:
    if step_run is None or not step_run.outputs:
        return "nothing" if step_run is None else f"nothing ({step_run.status.value})"
    name = place.get("output")
    if name is None and len(step_run.outputs) > 1:
        return f"{format_count(len(step_run.outputs), 'output')} of step {step_run.name!r}"
    path = "".join(f"[{part!r}]" for part in place.get("path") or ())
    ref = step_run.outputs.get(name or RESULT)
    if ref is None:
        return "nothing"
    return f"{path} of {describe_artifact(ref)}" if path else describe_artifact(ref)


def describe_artifact(ref: ArtifactRef) -> str:
    """ "0.91", or "numpy.ndarray (npy, 200.0 MB)"."""
    if ref.inline is not None:
        return ref.inline
    return f"{ref.type_name or 'a value'} ({ref.kind}, {format_size(ref.size_bytes)})"
