"""Why a request is not answered as it was meant, and how that is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelite.errors import (
    ArtifactError,
    NotFoundError,
    ParameterError,
    PipeliteError,
    PublishError,
    ResumeError,
    ScheduleError,
    StorageError,
    WorkspaceBusyError,
)


class Refusal(Exception):
    """A request that gets a status of 400 or more."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        parameter: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.parameter = parameter
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """As it is answered."""
        return {"Error": {"Code": self.code, "Message": self.message, "Parameter": self.parameter}}

    def azureml_body(self) -> dict[str, Any]:
        """As clients of Azure ML know it."""
        error = {"code": self.code, "message": self.message, "target": self.parameter}
        return {"error": {**error, "details": [], "innererror": None}, "correlation": {}}


#: The first that fits: errors of the rooms below to a status and a code.
_ANSWERS: tuple[tuple[type[PipeliteError], int, str], ...] = (
    (ParameterError, 400, "InvalidParameter"),
    (ScheduleError, 400, "InvalidSchedule"),
    (NotFoundError, 404, "NotFound"),
    (PublishError, 409, "Conflict"),
    (ResumeError, 409, "Conflict"),
    (ArtifactError, 410, "Gone"),
    (WorkspaceBusyError, 503, "Busy"),
    (StorageError, 503, "StorageFailed"),
)


def as_refusal(error: PipeliteError) -> Refusal | None:
    """What an error of the rooms below means for who asked; None for one that is nobody's fault but ours."""
    for kind, status, code in _ANSWERS:
        if isinstance(error, kind):
            headers = {"Retry-After": "5"} if status == 503 else {}
            return Refusal(status, code, str(error), parameter=getattr(error, "parameter", None), headers=headers)
    return None


def not_found(message: str) -> Refusal:
    return Refusal(404, "NotFound", message)


def invalid(message: str, *, parameter: str | None = None) -> Refusal:
    return Refusal(400, "InvalidRequest", message, parameter=parameter)
