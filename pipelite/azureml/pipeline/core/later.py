"""What of `azureml.pipeline.core` has no counterpart here."""

from __future__ import annotations

from typing import Any

from pipelite.azureml.exceptions import NotOnOneBoxError


class _Refused(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotOnOneBoxError(f"{cls.__name__}.{name}: {cls.__doc__}")


class Module(metaclass=_Refused):
    """A module cannot be kept on its own here; make its script a PythonScriptStep of each pipeline that uses it."""


class PipelineDraft(metaclass=_Refused):
    """There are no drafts here; submit the Pipeline, and publish_pipeline() of a run that is good."""
