"""`azureml.data.data_reference`: a path on a datastore, given to a step."""

from __future__ import annotations

import copy
import uuid
from typing import TYPE_CHECKING, Any

from pipelite.azureml._notices import note_place
from pipelite.azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from pipelite.azureml.core.datastore import Datastore

_MODES = ("mount", "download", "upload")


class DataReference:
    """A file or folder of a datastore that a step reads; its script gets a local path.

    Its content counts for whether the step is reused, which Azure could not see.
    """

    def __init__(
        self,
        datastore: Datastore,
        data_reference_name: str | None = None,
        path_on_datastore: str | None = None,
        mode: str = "mount",
        path_on_compute: str | None = None,
        overwrite: bool = False,
    ) -> None:
        if mode not in _MODES:
            raise UserErrorException(
                f"mode={mode!r} of a DataReference is wrong; one of {', '.join(_MODES)} is expected"
            )
        note_place(path_on_compute)
        self.datastore = datastore
        # v1 drew a name by chance, so that no step was ever reused that had one.
        drawn = f"data_{uuid.uuid5(uuid.NAMESPACE_URL, f'{datastore.name}/{path_on_datastore}').hex}"
        self.data_reference_name = data_reference_name or (drawn if path_on_datastore else datastore.name)
        self.path_on_datastore = path_on_datastore
        self.mode = mode
        self.path_on_compute = path_on_compute
        self.overwrite = overwrite

    def path(self, path: str | None = None, data_reference_name: str | None = None) -> DataReference:
        """A path below this one."""
        below = "/".join(part.strip("/") for part in (self.path_on_datastore, path) if part)
        return DataReference(self.datastore, data_reference_name, below or None)

    def as_mount(self) -> DataReference:
        return self._with(mode="mount")

    def as_download(self, path_on_compute: str | None = None, overwrite: bool = False) -> DataReference:
        return self._with(mode="download", path_on_compute=path_on_compute, overwrite=overwrite)

    def as_upload(self, path_on_compute: str | None = None, overwrite: bool = False) -> DataReference:
        return self._with(mode="upload", path_on_compute=path_on_compute, overwrite=overwrite)

    def _with(self, **changes: Any) -> DataReference:
        changed = copy.copy(self)
        changed.__dict__.update(changes)
        return changed

    def __str__(self) -> str:
        return f"$AZUREML_DATAREFERENCE_{self.data_reference_name}"

    def __repr__(self) -> str:
        return str(self)
