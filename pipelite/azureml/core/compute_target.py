"""`azureml.core.compute_target`."""

from __future__ import annotations

from pipelite.azureml.core.compute import ComputeTarget
from pipelite.azureml.exceptions import ComputeTargetException

__all__ = ["ComputeTarget", "ComputeTargetException"]
