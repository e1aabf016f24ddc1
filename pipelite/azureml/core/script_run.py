"""The run that a script is part of, as the script itself sees it; outside of one, a run that prints what it is told."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.azureml import _state
from pipelite.azureml.core.run_records import Labels, copy_kept, kept_files, remember, texts
from pipelite.azureml.exceptions import (
    NotOnOneBoxError,
    UserErrorException,
)
from pipelite.clock import CLOCK
from pipelite.execute import StepContext, current_run

if TYPE_CHECKING:
    from pipelite.azureml.core.experiment import Experiment

#: How long a script waits for a file that it uploaded to be recorded, at most.
_RECORDED_WITHIN_S = 10


class LoggingRun:
    """What a script tells its run; `_tell` says where that goes."""

    def log(self, name: str, value: Any, description: str = "", step: int | None = None) -> None:
        """Log a number or a text; the same name again makes a list."""
        if isinstance(value, list | tuple | dict):
            raise UserErrorException(
                f"metric {name!r} is a {type(value).__name__}; log_list, log_row and log_table take those"
            )
        self._tell("log", name, value, step=step)

    def log_list(self, name: str, value: Sequence[Any], description: str = "") -> None:
        self._tell("log_list", name, list(value))

    def log_row(self, name: str, description: str | None = None, **kwargs: Any) -> None:
        self._tell("log_row", name, **kwargs)

    def log_table(self, name: str, value: Mapping[str, Any], description: str = "") -> None:
        self._tell("log_table", name, {key: each if isinstance(each, list) else [each] for key, each in value.items()})

    def log_image(self, name: str, path: str | None = None, plot: Any = None, description: str = "") -> None:
        """Log a picture: the path of one, or a figure of matplotlib, or matplotlib.pyplot itself."""
        if (path is None) == (plot is None):
            raise UserErrorException(f"image {name!r}: give path= or plot=, and not both")
        self._tell("log_image", name, path if plot is None else plot)

    def log_confusion_matrix(self, name: str, value: Any, description: str = "") -> None:
        data = _data_of(name, value)
        self._tell("log_confusion_matrix", name, data["matrix"], data.get("class_labels"))

    def log_accuracy_table(self, name: str, value: Any, description: str = "") -> None:
        self._log_data(name, value)

    def log_residuals(self, name: str, value: Any, description: str = "") -> None:
        self._log_data(name, value)

    def log_predictions(self, name: str, value: Any, description: str = "") -> None:
        self._log_data(name, value)

    def _log_data(self, name: str, value: Any) -> None:
        import json

        data = _data_of(name, value)
        self._tell("log_table", name, {"field": list(data), "value": [json.dumps(each) for each in data.values()]})

    def upload_file(self, name: str, path_or_stream: Any, **others: Any) -> None:
        self._tell("upload_file", name, path_or_stream)

    def upload_files(self, names: Sequence[str], paths: Sequence[str], **others: Any) -> None:
        for name, path in zip(names, paths, strict=True):
            self.upload_file(name, path)

    def upload_folder(self, name: str, path: str, **others: Any) -> None:
        for each in sorted(Path(path).rglob("*")):
            if each.is_file():
                self.upload_file(f"{name}/{each.relative_to(path).as_posix()}", str(each))

    def tag(self, key: str, value: str | None = None) -> None:
        self._tell("tag", key, "" if value is None else str(value))

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        for key, value in tags.items():
            self.tag(key, str(value))

    def child_run(self, name: str | None = None, run_id: str | None = None, outputs: Any = None) -> ChildRun:
        """A part of this run, whose metrics are those of this one under `<name>/<metric>`."""
        self._n_children = getattr(self, "_n_children", 0) + 1
        return ChildRun(self, name or f"child_{self._n_children}")

    def create_children(
        self, count: int | None = None, tag_key: str | None = None, tag_values: Sequence[str] | None = None
    ) -> list[ChildRun]:
        """Several of them, as many as a number says or as there are values of a tag."""
        names: Sequence[str | None] = tag_values or [None] * (count or 0)
        return [self.child_run(name) for name in names]

    def submit_child(self, config: Any, tags: Any = None, **others: Any) -> Any:
        raise NotOnOneBoxError(
            "submit_child() cannot start a run from inside a step; make what it runs another step of the pipeline"
        )

    def complete(self, _set_status: bool = True) -> None:
        """Nothing: the end of the script's process is the end of its run."""

    def fail(self, error_details: Any = None, error_code: Any = None, _set_status: bool = True) -> None:
        """Nothing: the script's exit code says whether it failed."""

    def cancel(self) -> None:
        """Nothing but a word: a script cannot cancel its own run."""
        print("a script does not cancel its own run; exit it", file=sys.stderr)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Nothing to close."""

    def flush(self, timeout_seconds: float = 300) -> None:
        """Nothing: what is logged is kept when the call returns."""

    def _tell(self, what: str, name: str, *values: Any, **named: Any) -> None:
        raise NotImplementedError


class ChildRun(LoggingRun):
    """A part of a script's run."""

    def __init__(self, parent: LoggingRun, name: str) -> None:
        self.parent = parent
        self.name = name

    @property
    def id(self) -> str:
        parent: Any = self.parent
        return f"{parent.id}_{self.name}"

    def get_metrics(self, name: str | None = None, **others: Any) -> dict[str, Any]:
        start = f"{self.name}/"
        parent: Any = self.parent
        found = {key.removeprefix(start): value for key, value in parent.get_metrics().items() if key.startswith(start)}
        return found if name is None else {key: value for key, value in found.items() if key == name}

    def _tell(self, what: str, name: str, *values: Any, **named: Any) -> None:
        self.parent._tell(what, f"{self.name}/{name}", *values, **named)


class ScriptRun(LoggingRun):
    """The step run that this script is."""

    def __init__(self, here: StepContext) -> None:
        self._here = here
        self._workspace: Any = None
        #: What this process logged: others see it when the owner of the run has recorded it.
        self._metrics: dict[str, Any] = {}
        self._uploaded: set[str] = set()
        self._tags: dict[str, str] = {}
        #: What was logged to this step, and to its parent.
        self._logged: tuple[Counter[str], Counter[str]] = (Counter(), Counter())

    @property
    def id(self) -> str:
        return str(self._here.id)

    @property
    def name(self) -> str:
        return str(self._here.name)

    @property
    def type(self) -> str:
        return "azureml.StepRun"

    @property
    def number(self) -> int:
        return int(self._native.record.number)

    @property
    def _native(self) -> Any:
        return self.experiment.workspace.native.run(self._here._run_id)

    @property
    def experiment(self) -> Experiment:
        """The way to the workspace: `run.experiment.workspace`."""
        from pipelite.azureml.core.experiment import Experiment
        from pipelite.azureml.core.workspace import Workspace

        if self._workspace is None:
            self._workspace = Workspace(*_state.workspace_names(_state.open_workspace().store))
        return Experiment(self._workspace, self._workspace.native.run(self._here._run_id).experiment)

    @property
    def parent(self) -> Any:
        """The run of the pipeline."""
        from pipelite.azureml.pipeline.core.run import ParentRun

        return ParentRun(self)

    @property
    def input_datasets(self) -> Mapping[str, Any]:
        """The inputs by name: a dataset where it was given as itself, else its path."""
        from pipelite.azureml.core.dataset import of_native

        found: dict[str, Any] = {}
        for item in filter(None, os.environ.get("AZUREML_DATASET_ENVIRONMENT_VARS", "").split(",")):
            name, _, mode = item.partition(":")
            found[name] = of_native(self._here.input_datasets[name]) if mode == "direct" else os.environ[name]
        return found

    @property
    def output_datasets(self) -> Mapping[str, str]:
        """The folders to write by name."""
        names = filter(None, os.environ.get("AZUREML_DATASET_FILE_OUTPUTS", "").split(";"))
        return {name: os.environ[name] for name in names}

    @property
    def tags(self) -> dict[str, str]:
        return {**self.parent.tags, **self._tags}

    def get_tags(self) -> dict[str, str]:
        return self.tags

    def remove_tags(self, tags: Iterable[str]) -> None:
        for key in tags:
            self._tags.pop(key, None)
            self.parent.remove_tags([key])

    @property
    def properties(self) -> dict[str, str]:
        return self._labels.read("properties")

    def get_properties(self) -> dict[str, str]:
        return self.properties

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        self._labels.add_properties(properties)

    @property
    def _labels(self) -> Labels:
        return Labels(self.experiment.workspace.store, self.id)

    def get_status(self) -> str:
        return "Running"

    def get_details(self) -> dict[str, Any]:
        return {"runId": self.id, "status": "Running", "properties": {}}

    def get_metrics(self, name: str | None = None, **others: Any) -> dict[str, Any]:
        """What this script logged."""
        return {key: value for key, value in self._metrics.items() if name in (None, key)}

    def get_file_names(self) -> list[str]:
        return sorted(self._files())

    def get_secret(self, name: str) -> str:
        secret: str = self.experiment.workspace.get_default_keyvault().get_secret(name)
        return secret

    def register_model(self, model_name: str, model_path: str | None = None, **others: Any) -> Any:
        """Register a file or folder that lies in this script's folder, or that it has uploaded, as a model."""
        from pipelite.azureml.core.model import Model, register_of_run

        path = model_path or model_name
        if not os.path.exists(path):
            return register_of_run(self, model_name, path, **others)
        return Model.register(self.experiment.workspace, path, model_name, **others)

    def download_file(self, name: str, output_file_path: str | None = None, **others: Any) -> None:
        copy_kept(self._files(), name, output_file_path, self.id)

    def _files(self) -> dict[str, Path]:
        return wait_for_files(lambda: kept_files(self._native, str(self._here.name)), self._uploaded)

    def _tell(self, what: str, name: str, *values: Any, **named: Any) -> None:
        self._record(what, name, values, named)
        remember(self._metrics, what, name, values, named)

    def _record(
        self, what: str, name: str, values: Sequence[Any], named: Mapping[str, Any], *, for_parent: bool = False
    ) -> None:
        """Have the step record it.

        What the steps of a run log is what the run logged. A script that logs a value to its run and to the parent, as
        many do, therefore has it recorded once.
        """
        if what in ("log", "log_list", "log_row"):
            call = repr((what, name, values, named))
            here, there = self._logged[for_parent], self._logged[not for_parent]
            here[call] += 1
            if here[call] <= there[call]:
                return
        getattr(self._here, what)(name, *as_files(self._here, what, name, values), **named)
        if what in ("upload_file", "log_image"):
            self._uploaded.add(name)
        if what == "tag":
            self._tags[name] = values[0]


class _OfflineRun(LoggingRun):
    """A run of no service: it prints what it is told."""

    def __init__(self) -> None:
        self.id = f"OfflineRun_{os.getpid()}"
        self.name = self.id
        self.tags: dict[str, str] = {}
        self.properties: dict[str, str] = {}
        self.parent = None
        self._metrics: dict[str, Any] = {}

    def get_status(self) -> str:
        return "Running"

    def get_metrics(self, name: str | None = None, **others: Any) -> dict[str, Any]:
        """What was logged."""
        return {key: value for key, value in self._metrics.items() if name in (None, key)}

    def get_tags(self) -> dict[str, str]:
        return self.tags

    def remove_tags(self, tags: Iterable[str]) -> None:
        for key in tags:
            self._tell("remove tag", key)
            self.tags.pop(key, None)

    def get_properties(self) -> dict[str, str]:
        return self.properties

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        for key, value in texts(properties).items():
            self._tell("add property", key, value)
            self.properties[key] = value

    def complete(self, _set_status: bool = True) -> None:
        print("Attempted to complete the run")

    def fail(self, error_details: Any = None, error_code: Any = None, _set_status: bool = True) -> None:
        print("Attempted to fail the run")

    def _tell(self, what: str, name: str, *values: Any, **named: Any) -> None:
        shown = ", ".join([repr(name), *map(repr, values), *(f"{k}={v!r}" for k, v in named.items() if v is not None)])
        print(f"Attempted to {what} {shown}")
        remember(self._metrics, what, name, values, named)
        if what == "tag":
            self.tags[name] = values[0]

    def __getattr__(self, name: str) -> Any:
        if name in ("experiment", "input_datasets", "output_datasets"):
            raise AttributeError(
                f"an offline run has no {name}: this script does not run as a step of a pipeline, but on its own"
            )
        raise AttributeError(f"an offline run has no {name}")


_context: Any = None


def _data_of(name: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        import json

        value = json.loads(value)
    if not isinstance(value, Mapping) or "data" not in value:
        raise UserErrorException(f"{name!r}: a dict with schema_type, schema_version and data is expected")
    data: Mapping[str, Any] = value["data"]
    return data


def as_files(here: StepContext, what: str, name: str, values: Iterable[Any]) -> Iterator[Any]:
    """What is to be kept as a file, as one."""
    for value in values:
        if what == "upload_file" and hasattr(value, "read"):
            path = here.scratch / re.sub(r"\W", "_", name)
            content = value.read()
            path.write_bytes(content if isinstance(content, bytes) else str(content).encode())
            yield path
        elif what == "log_image" and not isinstance(value, str | Path) and not hasattr(value, "figure"):
            # matplotlib.pyplot stands for its current figure.
            yield value.gcf() if hasattr(value, "gcf") else value
        else:
            yield value


def wait_for_files(look: Callable[[], dict[str, Path]], uploaded: set[str]) -> dict[str, Path]:
    """The files that a run kept, when those that this process uploaded are among them."""
    until = CLOCK.monotonic() + _RECORDED_WITHIN_S
    while True:
        found = look()
        if uploaded <= found.keys() or CLOCK.monotonic() > until:
            return found
        CLOCK.sleep(0.05)


def own_run() -> ScriptRun | _OfflineRun:
    """The run of this process, the same for each call."""
    global _context
    if _context is None:
        here = current_run()
        _context = _OfflineRun() if here.id is None else ScriptRun(here)
    found: ScriptRun | _OfflineRun = _context
    return found
