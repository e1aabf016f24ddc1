"""Steps whose views are not there yet: they check what they are given, and say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelite.azureml._notices import warn_spelling
from pipelite.azureml.core.environment import Environment
from pipelite.azureml.exceptions import NotOnOneBoxError
from pipelite.azureml.pipeline.core.step import PipelineStep


class ParallelRunConfig:
    """How a `ParallelRunStep` splits its inputs, and what it does about failures.

    Raises
    ------
    ValueError
        If a setting is missing or wrong.
    """

    def __init__(
        self,
        environment: Any = None,
        entry_script: str | None = None,
        error_threshold: int | None = None,
        output_action: str | None = None,
        compute_target: Any = None,
        node_count: Any = None,
        process_count_per_node: Any = None,
        mini_batch_size: Any = None,
        source_directory: str | None = None,
        description: str | None = None,
        logging_level: str = "INFO",
        run_invocation_timeout: Any = 60,
        run_max_try: Any = 3,
        append_row_file_name: str | None = None,
        allowed_failed_count: int | None = None,
        allowed_failed_percent: float | None = None,
        partition_keys: Sequence[str] | None = None,
        environment_variables: Any = None,
    ) -> None:
        needed = {
            "environment": environment,
            "entry_script": entry_script,
            "error_threshold": error_threshold,
            "output_action": output_action,
            "compute_target": compute_target,
            "node_count": node_count,
        }
        for name, value in needed.items():
            if value is None:
                raise ValueError(f"ParallelRunConfig needs {name}")
        if not isinstance(environment, Environment):
            raise ValueError(f"ParallelRunConfig: environment is {environment!r}, and an Environment is expected")
        if not isinstance(error_threshold, int) or error_threshold < -1:
            raise ValueError(
                f"ParallelRunConfig: error_threshold={error_threshold!r}; a whole number from -1 is expected"
            )
        if str(output_action).lower() not in ("append_row", "summary_only"):
            raise ValueError(
                f"ParallelRunConfig: output_action={output_action!r}; 'append_row' or 'summary_only' is expected"
            )
        if partition_keys is not None and mini_batch_size is not None:
            raise ValueError("ParallelRunConfig takes partition_keys or mini_batch_size, not both")
        limit = getattr(compute_target, "max_nodes", None)
        if isinstance(node_count, int) and limit is not None and node_count > limit:
            warn_spelling(f"node_count={node_count} above max_nodes={limit}", f"node_count={limit}")
            node_count = limit
        self.environment = environment
        self.entry_script = entry_script
        self.error_threshold = error_threshold
        self.output_action = str(output_action).lower()
        self.compute_target = compute_target
        self.node_count = node_count
        self.process_count_per_node = process_count_per_node
        self.mini_batch_size = mini_batch_size
        self.source_directory = source_directory
        self.description = description
        self.logging_level = logging_level
        self.run_invocation_timeout = run_invocation_timeout
        self.run_max_try = run_max_try
        self.append_row_file_name = append_row_file_name
        self.allowed_failed_count = allowed_failed_count
        self.allowed_failed_percent = allowed_failed_percent
        self.partition_keys = list(partition_keys or [])
        self.environment_variables = dict(environment_variables or {})


class _LaterStep(PipelineStep):
    #: What to do instead.
    instead = "it comes in a later version"

    def __init__(self, name: Any = "", *_: Any, **__: Any) -> None:
        raise NotOnOneBoxError(f"step {name!r}: {type(self).__name__} cannot be run here; {self.instead}")


class ParallelRunStep(_LaterStep):
    """Batch inference."""


class AutoMLStep(_LaterStep):
    """A search for the best of many kinds of model."""


class HyperDriveStep(_LaterStep):
    """A search for the best parameters of a script."""


class MpiStep(_LaterStep):
    """A script on several machines."""


class RScriptStep(_LaterStep):
    """A script in R."""

    instead = "run it by a CommandStep(command='Rscript ...')"


class ModuleStep(_LaterStep):
    """A module that was kept on its own."""

    instead = "make its script a PythonScriptStep"


class SynapseSparkStep(_LaterStep):
    """A script on Spark in Synapse."""

    instead = "a PythonScriptStep whose script makes a Spark session of its own runs on the Spark of this machine"


class AzureBatchStep(_LaterStep):
    """A program on machines of Azure Batch."""

    instead = "run it by a CommandStep"


class KustoStep(_LaterStep):
    """A query on Azure Data Explorer."""

    instead = "have the script of a PythonScriptStep ask it"


class AutoMLStepRun(_LaterStep):
    """The run of an `AutoMLStep`."""


class HyperDriveStepRun(_LaterStep):
    """The run of a `HyperDriveStep`."""
