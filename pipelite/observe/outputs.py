"""What a run returned: small plain values themselves, of others what and how large they are, and where they lie."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from pipelite.observe.figures import format_size
from pipelite.observe.tables import one_line
from pipelite.records import RESULT, ArtifactRef, RunRecord, StepRunRecord
from pipelite.store import Store

#: Characters of a value in a line.
VALUE_WIDTH = 100


def summarize_outputs(store: Store, run: RunRecord, step_runs: Sequence[StepRunRecord]) -> dict[str, Any]:
    """Outputs of a run for JSON: {"value": ...}, {"kind": ..., "path": ...}, null, or several of these.

    Several are a list, or {"dict": ...} by name.
    """
    by_name = {each.name: each for each in step_runs}
    return {name: _summarize(store, place, by_name) for name, place in run.outputs.items()}


def describe_outputs(store: Store, run: RunRecord, step_runs: Sequence[StepRunRecord]) -> list[tuple[str, str]]:
    """Name and one line of text of each output of a run."""
    return [(name, describe_output(part)) for name, part in summarize_outputs(store, run, step_runs).items()]


def summarize_artifact(store: Store, ref: ArtifactRef) -> dict[str, Any]:
    """One stored output for JSON."""
    if ref.kind == "parts":
        return {"kind": ref.kind, "type": ref.type_name, "digest": ref.digest, "size_bytes": ref.size_bytes}
    if ref.inline is not None:
        value = json.loads(ref.inline)
        return {"value": value["value"] if ref.kind == "scalar" else value, "type": ref.type_name}
    return {
        "kind": ref.kind,
        "type": ref.type_name,
        "digest": ref.digest,
        "path": str(store.artifacts.path(ref)),
        "size_bytes": ref.size_bytes,
    }


def describe_output(summary: Any) -> str:
    """One line for what `summarize_outputs` gave for one output."""
    if summary is None:
        return "nothing"
    if isinstance(summary, list):
        return _cut(f"[{', '.join(map(describe_output, summary))}]")
    if "value" in summary:
        return _cut(json.dumps(summary["value"], ensure_ascii=False))
    if "item" in summary:
        return _cut(f"{summary['item']} of {describe_output(summary['of'])}")
    if "dict" in summary:
        parts = (f"{name}: {describe_output(part)}" for name, part in summary["dict"].items())
        return _cut("{" + ", ".join(parts) + "}")
    if summary["kind"] in ("file", "folder"):
        # The path is what a reader wants to have whole.
        return f"{one_line(_near(summary['path']))} ({format_size(summary['size_bytes'])})"
    short_type = summary["type"].rpartition(".")[2] or "a value"
    return f"{short_type} ({summary['kind']}, {format_size(summary['size_bytes'])})"


def _summarize(store: Store, place: Mapping[str, Any], by_name: Mapping[str, StepRunRecord]) -> Any:
    """What stands at one place of a pipeline's outputs: a step's output, a plain value, or several of these."""
    if "value" in place:
        return {"value": place["value"]}
    if "dict" in place:
        return {"dict": {name: _summarize(store, part, by_name) for name, part in place["dict"].items()}}
    several = place.get("list", place.get("tuple"))
    if several is not None:
        return [_summarize(store, part, by_name) for part in several]
    step_run = by_name.get(place["step"])
    if step_run is None or not step_run.outputs:
        return None
    summary = _summarize_output(store, step_run, place.get("output"))
    path = place.get("path") or []
    return _look_up(summary, path) if path else summary


def _look_up(summary: dict[str, Any], path: Sequence[Any]) -> dict[str, Any]:
    """The item of a small plain value; of a stored one, which is not loaded here, only where it is."""
    try:
        value = summary["value"]
        for part in path:
            value = value[part]
    except (LookupError, TypeError):
        return {"item": "".join(f"[{part!r}]" for part in path), "of": summary}
    return {"value": value}


def _summarize_output(store: Store, step_run: StepRunRecord, name: str | None) -> Any:
    if name is None and len(step_run.outputs) > 1:
        return {"dict": {each: summarize_artifact(store, ref) for each, ref in step_run.outputs.items()}}
    ref = step_run.outputs.get(name or RESULT)
    return None if ref is None else summarize_artifact(store, ref)


def _near(path: str) -> str:
    """Seen from the working directory where that is shorter."""
    return min(path, os.path.relpath(path), key=len)


def _cut(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= VALUE_WIDTH else f"{text[: VALUE_WIDTH - 3]}..."
