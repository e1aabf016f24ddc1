"""The step that copies data."""

from __future__ import annotations

import re
from typing import Any

from pipelite.azureml.data.data_reference import DataReference
from pipelite.azureml.pipeline.core.graph import InputPortBinding, PipelineData
from pipelite.azureml.pipeline.core.step import PipelineStep
from pipelite.azureml.writing import Writer


class DataTransferStep(PipelineStep):
    """A step that copies a file or a folder from one place to another.

    Raises
    ------
    ValueError
        If the source, the destination or a type is wrong.
    """

    def __init__(
        self,
        name: str,
        source_data_reference: Any = None,
        destination_data_reference: Any = None,
        compute_target: Any = None,
        source_reference_type: str | None = None,
        destination_reference_type: str | None = None,
        allow_reuse: bool = True,
    ) -> None:
        for what, kind in (("source", source_reference_type), ("destination", destination_reference_type)):
            if kind not in (None, "file", "directory"):
                raise ValueError(f"step {name!r}: {what}_reference_type={kind!r}; 'file' or 'directory' is expected")
        if source_data_reference is None:
            raise ValueError(f"step {name!r}: source_data_reference is missing")
        target = destination_data_reference
        if isinstance(target, InputPortBinding):
            target = target.bind_object
        if not isinstance(target, DataReference):
            raise ValueError(f"step {name!r}: destination_data_reference has to be a DataReference, not {target!r}")
        self._target = target
        self._types = {"source_type": source_reference_type, "target_type": destination_reference_type}
        super().__init__(name, [source_data_reference], None, allow_reuse=allow_reuse)
        # The name of a reference is drawn by chance if it has none, and the step is to be reused.
        self._output = PipelineData(re.sub(r"\W", "_", name, flags=re.ASCII) + "_output")
        self._output.origin.producer = self

    def get_output(self) -> PipelineData:
        """The copy, for later steps."""
        return self._output

    def give_output(self, data: PipelineData) -> None:
        """Have the copy be something that later steps read already."""
        self._output = data
        data.origin.producer = self

    def write(self, writer: Writer) -> None:
        """Write it as code."""
        writer.use("pipelite.azureml.transfer_steps", "transfer_step")
        target = (self._target.datastore.name, (self._target.path_on_datastore or "").strip("/"))
        types = {name: kind for name, kind in self._types.items() if kind is not None}
        writer.define(self, "transfer_step", target, output=self._output.name, **types)
        writer.call(self, {"source": writer.value_of(self.input_ports[0])})
