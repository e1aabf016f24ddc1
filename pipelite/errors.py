"""Every error that pipelite raises on purpose, under one base.

A message says what happened, to which step, and what to do next. Messages are passed positionally and context as
keywords, so that an error survives the trip back from a worker process.
"""

from __future__ import annotations

from typing import Any


class PipeliteError(Exception):
    """Something went wrong that pipelite can explain."""

    #: What the command line exits with: 1 a run failed, 2 wrong usage.
    exit_code = 1

    def __init__(self, message: str = "", **context: Any) -> None:
        super().__init__(message)
        self.__dict__.update(context)

    def __str__(self) -> str:
        return str(self.args[0]) if self.args and self.args[0] else (type(self).__doc__ or "").strip()


class MissingExtraError(PipeliteError, ImportError):
    """An optional dependency is not installed."""

    exit_code = 2


class DefinitionError(PipeliteError, TypeError):
    """A step or a pipeline is declared in a way that cannot work."""

    exit_code = 2


class TracingError(DefinitionError):
    """The body of a pipeline treats the future output of a step as a value."""


class ParameterError(PipeliteError, ValueError):
    """A parameter is unknown, missing or of the wrong type."""

    exit_code = 2
    parameter: str | None = None


class FingerprintError(PipeliteError):
    """The code or an input of a step cannot be identified."""

    exit_code = 2


class UnhashableError(FingerprintError, TypeError):
    """A value has no stable hash."""


class SourceChangedError(FingerprintError):
    """A source file no longer matches the code that is loaded from it."""


class StepFailed(PipeliteError):
    """A step raised an exception, or its process died."""

    step: str | None = None
    run_id: str | None = None


class EnvironmentFailed(PipeliteError):
    """The environment that a step asks for cannot be made."""


class CommandError(PipeliteError):
    """A script or another program that a step runs ended with an error, or did not write its outputs."""


class QueryError(PipeliteError):
    """The query of an SQL step failed, or does not fit its tables and parameters."""


class SerializationError(PipeliteError):
    """An output of a step cannot be stored."""

    step: str | None = None
    output: str | None = None


class RunCanceled(PipeliteError):
    """The run was canceled before it completed."""

    exit_code = 130
    run_id: str | None = None


class ResumeError(PipeliteError):
    """A run cannot be continued: it is running, complete, or another process was faster."""

    exit_code = 2
    run_id: str | None = None


class PublishError(PipeliteError):
    """A pipeline cannot be published so, or what is published cannot be called so."""

    exit_code = 2


class ServeError(PipeliteError):
    """The server cannot start as it was asked to."""

    exit_code = 2


class ScheduleError(PipeliteError, ValueError):
    """A schedule cannot be made or changed so."""

    exit_code = 2


class TriggerError(PipeliteError, ValueError):
    """A trigger cannot be made so."""

    exit_code = 2


class HookError(PipeliteError):
    """A hook cannot be kept so, or there is none of that name."""

    exit_code = 2
    hook: str | None = None


class DeliveryError(PipeliteError):
    """A request of a hook could not be made, or was not taken."""


class ComputeTargetError(PipeliteError):
    """A compute target is not known, cannot be reached, or cannot do what a step asks of it."""

    exit_code = 2
    step: str | None = None


class DatastoreError(PipeliteError):
    """A datastore cannot be used as it was asked to: it refuses, is not there, or the path leads out of it."""

    exit_code = 2
    datastore: str | None = None


class DatasetError(PipeliteError):
    """The data of a dataset is not there or cannot be read."""

    exit_code = 2
    dataset: str | None = None


class WorkspaceError(PipeliteError):
    """The workspace folder cannot be used."""

    exit_code = 2


class WorkspaceBusyError(WorkspaceError):
    """Another process keeps the workspace's database from being written."""

    exit_code = 1


class StorageError(WorkspaceError):
    """The disk of the workspace does not take what has to be written: it is full, read-only or broken."""

    exit_code = 1
    errno: int | None = None


class OwnershipLost(PipeliteError):
    """Another process has taken over this run, or has marked it as interrupted; this one must stop writing to it."""

    run_id: str | None = None


class ArtifactError(PipeliteError):
    """A stored output is missing or damaged."""


class NotFoundError(PipeliteError, LookupError):
    """No run, step, output or metric has that name."""

    exit_code = 2


class UnknownNameError(NotFoundError, KeyError):
    """No datastore or dataset has that name."""
