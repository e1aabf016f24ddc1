"""`azureml.pipeline.core.pipeline_endpoint`: the same classes by another path."""

from __future__ import annotations

from pipelite.azureml.pipeline.core.published import PipelineEndpoint, PipelineIdVersion

__all__ = ["PipelineEndpoint", "PipelineIdVersion"]
