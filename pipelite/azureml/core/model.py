"""`azureml.core.model`: a plain registry, files by name and version."""

from __future__ import annotations

import builtins
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.azureml import _state
from pipelite.azureml._notices import note_ignored
from pipelite.azureml.core.run_records import has
from pipelite.azureml.exceptions import ModelNotFoundException, NotOnOneBoxError, UserErrorException
from pipelite.store import now_text

if TYPE_CHECKING:
    from pipelite.azureml.core.workspace import Workspace

_KIND = "model"
#: Below the workspace: a folder for each version.
_FOLDER = "azureml/models"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-._]{0,254}\Z")


class _Framework:
    """`Model.Framework`: what made a model."""

    CUSTOM = "Custom"
    HUGGINGFACE = "HuggingFace"
    MULTI = "Multi"
    ONNX = "Onnx"
    SCIKITLEARN = "ScikitLearn"
    TENSORFLOW = "TensorFlow"
    TFKERAS = "TfKeras"


class InferenceConfig:
    """How a service would load a model: recorded, and not used."""

    def __init__(
        self,
        entry_script: str,
        runtime: str | None = None,
        conda_file: str | None = None,
        extra_docker_file_steps: str | None = None,
        source_directory: str | None = None,
        enable_gpu: bool | None = None,
        description: str | None = None,
        base_image: str | None = None,
        base_image_registry: Any = None,
        cuda_version: str | None = None,
        environment: Any = None,
    ) -> None:
        self.entry_script = entry_script
        self.source_directory = source_directory
        self.environment = environment


class Model:
    """A registered model: the latest version by default.

    Raises
    ------
    ModelNotFoundException
        If there is none; it is a WebserviceException too.
    """

    Framework = _Framework

    def __init__(
        self,
        workspace: Workspace,
        name: str | None = None,
        id: str | None = None,
        tags: Any = None,
        properties: Any = None,
        version: int | None = None,
        **others: Any,
    ) -> None:
        if id is not None:
            name, _, text = id.partition(":")
            version = int(text) if text else version
        if name is None:
            raise UserErrorException("Model(workspace, name) needs a name or an id")
        kept = _find(workspace, name, version, tags)
        self.workspace = workspace
        self.name = name
        self._kept = kept
        self.version = int(kept["version"])
        self.description = kept["description"]
        self.tags = dict(kept["tags"])
        self.properties = dict(kept["properties"])
        self.created_time = kept["created"]
        self.run_id = kept["run_id"]

    @property
    def id(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def datasets(self) -> dict[str, builtins.list[Any]]:
        """What it was made of, as it was registered with it, by purpose.

        Raises
        ------
        UserErrorException
            If one of them is not registered, or not any more.
        """
        from pipelite.azureml.core.dataset import Dataset

        found: dict[str, builtins.list[Any]] = {}
        # Those of earlier versions of this library were not kept.
        for purpose, dataset in self._kept.get("datasets", ()):
            found.setdefault(purpose, []).append(Dataset.get_by_id(self.workspace, dataset))
        return found

    @property
    def url(self) -> str:
        """As v1 wrote it; `get_model_path` says where it is."""
        return f"aml://asset/{self.id}"

    @staticmethod
    def register(
        workspace: Workspace,
        model_path: str | os.PathLike[str],
        model_name: str,
        tags: Any = None,
        properties: Mapping[str, Any] | None = None,
        description: str | None = None,
        datasets: Any = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        child_paths: Any = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: Any = None,
    ) -> Model:
        """Keep a copy of a file or folder as the next version of a name.

        Of the rest, the framework and its version are kept as properties; the others described a service.

        Parameters
        ----------
        datasets : list of (purpose, dataset), optional
            What it was made of; `Model.datasets` gives those that are registered.

        Raises
        ------
        UserErrorException
            If the name is none, or nothing is there.
        """
        about = {"model_framework": model_framework, "model_framework_version": model_framework_version}
        known = {**{key: value for key, value in about.items() if value is not None}, **(properties or {})}
        if resource_configuration is not None:
            note_ignored("the size of a service's machine")
        return _register(workspace, Path(model_path), model_name, tags, known, description, datasets, run_id=_own_run())

    @staticmethod
    def list(
        workspace: Workspace,
        name: str | None = None,
        tags: Any = None,
        properties: Any = None,
        run_id: str | None = None,
        latest: bool = False,
        dataset_id: str | None = None,
        **others: Any,
    ) -> list[Model]:
        """All versions, the newest first.

        Parameters
        ----------
        tags, properties : texts, pairs or a dict, that a version has to have
        run_id : of the run that it was registered by
        dataset_id : of a dataset that it was made of
        latest : only the newest of each name
        """
        found = []
        for known in registered_models(workspace):
            if name in (None, known):
                versions = [
                    each
                    for each in _versions(workspace, known, tags)
                    if has(each["properties"], properties)
                    and run_id in (None, each["run_id"])
                    and (dataset_id is None or any(dataset_id == each_id for _, each_id in each.get("datasets", ())))
                ]
                found += [Model(workspace, known, version=each["version"]) for each in reversed(versions)][
                    : 1 if latest else None
                ]
        return found

    @staticmethod
    def get_model_path(model_name: str, version: int | None = None, _workspace: Any = None) -> str:
        """Where the file or folder of a model is.

        In a scoring service, below AZUREML_MODEL_DIR; else in the workspace's registry.
        """
        from pipelite.azureml.core.workspace import Workspace

        served = os.environ.get("AZUREML_MODEL_DIR")
        if served is not None:
            return _served_path(Path(served), model_name, version)
        return str(Model(_workspace or Workspace(), model_name, version=version)._path)

    @property
    def _path(self) -> Path:
        return self.workspace.native.path / str(self._kept["path"])

    def download(self, target_dir: str = ".", exist_ok: bool = False, exists_ok: bool | None = None) -> str:
        """Copy it into a folder; gives the copy."""
        source = self._path
        target = Path(target_dir, source.name)
        if target.exists() and not (exist_ok or exists_ok):
            raise UserErrorException(f"{str(target)!r} is there already; exist_ok=True replaces it")
        Path(target_dir).mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, target)
        return str(target)

    def delete(self) -> None:
        """Forget this version, and remove its files."""
        _state.remove(self.workspace.store, _KIND, self.id)
        shutil.rmtree(self._path.parent, ignore_errors=True)

    def update(self, tags: Any = None, description: str | None = None, **others: Any) -> None:
        self._kept["tags"] = _texts(tags) if tags is not None else self._kept["tags"]
        self._kept["description"] = description if description is not None else self._kept["description"]
        self.tags, self.description = dict(self._kept["tags"]), self._kept["description"]
        _state.put(self.workspace.store, _KIND, self.id, self._kept)

    def add_tags(self, tags: Mapping[str, Any]) -> None:
        self.update(tags={**self.tags, **_texts(tags)})

    @staticmethod
    def package(workspace: Workspace, models: Any, *_: Any, **__: Any) -> Any:
        raise NotOnOneBoxError(
            "Model.package builds no image here; load the model of Model.get_model_path(...) in a step or an application, "
            "or copy it there by download(...)"
        )

    @staticmethod
    def deploy(workspace: Workspace, name: str, *_: Any, **__: Any) -> Any:
        raise NotOnOneBoxError(
            f"service {name!r}: Model.deploy starts no service here; load the model of Model.get_model_path(...) in a step "
            "or an application"
        )

    def __repr__(self) -> str:
        return f"Model(workspace={self.workspace!r}, name={self.name}, id={self.id}, version={self.version})"


def registered_models(workspace: Workspace) -> Iterator[str]:
    """The names of all."""
    yield from dict.fromkeys(label.rpartition(":")[0] for label in _state.get_all(workspace.store, _KIND))


def register_of_run(run: Any, model_name: str, model_path: str | None, **others: Any) -> Model:
    """Register a file, or the files of a folder, that a run kept."""
    import tempfile

    wanted = os.path.normpath(model_path or model_name).strip("/")
    files = run._files()
    found = [name for name in files if name == wanted or name.startswith(f"{wanted}/")]
    if not found:
        raise UserErrorException(f"run {run.id} kept no file {wanted!r}; it kept {', '.join(sorted(files)) or 'none'}")
    with tempfile.TemporaryDirectory() as folder:
        for name in found:
            run.download_file(name, str(Path(folder, name)))
        return _register(
            run.experiment.workspace,
            Path(folder, wanted),
            model_name,
            others.get("tags"),
            others.get("properties"),
            others.get("description"),
            others.get("datasets"),
            run_id=run.id,
        )


def _register(
    workspace: Workspace,
    path: Path,
    name: str,
    tags: Any,
    properties: Mapping[str, Any] | None,
    description: str | None,
    datasets: Any,
    *,
    run_id: str | None,
) -> Model:
    if not _NAME.match(name):
        raise UserErrorException(f"a model cannot be called {name!r}; letters, digits, - . and _ are taken")
    if not path.exists():
        raise UserErrorException(f"model {name!r}: there is no file or folder {str(path)!r} (seen from {os.getcwd()})")
    # The folder is the version: who makes it has the number.
    versions = _versions(workspace, name, None)
    number = max((each["version"] for each in versions), default=0) + 1
    while True:
        folder = workspace.native.path / _FOLDER / name / str(number)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()
            break
        except FileExistsError:
            number += 1
    target = folder / path.name
    if path.is_dir():
        shutil.copytree(path, target, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(path, target)
    for file in (target, *target.rglob("*")):
        # Its path is what scripts are given.
        if file.is_file():
            file.chmod(0o444)
    kept = {
        "version": number,
        "path": f"{_FOLDER}/{name}/{number}/{path.name}",
        "description": description,
        "tags": _texts(tags),
        "properties": _texts(properties),
        "created": now_text(),
        "datasets": [[str(purpose), dataset.id] for purpose, dataset in datasets or ()],
        "run_id": run_id,
    }
    # A setting for each version: several processes may be at it.
    _state.put(workspace.store, _KIND, f"{name}:{number}", kept)
    return Model(workspace, name, version=number)


def _find(workspace: Workspace, name: str, version: int | None, tags: Any) -> dict[str, Any]:
    versions = _versions(workspace, name, tags)
    wanted = [each for each in versions if version is None or each["version"] == int(version)]
    if not wanted:
        what = f"no version {version} of the model" if versions else "no model"
        raise ModelNotFoundException(f"ModelNotFound: there is {what} {name!r}; Model.register makes one")
    found: dict[str, Any] = wanted[-1]
    return found


def _versions(workspace: Workspace, name: str, tags: Any) -> list[dict[str, Any]]:
    found = [
        each
        for label, each in _state.get_all(workspace.store, _KIND).items()
        if label.rpartition(":")[0] == name and has(each["tags"], tags)
    ]
    return sorted(found, key=lambda each: int(each["version"]))


def _texts(given: Any) -> dict[str, str]:
    pairs = given if isinstance(given, Mapping) else dict.fromkeys(given or (), "")
    return {str(key): str(value) for key, value in pairs.items()}


def _own_run() -> str | None:
    from pipelite.execute import current_run

    return current_run().id


def _served_path(folder: Path, name: str, version: int | None) -> str:
    place = folder / name
    numbers = sorted((int(each.name) for each in place.iterdir() if each.name.isdigit()), reverse=True)
    place = place / str(version or numbers[0])
    entries = list(place.iterdir())
    return str(entries[0] if len(entries) == 1 else place)
