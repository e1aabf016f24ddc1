"""The exceptions of `azureml.exceptions`."""

from __future__ import annotations

from pipelite.errors import PipeliteError


class AzureMLException(PipeliteError):
    """What all of them are."""

    @property
    def message(self) -> str:
        return str(self)


class UserErrorException(AzureMLException):
    """Something was asked for in a way that cannot be."""


class ComputeTargetException(AzureMLException):
    """There is no such compute target."""


class RunEnvironmentException(AzureMLException):
    """A run was asked for where there is none."""


class TrainingException(AzureMLException):
    """A run went wrong."""


class ExperimentExecutionException(TrainingException):
    """A run could not be started."""


class ActivityFailedException(TrainingException):
    """A run that was waited for has failed."""


class WebserviceException(AzureMLException):
    """There is no such model or service."""


class ModelNotFoundException(WebserviceException):
    """There is no such model."""


class DatasetTimestampMissingError(UserErrorException):
    """Rows of a time were asked for of a dataset that has no column for it."""


class NotOnOneBoxError(AzureMLException):
    """What only Azure itself could do; the message says what to do instead."""
