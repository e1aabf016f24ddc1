"""`azureml.core.workspace`: the workspace folder of this library, seen as a workspace of Azure's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pipelite.azureml import _state
from pipelite.azureml._notices import note_ignored
from pipelite.azureml.exceptions import UserErrorException
from pipelite.store import Store

if TYPE_CHECKING:
    from pipelite.api import Workspace as NativeWorkspace

T = TypeVar("T")

_CONFIG = "config.json"
#: Where v1 looked for it, in each folder upwards.
_PLACES = (_CONFIG, f".azureml/{_CONFIG}", f"aml_config/{_CONFIG}")
_KEYS = ("subscription_id", "resource_group", "workspace_name")


class Views(Mapping[str, T], Generic[T]):
    """Things of the workspace by name, looked up when they are asked for."""

    def __init__(self, names: Callable[[], Iterator[str]], make: Callable[[str], T]) -> None:
        self._names = names
        self._make = make

    def __getitem__(self, name: str) -> T:
        if name not in list(self._names()):
            raise KeyError(name)
        return self._make(name)

    def __iter__(self) -> Iterator[str]:
        return self._names()

    def __len__(self) -> int:
        return len(list(self._names()))

    def __repr__(self) -> str:
        return repr(dict(self))


class Workspace:
    """The workspace of this process, under the names that scripts know it by.

    There is one: `PIPELITE_WORKSPACE`, or the nearest `.pipelite` upwards. The names of a subscription, a resource group and
    a workspace are kept as they are given, and lead nowhere.
    """

    def __init__(
        self,
        subscription_id: str = "local",
        resource_group: str = "local",
        workspace_name: str = "local",
        auth: Any = None,
        **others: Any,
    ) -> None:
        self.subscription_id = subscription_id
        self.resource_group = resource_group
        self.name = workspace_name
        self.location = "local"
        self.sku = "Basic"
        self.tags: dict[str, str] = {}
        self._native: NativeWorkspace | None = None

    @classmethod
    def from_config(cls, path: str | os.PathLike[str] | None = None, auth: Any = None, **others: Any) -> Workspace:
        """The workspace that a `config.json` names: in the folder or file given, else upwards from the working directory.

        Raises
        ------
        UserErrorException
            If there is none, or it lacks a name.
        """
        file = _find_config(path)
        try:
            found = json.loads(file.read_text(encoding="utf-8-sig"))
            subscription, group, name = (str(found[key]) for key in _KEYS)
            return cls(subscription, group, name, auth=auth)
        except (ValueError, KeyError, TypeError) as exc:
            raise UserErrorException(f"{str(file)!r} cannot be read: {exc!r}; it has {', '.join(_KEYS)}") from exc

    @classmethod
    def get(
        cls,
        name: str,
        auth: Any = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        **others: Any,
    ) -> Workspace:
        return cls(subscription_id or "local", resource_group or "local", name, auth=auth)

    @classmethod
    def create(
        cls,
        name: str,
        auth: Any = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        **others: Any,
    ) -> Workspace:
        for setting in sorted(others):
            note_ignored(f"{setting}= of Workspace.create")
        return cls(subscription_id or "local", resource_group or "local", name, auth=auth)

    def write_config(self, path: str | None = None, file_name: str | None = None) -> None:
        """Write a `config.json` for `from_config`, by default into `.azureml/`."""
        folder = Path(path or ".", ".azureml")
        folder.mkdir(parents=True, exist_ok=True)
        values = (self.subscription_id, self.resource_group, self.name)
        (folder / (file_name or _CONFIG)).write_text(json.dumps(dict(zip(_KEYS, values, strict=True)), indent=4))

    def get_details(self) -> dict[str, Any]:
        return {"id": _state.make_id(str(self.native.path)), "name": self.name, "location": self.location}

    @property
    def native(self) -> NativeWorkspace:
        """The workspace of this library behind it."""
        if self._native is None:
            self._native = _state.open_workspace()
        return self._native

    def remember(self) -> None:
        """Have the scripts of steps find the workspace under the same names."""
        names = (self.subscription_id, self.resource_group, self.name)
        if _state.workspace_names(self.store) != names:
            _state.put(self.store, "workspace", "names", names)

    @property
    def store(self) -> Store:
        """Where all is kept."""
        return self.native.store

    # What is in it.

    @property
    def experiments(self) -> Mapping[str, Any]:
        from pipelite.azureml.core.experiment import Experiment

        return Views(lambda: iter(self.native.experiments), lambda name: Experiment(self, name))

    @property
    def datastores(self) -> Mapping[str, Any]:
        from pipelite.azureml.core.datastore import Datastore, names_of

        return Views(lambda: names_of(self), lambda name: Datastore(self, name))

    @property
    def datasets(self) -> Mapping[str, Any]:
        """The latest version of each."""
        from pipelite.azureml.core.dataset import Dataset
        from pipelite.azureml.core.dataset_names import is_saved, to_given

        def names() -> Iterator[str]:
            return (to_given(self.store, each) for each in self.native.datasets if not is_saved(each))

        return Views(names, lambda name: Dataset.get_by_name(self, name))

    @property
    def compute_targets(self) -> Mapping[str, Any]:
        from pipelite.azureml.core.compute import ComputeTarget

        return Views(lambda: iter(_state.get_all(self.store, "compute")), lambda name: ComputeTarget(self, name))

    @property
    def environments(self) -> Mapping[str, Any]:
        from pipelite.azureml.core.environment import Environment, registered_names

        return Views(lambda: registered_names(self), lambda name: Environment.get(self, name))

    @property
    def models(self) -> Mapping[str, Any]:
        from pipelite.azureml.core.model import Model, registered_models

        return Views(lambda: registered_models(self), lambda name: Model(self, name))

    @property
    def webservices(self) -> Mapping[str, Any]:
        return {}

    def get_default_datastore(self) -> Any:
        """The datastore of what names none: the folder `data/` of the workspace, if no other was set."""
        from pipelite.azureml.core.datastore import Datastore

        return Datastore(self, _state.get(self.store, "default", "datastore") or _state.DEFAULT_DATASTORE)

    def set_default_datastore(self, name: str) -> None:
        from pipelite.azureml.core.datastore import Datastore

        _state.put(self.store, "default", "datastore", Datastore(self, name).name)

    def get_default_keyvault(self) -> Any:
        from pipelite.azureml.core.keyvault import Keyvault

        return Keyvault(self)

    def get_mlflow_tracking_uri(self) -> str:
        from pipelite.azureml.exceptions import NotOnOneBoxError

        raise NotOnOneBoxError("there is no MLflow server here; log with Run.get_context().log(name, value)")

    def __deepcopy__(self, memo: Any) -> Workspace:
        return self

    def __repr__(self) -> str:
        return (
            f"Workspace.create(name={self.name!r}, subscription_id={self.subscription_id!r}, "
            f"resource_group={self.resource_group!r})"
        )


def _find_config(path: str | os.PathLike[str] | None) -> Path:
    start = Path(path or ".").absolute()
    if start.is_file():
        return start
    for folder in (start, *start.parents):
        for place in _PLACES:
            if (folder / place).is_file():
                return folder / place
    raise UserErrorException(
        f"there is no {_CONFIG} in {str(start)!r} or above it, nor in .azureml there; Workspace.create(name='local') needs "
        "none, and its write_config() writes one"
    )
