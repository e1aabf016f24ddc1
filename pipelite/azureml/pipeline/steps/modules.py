"""The step that runs a version of a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelite.azureml.core.environment import from_kept
from pipelite.azureml.core.runconfig import RunConfiguration
from pipelite.azureml.pipeline.core.graph import PipelineData, PipelineParameter
from pipelite.azureml.pipeline.core.module import Module, ModuleVersion
from pipelite.azureml.pipeline.core.step import flatten
from pipelite.azureml.pipeline.steps.scripts import PythonScriptStep


class ModuleStep(PythonScriptStep):
    """A step that runs the script of a module, with what it reads and writes given by the names of its ports.

    Raises
    ------
    ValueError
        If no version is named, or both are; or what is given is not what the version reads and writes.
    """

    def __init__(
        self,
        module: Module | None = None,
        version: str | None = None,
        module_version: ModuleVersion | None = None,
        inputs_map: Mapping[str, Any] | None = None,
        outputs_map: Mapping[str, Any] | None = None,
        compute_target: Any = None,
        runconfig: Any = None,
        runconfig_pipeline_params: Mapping[str, Any] | None = None,
        arguments: Sequence[Any] | None = None,
        params: Mapping[str, Any] | None = None,
        name: str | None = None,
        **others: Any,
    ) -> None:
        if (module is None) == (module_version is None):
            raise ValueError("ModuleStep takes module=, with version= if it is not the default one, or module_version=")
        found = module_version if module is None else module.resolve(version)
        assert found is not None
        called = name or found.module_name
        ports = {
            **_ports(called, "inputs_map", found.inputs, inputs_map),
            **_ports(called, "outputs_map", found.outputs, outputs_map),
        }
        words = [_word(each, ports) for each in found.arguments] if arguments is None else list(arguments)
        if runconfig is None and found.environment is not None:
            runconfig = RunConfiguration()
            runconfig.environment = from_kept(found.environment)
        given = {each.name for each in flatten(words) if isinstance(each, PipelineParameter)}
        self.given = {
            "script_name": found.script_name,
            "name": called,
            "arguments": words,
            "compute_target": compute_target,
            "runconfig": runconfig,
            "runconfig_pipeline_params": runconfig_pipeline_params,
            "inputs": [_as_input(port, ports[port]) for port in found.inputs],
            "outputs": [ports[port] for port in found.outputs],
            # A parameter of the pipeline among the arguments is the one that counts.
            "params": {key: value for key, value in {**found.params, **(params or {})}.items() if key not in given},
            "source_directory": found.folder,
            **others,
        }
        super().__init__(**self.given)
        self.module_version = found


def _ports(step: str, what: str, names: Sequence[str], given: Mapping[str, Any] | None) -> dict[str, Any]:
    found = dict(given or {})
    if set(found) != set(names):
        raise ValueError(
            f"step {step!r}: {what} has {', '.join(found) or 'nothing'}; the module has {', '.join(names) or 'nothing'} there"
        )
    return found


def _as_input(port: str, value: Any) -> Any:
    """What a step reads, under the name of the module's port."""
    return value.as_input(port) if isinstance(value, PipelineData) else value


def _word(kept: Any, ports: Mapping[str, Any]) -> Any:
    return ports[kept["port"]] if isinstance(kept, Mapping) else kept
