"""Steps that copy data, and steps of other services."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from pipelite.azureml.data.data_reference import DataReference
from pipelite.azureml.exceptions import NotOnOneBoxError
from pipelite.azureml.pipeline.core.graph import InputPortBinding, PipelineData
from pipelite.azureml.pipeline.core.step import PipelineStep
from pipelite.azureml.writing import Code, Writer


class DataTransferStep(PipelineStep):
    """A step that copies a file or a folder from one place to another."""

    def __init__(
        self,
        name: str,
        source_data_reference: Any = None,
        destination_data_reference: Any = None,
        compute_target: Any = None,
        source_reference_type: str | None = None,
        destination_reference_type: str | None = None,
        allow_reuse: bool = True,
        **others: Any,
    ) -> None:
        if others:
            raise TypeError(f"DataTransferStep() got an unexpected keyword argument {next(iter(others))!r}")
        for what, kind in (("source", source_reference_type), ("destination", destination_reference_type)):
            if kind not in (None, "file", "directory"):
                raise ValueError(f"step {name!r}: {what}_reference_type={kind!r}; 'file' or 'directory' is expected")
        if source_data_reference is None:
            raise ValueError(f"step {name!r}: source_data_reference is missing")
        target = destination_data_reference
        if isinstance(target, InputPortBinding):
            target = target.bind_object
        if not isinstance(target, DataReference):
            raise ValueError(f"step {name!r}: destination_data_reference has to be a DataReference, not {target!r}")
        self._target = target
        self._is_file = destination_reference_type == "file"
        super().__init__(name, [source_data_reference], None, allow_reuse=allow_reuse)
        self._output = PipelineData(f"{target.data_reference_name}_output"[:64].replace("-", "_"))
        self._output.origin.producer = self

    def get_output(self) -> PipelineData:
        """The copy, for later steps."""
        return self._output

    def write(self, writer: Writer) -> None:
        """Write it as code."""
        writer.use("pipelite.azureml.script_steps", "transfer_step")
        writer.use("pipelite.steps", "Input")
        port = self.input_ports[0]
        path = (self._target.path_on_datastore or "").strip("/")
        writer.define(
            self,
            "transfer_step",
            Code(f"Input({port.name!r})"),
            (self._target.datastore.name, path),
            output=self._output.name,
        )
        writer.call(self, {port.name: writer.value_of(port)})


class AdlaStep(PipelineStep):
    """A step of Azure Data Lake Analytics, which is gone; its language, U-SQL, is run by nothing else."""

    def __init__(self, script_name: str, name: str | None = None, **settings: Any) -> None:
        raise NotOnOneBoxError(
            f"step {name or script_name!r}: Azure Data Lake Analytics was retired, and U-SQL is run by nothing else. Write the "
            "query as SQL for DuckDB: pipelite.steps.sql(query, tables=...) reads Parquet, CSV and JSON files, datasets and "
            "outputs of steps"
        )


class DatabricksStep(PipelineStep):
    """A step that runs a notebook, script or JAR on Databricks."""

    def __init__(
        self,
        name: str,
        inputs: Sequence[Any] | None = None,
        outputs: Sequence[Any] | None = None,
        existing_cluster_id: str | None = None,
        spark_version: str | None = None,
        node_type: str | None = None,
        num_workers: int | None = None,
        min_workers: int | None = None,
        max_workers: int | None = None,
        notebook_path: str | None = None,
        notebook_params: Mapping[str, Any] | None = None,
        python_script_path: str | None = None,
        python_script_params: Sequence[Any] | None = None,
        main_class_name: str | None = None,
        jar_params: Sequence[Any] | None = None,
        python_script_name: str | None = None,
        source_directory: str | os.PathLike[str] | None = None,
        run_name: str | None = None,
        timeout_seconds: int | None = None,
        compute_target: Any = None,
        allow_reuse: bool = True,
        version: str | None = None,
        **others: Any,
    ) -> None:
        kinds = {
            "notebook_path": notebook_path,
            "python_script_path": python_script_path,
            "python_script_name": python_script_name,
            "main_class_name": main_class_name,
        }
        given = [kind for kind, value in kinds.items() if value]
        if len(given) != 1:
            raise ValueError(f"step {name!r} takes exactly one of {', '.join(kinds)}, not {given or 'none'}")
        if python_script_name and source_directory is None:
            raise ValueError(f"step {name!r}: python_script_name needs source_directory")
        cluster = [
            value for value in (spark_version, node_type, num_workers, min_workers, max_workers) if value is not None
        ]
        if existing_cluster_id is not None and cluster:
            raise ValueError(f"step {name!r}: existing_cluster_id excludes the settings of a new cluster")
        if existing_cluster_id is None and num_workers is None and (min_workers is None or max_workers is None):
            raise ValueError(f"step {name!r} needs existing_cluster_id, num_workers, or min_workers and max_workers")
        if main_class_name or notebook_path or python_script_path:
            what = given[0]
            raise NotOnOneBoxError(
                f"step {name!r}: {what} names something that only the Databricks workspace has; run it by "
                "pipelite.steps.databricks(...), which knows jobs of a workspace, or give the step python_script_name and "
                "source_directory to run on the Spark of this machine"
            )
        raise NotOnOneBoxError(
            f"step {name!r}: scripts on Spark are steps of pipelite.steps.databricks(...); this view does not make them yet"
        )
