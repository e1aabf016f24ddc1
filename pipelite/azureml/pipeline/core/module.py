"""`azureml.pipeline.core.module`: scripts that are kept in the workspace by name and version, for steps of any pipeline."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from pipelite.azureml import _state
from pipelite.azureml._notices import note_ignored
from pipelite.azureml.exceptions import NotOnOneBoxError, UserErrorException
from pipelite.azureml.pipeline.core.graph import InputPortDef, OutputPortDef

if TYPE_CHECKING:
    from pipelite.azureml.core.workspace import Workspace

_KIND = "module"
#: Below the workspace: the source directories of modules, each as it was when it was published.
_FOLDER = "azureml/modules"


def _to_tuple(given: Iterable[Any]) -> tuple[Any, ...]:
    # JSON has lists.
    return tuple(given)


@attrs.frozen(kw_only=True, repr=False)
class ModuleVersion:
    """One version of a module: a script with its source directory, and the names of what it reads and writes."""

    module_id: str
    module_name: str
    id: str
    version: str
    description: str | None
    script_name: str
    #: A copy of its source directory.
    folder: str
    inputs: tuple[str, ...] = attrs.field(converter=_to_tuple)
    outputs: tuple[str, ...] = attrs.field(converter=_to_tuple)
    #: Values by name, which a step may replace.
    params: Mapping[str, Any]
    #: Texts, and {"port": name} for what a step reads or writes.
    arguments: tuple[Any, ...] = attrs.field(converter=_to_tuple)
    #: What a step that has no run configuration runs in, as `Environment.to_kept` gives it.
    environment: Mapping[str, Any] | None

    def __repr__(self) -> str:
        return f"ModuleVersion(Module: {self.module_name}, Version: {self.version}, Id: {self.id})"

    @staticmethod
    def get(workspace: Workspace, module_version_id: str, **others: Any) -> ModuleVersion:
        """One by its id.

        Raises
        ------
        UserErrorException
            If there is none.
        """
        for module in Module.list(workspace):
            for each in module.get_versions().values():
                if each.id == module_version_id:
                    return each
        raise UserErrorException(f"there is no version of a module with the id {module_version_id!r}")


class Module:
    """A name for the versions of a script, which `ModuleStep` runs."""

    def __init__(self, workspace: Workspace, module_id: str, **others: Any) -> None:
        self.workspace = workspace
        self.id = module_id
        self._kept = _state.get(workspace.store, _KIND, module_id)
        if self._kept is None:
            raise UserErrorException(f"there is no module with the id {module_id!r}")

    @staticmethod
    def create(workspace: Workspace, name: str, description: str, **others: Any) -> Module:
        """Make a name for versions, of which it has none yet.

        Raises
        ------
        UserErrorException
            If there is a module of that name.
        """
        if any(each.name == name for each in Module.list(workspace)):
            raise UserErrorException(
                f"there is a module {name!r} already; Module.get(workspace, name={name!r}) gives it"
            )
        module_id = str(uuid.uuid4())
        kept: dict[str, Any] = {"name": name, "description": description, "default": None, "versions": []}
        _state.put(workspace.store, _KIND, module_id, kept)
        return Module(workspace, module_id)

    @staticmethod
    def get(workspace: Workspace, module_id: str | None = None, name: str | None = None, **others: Any) -> Module:
        """One by its id or its name.

        Raises
        ------
        UserErrorException
            If there is none.
        """
        if module_id is not None:
            return Module(workspace, module_id)
        for each in Module.list(workspace):
            if each.name == name:
                return each
        raise UserErrorException(
            f"there is no module {name!r}; Module.create(workspace, {name!r}, description) makes one"
        )

    @staticmethod
    def list(workspace: Workspace) -> builtins.list[Module]:
        """All that there are."""
        return [Module(workspace, module_id) for module_id in _state.get_all(workspace.store, _KIND)]

    @property
    def name(self) -> str:
        return str(self._kept["name"])

    @property
    def description(self) -> str | None:
        found: str | None = self._kept["description"]
        return found

    @property
    def default_version(self) -> str | None:
        """That which is used where none is named."""
        found: str | None = self._kept["default"]
        return found

    def publish_python_script(
        self,
        script_name: str,
        description: str | None = None,
        inputs: Sequence[InputPortDef] | None = None,
        outputs: Sequence[OutputPortDef] | None = None,
        params: Mapping[str, Any] | None = None,
        version: str | None = None,
        is_default: bool = False,
        source_directory: str | None = None,
        hash_paths: Any = None,
        category: Any = None,
        arguments: Sequence[Any] | None = None,
        runconfig: Any = None,
    ) -> ModuleVersion:
        """Keep a script, with its source directory as it is now, as a version.

        Raises
        ------
        ValueError
            If there is that version already, or the script is not in the source directory.
        """
        from pipelite.azureml.script_steps import copy_source

        for setting, value in (("hash_paths", hash_paths), ("category", category)):
            if value is not None:
                note_ignored(f"{setting}= of a module")
        known = self.get_versions()
        label = version or str(len(known) + 1)
        if label in known:
            raise ValueError(f"module {self.name!r} has a version {label!r} already")
        version_id = str(uuid.uuid4())
        folder = self.workspace.native.path / _FOLDER / version_id
        copy_source(script_name, source_directory or ".", folder, f"module {self.name!r}")
        made = ModuleVersion(
            module_id=self.id,
            module_name=self.name,
            id=version_id,
            version=label,
            description=description,
            script_name=script_name,
            folder=str(folder),
            inputs=[each.name for each in inputs or ()],
            outputs=[each.name for each in outputs or ()],
            params=dict(params or {}),
            arguments=[_kept_argument(each) for each in arguments or ()],
            environment=None if runconfig is None else runconfig.environment.to_kept(),
        )
        default = label if is_default or not known else self.default_version
        self._change(versions=[*self._kept["versions"], attrs.asdict(made)], default=default)
        return made

    def publish_azure_batch(self, *_: Any, **__: Any) -> ModuleVersion:
        raise NotOnOneBoxError(
            "publish_azure_batch: there is no Azure Batch here; publish_python_script keeps a script"
        )

    def publish_adla_script(self, *_: Any, **__: Any) -> ModuleVersion:
        raise NotOnOneBoxError(
            "publish_adla_script: U-SQL is run by nothing else; publish_python_script keeps a script"
        )

    def get_versions(self) -> dict[str, ModuleVersion]:
        """All versions by what they are called, the oldest first."""
        return {each["version"]: ModuleVersion(**each) for each in self._kept["versions"]}

    def get_default(self) -> ModuleVersion:
        return self.resolve()

    def get_default_version(self) -> str | None:
        return self.default_version

    def set_default_version(self, version: str) -> None:
        """Have it used where none is named.

        Raises
        ------
        ValueError
            If there is no such version.
        """
        self._change(default=self.resolve(version).version)

    def resolve(self, version: str | None = None) -> ModuleVersion:
        """A version, by default the default one.

        Raises
        ------
        ValueError
            If there is no such version.
        """
        known = self.get_versions()
        wanted = self.default_version if version is None else version
        if wanted not in known:
            raise ValueError(f"module {self.name!r} has no version {wanted!r}; it has {', '.join(known) or 'none'}")
        return known[wanted]

    def set_name(self, name: str) -> None:
        self._change(name=name)

    def set_description(self, description: str) -> None:
        self._change(description=description)

    def _change(self, **changes: Any) -> None:
        self._kept = {**self._kept, **changes}
        _state.put(self.workspace.store, _KIND, self.id, self._kept)

    def __repr__(self) -> str:
        return f"Module(Name: {self.name}, Id: {self.id}, Default version: {self.default_version})"


def _kept_argument(value: Any) -> Any:
    if isinstance(value, InputPortDef | OutputPortDef):
        return {"port": value.name}
    if isinstance(value, str | int | float):
        return value
    raise ValueError(f"the argument {value!r} is none of a module's; texts, numbers and definitions of its ports are")
