"""`azureml.core.run`: runs, and the way to that of a script."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.azureml.core.run_records import STATUSES, Labels, copy_kept, kept_files, read_metrics, texts, time_text
from pipelite.azureml.core.script_run import OfflineRun, own_run
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
        found = own_run()
        if isinstance(found, OfflineRun) and not allow_offline:
            raise RunEnvironmentException("this process is not part of a run; a step's script is")
        return found

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

    def _input_datasets(self, step: str | None) -> list[dict[str, Any]]:
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
        """Its details, and what its steps printed."""
        steps = self._native.steps
        return {**self.get_details(), "logFiles": {f"{name}/70_driver_log.txt": steps[name].logs for name in steps}}

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

    def restore_snapshot(self, path: str | None = None, prefix: str | None = None) -> str:
        """Give the source directory back."""
        raise NotOnOneBoxError(
            f"restore_snapshot: the source of run {self.id} is kept to run it again; `pipelite runs rerun {self.id}` does so, "
            "and a source directory under git can be restored by git"
        )

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
