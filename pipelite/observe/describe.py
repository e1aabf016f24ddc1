"""One run as text: what it was asked, what came out, and its steps."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelite.observe.counts import count_statuses, describe_counts
from pipelite.observe.figures import format_duration, format_size, format_time
from pipelite.observe.groups import group_fan_outs
from pipelite.observe.outputs import VALUE_WIDTH, describe_outputs, summarize_artifact, summarize_outputs
from pipelite.observe.tables import format_table, shorten
from pipelite.records import FINAL, MetricRecord, RunRecord, Status, StepRunRecord
from pipelite.store import Store, get_metrics, get_step_runs

#: A fan-out of more steps than this takes one line, unless all are asked for.
SHOWN_FAN_OUT = 20


def describe_run(store: Store, run: RunRecord, *, all_steps: bool = False) -> str:
    """Describe a run in full; steps of long fan-outs one by one only with `all_steps`."""
    step_runs = get_step_runs(store, run.id)
    steps = _describe_steps(step_runs, _metrics_by_step(store, run), all_steps=all_steps)
    parts = [_describe_head(store, run, step_runs), steps, *_describe_errors(run, step_runs)]
    return "\n\n".join(part for part in parts if part)


def summarize_run(store: Store, run: RunRecord) -> dict[str, Any]:
    """Describe a run with outputs and steps for JSON."""
    step_runs = get_step_runs(store, run.id)
    metrics = _metrics_by_step(store, run)
    return {
        **run_summary(run),
        "outputs": summarize_outputs(store, run, step_runs),
        "steps": [_step_run_summary(store, each, metrics.get(each.name, ())) for each in step_runs],
    }


def run_summary(run: RunRecord) -> dict[str, Any]:
    """A run for JSON, without its steps."""
    return {
        "id": run.id,
        "pipeline": run.pipeline,
        "target": run.target,
        "experiment": run.experiment,
        "status": run.status.value,
        "waits_for": run.waits_for,
        "parameters": dict(run.parameters),
        "options": dict(run.options),
        "tags": dict(run.tags),
        "error": run.error,
        "created_at": _iso(run.created_at),
        "started_at": _iso(run.started_at),
        "ended_at": _iso(run.ended_at),
        "duration_s": run.duration_s,
        "rerun_of": run.rerun_of,
        "host": run.host,
        "python": run.python,
        "working_directory": run.working_directory,
        "git_commit": run.git_commit,
    }


def _step_run_summary(store: Store, step_run: StepRunRecord, metrics: Sequence[MetricRecord]) -> dict[str, Any]:
    return {
        "name": step_run.name,
        "step": step_run.step,
        "status": step_run.status.value,
        "reason": step_run.reason,
        "attempts": step_run.attempts,
        "started_at": _iso(step_run.started_at),
        "ended_at": _iso(step_run.ended_at),
        "duration_s": step_run.duration_s,
        "cpu_s": step_run.cpu_s,
        "peak_memory_bytes": step_run.peak_memory_bytes,
        "error": step_run.error,
        "metrics": _last_values(metrics),
        "outputs": {name: summarize_artifact(store, ref) for name, ref in step_run.outputs.items()},
        "reads": {read.path: read.digest for read in step_run.reads},
    }


def _metrics_by_step(store: Store, run: RunRecord) -> dict[str, list[MetricRecord]]:
    logged: dict[str, list[MetricRecord]] = {}
    for metric in get_metrics(store, run.id):
        logged.setdefault(metric.step_run, []).append(metric)
    return logged


def _describe_head(store: Store, run: RunRecord, step_runs: Sequence[StepRunRecord]) -> str:
    took = f" in {format_duration(run.duration_s)}" if run.duration_s is not None else ""
    lines = [
        ("run", run.id),
        ("pipeline", run.pipeline + (f" ({run.target})" if run.target else "")),
        ("experiment", run.experiment if run.experiment != run.pipeline else ""),
        ("status", f"{run.status.value}{took}, {_count_steps(run, step_runs)}"),
        ("waits for", run.waits_for or ""),
        ("started", format_time(run.started_at)),
        ("parameters", ", ".join(f"{name}={_value(value)}" for name, value in run.parameters.items())),
        ("tags", ", ".join(f"{name}={value}" for name, value in run.tags.items())),
        ("rerun of", run.rerun_of or ""),
        ("git commit", run.git_commit or ""),
    ]
    lines += [(f"output {name}", text) for name, text in describe_outputs(store, run, step_runs)]
    return format_table(("", ""), [line for line in lines if line[1]])


def _count_steps(run: RunRecord, step_runs: Sequence[StepRunRecord]) -> str:
    # Steps that wait have no record yet. When all has ended there are exactly the recorded ones.
    total = len(step_runs) if run.status in FINAL else max(len(step_runs), int(run.options.get("steps") or 0))
    return describe_counts(Counter(each.status for each in step_runs), total)


def _describe_steps(
    step_runs: Sequence[StepRunRecord], logged: Mapping[str, Sequence[MetricRecord]], *, all_steps: bool
) -> str:
    rows = []
    for base, members in group_fan_outs(step_runs, lambda each: each.name):
        if base is not None and len(members) > SHOWN_FAN_OUT and not all_steps:
            rows.append(_fan_out_row(base, members))
            shown = [each for each in members if each.status is Status.FAILED]
        else:
            shown = members
        rows += [_step_row(each, logged.get(each.name, ())) for each in shown]
    return format_table(
        ("STEP", "STATUS", "DURATION", "CPU", "MEMORY", "ATTEMPTS", "METRICS"),
        rows,
        right=("DURATION", "CPU", "MEMORY", "ATTEMPTS"),
    )


def _step_row(step_run: StepRunRecord, metrics: Sequence[MetricRecord]) -> tuple[str, ...]:
    values = _last_values(metrics)
    return (
        step_run.name,
        step_run.status.value,
        "" if step_run.status is Status.REUSED else format_duration(step_run.duration_s),
        "" if step_run.status is Status.REUSED else format_duration(step_run.cpu_s),
        format_size(step_run.peak_memory_bytes),
        str(step_run.attempts) if step_run.attempts > 1 else "",
        ", ".join(f"{name}={_value(value)}" for name, value in values.items()),
    )


def _fan_out_row(base: str, members: Sequence[StepRunRecord]) -> tuple[str, ...]:
    seconds = [each.duration_s for each in members if each.duration_s is not None]
    memory = [each.peak_memory_bytes for each in members if each.peak_memory_bytes is not None]
    return (
        f"{base}[...]",
        count_statuses(each.status for each in members),
        format_duration(sum(seconds)) if seconds else "",
        "",
        format_size(max(memory)) if memory else "",
        "",
        "",
    )


def _describe_errors(run: RunRecord, step_runs: Sequence[StepRunRecord]) -> Iterable[str]:
    errors = [each.error for each in step_runs if each.error]
    if run.error and not any(error.startswith(run.error) for error in errors):
        yield run.error
    yield from errors


def _last_values(metrics: Sequence[MetricRecord]) -> dict[str, Any]:
    """The last of each number or text that a step logged."""
    return {each.name: each.value for each in metrics if each.kind == "scalar"}


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return shorten(value if isinstance(value, str) else json.dumps(value), VALUE_WIDTH)


def _iso(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat()
