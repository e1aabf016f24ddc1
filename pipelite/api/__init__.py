"""What a user holds in the hand: pipelines, runs, step runs, artifacts, the workspace. Thin objects that join the rooms."""

from __future__ import annotations

from pipelite.api.artifact import Artifact
from pipelite.api.pipelines import Pipeline, PlannedStep, pipeline
from pipelite.api.runs import Run, StepRun
from pipelite.api.schedules import Schedule
from pipelite.api.targets import find_pipeline
from pipelite.api.triggers import Trigger
from pipelite.api.workspace import Workspace

__all__ = [
    "Artifact",
    "Pipeline",
    "PlannedStep",
    "Run",
    "Schedule",
    "StepRun",
    "Trigger",
    "Workspace",
    "find_pipeline",
    "pipeline",
]
