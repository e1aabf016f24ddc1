"""`azureml.core.datastore`: the datastores of the workspace."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.azureml import _state
from pipelite.azureml.exceptions import NotOnOneBoxError, UserErrorException
from pipelite.errors import UnknownNameError

if TYPE_CHECKING:
    from pipelite.azureml.core.workspace import Workspace
    from pipelite.azureml.data.data_reference import DataReference
    from pipelite.data import Datastore as NativeDatastore

_FILES = "workspacefilestore"
#: What every workspace of Azure's had, with the folder below the workspace that it is here.
_BUILT_IN = {_state.DEFAULT_DATASTORE: "data", _FILES: "files"}


def names_of(workspace: Workspace) -> Iterator[str]:
    """All there are. The built-in one of this library is the default one of Azure's."""
    yield from dict.fromkeys((*_BUILT_IN, *(name for name in workspace.native.datastores if name != "local")))


class Datastore:
    """A datastore by its name.

    Raises
    ------
    UserErrorException
        If there is none of that name.
    """

    def __new__(cls, workspace: Workspace, name: str | None = None) -> Datastore:
        made: Datastore = object.__new__(AzureFileDatastore if name == _FILES else AzureBlobDatastore)
        return made

    def __init__(self, workspace: Workspace, name: str | None = None) -> None:
        self.workspace = workspace
        self.name = name or _state.DEFAULT_DATASTORE
        self._native = _find(workspace, self.name)

    @staticmethod
    def get(workspace: Workspace, datastore_name: str) -> Datastore:
        return Datastore(workspace, datastore_name)

    @staticmethod
    def get_default(workspace: Workspace) -> Datastore:
        made: Datastore = workspace.get_default_datastore()
        return made

    @property
    def native(self) -> NativeDatastore:
        """The datastore of this library behind it."""
        return self._native

    @property
    def datastore_type(self) -> str:
        """As Azure called it: what schedules on changes of data ask for."""
        return "AzureFile" if isinstance(self, AzureFileDatastore) else "AzureBlob"

    @property
    def container_name(self) -> str:
        return self.name

    @property
    def account_name(self) -> str:
        return "local"

    def path(self, path: str | None = None, data_reference_name: str | None = None) -> DataReference:
        """A reference to a path of it, for a step."""
        from pipelite.azureml.data.data_reference import DataReference

        return DataReference(self, data_reference_name, path)

    def as_mount(self) -> DataReference:
        return self.path().as_mount()

    def as_download(self, path_on_compute: str | None = None) -> DataReference:
        return self.path().as_download(path_on_compute=path_on_compute)

    def upload(
        self,
        src_dir: str | os.PathLike[str],
        target_path: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> DataReference:
        """Put the files of a folder below a path."""
        self._native.upload(src_dir, target_path or "", overwrite=overwrite, show_progress=show_progress)
        return self.path(target_path)

    def upload_files(
        self,
        files: Sequence[str],
        relative_root: str | None = None,
        target_path: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> DataReference:
        """Put files below a path, as they lie below `relative_root`; by default what they have in common."""
        places = [os.path.abspath(file) for file in files]
        root = (
            os.path.abspath(relative_root)
            if relative_root
            else os.path.commonpath([os.path.dirname(p) for p in places])
        )
        for place in places:
            target = os.path.join(target_path or "", os.path.relpath(place, root))
            self._native.upload(place, target, overwrite=overwrite, show_progress=show_progress)
        return self.path(target_path)

    def download(
        self,
        target_path: str | os.PathLike[str],
        prefix: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> int:
        """Copy the files whose paths begin with a text, under their whole paths; gives how many there are."""
        begin = prefix or ""
        paths = [entry.path for entry in self._native.list() if entry.path.startswith(begin)]
        for path in paths:
            folder = Path(target_path, path).parent
            self._native.download(path, folder, overwrite=overwrite, show_progress=False)
        if show_progress:
            print(f"Downloaded {len(paths)} files")
        return len(paths)

    def set_as_default(self) -> None:
        self.workspace.set_default_datastore(self.name)

    def unregister(self) -> None:
        """Forget it; the data stay where they are."""
        self.workspace.native.datastores.remove(self.name)

    # Making one known.

    @staticmethod
    def register_azure_blob_container(
        workspace: Workspace,
        datastore_name: str,
        container_name: str,
        account_name: str,
        sas_token: str | None = None,
        account_key: str | None = None,
        **others: Any,
    ) -> Datastore:
        """A container of Azure Blob Storage (extra `azure`). The secret is kept in the workspace, not in its database."""
        secrets = {"sas_token": sas_token, "account_key": account_key}
        return _register(workspace, datastore_name, f"abfs://{container_name}", {"account_name": account_name}, secrets)

    @staticmethod
    def register_azure_data_lake_gen2(
        workspace: Workspace,
        datastore_name: str,
        filesystem: str,
        account_name: str,
        tenant_id: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        **others: Any,
    ) -> Datastore:
        """A file system of Data Lake Storage, generation 2 (extra `azure`)."""
        options = {"account_name": account_name, "tenant_id": tenant_id, "client_id": client_id}
        return _register(workspace, datastore_name, f"abfs://{filesystem}", options, {"client_secret": client_secret})

    @staticmethod
    def register_azure_file_share(workspace: Workspace, datastore_name: str, *_: Any, **__: Any) -> Datastore:
        raise NotOnOneBoxError(
            f"datastore {datastore_name!r}: a file share of Azure's is not read; mount it, and register its folder: "
            f"pipelite datastores add {datastore_name} FOLDER"
        )

    @staticmethod
    def register_azure_sql_database(workspace: Workspace, datastore_name: str, *_: Any, **__: Any) -> Datastore:
        raise NotOnOneBoxError(
            f"datastore {datastore_name!r}: a database is not a datastore here; Dataset.from_sql of pipelite reads one by "
            "its address"
        )

    register_azure_postgre_sql = register_azure_my_sql = register_azure_sql_database

    @staticmethod
    def register_azure_data_lake(workspace: Workspace, datastore_name: str, *_: Any, **__: Any) -> Datastore:
        raise NotOnOneBoxError(
            f"datastore {datastore_name!r}: the first generation of Data Lake Storage is gone; what was moved to the second "
            "is reached by register_azure_data_lake_gen2"
        )

    @staticmethod
    def register_dbfs(workspace: Workspace, datastore_name: str) -> Datastore:
        raise NotOnOneBoxError(
            f"datastore {datastore_name!r}: the files of Databricks are reached by its own steps only"
        )

    def __deepcopy__(self, memo: Any) -> Datastore:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Datastore) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<datastore {self.name!r}>"


class AzureBlobDatastore(Datastore):
    """A container of Azure Blob Storage; here every datastore but the one below."""


class AzureFileDatastore(Datastore):
    """A file share of Azure's; here `workspacefilestore`."""


def _find(workspace: Workspace, name: str) -> NativeDatastore:
    stores = workspace.native.datastores
    if name in _BUILT_IN and name not in stores:
        folder = workspace.native.path / _BUILT_IN[name]
        folder.mkdir(exist_ok=True)
        stores.register(name, folder)
    try:
        return stores[name]
    except UnknownNameError as exc:
        raise UserErrorException(str(exc)) from None


def _register(
    workspace: Workspace, name: str, url: str, options: dict[str, str | None], secrets: dict[str, str | None]
) -> Datastore:
    from pipelite.azureml.core.keyvault import Keyvault

    credentials = {}
    for option, value in secrets.items():
        if value:
            secret = f"datastore-{name}-{option}".replace("_", "-")
            Keyvault(workspace).set_secret(secret, value)
            credentials[option] = f"file:secrets/{secret}"
    given = {option: value for option, value in options.items() if value}
    workspace.native.datastores.register(name, url, options=given, credentials=credentials)
    return Datastore(workspace, name)
