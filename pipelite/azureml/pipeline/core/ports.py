"""What a step reads and writes, in the one form that the building of pipelines knows."""

from __future__ import annotations

from typing import Any

import attrs

from pipelite.azureml import _state
from pipelite.azureml.core.dataset import AbstractDataset
from pipelite.azureml.core.dataset_names import reserve_native
from pipelite.azureml.data.data_reference import DataReference
from pipelite.azureml.data.datapath import DataPath, DataPathComputeBinding
from pipelite.azureml.data.dataset_consumption_config import DatasetConsumptionConfig
from pipelite.azureml.data.output_dataset_config import (
    Origin,
    OutputAsInput,
    OutputFileDatasetConfig,
    Rows,
)
from pipelite.azureml.pipeline.core.graph import (
    InputPortBinding,
    PipelineData,
    PipelineOutputFileDataset,
    PipelineParameter,
)


@attrs.frozen(eq=False)
class InputPort:
    """Something that a step reads."""

    name: str
    #: What it is: an output of another step, a path, a dataset, or a parameter that holds one of these.
    source: Origin | DataReference | AbstractDataset | PipelineParameter
    #: Whether the script finds it by its name in `run.input_datasets`.
    is_named: bool = False
    #: Whether the script is given the id of a dataset, and not a path.
    is_direct: bool = False
    #: How rows are read of what another step wrote.
    rows: Rows | None = None


@attrs.frozen(eq=False)
class OutputPort:
    """Something that a step writes."""

    name: str
    origin: Origin
    #: Whether it is a folder that is there when the script starts.
    is_folder: bool
    #: Where it is put besides: a datastore and a path.
    destination: tuple[str, str] | None = None
    #: What it is registered as.
    registered_as: str | None = None
    #: What it is called as an output of the pipeline.
    pipeline_output: str | None = None


def read_input(given: Any, step: str) -> InputPort:
    """An input as a step is given it.

    Raises
    ------
    ValueError
        If it is none.
    """
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], DataPathComputeBinding):
        parameter = given[0]
        if not isinstance(parameter, PipelineParameter) or not isinstance(parameter.default_value, DataPath):
            raise ValueError(
                f"step {step!r}: {given!r} is a pair of a PipelineParameter with a DataPath and its binding"
            )
        return InputPort(parameter.name, parameter)
    if isinstance(given, InputPortBinding):
        inner = read_input(given.bind_object, step)
        return attrs.evolve(inner, name=given.name)
    if isinstance(given, PipelineData):
        return InputPort(given.name, given.origin)
    if isinstance(given, PipelineOutputFileDataset):
        return InputPort(given.input_name, given.origin, True, given.mode == "direct", given.rows)
    if isinstance(given, OutputAsInput):
        return InputPort(given.name, given.output.origin, True, given.mode == "direct", given.rows)
    if isinstance(given, OutputFileDatasetConfig):
        return InputPort(given.name, given.origin, is_named=True)
    if isinstance(given, DataReference):
        return InputPort(given.data_reference_name, given)
    if isinstance(given, DatasetConsumptionConfig):
        dataset = given.dataset
        if isinstance(dataset, OutputFileDatasetConfig):
            return InputPort(given.name, dataset.origin, is_named=True)
        if not isinstance(dataset, AbstractDataset | PipelineParameter):
            raise ValueError(f"step {step!r}: input {given.name!r} is {dataset!r}, which is no dataset")
        return InputPort(given.name, dataset, is_named=True, is_direct=given.mode == "direct")
    if isinstance(given, AbstractDataset):
        raise ValueError(
            f"step {step!r}: a dataset needs a name as an input; write dataset.as_named_input('name'), with .as_mount() or "
            ".as_download() for a path"
        )
    reference = getattr(given, "as_data_reference", None)
    if reference is not None:
        return read_input(reference(), step)
    raise ValueError(f"step {step!r}: {given!r} is no input of a step")


def _to_native(name: str) -> str:
    """What the workspace calls a dataset that is to be registered."""
    return reserve_native(_state.open_workspace().store, name)


def is_input(given: Any) -> bool:
    """Whether something among the arguments can only be an input."""
    return isinstance(
        given, InputPortBinding | OutputAsInput | DatasetConsumptionConfig | DataReference | AbstractDataset
    ) or (isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], DataPathComputeBinding))


def read_output(given: Any, step: str) -> OutputPort:
    """An output as a step is given it.

    Raises
    ------
    ValueError
        If it is none.
    """
    if isinstance(given, PipelineData):
        return OutputPort(given.name, given.origin, is_folder=False, pipeline_output=given.pipeline_output_name)
    if isinstance(given, PipelineOutputFileDataset):
        registered = None if given.registration is None else _to_native(given.registration[0])
        port = read_output(given.data, step)
        return attrs.evolve(port, registered_as=registered)
    if isinstance(given, OutputFileDatasetConfig):
        destination = None
        if given.destination is not None:
            store, path = given.destination
            destination = (store.name, path or "dataset/{run-id}/{output-name}")
        registered = None if given.registration is None else _to_native(given.registration.name)
        return OutputPort(given.name, given.origin, True, destination, registered)
    raise ValueError(f"step {step!r}: {given!r} is no output of a step; PipelineData and OutputFileDatasetConfig are")
