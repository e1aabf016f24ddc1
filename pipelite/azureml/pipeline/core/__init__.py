"""`azureml.pipeline.core`."""

from __future__ import annotations

from pipelite.azureml.pipeline.core.graph import (
    InputPortBinding,
    PipelineData,
    PipelineOutputFileDataset,
    PipelineParameter,
    TrainingOutput,
)
from pipelite.azureml.pipeline.core.later import Module, PipelineDraft
from pipelite.azureml.pipeline.core.pipeline import Pipeline, StepSequence
from pipelite.azureml.pipeline.core.published import PipelineEndpoint, PublishedPipeline
from pipelite.azureml.pipeline.core.run import PipelineRun, PortDataReference, StepRun, StepRunOutput
from pipelite.azureml.pipeline.core.schedule import Schedule, ScheduleRecurrence, TimeZone
from pipelite.azureml.pipeline.core.step import PipelineStep

__all__ = [
    "InputPortBinding",
    "Module",
    "Pipeline",
    "PipelineData",
    "PipelineDraft",
    "PipelineEndpoint",
    "PipelineOutputFileDataset",
    "PipelineParameter",
    "PipelineRun",
    "PipelineStep",
    "PortDataReference",
    "PublishedPipeline",
    "Schedule",
    "ScheduleRecurrence",
    "StepRun",
    "StepRunOutput",
    "StepSequence",
    "TimeZone",
    "TrainingOutput",
]
