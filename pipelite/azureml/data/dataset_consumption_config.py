"""`azureml.data.dataset_consumption_config`: how a step is given a dataset."""

from __future__ import annotations

import re
from typing import Any

from pipelite.azureml._notices import note_place
from pipelite.azureml.exceptions import UserErrorException

_NAME = re.compile(r"[a-zA-Z_]+[a-zA-Z0-9_]*\Z")
_MODES = ("direct", "mount", "download")


class DatasetConsumptionConfig:
    """A dataset under the name by which a step's script finds it.

    With the mode "direct" the script is given the dataset's id, and finds the dataset itself in `run.input_datasets`; with
    "mount" or "download" it is given a path.
    """

    def __init__(self, name: str, dataset: Any, mode: str = "direct", path_on_compute: str | None = None) -> None:
        from pipelite.azureml.core.dataset import Dataset, TabularDataset

        if isinstance(dataset, tuple):
            # A workspace, a name, and perhaps a version.
            dataset = Dataset.get_by_name(*dataset)
        if not _NAME.match(str(name)):
            raise UserErrorException(
                f"an input cannot be called {name!r}; its name is a letter or _, then letters, digits and _"
            )
        if mode == "hdfs":
            raise UserErrorException(f"input {name!r}: mode 'hdfs' was for Synapse; 'mount' gives a path")
        if mode not in _MODES:
            raise UserErrorException(f"input {name!r}: mode={mode!r} is wrong; one of {', '.join(_MODES)} is expected")
        if mode != "direct" and isinstance(getattr(dataset, "default_value", dataset), TabularDataset):
            raise UserErrorException(
                f"input {name!r}: a tabular dataset has only the mode 'direct', not {mode!r}; the script finds it in "
                f"run.input_datasets[{name!r}]"
            )
        note_place(path_on_compute)
        self.dataset = dataset
        self.name = name
        self.mode = mode
        self.path_on_compute = path_on_compute

    def as_mount(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        return DatasetConsumptionConfig(self.name, self.dataset, "mount", path_on_compute)

    def as_download(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        return DatasetConsumptionConfig(self.name, self.dataset, "download", path_on_compute)

    def as_hdfs(self) -> DatasetConsumptionConfig:
        return DatasetConsumptionConfig(self.name, self.dataset, "hdfs")

    def __repr__(self) -> str:
        return f"DatasetConsumptionConfig({self.name!r}, {self.mode!r})"
