"""`azureml.pipeline.steps`: the kinds of step."""

from __future__ import annotations

from pipelite.azureml.pipeline.steps.adla import AdlaStep
from pipelite.azureml.pipeline.steps.databricks import DatabricksStep
from pipelite.azureml.pipeline.steps.later import (
    AutoMLStep,
    AutoMLStepRun,
    AzureBatchStep,
    HyperDriveStep,
    HyperDriveStepRun,
    KustoStep,
    MpiStep,
    ParallelRunConfig,
    ParallelRunStep,
    RScriptStep,
    SynapseSparkStep,
)
from pipelite.azureml.pipeline.steps.modules import ModuleStep
from pipelite.azureml.pipeline.steps.scripts import CommandStep, EstimatorStep, PythonScriptStep
from pipelite.azureml.pipeline.steps.transfers import DataTransferStep

__all__ = [
    "AdlaStep",
    "AutoMLStep",
    "AutoMLStepRun",
    "AzureBatchStep",
    "CommandStep",
    "DataTransferStep",
    "DatabricksStep",
    "EstimatorStep",
    "HyperDriveStep",
    "HyperDriveStepRun",
    "KustoStep",
    "ModuleStep",
    "MpiStep",
    "ParallelRunConfig",
    "ParallelRunStep",
    "PythonScriptStep",
    "RScriptStep",
    "SynapseSparkStep",
]
