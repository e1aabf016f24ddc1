"""`azureml.pipeline.core.run`: runs of pipelines, and of their steps."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.azureml.core.run import LOG_NAME, Run, failure_of, wait_for_end
from pipelite.azureml.core.run_records import STATUSES, has, kept_files, read_metrics, time_text
from pipelite.azureml.core.script_run import ScriptRun
from pipelite.azureml.exceptions import UserErrorException
from pipelite.azureml.pipeline.core import kept_forms, yaml_writing
from pipelite.azureml.pipeline.core.graph_views import Graph
from pipelite.clock import CLOCK
from pipelite.errors import PipeliteError

if TYPE_CHECKING:
    from pipelite.azureml.core.experiment import Experiment
    from pipelite.azureml.core.workspace import Workspace
    from pipelite.azureml.pipeline.core.published import PublishedPipeline

#: How long a run that goes on may take to have steps, at most.
_STARTED_WITHIN_S = 10
#: What `PipelineRun.get_status` and `StepRun.get_status` say, where `get_details` says "Completed".
_GRAPH_STATUSES = {
    "queued": "NotStarted",
    "pending": "NotStarted",
    "running": "Running",
    "completed": "Finished",
    "reused": "Finished",
    "failed": "Failed",
    "skipped": "Canceled",
    "canceling": "Running",
    "canceled": "Canceled",
    "interrupted": "Failed",
}


class PipelineRun(Run):
    """A run of a pipeline."""

    def __init__(self, experiment: Experiment, run_id: str, _run: Any = None, **others: Any) -> None:
        if _run is None:
            super().__init__(experiment, run_id)
        else:
            self.experiment = experiment
            self.id = run_id
            self._native = _run

    @staticmethod
    def get(workspace: Workspace, run_id: str, **others: Any) -> PipelineRun:
        native = workspace.native.run(run_id)
        from pipelite.azureml.core.experiment import Experiment

        return PipelineRun(Experiment(workspace, native.experiment), native.id, _run=native)

    @staticmethod
    def get_pipeline_runs(workspace: Workspace, pipeline_id: str, **others: Any) -> list[PipelineRun]:
        """The runs of a published pipeline, the newest first."""
        from pipelite.azureml.core.experiment import Experiment

        runs = [
            each
            for each in workspace.native.runs(limit=None)
            if (each.record.options.get("published") or {}).get("id") == pipeline_id
        ]
        return [PipelineRun(Experiment(workspace, each.experiment), each.id, _run=each) for each in runs]

    @property
    def type(self) -> str:
        return "azureml.PipelineRun"

    def get_status(self) -> str:
        return _GRAPH_STATUSES[self._native.status]

    def wait_for_completion(
        self, show_output: bool = True, timeout_seconds: float = math.inf, raise_on_error: bool = True
    ) -> str:
        """Wait for its end; gives "Finished", or how else it ended.

        Raises
        ------
        ActivityFailedException
            If it failed, and `raise_on_error` is set.
        TimeoutError
            If it goes on for longer than that.
        """
        if show_output:
            print(f"PipelineRunId: {self.id}")
        if not wait_for_end(self._native, None if math.isinf(timeout_seconds) else timeout_seconds):
            raise TimeoutError(f"run {self.id} has not ended within {timeout_seconds} s; it goes on")
        status = self.get_status()
        if show_output:
            for step in self._native.steps.values():
                print(
                    f"StepRun({step.name}) Status: {_GRAPH_STATUSES[step.status]}{' (reused)' if step.reused else ''}"
                )
                sys.stdout.write(step.logs)
            print(f"PipelineRun Status: {status}")
        if status == "Failed" and raise_on_error:
            raise failure_of(self._native)
        return status

    def get_steps(self) -> Iterator[StepRun]:
        """Its steps, the last first, which some scripts take to be the one that they look for."""
        until = CLOCK.monotonic() + _STARTED_WITHIN_S
        # Right after a submission its process is about to write them down.
        while self._native.status in ("pending", "running") and not self._native.steps and CLOCK.monotonic() < until:
            CLOCK.sleep(0.01)
        for name in reversed(list(self._native.steps)):
            yield StepRun(self.experiment, f"{self.id}/{name}", _parent=self)

    def get_children(self, recursive: bool = False, tags: Any = None, properties: Any = None) -> Iterator[StepRun]:
        return (each for each in self.get_steps() if has(each.tags, tags) and has(each.properties, properties))

    def _add_own(self, own: dict[str, Any], below: dict[str, Any]) -> dict[str, Any]:
        # What it logged is what its steps logged.
        return below

    def find_step_run(self, name: str) -> list[StepRun]:
        """The steps of a name; none if there is none."""
        return [each for each in self.get_steps() if each.name == name]

    def get_pipeline_output(self, pipeline_output_name: str) -> PortDataReference:
        """An output of the pipeline.

        Raises
        ------
        UserErrorException
            If it has none of that name.
        """
        places = self._native.record.outputs
        if pipeline_output_name not in places:
            raise UserErrorException(
                f"the pipeline has no output {pipeline_output_name!r}; it has {', '.join(places) or 'none'}"
            )
        place = places[pipeline_output_name]
        return PortDataReference(self, str(place["step"]), str(place["output"]))

    def publish_pipeline(
        self, name: str, description: str, version: str, continue_on_step_failure: bool | None = None, **others: Any
    ) -> PublishedPipeline:
        """Publish the pipeline that this is a run of, as it was then."""
        from pipelite.azureml.pipeline.core.published import publish

        return publish(
            self.experiment.workspace,
            partial(self._native.publish, keep_going=continue_on_step_failure),
            name=name,
            version=version,
            description=description,
            steps=list(self._native.steps),
        )

    @property
    def _form(self) -> dict[str, Any]:
        return kept_forms.find(self.experiment.workspace.store, self._native.record.target, f"run {self.id}")

    def get_graph(self) -> Graph:
        """The steps and data of its pipeline as nodes, and what connects them."""
        return Graph(self.experiment.name, self._form)

    def save(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write its pipeline as YAML, which `Pipeline.load_yaml` reads.

        Parameters
        ----------
        path : a file, or a folder for `pipeline.yml`; by default the working directory
        """
        yaml_writing.write(self._form, None, path)

    def complete(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("a pipeline run ends by itself")

    fail = complete

    def child_run(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("the children of a pipeline run are its steps")

    def __repr__(self) -> str:
        return (
            f"Run(Experiment: {self.experiment.name},\nId: {self.id},\nType: {self.type},\nStatus: {self.get_status()})"
        )


class ParentRun(PipelineRun):
    """The run of the pipeline, as the script of one of its steps has it: what it logs there is what that step logged."""

    def __init__(self, step: ScriptRun) -> None:
        super().__init__(step.experiment, step.id.partition("/")[0])
        self._step_run = step

    def _tell(self, what: str, name: str, *values: Any, **named: Any) -> None:
        self._step_run._record(what, name, values, named, for_parent=True)


class StepRun(Run):
    """One step of a run."""

    def __init__(
        self,
        experiment: Experiment,
        step_run_id: str = "",
        pipeline_run_id: str | None = None,
        node_id: str | None = None,
        *,
        run_id: str = "",
        _parent: PipelineRun | None = None,
        **others: Any,
    ) -> None:
        self.experiment = experiment
        # As a `Run` it is asked for by the other name.
        self.id = step_run_id or run_id
        root, _, self._name = self.id.partition("/")
        self._parent = PipelineRun(experiment, root) if _parent is None else _parent
        self._native = self._parent._native

    @property
    def parent(self) -> PipelineRun:
        """The run that it is a step of."""
        return self._parent

    @property
    def name(self) -> str:
        return self._name

    @property
    def pipeline_run_id(self) -> str:
        return str(self.parent.id)

    @property
    def type(self) -> str:
        return "azureml.StepRun"

    @property
    def _step(self) -> Any:
        return self._native.steps[self._name]

    @property
    def properties(self) -> dict[str, str]:
        """Those that its script gave it; of a reused one, also where its outputs come from."""
        given = super().properties
        if not self._step.reused:
            return given
        rows = self.experiment.workspace.store.database.read(
            "SELECT run_id, name FROM step_runs WHERE id = ?", (self._step.record.computed_by,)
        )
        run, step = rows[0]["run_id"], rows[0]["name"]
        return {
            **given,
            "azureml.reusedrunid": f"{run}/{step}",
            "azureml.reusednodeid": step,
            "azureml.reusedpipeline": run,
        }

    def get_children(self, recursive: bool = False, tags: Any = None, properties: Any = None) -> Iterator[Any]:
        """None: what its script begins below it logs to it."""
        return iter(())

    def get_status(self) -> str:
        return _GRAPH_STATUSES[self._step.status]

    def get_details(self) -> dict[str, Any]:
        record = self._step.record
        return {
            "runId": self.id,
            "status": STATUSES[self._step.status],
            "startTimeUtc": time_text(record.started_at),
            "endTimeUtc": time_text(record.ended_at),
            "properties": self.properties,
            "inputDatasets": self._input_datasets(self._name),
            "error": None if record.error is None else {"error": {"code": "UserError", "message": record.error}},
        }

    def get_detailed_status(self) -> dict[str, Any]:
        return {"status": self.get_status(), "details": self._step.error or ""}

    def _logs(self) -> dict[str, str]:
        return {LOG_NAME: self.get_stdout_log()}

    def _snapshot_steps(self) -> list[Any]:
        return [self._step]

    def get_stdout_log(self) -> str:
        """What it printed, on both streams."""
        return str(self._step.logs)

    def get_stderr_log(self) -> str:
        return ""

    def get_job_log(self) -> str:
        return str(self._step.logs)

    def get_metrics(self, name: str | None = None, *_: Any, **__: Any) -> dict[str, Any]:
        return read_metrics(self._native, self._name, name)

    def get_outputs(self) -> Mapping[str, StepRunOutput]:
        return {name: StepRunOutput(self, name) for name in self._step.record.outputs}

    def get_output(self, name: str) -> StepRunOutput:
        found = self.get_outputs()
        if name not in found:
            raise UserErrorException(f"step {self._name!r} has no output {name!r}; it has {', '.join(found) or 'none'}")
        return found[name]

    def get_output_data(self, name: str) -> PortDataReference:
        return self.get_output(name).get_port_data_reference()

    def wait_for_completion(
        self, show_output: bool = True, timeout_seconds: float = math.inf, raise_on_error: bool = True
    ) -> str:
        self.parent.wait_for_completion(False, timeout_seconds, raise_on_error)
        if show_output:
            sys.stdout.write(self.get_stdout_log())
        return self.get_status()

    def _files(self) -> dict[str, Path]:
        return kept_files(self._native, self._name)

    def complete(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("a step run ends by itself")

    fail = complete

    def child_run(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("a step run has children only in its script, by Run.get_context()")

    def __repr__(self) -> str:
        return f"StepRun(Name: {self._name}, Id: {self.id}, Status: {self.get_status()})"


class StepRunOutput:
    """An output of a step's run."""

    def __init__(self, step_run: StepRun, name: str) -> None:
        self.step_run = step_run
        self.name = name

    def get_port_data_reference(self) -> PortDataReference:
        return PortDataReference(self.step_run.parent, self.step_run.name, self.name)


class PortDataReference:
    """What a step wrote, after its run."""

    def __init__(self, run: PipelineRun, step: str, name: str) -> None:
        self._run = run
        self._step = step
        self.name = name

    @property
    def datastore(self) -> Any:
        return self._run.experiment.workspace.get_default_datastore()

    @property
    def datastore_name(self) -> str:
        return str(self.datastore.name)

    @property
    def path_on_datastore(self) -> str:
        """As v1 laid outputs out: below the id of the step run that wrote it."""
        return f"azureml/{self._run.id}/{self._step}/{self.name}"

    @property
    def _path_on_datastore(self) -> str:
        return self.path_on_datastore

    @property
    def _artifact(self) -> Any:
        return self._run._native.output(f"{self._step}/{self.name}")

    def download(
        self, local_path: str | os.PathLike[str], overwrite: bool | None = None, show_progress: bool | None = None
    ) -> int:
        """Copy it below `<local_path>/<path_on_datastore>`; gives the number of files."""
        target = Path(local_path, self.path_on_datastore)
        if target.exists() and not overwrite:
            return 0
        try:
            source = Path(self._artifact.path)
        except PipeliteError as exc:
            raise UserErrorException(str(exc)) from exc
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
            return sum(1 for each in target.rglob("*") if each.is_file())
        shutil.copyfile(source, target)
        return 1

    def as_data_reference(self) -> Any:
        """It as the input of a step: its files, as a dataset of the run's output."""
        from pipelite.azureml.core.dataset import FileDataset
        from pipelite.azureml.data.dataset_consumption_config import DatasetConsumptionConfig

        path = str(self._artifact.path)
        native = self._artifact_dataset(path)
        return DatasetConsumptionConfig(self.name, FileDataset(native, f"Dataset.from_files({path!r})"), "mount")

    @staticmethod
    def _artifact_dataset(path: str) -> Any:
        from pipelite.data import Dataset

        return Dataset.from_files(path)
