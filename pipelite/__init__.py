"""Machine learning pipelines on one box: decorate functions, run them in parallel, recompute only what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelite.api import Artifact, Pipeline, Run, Schedule, StepRun, Trigger, Workspace, pipeline
    from pipelite.automate import FileChange, HttpCall, NewVersion, Recurrence, RunEnd
    from pipelite.data import Dataset
    from pipelite.define import Output, Step, first_of, step
    from pipelite.execute import current_run

__version__ = "0.1.0"

#: Public name to the room that defines it. They are handed out on first use: importing the library costs nothing
#: that a script does not use.
_HOMES = {
    "Artifact": "pipelite.api",
    "Dataset": "pipelite.data",
    "FileChange": "pipelite.automate",
    "HttpCall": "pipelite.automate",
    "NewVersion": "pipelite.automate",
    "Output": "pipelite.define",
    "Pipeline": "pipelite.api",
    "Recurrence": "pipelite.automate",
    "Run": "pipelite.api",
    "RunEnd": "pipelite.automate",
    "Schedule": "pipelite.api",
    "Step": "pipelite.define",
    "StepRun": "pipelite.api",
    "Trigger": "pipelite.api",
    "Workspace": "pipelite.api",
    "current_run": "pipelite.execute",
    "first_of": "pipelite.define",
    "pipeline": "pipelite.api",
    "step": "pipelite.define",
}

__all__ = [
    "Artifact",
    "Dataset",
    "FileChange",
    "HttpCall",
    "NewVersion",
    "Output",
    "Pipeline",
    "Recurrence",
    "Run",
    "RunEnd",
    "Schedule",
    "Step",
    "StepRun",
    "Trigger",
    "Workspace",
    "current_run",
    "first_of",
    "pipeline",
    "step",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'pipelite' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
