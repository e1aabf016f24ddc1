"""`azureml.pipeline.step`, which v1 did not have: `azureml.pipeline.steps` is meant."""

from __future__ import annotations

from pipelite.azureml._notices import warn_spelling
from pipelite.azureml.pipeline.steps import *  # noqa: F403

warn_spelling("module azureml.pipeline.step", "azureml.pipeline.steps")
