"""`azureml.train.hyperdrive.run`."""

from __future__ import annotations

from typing import Any

from pipelite.azureml.exceptions import NotOnOneBoxError
from pipelite.azureml.train.hyperdrive.runconfig import PrimaryMetricGoal

__all__ = ["HyperDriveRun", "PrimaryMetricGoal"]


class HyperDriveRun:
    """The run of a search, which cannot be made yet."""

    def __init__(self, experiment: Any, run_id: str, hyperdrive_config: Any = None, **others: Any) -> None:
        raise NotOnOneBoxError("there is no HyperDriveRun yet; it comes with HyperDriveStep, in a later version")
