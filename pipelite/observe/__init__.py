"""What a person sees of runs: takes records and a run's progress, gives lines, tables and drawings.

Comes in: records from the store, the progress of a coordinator. Goes out: text.
"""

from __future__ import annotations

from pipelite.observe.describe import describe_run, run_summary, step_run_summary
from pipelite.observe.explain import Explanation, explain_run, explain_step
from pipelite.observe.figures import format_duration, format_size, format_time
from pipelite.observe.mermaid import to_mermaid
from pipelite.observe.outputs import describe_outputs
from pipelite.observe.progress import ProgressDisplay
from pipelite.observe.tables import format_table

__all__ = [
    "Explanation",
    "ProgressDisplay",
    "describe_outputs",
    "describe_run",
    "explain_run",
    "explain_step",
    "format_duration",
    "format_size",
    "format_table",
    "format_time",
    "run_summary",
    "step_run_summary",
    "to_mermaid",
]
