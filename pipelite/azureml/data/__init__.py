"""`azureml.data`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipelite.azureml.core import VERSION

if TYPE_CHECKING:
    from pipelite.azureml.core.dataset import DataType, FileDataset, TabularDataset
    from pipelite.azureml.data.output_dataset_config import OutputFileDatasetConfig

__all__ = ["DataType", "FileDataset", "OutputFileDatasetConfig", "TabularDataset"]


#: Where each is. Nothing is loaded that a script does not use.
_MODULES = {
    "DataType": "pipelite.azureml.core.dataset",
    "FileDataset": "pipelite.azureml.core.dataset",
    "OutputFileDatasetConfig": "pipelite.azureml.data.output_dataset_config",
    "TabularDataset": "pipelite.azureml.core.dataset",
}

__version__ = VERSION


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value
