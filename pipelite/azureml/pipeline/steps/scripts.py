"""Steps that run a script or a command."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from pipelite.azureml._notices import note_ignored
from pipelite.azureml.core.compute import native_target
from pipelite.azureml.pipeline.core.graph import PipelineParameter
from pipelite.azureml.pipeline.core.ports import OutputPort
from pipelite.azureml.pipeline.core.step import PipelineStep, flatten, take_target
from pipelite.azureml.writing import Code, Writer


class _ProcessStep(PipelineStep):
    """A step whose body is a process."""

    def __init__(
        self,
        name: str,
        *,
        arguments: Sequence[Any] | None,
        inputs: Sequence[Any] | None,
        outputs: Sequence[Any] | None,
        params: Mapping[str, Any] | None,
        compute_target: Any,
        runconfig: Any,
        source_directory: str | os.PathLike[str] | None,
        allow_reuse: bool,
        version: str | None,
    ) -> None:
        super().__init__(name, inputs, outputs, arguments, params, allow_reuse, version)
        self.compute_target = compute_target if compute_target is not None else getattr(runconfig, "target", None)
        self.runconfig = runconfig
        if getattr(runconfig, "node_count", 1) != 1:
            note_ignored("node_count of a run configuration")
        self.source_directory = source_directory
        #: The folder of the pipeline, for a step that names none.
        self.default_source_directory: str | None = None

    @property
    def folder(self) -> str:
        """What its process gets a copy of."""
        return os.path.abspath(self.source_directory or self.default_source_directory or os.getcwd())

    def _check_runconfig_params(self, given: Mapping[str, Any] | None) -> None:
        known = ("NodeCount", "MpiProcessCountPerNode", "TensorflowWorkerCount", "TensorflowParameterServerCount")
        for name, value in (given or {}).items():
            if name not in known:
                raise ValueError(
                    f"step {self.name!r}: runconfig_pipeline_params has {name!r}; it takes {', '.join(known)}"
                )
            note_ignored(f"{name} in runconfig_pipeline_params")
            self.unused_parameters.append(value)

    def _write(self, writer: Writer, head: list[Any], command: list[Any] | None = None) -> None:
        writer.use("pipelite.azureml.script_steps", "script_step")
        calls: dict[str, Any] = {}
        shown: set[str] = set()
        words = [self._word(value, writer, calls, shown) for value in flatten(self.arguments)]
        parameters = {
            value.name: self._word(value, writer, calls, shown)
            for value in flatten(self.arguments)
            if isinstance(value, PipelineParameter)
        }
        parameters |= {name: self._word(value, writer, calls, shown) for name, value in self.params.items()}
        for port in self.input_ports:
            calls[port.name] = writer.value_of(port)
        options: dict[str, Any] = {"source_directory": self.folder}
        target = native_target(self.workspace, self.compute_target) if self.workspace is not None else None
        environment = None if self.runconfig is None else self.runconfig.environment.native_code()
        if environment is not None:
            writer.use("pipelite.steps", "Environment")
        direct = [port.name for port in self.input_ports if port.is_direct]
        mounted = [port.name for port in self.input_ports if port.is_named and not port.is_direct]
        given: dict[str, Any] = {
            "command" if command is not None else "arguments": [*(command or []), *words],
            "parameters": parameters,
            "datasets": direct,
            "mounted": mounted,
            "rows": {port.name: port.rows.calls for port in self.input_ports if port.rows is not None},
            "inputs": [port.name for port in self.input_ports if port.name not in (*shown, *direct, *mounted)],
            "outputs": [self._output(port, writer) for port in self.output_ports if port.name not in shown],
            "variables": {} if self.runconfig is None else self.runconfig.all_variables(),
            "destinations": {port.name: port.destination for port in self.output_ports if port.destination},
            "compute": target,
            "environment": None if environment is None else Code(environment),
        }
        options |= {name: value for name, value in given.items() if value}
        writer.define(self, "script_step", *head, **options)
        writer.call(self, calls)

    def _word(self, value: Any, writer: Writer, calls: dict[str, Any], shown: set[str]) -> Any:
        """One argument of the script."""
        if isinstance(value, PipelineParameter):
            writer.use("pipelite.steps", "Input")
            calls[value.name] = writer.parameter(value)
            return Code(f"Input({value.name!r})")
        port = self.port_of(value)
        if port is not None:
            is_new = port.name not in shown
            shown.add(port.name)
            if isinstance(port, OutputPort):
                # An output is named once, and again by its variable.
                return self._output(port, writer) if is_new else f"$AZUREML_DATAREFERENCE_{port.name}"
            writer.use("pipelite.steps", "Input")
            return Code(f"Input({port.name!r})")
        if isinstance(value, str | int | float):
            return str(value)
        raise ValueError(f"step {self.name!r}: the argument {value!r} is nothing that a script can be given")

    def _output(self, port: OutputPort, writer: Writer) -> Code:
        writer.use("pipelite.steps", "Output")
        return Code(f"Output({port.name!r}{', is_folder=True' if port.is_folder else ''})")


class PythonScriptStep(_ProcessStep):
    """A step that runs a Python script in a process of its own, in a copy of its source directory."""

    def __init__(
        self,
        script_name: str,
        name: str | None = None,
        arguments: Sequence[Any] | None = None,
        compute_target: Any = None,
        runconfig: Any = None,
        runconfig_pipeline_params: Mapping[str, Any] | None = None,
        inputs: Sequence[Any] | None = None,
        outputs: Sequence[Any] | None = None,
        params: Mapping[str, Any] | None = None,
        source_directory: str | os.PathLike[str] | None = None,
        allow_reuse: bool = True,
        version: str | None = None,
        hash_paths: Any = None,
        **others: Any,
    ) -> None:
        compute_target = take_target(compute_target, others, "PythonScriptStep")
        if hash_paths is not None:
            note_ignored("hash_paths= of a step")
        self.script_name = script_name
        super().__init__(
            name or script_name,
            arguments=arguments,
            inputs=inputs,
            outputs=outputs,
            params=params,
            compute_target=compute_target,
            runconfig=runconfig,
            source_directory=source_directory,
            allow_reuse=allow_reuse,
            version=version,
        )
        self._check_runconfig_params(runconfig_pipeline_params)

    def check(self) -> None:
        """Make sure that the script is there, as v1 did when a pipeline was made."""
        super().check()
        if not os.path.isfile(os.path.join(self.folder, self.script_name)):
            raise ValueError(f"step {self.name!r}: there is no script {self.script_name!r} in {self.folder!r}")

    def write(self, writer: Writer) -> None:
        """Write it as code."""
        self._write(writer, [self.script_name])


class EstimatorStep(PythonScriptStep):
    """A step that runs the script of an estimator.

    Raises
    ------
    ValueError
        If the estimator carries parameters or inputs of its own, which the step is to be given.
    """

    def __init__(
        self,
        name: str | None = None,
        estimator: Any = None,
        estimator_entry_script_arguments: Sequence[Any] | None = None,
        runconfig_pipeline_params: Mapping[str, Any] | None = None,
        inputs: Sequence[Any] | None = None,
        outputs: Sequence[Any] | None = None,
        compute_target: Any = None,
        allow_reuse: bool = True,
        version: str | None = None,
        **others: Any,
    ) -> None:
        compute_target = take_target(compute_target, others, "EstimatorStep")
        if estimator is None:
            raise ValueError("EstimatorStep needs an estimator")
        compute_target = compute_target or estimator.compute_target
        if compute_target is None:
            raise ValueError("EstimatorStep needs a compute_target")
        if estimator_entry_script_arguments is None:
            raise ValueError("EstimatorStep needs estimator_entry_script_arguments; [] if there are none")
        for given in ("script_params", "inputs"):
            if getattr(estimator, given):
                raise ValueError(
                    f"EstimatorStep takes no estimator with {given}; give them to the step, as "
                    f"{'estimator_entry_script_arguments' if given == 'script_params' else 'inputs'}"
                )
        super().__init__(
            estimator.entry_script,
            name=name,
            arguments=estimator_entry_script_arguments,
            compute_target=compute_target,
            runconfig=estimator.run_config,
            runconfig_pipeline_params=runconfig_pipeline_params,
            inputs=inputs,
            outputs=outputs,
            source_directory=estimator.source_directory,
            allow_reuse=allow_reuse,
            version=version,
        )


class CommandStep(_ProcessStep):
    """A step that runs a command, in a copy of its source directory."""

    def __init__(
        self,
        command: Any = None,
        name: str | None = None,
        compute_target: Any = None,
        runconfig: Any = None,
        runconfig_pipeline_params: Mapping[str, Any] | None = None,
        inputs: Sequence[Any] | None = None,
        outputs: Sequence[Any] | None = None,
        params: Mapping[str, Any] | None = None,
        source_directory: str | os.PathLike[str] | None = None,
        allow_reuse: bool = True,
        version: str | None = None,
        **others: Any,
    ) -> None:
        compute_target = take_target(compute_target, others, "CommandStep")
        script_run = getattr(runconfig, "run_config", None)
        if script_run is not None:
            source_directory = source_directory or runconfig.source_directory
            command = command or runconfig.command
            runconfig = script_run
        if not command:
            raise ValueError("CommandStep needs a command")
        super().__init__(
            name or "command",
            arguments=[command] if isinstance(command, str) else list(command),
            inputs=inputs,
            outputs=outputs,
            params=params,
            compute_target=compute_target,
            runconfig=runconfig,
            source_directory=source_directory,
            allow_reuse=allow_reuse,
            version=version,
        )
        self._check_runconfig_params(runconfig_pipeline_params)

    def write(self, writer: Writer) -> None:
        """Write it as code: a shell reads it, as v1's did."""
        if len(self.arguments) == 1:
            self._write(writer, [None], command=["sh", "-c"])
        else:
            # The words of a list were joined by spaces.
            self._write(writer, [None], command=["sh", "-c", 'eval "$*"', "command"])
