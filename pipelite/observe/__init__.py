"""What a person sees of runs: takes records and a run's progress, gives lines, tables and drawings.

Comes in: records from the store, the progress of a coordinator. Goes out: text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelite.observe.describe import describe_run, run_summary, summarize_run
    from pipelite.observe.explain import Explanation, explain_run, explain_step
    from pipelite.observe.figures import format_duration, format_size, format_time
    from pipelite.observe.mermaid import to_mermaid
    from pipelite.observe.outputs import describe_outputs
    from pipelite.observe.progress import ProgressDisplay, find_mode
    from pipelite.observe.tables import format_table

#: Every run shows its progress; the rest is imported only by commands that look at runs.
_HOMES = {
    "Explanation": "explain",
    "ProgressDisplay": "progress",
    "describe_outputs": "outputs",
    "describe_run": "describe",
    "find_mode": "progress",
    "explain_run": "explain",
    "explain_step": "explain",
    "format_duration": "figures",
    "format_size": "figures",
    "format_table": "tables",
    "format_time": "figures",
    "run_summary": "describe",
    "summarize_run": "describe",
    "to_mermaid": "mermaid",
}

__all__ = [
    "Explanation",
    "ProgressDisplay",
    "describe_outputs",
    "describe_run",
    "explain_run",
    "explain_step",
    "find_mode",
    "format_duration",
    "format_size",
    "format_table",
    "format_time",
    "run_summary",
    "summarize_run",
    "to_mermaid",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"pipelite.observe.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'pipelite.observe' has no attribute {name!r}")
