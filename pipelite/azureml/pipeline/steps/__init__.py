"""`azureml.pipeline.steps`: the kinds of step."""

from __future__ import annotations

from pipelite.azureml.pipeline.steps.adla import AdlaStep
from pipelite.azureml.pipeline.steps.databricks import DatabricksStep
from pipelite.azureml.pipeline.steps.later import (
    AutoMLStep,
    HyperDriveStep,
    MpiStep,
    ParallelRunConfig,
    ParallelRunStep,
    RScriptStep,
)
from pipelite.azureml.pipeline.steps.scripts import CommandStep, EstimatorStep, PythonScriptStep
from pipelite.azureml.pipeline.steps.transfers import DataTransferStep

__all__ = [
    "AdlaStep",
    "AutoMLStep",
    "CommandStep",
    "DataTransferStep",
    "DatabricksStep",
    "EstimatorStep",
    "HyperDriveStep",
    "MpiStep",
    "ParallelRunConfig",
    "ParallelRunStep",
    "PythonScriptStep",
    "RScriptStep",
]
