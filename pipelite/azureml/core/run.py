"""`azureml.core.run`: runs, and the way to that of a script."""

from __future__ import annotations

import builtins
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.azureml.core.run_records import (
    STATUSES,
    Labels,
    copy_kept,
    has,
    kept_files,
    read_metrics,
    texts,
    time_text,
)
from pipelite.azureml.core.script_run import LoggingRun, _OfflineRun, own_run
from pipelite.azureml.exceptions import (
    ActivityFailedException,
    NotOnOneBoxError,
    RunEnvironmentException,
    UserErrorException,
)

if TYPE_CHECKING:
    from pipelite.azureml.core.experiment import Experiment
    from pipelite.azureml.core.workspace import Workspace

#: The tag of a run of a script on its own, which is no run of a pipeline for scripts.
SCRIPT_RUN = "azureml.script_run"
#: That of a run below another one: the id of that.
PARENT = "azureml.parent_run"
#: What a script called a run.
NAME = "azureml.run_name"
_OWN_TAGS = (SCRIPT_RUN, PARENT, NAME)


#: What `get_all_logs` calls the log of a step.
LOG_NAME = "azureml-logs/70_driver_log.txt"
#: Inputs of a step that are a copy of a source directory.
_SNAPSHOTS = ("source directory", "snapshot")


class Run(LoggingRun):
    """A run: of a pipeline, of one of its steps, or of a script on its own."""

    def __new__(cls, experiment: Any = None, run_id: Any = None, *others: Any, **named: Any) -> Run:
        """The id of a step's run leads to that."""
        kind: type[Run] = cls
        if cls is Run and "/" in str(run_id):
            from pipelite.azureml.pipeline.core.run import StepRun

            kind = StepRun
        return super().__new__(kind)

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
        found = own_run()
        if isinstance(found, _OfflineRun) and not allow_offline:
            raise RunEnvironmentException("this process is not part of a run; a step's script is")
        return found

    @staticmethod
    def get(workspace: Workspace, run_id: str) -> Any:
        """A run by its id: of a pipeline, of a step, or of a script on its own."""
        from pipelite.azureml.core.experiment import Experiment

        root, _, step = run_id.partition("/")
        native = workspace.native.run(root)
        experiment = Experiment(workspace, native.experiment)
        return Run(experiment, run_id) if step else view_of(experiment, native)

    @staticmethod
    def list(experiment: Experiment, **filters: Any) -> Iterator[Any]:
        """The runs of an experiment, as `Experiment.get_runs` gives them."""
        return experiment.get_runs(**filters)

    # What it is.

    @property
    def parent(self) -> Any:
        """The run that it is below of."""
        found = self._native.tags.get(PARENT)
        return None if found is None else Run.get(self.experiment.workspace, found)

    @property
    def name(self) -> str:
        return self.display_name

    @property
    def number(self) -> int:
        return int(self._native.record.number)

    @property
    def display_name(self) -> str:
        """What it was called; its id, if nobody called it anything."""
        given = self._labels.read("names").get("display_name")
        return str(given or self._native.tags.get(NAME) or self.id)

    @display_name.setter
    def display_name(self, name: str) -> None:
        self._labels.change("names", {"display_name": name})

    @property
    def description(self) -> str | None:
        found: str | None = self._native.record.description
        return found

    @property
    def type(self) -> str:
        return "azureml.scriptrun"

    @property
    def tags(self) -> dict[str, str]:
        given = {**self._native.tags, **self._labels.read("tags")}
        return {key: value for key, value in given.items() if value is not None and key not in _OWN_TAGS}

    def get_tags(self) -> dict[str, str]:
        return self.tags

    def tag(self, key: str, value: Any = None) -> None:
        self.set_tags({key: "" if value is None else value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        self._labels.change("tags", texts(tags))

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
    def _labels(self) -> Labels:
        return Labels(self.experiment.workspace.store, self.id)

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
            "inputDatasets": self._input_datasets(None),
            "error": None if native.error is None else {"error": {"code": "UserError", "message": native.error}},
        }

    def get_detailed_status(self) -> dict[str, Any]:
        return {"status": self.get_status(), "details": self._native.error or ""}

    def _input_datasets(self, step: str | None) -> builtins.list[dict[str, Any]]:
        """The datasets that a step was given, or all steps were, as far as it was submitted by a script that knew them."""
        from pipelite.azureml.core.dataset import from_kept

        kept = Labels(self.experiment.workspace.store, self._native.id).read("datasets")
        return [
            {
                "dataset": from_kept(each["dataset"]),
                "consumptionDetails": {"type": "RunInput", "inputName": each["name"], "mechanism": each["mode"]},
            }
            for name, given in kept.items()
            if step in (None, name)
            for each in given
        ]

    def keep_datasets(self, datasets: Mapping[str, Any]) -> None:
        """Keep what the steps were given."""
        self._labels.change("datasets", datasets)

    def get_details_with_logs(self) -> dict[str, Any]:
        return {**self.get_details(), "logFiles": self._logs()}

    def get_all_logs(self, destination: str | os.PathLike[str] | None = None) -> builtins.list[str]:
        """Write what its steps printed below a folder, by default the working directory; gives the files."""
        written = []
        for name, text in self._logs().items():
            path = Path(destination or ".", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(str(path))
        return written

    def _logs(self) -> dict[str, str]:
        steps = self._native.steps
        if len(steps) == 1:
            return {LOG_NAME: next(iter(steps.values())).logs}
        return {f"{name}/{LOG_NAME}": step.logs for name, step in steps.items()}

    def get_snapshot_id(self) -> str:
        """The id of the copy of its source directory.

        Raises
        ------
        UserErrorException
            If it has none, or several: its steps have them.
        """
        found = {
            step.record.inputs[key]["id"]
            for step in self._snapshot_steps()
            for key in _SNAPSHOTS
            if str(step.record.inputs.get(key, {}).get("id")).startswith("folder#")
        }
        if len(found) != 1:
            raise UserErrorException(
                f"run {self.id} has {len(found)} copies of source directories; each step has its own"
            )
        return str(found.pop())

    def _snapshot_steps(self) -> builtins.list[Any]:
        return [*self._native.steps.values()]

    def restore_snapshot(self, snapshot_id: str | None = None, path: str | None = None) -> str:
        """Write the copy of its source directory as a ZIP file into a folder; gives the file."""
        wanted = snapshot_id or self.get_snapshot_id()
        store = self.experiment.workspace.store
        rows = store.database.read("SELECT path FROM artifacts WHERE digest = ?", (wanted,))
        if not rows:
            raise UserErrorException(f"there is no copy of a source directory with the id {wanted!r}")
        os.makedirs(path or ".", exist_ok=True)
        file = os.path.join(path or ".", wanted.partition("#")[2])
        return shutil.make_archive(file, "zip", store.path / "artifacts" / rows[0]["path"])

    def get_environment(self) -> Any:
        """The environment that a script was submitted with.

        Raises
        ------
        UserErrorException
            If it is a run of anything else.
        """
        from pipelite.azureml.core.environment import from_kept

        kept = self._labels.read("environment")
        if not kept:
            raise UserErrorException(
                f"run {self.id} was not submitted with an environment; a run of a ScriptRunConfig is"
            )
        return from_kept(kept)

    def keep_environment(self, environment: Any) -> None:
        """Keep what it was submitted with."""
        self._labels.change("environment", environment.to_kept())

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

    def complete(self, *_: Any, **__: Any) -> None:
        """Raise an error: what was submitted ends by itself."""
        raise NotImplementedError(f"run {self.id} was submitted, and ends by itself; cancel() ends it now")

    fail = complete

    def _tell(self, what: str, name: str, *values: Any, **named: Any) -> None:
        raise NotOnOneBoxError(
            f"{what} {name!r}: run {self.id} is not that of this process, and only what it runs can log to it; "
            "Experiment.start_logging() begins one of this process"
        )

    def get_children(self, recursive: bool = False, tags: Any = None, properties: Any = None) -> Iterator[Any]:
        """The runs that a script began below it, the newest first."""
        for native in self.experiment.workspace.native.runs(experiment=self.experiment.name, limit=None):
            if native.tags.get(PARENT) == self.id:
                child = view_of(self.experiment, native)
                if has(child.tags, tags) and has(child.properties, properties):
                    yield child
                if recursive:
                    yield from child.get_children(recursive, tags, properties)

    # What it logged.

    def get_metrics(
        self, name: str | None = None, recursive: bool = False, run_type: Any = None, populate: bool = False
    ) -> dict[str, Any]:
        """What it logged by name: one value as itself, several as a list, tables as a dict of columns.

        With `recursive` that is by the ids of runs, of it and of those below it that logged something. Without, it is what
        all steps logged, if this is the run of a pipeline.
        """
        own = read_metrics(self._native, None, name)
        if not recursive:
            return own
        below = {each.id: each.get_metrics(name) for each in self.get_children(recursive=True)}
        return {run_id: logged for run_id, logged in self._add_own(own, below).items() if logged}

    def _add_own(self, own: dict[str, Any], below: dict[str, Any]) -> dict[str, Any]:
        return {self.id: own, **below}

    def get_file_names(self) -> builtins.list[str]:
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
