"""`azureml.pipeline.core`."""

from __future__ import annotations

from pipelite.azureml.pipeline.core.graph import (
    InputPortBinding,
    InputPortDef,
    OutputPortDef,
    PipelineData,
    PipelineOutputFileDataset,
    PipelineParameter,
    TrainingOutput,
)
from pipelite.azureml.pipeline.core.module import Module, ModuleVersion
from pipelite.azureml.pipeline.core.pipeline import Pipeline, StepSequence
from pipelite.azureml.pipeline.core.pipeline_draft import PipelineDraft
from pipelite.azureml.pipeline.core.published import PipelineEndpoint, PublishedPipeline
from pipelite.azureml.pipeline.core.run import PipelineRun, PortDataReference, StepRun, StepRunOutput
from pipelite.azureml.pipeline.core.schedule import Schedule, ScheduleRecurrence, TimeZone
from pipelite.azureml.pipeline.core.step import PipelineStep

__all__ = [
    "InputPortBinding",
    "InputPortDef",
    "Module",
    "ModuleVersion",
    "OutputPortDef",
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
