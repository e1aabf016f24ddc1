"""`azureml.core.run`: a run as a script sees its own, and as one looks at others."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.azureml import _state
from pipelite.azureml.exceptions import (
    ActivityFailedException,
    NotOnOneBoxError,
    RunEnvironmentException,
    UserErrorException,
)
from pipelite.execute import StepContext, current_run

if TYPE_CHECKING:
    from pipelite.azureml.core.experiment import Experiment
    from pipelite.azureml.core.workspace import Workspace
    from pipelite.store import Store

#: A native status to that of `Run.get_status`.
STATUSES = {
    "queued": "Queued",
    "pending": "NotStarted",
    "running": "Running",
    "completed": "Completed",
    "reused": "Completed",
    "failed": "Failed",
    "skipped": "Canceled",
    "canceling": "CancelRequested",
    "canceled": "Canceled",
    "interrupted": "Failed",
}
#: How long a script waits for a file that it uploaded to be recorded, at most.
_RECORDED_WITHIN_S = 10
#: The tag of a run of a script on its own, which is no run of a pipeline for scripts.
SCRIPT_RUN = "azureml.script_run"


class Run:
    """A run: of a pipeline, of one of its steps, or of a script on its own."""

    #: The run that it is a step of.
    parent: Any = None

    def __init__(self, experiment: Experiment, run_id: str, **others: Any) -> None:
        self.experiment = experiment
        self.id = run_id
        self._native = experiment.workspace.native.run(run_id.partition("/")[0])

    @staticmethod
    def get_context(allow_offline: bool = True, **others: Any) -> Any:
        """The run that this script is part of; outside of one, a run that prints what it is told.

        Raises
        ------
        RunEnvironmentException
            Outside of a run, if `allow_offline` is not set.
        """
        global _context
        if _context is None:
            here = current_run()
            _context = OfflineRun() if here.id is None else ScriptRun(here)
        if isinstance(_context, OfflineRun) and not allow_offline:
            raise RunEnvironmentException("this process is not part of a run; a step's script is")
        return _context

    @staticmethod
    def get(workspace: Workspace, run_id: str) -> Run:
        """A run by its id."""
        from pipelite.azureml.core.experiment import Experiment
        from pipelite.azureml.pipeline.core.run import PipelineRun, StepRun

        root, _, step = run_id.partition("/")
        native = workspace.native.run(root)
        experiment = Experiment(workspace, native.experiment)
        if step:
            return StepRun(PipelineRun(experiment, root), step)
        return view_of(experiment, native)

    # What it is.

    @property
    def name(self) -> str:
        return self.id

    @property
    def number(self) -> int:
        return int(self._native.record.number)

    @property
    def display_name(self) -> str:
        return self.id

    @property
    def type(self) -> str:
        return "azureml.scriptrun"

    @property
    def tags(self) -> dict[str, str]:
        given = {**self._native.tags, **self._labels.read("tags")}
        return {key: value for key, value in given.items() if value is not None and key != SCRIPT_RUN}

    def get_tags(self) -> dict[str, str]:
        return self.tags

    def tag(self, key: str, value: Any = None) -> None:
        self.set_tags({key: "" if value is None else value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        self._labels.change("tags", _texts(tags))

    def remove_tags(self, tags: Iterable[str]) -> None:
        # Those that its steps gave it are in its record.
        self._labels.change("tags", dict.fromkeys(tags))

    @property
    def properties(self) -> dict[str, str]:
        return self._labels.read("properties")

    def get_properties(self) -> dict[str, str]:
        return self.properties

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Add properties, which keep their values.

        Raises
        ------
        UserErrorException
            If it has one of them already.
        """
        self._labels.add_properties(properties)

    @property
    def _labels(self) -> _Labels:
        return _Labels(self.experiment.workspace.store, self.id)

    @property
    def status(self) -> str:
        return self.get_status()

    def get_status(self) -> str:
        return STATUSES[self._native.status]

    def get_details(self) -> dict[str, Any]:
        native = self._native
        return {
            "runId": self.id,
            "status": STATUSES[native.status],
            "startTimeUtc": time_text(native.started_at),
            "endTimeUtc": time_text(native.ended_at),
            "properties": self.properties,
            "error": None if native.error is None else {"error": {"code": "UserError", "message": native.error}},
        }

    def get_portal_url(self) -> str:
        """The command that shows it: there is no page of Azure's."""
        return f"pipelite runs show {self.id}"

    def wait_for_completion(
        self, show_output: bool = False, wait_post_processing: bool = False, raise_on_error: bool = True
    ) -> Any:
        """Wait for its end; gives its details.

        Raises
        ------
        ActivityFailedException
            If it failed, and `raise_on_error` is set.
        """
        wait_for_end(self._native, None)
        if show_output:
            print(f"RunId: {self.id}")
            for step in self._native.steps.values():
                sys.stdout.write(step.logs)
        if raise_on_error and self.get_status() == "Failed":
            raise failure_of(self._native)
        return self.get_details()

    def cancel(self) -> None:
        self._native.cancel()

    def get_children(self, recursive: bool = False, tags: Any = None, properties: Any = None) -> Iterator[Any]:
        """None: only pipelines have steps."""
        return iter(())

    # What it logged.

    def get_metrics(
        self, name: str | None = None, recursive: bool = False, run_type: Any = None, populate: bool = False
    ) -> dict[str, Any]:
        """What it logged by name: one value as itself, several as a list, tables as a dict of columns.

        Of a pipeline's run that is what its steps logged, also without `recursive`.
        """
        return read_metrics(self._native, None, name)

    def get_file_names(self) -> list[str]:
        return sorted(self._files())

    def download_file(self, name: str, output_file_path: str | None = None, **others: Any) -> None:
        """Copy a file that it kept.

        Raises
        ------
        UserErrorException
            If there is none of that name.
        """
        copy_kept(self._files(), name, output_file_path, self.id)

    def download_files(self, prefix: str | None = None, output_directory: str | None = None, **others: Any) -> None:
        """Copy the files whose names begin with a text, under their whole names."""
        for name in self.get_file_names():
            if name.startswith(prefix or ""):
                self.download_file(name, str(Path(output_directory or ".", name)))

    def _files(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for step in self._native.steps:
            found.update(kept_files(self._native, step))
        return found

    def register_model(self, model_name: str, model_path: str | None = None, **others: Any) -> Any:
        """Register a file or folder that it kept as a model."""
        from pipelite.azureml.core.model import register_of_run

        return register_of_run(self, model_name, model_path, **others)

    def get_secret(self, name: str) -> str:
        secret: str = self.experiment.workspace.get_default_keyvault().get_secret(name)
        return secret

    def __repr__(self) -> str:
        return f"Run(Experiment: {self.experiment.name},\nId: {self.id},\nStatus: {self.get_status()})"


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

    def __exit__(self, *_: object) -> None:
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
    def _labels(self) -> _Labels:
        return _Labels(self.experiment.workspace.store, self.id)

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
        until = time.monotonic() + _RECORDED_WITHIN_S
        while True:
            found = kept_files(self._native, str(self._here.name))
            if self._uploaded <= found.keys() or time.monotonic() > until:
                return found
            time.sleep(0.05)

    def _tell(self, what: str, name: str, *values: Any, **named: Any) -> None:
        getattr(self._here, what)(name, *_as_files(self._here, what, name, values), **named)
        _remember(self._metrics, what, name, values, named)
        if what in ("upload_file", "log_image"):
            self._uploaded.add(name)
        if what == "tag":
            self._tags[name] = values[0]


class OfflineRun(LoggingRun):
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
        for key, value in _texts(properties).items():
            self._tell("add property", key, value)
            self.properties[key] = value

    def complete(self, _set_status: bool = True) -> None:
        print("Attempted to complete the run")

    def fail(self, error_details: Any = None, error_code: Any = None, _set_status: bool = True) -> None:
        print("Attempted to fail the run")

    def _tell(self, what: str, name: str, *values: Any, **named: Any) -> None:
        shown = ", ".join([repr(name), *map(repr, values), *(f"{k}={v!r}" for k, v in named.items() if v is not None)])
        print(f"Attempted to {what} {shown}")
        _remember(self._metrics, what, name, values, named)
        if what == "tag":
            self.tags[name] = values[0]

    def __getattr__(self, name: str) -> Any:
        if name in ("experiment", "input_datasets", "output_datasets"):
            raise AttributeError(
                f"an offline run has no {name}: this script does not run as a step of a pipeline, but on its own"
            )
        raise AttributeError(f"an offline run has no {name}")


_context: Any = None


def view_of(experiment: Experiment, native: Any) -> Run:
    """A run of a pipeline, or of a script on its own."""
    from pipelite.azureml.pipeline.core.run import PipelineRun

    if SCRIPT_RUN in native.tags:
        return Run(experiment, native.id)
    return PipelineRun(experiment, native.id, _run=native)


def wait_for_end(native: Any, timeout_s: float | None) -> bool:
    """Wait for a run, whoever executes it; gives whether it has ended."""
    from pipelite.errors import PipeliteError

    try:
        native.wait(timeout_s)
    except TimeoutError:
        return False
    except PipeliteError:
        # Its own status says how it ended.
        pass
    return True


def failure_of(native: Any) -> ActivityFailedException:
    """The exception of a run that failed."""
    return ActivityFailedException(f"ActivityFailedException: run {native.id} failed.\n{native.error or native.status}")


def read_metrics(native: Any, step: str | None, name: str | None) -> dict[str, Any]:
    """What a run, or a step of it, logged, in the form of v1."""
    from pipelite.store import get_metrics

    found: dict[str, Any] = {}
    for metric in get_metrics(native._store, native.id):
        if (step is not None and metric.step_run != step) or (name is not None and metric.name != name):
            continue
        if metric.kind in ("file", "tag"):
            continue
        _add(found, metric.name, metric.kind, metric.value)
    return found


def _add(found: dict[str, Any], name: str, kind: str, value: Any) -> None:
    if kind == "list":
        value = list(value)
        found[name] = [*_listed(found[name]), *value] if name in found else value
    elif kind in ("row", "table"):
        columns = found.setdefault(name, {})
        for column, each in value.items():
            given = each[0] if isinstance(each, list) and len(each) == 1 else each
            if column in columns:
                columns[column] = [*_listed(columns[column]), *_listed(given)]
            else:
                columns[column] = given
    elif kind == "image":
        found[name] = f"aml://artifactId/{name}"
    elif name in found:
        found[name] = [*_listed(found[name]), value]
    else:
        found[name] = value


def _remember(found: dict[str, Any], what: str, name: str, values: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Add what was logged by a call to what was logged before, in the form that `get_metrics` gives."""
    kind = what.removeprefix("log_")
    if what == "log":
        value = values[0]
        _add(found, name, "scalar", value.item() if hasattr(value, "item") else value)
    elif what.startswith("log_"):
        _add(found, name, kind, named if kind == "row" else values[0])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def kept_files(native: Any, step: str) -> dict[str, Path]:
    """Files that a step of a run kept, by name."""
    from pipelite.store import get_metrics

    root = native._store.path
    return {
        metric.name: root / "artifacts" / metric.value["path"]
        for metric in get_metrics(native._store, native.id)
        if metric.kind in ("file", "image") and metric.step_run == step and isinstance(metric.value, Mapping)
    }


def copy_kept(files: Mapping[str, Path], name: str, target: str | None, run_id: str) -> None:
    """Copy a file that a run kept, into the working directory or as a path or a folder says.

    Raises
    ------
    UserErrorException
        If there is none of that name.
    """
    if name not in files:
        raise UserErrorException(f"run {run_id} kept no file {name!r}; it kept {', '.join(sorted(files)) or 'none'}")
    path = Path(target or os.path.basename(name))
    if path.is_dir():
        path /= os.path.basename(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(files[name], path)


class _Labels:
    """Tags and properties of a run besides those of its record, which is its owner's to write."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id

    def read(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = (_state.get(self._store, "run", self._run_id) or {}).get(kind, {})
        return found

    def change(self, kind: str, values: Mapping[str, Any]) -> None:
        kept = _state.get(self._store, "run", self._run_id) or {}
        _state.put(self._store, "run", self._run_id, {**kept, kind: {**kept.get(kind, {}), **values}})

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        known = self.read("properties")
        for key in properties:
            if key in known:
                raise UserErrorException(
                    f"run {self._run_id} has the property {key!r} already, and it cannot be changed"
                )
        self.change("properties", _texts(properties))


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in values.items()}


def _data_of(name: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        import json

        value = json.loads(value)
    if not isinstance(value, Mapping) or "data" not in value:
        raise UserErrorException(f"{name!r}: a dict with schema_type, schema_version and data is expected")
    data: Mapping[str, Any] = value["data"]
    return data


def _as_files(here: StepContext, what: str, name: str, values: Iterable[Any]) -> Iterator[Any]:
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


def time_text(value: Any) -> str | None:
    return None if value is None else value.isoformat().replace("+00:00", "Z")
