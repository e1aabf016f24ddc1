"""`azureml.pipeline.core.graph`: what connects steps, and the values that a pipeline is called with."""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING, Any

from pipelite.azureml._notices import note_place
from pipelite.azureml.core.dataset import AbstractDataset
from pipelite.azureml.data.datapath import DataPath
from pipelite.azureml.data.output_dataset_config import Origin, Rows

if TYPE_CHECKING:
    from pipelite.azureml.core.datastore import Datastore

_NAME = re.compile(r"\w+\Z", re.ASCII)
_MODES = ("mount", "upload")


class PipelineParameter:
    """A value that a pipeline is called with.

    Parameters
    ----------
    default_value : int, str, bool, float, DataPath or dataset
        Its type is the parameter's, which `Experiment.submit` insists on.
    """

    def __init__(self, name: str, default_value: Any) -> None:
        if not isinstance(default_value, int | str | bool | float | DataPath | AbstractDataset):
            raise ValueError(
                f"the default of parameter {name!r} is {default_value!r}; an int, str, bool, float, DataPath or Dataset is expected"
            )
        if not _NAME.match(str(name)) or name[0].isdigit() or keyword.iskeyword(name):
            raise ValueError(
                f"a parameter cannot be called {name!r}; letters, digits and _ are taken, and no word of Python's"
            )
        self.name = name
        self.default_value = default_value

    def __str__(self) -> str:
        return f"PipelineParameter_Name:{self.name}_Default:{self.default_value}"

    def __repr__(self) -> str:
        return str(self)


class TrainingOutput:
    """What of a training a `PipelineData` holds: its metrics, or a model.

    Raises
    ------
    ValueError
        If there is no such kind, or what belongs to models is given for metrics.
    """

    def __init__(
        self, type: str, iteration: int | None = None, metric: str | None = None, model_file: str | None = None
    ) -> None:
        kind = str(type).capitalize()
        if kind not in ("Metrics", "Model"):
            raise ValueError(f"TrainingOutput(type={type!r}): 'Metrics' or 'Model' is expected")
        if kind == "Metrics" and (iteration is not None or metric is not None):
            raise ValueError("TrainingOutput(type='Metrics') takes neither iteration nor metric: it has those of all")
        if iteration is not None and metric is not None:
            raise ValueError("TrainingOutput(type='Model') takes iteration or metric, not both")
        self.type = kind
        self.iteration = iteration
        self.metric = metric
        self.model_file = model_file


class PipelineData:
    """A file or folder that one step writes and others read.

    The script that writes it is given a path that nothing is at yet.
    """

    def __init__(
        self,
        name: str,
        datastore: Datastore | None = None,
        output_name: str | None = None,
        output_mode: str = "mount",
        output_path_on_compute: str | None = None,
        output_overwrite: bool | None = None,
        data_type: Any = None,
        is_directory: bool | None = None,
        pipeline_output_name: str | None = None,
        training_output: TrainingOutput | None = None,
    ) -> None:
        for each in (name, output_name):
            if each is not None and not _NAME.match(each):
                raise ValueError(f"PipelineData cannot be called {each!r}; letters, digits and _ are taken")
        if output_mode not in _MODES:
            raise ValueError(
                f"PipelineData {name!r}: output_mode={output_mode!r} is wrong; 'mount' or 'upload' is expected"
            )
        self.name = name
        self.datastore = datastore
        note_place(output_path_on_compute)
        self.output_name = output_name or name
        self.output_mode = output_mode
        self.is_directory = is_directory
        self.pipeline_output_name = pipeline_output_name
        self.training_output = training_output
        self.data_type = data_type
        #: What it and what is made of it have in common.
        self.origin = Origin(name)

    def as_input(self, input_name: str | None = None) -> InputPortBinding:
        return InputPortBinding(input_name or self.name, self)

    def as_mount(self, input_name: str | None = None) -> InputPortBinding:
        return InputPortBinding(input_name or self.name, self, "mount")

    def as_download(
        self, input_name: str | None = None, path_on_compute: str | None = None, overwrite: bool | None = None
    ) -> InputPortBinding:
        return InputPortBinding(input_name or self.name, self, "download")

    def as_dataset(self) -> PipelineOutputFileDataset:
        return PipelineOutputFileDataset(self)

    def create_input_binding(self, input_name: str | None = None, mode: str | None = None, **others: Any) -> Any:
        return InputPortBinding(input_name or self.name, self, mode or "mount")

    def get_env_variable_name(self) -> str:
        """The environment variable in which the script finds the path."""
        return f"AZUREML_DATAREFERENCE_{self.name}"

    def __str__(self) -> str:
        return f"${self.get_env_variable_name()}"

    def __repr__(self) -> str:
        return str(self)


class InputPortBinding:
    """Something that a step reads, by a name."""

    def __init__(self, name: str, bind_object: Any = None, bind_mode: str | None = "mount", **others: Any) -> None:
        if not _NAME.match(str(name)):
            raise ValueError(f"an input cannot be called {name!r}; letters, digits and _ are taken")
        self.name = name
        self.bind_object = bind_object
        self.bind_mode = bind_mode

    def get_env_variable_name(self) -> str:
        return f"AZUREML_DATAREFERENCE_{self.name}"

    def __str__(self) -> str:
        return f"${self.get_env_variable_name()}"


class PortDef:
    """A name for what the script of a module reads or writes; a step says what it is."""

    def __init__(self, name: str, label: str | None = None, **settings: Any) -> None:
        if not _NAME.match(str(name)):
            raise ValueError(f"a port cannot be called {name!r}; letters, digits and _ are taken")
        self.name = name
        self.label = label
        #: Where its data were to be by default; here the step says so.
        self.settings = settings


class InputPortDef(PortDef):
    """A name for what the script of a module reads."""


class OutputPortDef(PortDef):
    """A name for what the script of a module writes."""


class PipelineOutputFileDataset:
    """A `PipelineData` as a dataset of files; the step that writes it lists this form among its outputs."""

    def __init__(self, pipeline_data: PipelineData) -> None:
        self.data = pipeline_data
        self.origin = pipeline_data.origin
        self.name = pipeline_data.name
        self.mode = "mount"
        self.input_name = pipeline_data.name
        self.rows: Rows | None = None
        self.registration: tuple[str, bool] | None = None

    def parse_delimited_files(self, **options: Any) -> PipelineOutputFileDataset:
        """As rows of delimited files."""
        return self._with(rows=Rows.of("from_delimited_files", options), mode="direct")

    def parse_parquet_files(self, **options: Any) -> PipelineOutputFileDataset:
        """As rows of Parquet files."""
        return self._with(rows=Rows.of("from_parquet_files", options), mode="direct")

    def keep_columns(self, columns: Any) -> PipelineOutputFileDataset:
        return self._chosen("keep_columns", columns)

    def drop_columns(self, columns: Any) -> PipelineOutputFileDataset:
        return self._chosen("drop_columns", columns)

    def _chosen(self, method: str, columns: Any) -> PipelineOutputFileDataset:
        if self.rows is None:
            raise ValueError(f"{self.name!r} is files; parse_delimited_files() gives rows, whose columns can be chosen")
        return self._with(rows=self.rows.then(method, columns=columns))

    def register(self, name: str, create_new_version: bool = True) -> PipelineOutputFileDataset:
        """Have it registered when the run has completed."""
        return self._with(registration=(name, create_new_version))

    def as_named_input(self, name: str) -> PipelineOutputFileDataset:
        return self._with(input_name=name)

    def as_mount(self, path_on_compute: str | None = None) -> PipelineOutputFileDataset:
        return self._with(mode="mount")

    def as_direct(self) -> PipelineOutputFileDataset:
        return self._with(mode="direct")

    def as_download(self, path_on_compute: str | None = None) -> PipelineOutputFileDataset:
        return self._with(mode="download")

    def _with(self, **changes: Any) -> PipelineOutputFileDataset:
        import copy

        changed = copy.copy(self)
        changed.__dict__.update(changes)
        return changed
