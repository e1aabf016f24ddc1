"""`azureml.core`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from pipelite.azureml.core.webservice import Webservice
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
    "Webservice",
    "Workspace",
]

#: Where each is. What a script of a step does not use is not loaded: most only ask for their `Run`.
_MODULES = {
    "ComputeTarget": "compute",
    "Dataset": "dataset",
    "Datastore": "datastore",
    "Environment": "environment",
    "Experiment": "experiment",
    "Keyvault": "keyvault",
    "Model": "model",
    "Run": "run",
    "RunConfiguration": "runconfig",
    "ScriptRunConfig": "script_run_config",
    "Webservice": "webservice",
    "Workspace": "workspace",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value
