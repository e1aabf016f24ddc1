"""`azureml.core.resource_configuration`: what a service would need."""

from __future__ import annotations

import attrs


@attrs.frozen
class ResourceConfiguration:
    """The size of a service's machine: recorded, and not used."""

    cpu: float | None = None
    memory_in_gb: float | None = None
    gpu: int | None = None
