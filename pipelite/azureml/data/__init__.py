"""`azureml.data`."""

from __future__ import annotations

from typing import Any

from pipelite.azureml.core import VERSION
from pipelite.azureml.data.output_dataset_config import OutputFileDatasetConfig

__all__ = ["FileDataset", "OutputFileDatasetConfig", "TabularDataset"]

__version__ = VERSION


def __getattr__(name: str) -> Any:
    # The module with datasets imports one of this package.
    if name in ("FileDataset", "TabularDataset"):
        from pipelite.azureml.core import dataset

        return getattr(dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
