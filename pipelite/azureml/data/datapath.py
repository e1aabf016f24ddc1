"""`azureml.data.datapath`: a path on a datastore as the value of a pipeline's parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelite.azureml._notices import note_place
from pipelite.azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from pipelite.azureml.core.datastore import Datastore


class DataPath:
    """A path on a datastore: what `Dataset` reads from, or the default of a `PipelineParameter`."""

    def __init__(
        self, datastore: Datastore | None = None, path_on_datastore: str | None = None, name: str | None = None
    ) -> None:
        self.datastore = datastore
        self.path_on_datastore = path_on_datastore or ""
        self.name = name

    @property
    def datastore_name(self) -> str | None:
        return None if self.datastore is None else self.datastore.name

    def create_data_reference(
        self, data_reference_name: str | None = None, datapath_compute_binding: Any = None
    ) -> Any:
        from pipelite.azureml.data.data_reference import DataReference

        if self.datastore is None:
            raise UserErrorException("this DataPath names no datastore, so it cannot be read")
        return DataReference(self.datastore, data_reference_name or self.name, self.path_on_datastore)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DataPath) and (self.datastore_name, self.path_on_datastore) == (
            other.datastore_name,
            other.path_on_datastore,
        )

    def __hash__(self) -> int:
        return hash((self.datastore_name, self.path_on_datastore))

    def __repr__(self) -> str:
        return f"DataPath({self.datastore_name!r}, {self.path_on_datastore!r})"


class DataPathComputeBinding:
    """How a step gets the path that a parameter names."""

    def __init__(self, mode: str = "mount", path_on_compute: str | None = None, overwrite: bool = False) -> None:
        if mode not in ("mount", "download", "upload"):
            raise UserErrorException(
                f"mode={mode!r} of a DataPathComputeBinding is wrong; 'mount' or 'download' is expected"
            )
        note_place(path_on_compute)
        self.mode = mode
        self.path_on_compute = path_on_compute
        self.overwrite = overwrite
