"""Steps whose views are not there yet: they check what they are given, and say so."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipelite.azureml._notices import warn_spelling
from pipelite.azureml.core.dataset import AbstractDataset
from pipelite.azureml.core.environment import Environment
from pipelite.azureml.data.dataset_consumption_config import DatasetConsumptionConfig
from pipelite.azureml.data.output_dataset_config import OutputAsInput
from pipelite.azureml.exceptions import NotOnOneBoxError
from pipelite.azureml.pipeline.core.graph import (
    InputPortBinding,
    PipelineData,
    PipelineOutputFileDataset,
    PipelineParameter,
)
from pipelite.azureml.pipeline.core.step import PipelineStep
from pipelite.azureml.train.automl import AutoMLConfig
from pipelite.azureml.train.estimator import Estimator
from pipelite.azureml.train.hyperdrive import HyperDriveConfig

#: Arguments of the script of a `ParallelRunStep` that are settings of its own.
_RESERVED = (
    "mini_batch_size",
    "error_threshold",
    "allowed_failed_count",
    "allowed_failed_percent",
    "output",
    "output_action",
    "logging_level",
    "process_count_per_node",
    "run_invocation_timeout",
    "run_max_try",
    "append_row_file_name",
    "partition_keys",
)


def _whole(lowest: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= lowest


def _is_batch_size(value: Any) -> bool:
    return _whole(1)(value) or (isinstance(value, str) and bool(re.fullmatch(r"\d+([kKmMgG][bB])*", value)))


def _is_file_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and not re.search(r'[~"#%&*:<>?/\\{}|]', value)


#: What each setting of a `ParallelRunConfig` has to be, in words and as a test; None and parameters pass.
_SETTINGS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "environment": ("an Environment", lambda value: isinstance(value, Environment)),
    "entry_script": ("the name of a script", lambda value: isinstance(value, str)),
    "error_threshold": ("a whole number from -1", _whole(-1)),
    "output_action": (
        "'append_row' or 'summary_only'",
        lambda value: str(value).lower() in ("append_row", "summary_only"),
    ),
    "node_count": ("a whole number from 1", _whole(1)),
    "process_count_per_node": ("a whole number from 1", _whole(1)),
    "mini_batch_size": ("a whole number from 1, or a text such as '5' or '10KB'", _is_batch_size),
    "logging_level": ("'WARNING', 'INFO' or 'DEBUG'", lambda value: value in ("WARNING", "INFO", "DEBUG")),
    "run_invocation_timeout": ("a whole number from 1", _whole(1)),
    "run_max_try": ("a whole number from 1", _whole(1)),
    "append_row_file_name": ('the name of a file, without any of ~"#%&*:<>?/\\{}|', _is_file_name),
    "allowed_failed_count": ("a whole number from -1", _whole(-1)),
    "allowed_failed_percent": (
        "a number from 0 to 100",
        lambda value: isinstance(value, int | float) and 0 <= value <= 100,
    ),
    "partition_keys": (
        "a list of names of columns",
        lambda value: isinstance(value, list | tuple) and all(isinstance(each, str) for each in value),
    ),
}
_NEEDED = ("environment", "entry_script", "error_threshold", "output_action", "compute_target", "node_count")
_MAY_BE_PARAMETERS = (
    "mini_batch_size",
    "node_count",
    "process_count_per_node",
    "logging_level",
    "run_invocation_timeout",
    "run_max_try",
    "partition_keys",
)


class ParallelRunConfig:
    """How a `ParallelRunStep` splits its inputs, and what it does about failures.

    Raises
    ------
    ValueError
        If a setting is missing or wrong.
    """

    output_action: str

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
        logging_level: Any = "INFO",
        run_invocation_timeout: Any = 60,
        run_max_try: Any = 3,
        append_row_file_name: str | None = None,
        allowed_failed_count: int | None = None,
        allowed_failed_percent: float | None = None,
        partition_keys: Any = None,
        environment_variables: Any = None,
    ) -> None:
        given = dict(locals())
        del given["self"]
        for name in _NEEDED:
            if given[name] is None:
                raise ValueError(f"ParallelRunConfig needs {name}")
        for name, (expected, is_right) in _SETTINGS.items():
            value = given[name]
            if value is None or (isinstance(value, PipelineParameter) and name in _MAY_BE_PARAMETERS):
                continue
            if not is_right(value):
                raise ValueError(f"ParallelRunConfig: {name}={value!r} is wrong; {expected} is expected")
        if partition_keys is not None and mini_batch_size is not None:
            raise ValueError("ParallelRunConfig takes partition_keys or mini_batch_size, not both")
        limit = getattr(compute_target, "max_nodes", None)
        if isinstance(node_count, int) and limit is not None and node_count > limit:
            warn_spelling(f"node_count={node_count} above max_nodes={limit}", f"node_count={limit}")
            given["node_count"] = limit
        given["output_action"] = str(output_action).lower()
        self.__dict__.update(given)


class LaterStep(PipelineStep):
    """A step that cannot be run here."""

    #: What to do instead.
    instead = "it comes in a later version"

    def __init__(self, name: Any = "", *_: Any, **__: Any) -> None:
        raise NotOnOneBoxError(f"step {name!r}: {self.refusal()}")

    @classmethod
    def refusal(cls) -> str:
        """That it cannot be run, and what to do."""
        return f"{cls.__name__} cannot be run here; {cls.instead}"


class ParallelRunStep(LaterStep):
    """Batch inference.

    Raises
    ------
    ValueError
        If an argument is wrong.
    """

    def __init__(
        self,
        name: str,
        parallel_run_config: ParallelRunConfig,
        inputs: Sequence[Any],
        output: Any = None,
        side_inputs: Sequence[Any] | None = None,
        arguments: Sequence[Any] | None = None,
        allow_reuse: bool = True,
    ) -> None:
        if not isinstance(parallel_run_config, ParallelRunConfig):
            raise ValueError(f"step {name!r}: parallel_run_config is {parallel_run_config!r}, which is none")
        if not isinstance(inputs, list | tuple) or not inputs:
            raise ValueError(f"step {name!r}: inputs={inputs!r} is wrong; a list of datasets is expected")
        kinds = {_kind_of(each, name) for each in inputs} - {None}
        if len(kinds) > 1:
            raise ValueError(f"step {name!r}: its inputs are all files or all rows, not some of each")
        if parallel_run_config.output_action == "append_row" and output is None:
            raise ValueError(f"step {name!r}: output_action='append_row' needs output")
        words = [each for each in arguments or () if isinstance(each, str)]
        if words and arguments and not str(arguments[0]).startswith("-"):
            raise ValueError(f"step {name!r}: the first argument is {arguments[0]!r}; it has to start with '-'")
        for word in words:
            if word.lstrip("-") in _RESERVED and word.startswith("-"):
                raise ValueError(f"step {name!r}: the argument {word!r} is one of ParallelRunStep's own")
        super().__init__(name)


def _kind_of(given: Any, step: str) -> str | None:
    """Whether an input is files or rows; None if that is not known before it runs."""
    if isinstance(given, DatasetConsumptionConfig):
        dataset = given.dataset
        return type(dataset).__name__ if isinstance(dataset, AbstractDataset) else None
    if isinstance(given, OutputAsInput | PipelineOutputFileDataset | PipelineData | InputPortBinding):
        return None
    raise ValueError(
        f"step {step!r}: the input {given!r} is none of a ParallelRunStep; dataset.as_named_input('name') is, and so is what an "
        "earlier step writes"
    )


class AutoMLStep(LaterStep):
    """A search for the best of many kinds of model.

    Raises
    ------
    ValueError
        If `automl_config` is none.
    """

    def __init__(
        self,
        name: str,
        automl_config: AutoMLConfig,
        inputs: Sequence[Any] | None = None,
        outputs: Sequence[Any] | None = None,
        script_repl_params: Mapping[str, Any] | None = None,
        allow_reuse: bool = True,
        version: str | None = None,
        hash_paths: Any = None,
        enable_default_model_output: bool = True,
        enable_default_metrics_output: bool = True,
        **others: Any,
    ) -> None:
        if not isinstance(automl_config, AutoMLConfig):
            raise ValueError(f"step {name!r}: automl_config is {automl_config!r}, and an AutoMLConfig is expected")
        super().__init__(name)


class HyperDriveStep(LaterStep):
    """A search for the best parameters of a script.

    Raises
    ------
    ValueError
        If `hyperdrive_config` is none, or what it runs and the arguments of the step do not go together.
    """

    def __init__(
        self,
        name: str,
        hyperdrive_config: HyperDriveConfig,
        estimator_entry_script_arguments: Sequence[Any] | None = None,
        inputs: Sequence[Any] | None = None,
        outputs: Sequence[Any] | None = None,
        metrics_output: Any = None,
        allow_reuse: bool = True,
        version: str | None = None,
    ) -> None:
        if not isinstance(hyperdrive_config, HyperDriveConfig):
            raise ValueError(f"step {name!r}: hyperdrive_config is {hyperdrive_config!r}, which is none")
        if hyperdrive_config.pipeline is not None:
            raise ValueError(f"step {name!r}: a HyperDriveStep takes no configuration with a pipeline")
        arguments = estimator_entry_script_arguments
        if isinstance(hyperdrive_config.estimator, Estimator) and arguments is None:
            raise ValueError(f"step {name!r} needs estimator_entry_script_arguments; [] if there are none")
        if getattr(hyperdrive_config.run_config, "arguments", None) and arguments:
            raise ValueError(
                f"step {name!r}: arguments are those of the ScriptRunConfig or estimator_entry_script_arguments, not both"
            )
        super().__init__(name)


class MpiStep(LaterStep):
    """A script on several machines."""


class RScriptStep(LaterStep):
    """A script in R."""

    instead = "run it by a CommandStep(command='Rscript ...')"


class SynapseSparkStep(LaterStep):
    """A script on Spark in Synapse."""

    instead = "a PythonScriptStep whose script makes a Spark session of its own runs on the Spark of this machine"


class AzureBatchStep(LaterStep):
    """A program on machines of Azure Batch."""

    instead = "run it by a CommandStep"


class KustoStep(LaterStep):
    """A query on Azure Data Explorer."""

    instead = "have the script of a PythonScriptStep ask it"


class AutoMLStepRun(LaterStep):
    """The run of an `AutoMLStep`."""


class HyperDriveStepRun(LaterStep):
    """The run of a `HyperDriveStep`."""
