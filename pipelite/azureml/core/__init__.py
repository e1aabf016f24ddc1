"""`azureml.core`."""

from __future__ import annotations

from pipelite.azureml.core.compute import ComputeTarget
from pipelite.azureml.core.dataset import Dataset
from pipelite.azureml.core.datastore import Datastore
from pipelite.azureml.core.environment import Environment
from pipelite.azureml.core.experiment import Experiment
from pipelite.azureml.core.keyvault import Keyvault
from pipelite.azureml.core.model import Model
from pipelite.azureml.core.run import Run
from pipelite.azureml.core.runconfig import RunConfiguration
from pipelite.azureml.core.script_run_config import ScriptRunConfig
from pipelite.azureml.core.workspace import Workspace

#: The last version of the SDK whose names these are.
VERSION = "1.62.0"
__version__ = VERSION

__all__ = [
    "VERSION",
    "ComputeTarget",
    "Dataset",
    "Datastore",
    "Environment",
    "Experiment",
    "Keyvault",
    "Model",
    "Run",
    "RunConfiguration",
    "ScriptRunConfig",
    "Workspace",
]
