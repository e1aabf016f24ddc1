"""A pipeline in the form of v1's YAML: names, parameters, data and steps, as plain values."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pipelite._optional import require
from pipelite.azureml.core import runconfig_files
from pipelite.azureml.core.dataset import AbstractDataset
from pipelite.azureml.data.data_reference import DataReference
from pipelite.azureml.data.datapath import DataPath
from pipelite.azureml.data.output_dataset_config import Origin, OutputFileDatasetConfig
from pipelite.azureml.pipeline.core.graph import PipelineData, PipelineOutputFileDataset, PipelineParameter
from pipelite.azureml.pipeline.core.ports import InputPort, OutputPort
from pipelite.azureml.pipeline.core.step import PipelineStep, flatten
from pipelite.azureml.writing import collect_parameters, unique_name

if TYPE_CHECKING:
    from pipelite.azureml.pipeline.core.pipeline import Pipeline

#: The file in a folder.
FILE_NAME = "pipeline.yml"
#: Types of parameters, by those of their defaults; a truth value is a number to Python.
_TYPES = {bool: "bool", int: "int", float: "float", str: "string"}
#: What of a step is said in words of its own.
_NAMED = {
    *("name", "inputs", "outputs", "output", "side_inputs", "arguments", "params", "notebook_params"),
    *("python_script_params", "jar_params", "compute_target", "target", "runconfig", "source_directory"),
    *("source_data_reference", "destination_data_reference", "hash_paths", "runconfig_pipeline_params"),
    *("estimator", "estimator_entry_script_arguments", "others", "command"),
}
#: The arguments of a script or command, whatever they are called.
_ARGUMENTS = ("arguments", "estimator_entry_script_arguments", "python_script_params", "jar_params")


def to_form(pipeline: Pipeline) -> dict[str, Any]:
    """A pipeline as plain values."""
    return _Form(pipeline).whole


def write(form: Mapping[str, Any], name: str | None, path: str | os.PathLike[str] | None) -> None:
    """Write it into a file; below a folder that is `pipeline.yml`, and without one below the working directory.

    Raises
    ------
    MissingExtraError
        If PyYAML is not installed, which comes with the extra `environments`.
    """
    yaml = require("yaml", extra="environments")
    target = os.fspath(path or os.curdir)
    if os.path.isdir(target):
        target = os.path.join(target, FILE_NAME)
    whole = dict(form)
    if name is not None:
        description = whole.pop("name", None)
        whole = _filled({"name": name, "description": description, **whole})
    with open(target, "w", encoding="utf-8") as file:
        yaml.safe_dump({"pipeline": whole}, file, sort_keys=False)


class _Form:
    def __init__(self, pipeline: Pipeline) -> None:
        self._keys: dict[PipelineStep, str] = {}
        for step in pipeline.steps:
            self._keys[step] = unique_name(step.name, self._keys.values())
        self._data: dict[str, dict[str, Any]] = {}
        self._outputs = self._name_outputs(pipeline.steps)
        steps = {self._keys[step]: self._step(step) for step in pipeline.steps}
        parameters = {each.name: self._parameter(each) for each in collect_parameters(pipeline.steps)}
        found = {
            "name": pipeline.description,
            "parameters": parameters,
            "data_references": self._data,
            "steps": steps,
        }
        self.whole = _filled(found)

    def _name_outputs(self, steps: Iterable[PipelineStep]) -> dict[Origin, str]:
        """The name by which later steps ask for each output."""
        names: dict[Origin, str] = {}
        for step in steps:
            ports = [port.name for port in step.output_ports]
            origins = [port.origin for port in step.output_ports]
            given = getattr(step, "get_output", None)
            if given is not None:
                origins, ports = [given().origin], [given().name]
            for origin, name in zip(origins, ports, strict=True):
                taken = set(names.values())
                names[origin] = name if name not in taken else unique_name(f"{self._keys[step]} {name}", taken)
        return names

    def _parameter(self, parameter: PipelineParameter) -> dict[str, Any]:
        value = parameter.default_value
        if isinstance(value, DataPath):
            return {
                "type": "datapath",
                "default": {"datastore": value.datastore_name, "path_on_datastore": value.path_on_datastore},
            }
        if isinstance(value, AbstractDataset):
            return {"type": "dataset", "default": _dataset(value)}
        kind = next(kind for kind in _TYPES if isinstance(value, kind))
        return {"type": _TYPES[kind], "default": kind(value)}

    def _step(self, step: PipelineStep) -> dict[str, Any]:
        from pipelite.azureml.pipeline.steps import CommandStep

        given = step.given
        is_script = hasattr(step, "script_name")
        found: dict[str, Any] = {
            # One of an estimator is that of its script.
            "type": "PythonScriptStep" if is_script else type(step).__name__,
            "name": step.name,
            "script_name": getattr(step, "script_name", None),
        }
        found |= {
            key: _plain(value) for key, value in given.items() if key not in _NAMED and not _is_default(step, key)
        }
        target = getattr(step, "compute_target", None) or given.get("compute_target")
        found["compute"] = _name_of(target)
        if hasattr(step, "folder"):
            found["source_directory"] = step.folder
        arguments = next((given[key] for key in _ARGUMENTS if given.get(key)), ())
        found["arguments"] = [self._argument(step, each) for each in flatten(list(arguments))]
        if isinstance(step, CommandStep):
            words = [self._argument(step, each) for each in step.arguments]
            found |= {"command": words[0] if len(words) == 1 else words, "arguments": []}
        found["parameters"] = {
            key: _source_of(value) for key, value in (given.get("params") or given.get("notebook_params") or {}).items()
        }
        runconfig = getattr(step, "runconfig", None)
        if runconfig is not None:
            found["runconfig"] = _filled(runconfig_files.to_fields(runconfig))
        self._add_ports(step, found)
        found["run_after"] = [self._keys[each] for each in dict.fromkeys(step._after) if each in self._keys]
        return _filled(found)

    def _add_ports(self, step: PipelineStep, found: dict[str, Any]) -> None:
        if "source_data_reference" in step.given:
            target = step.given["destination_data_reference"]
            target = getattr(target, "bind_object", target)
            output = step.get_output()  # type: ignore[attr-defined]
            source, source_name = self._input(step.input_ports[0], None), _own_name(step, step.input_ports[0])
            found["source_data_reference"] = {source_name: source}
            found["destination_data_reference"] = {
                target.data_reference_name: {"source": self._reference(target.data_reference_name, target)}
            }
            found["outputs"] = {output.name: {"destination": self._outputs[output.origin]}}
            return
        sides = {id(each) for each in step.given.get("side_inputs") or ()}
        for value, port in zip(step._given_inputs, step.input_ports, strict=True):
            where = "side_inputs" if id(value) in sides else "inputs"
            found.setdefault(where, {})[_own_name(step, port)] = self._input(port, value)
        for value, out in zip(step._given_outputs, step.output_ports, strict=True):
            found.setdefault("outputs", {})[out.name] = self._output(out, value)

    def _argument(self, step: PipelineStep, value: Any) -> Any:
        if isinstance(value, PipelineParameter):
            return f"parameter:{value.name}"
        port = step.port_of(value)
        if isinstance(port, InputPort):
            return f"input:{_own_name(step, port)}"
        return _plain(value) if port is None else f"output:{port.name}"

    def _input(self, port: InputPort, given: Any) -> dict[str, Any]:
        source = port.source
        mode = "direct" if port.is_direct else getattr(given, "mode", getattr(given, "bind_mode", None)) or "mount"
        found: dict[str, Any] = {"bind_mode": mode}
        if isinstance(source, Origin):
            found["source"] = self._outputs.get(source, source.name)
            found["is_dataset"] = port.is_named or None
            found["rows"] = [] if port.rows is None else [_plain(list(call)) for call in port.rows.calls]
        elif isinstance(source, PipelineParameter):
            found["source"] = source.name
        elif isinstance(source, DataReference):
            found["source"] = self._reference(source.data_reference_name, source)
        else:
            found["source"] = self._keep(source.name or port.name, _dataset(source))
        return _filled(found)

    def _reference(self, name: str, reference: DataReference) -> str:
        place = {"datastore": reference.datastore.name, "path_on_datastore": reference.path_on_datastore}
        return self._keep(name, _filled(place))

    def _keep(self, name: str, fields: dict[str, Any]) -> str:
        """The name under which data stand; the same data have one."""
        for known, each in self._data.items():
            if each == fields:
                return known
        made = unique_name(name, {*self._data, *self._outputs.values()})
        self._data[made] = fields
        return made

    def _output(self, port: OutputPort, given: Any) -> dict[str, Any]:
        found: dict[str, Any] = {"destination": self._outputs[port.origin]}
        if isinstance(given, OutputFileDatasetConfig):
            found |= {"type": "OutputFileDatasetConfig", "bind_mode": given.mode, "register_as": port.registered_as}
            if given.destination is not None:
                found |= {"datastore": given.destination[0].name, "path_on_datastore": given.destination[1]}
            return _filled(found)
        data = given.data if isinstance(given, PipelineOutputFileDataset) else given
        assert isinstance(data, PipelineData)
        found |= {
            "datastore": getattr(data.datastore, "name", None),
            "bind_mode": data.output_mode,
            "pipeline_output_name": data.pipeline_output_name,
            "register_as": port.registered_as,
        }
        return _filled(found)


def _own_name(step: PipelineStep, port: InputPort) -> str:
    """What an input was called before it got out of the way of an output."""
    outputs = {each.name for each in step.output_ports}
    own = port.name.removeprefix("INPUT_")
    return own if own in outputs else port.name


def _dataset(dataset: AbstractDataset) -> dict[str, Any]:
    if dataset.name is not None and not dataset.native.definition.operations:
        return {"dataset_name": dataset.name, "dataset_version": dataset.version}
    # As it stands in the module that the pipeline is.
    return {"dataset": dataset.code}


def _source_of(value: Any) -> Any:
    return {"source": value.name} if isinstance(value, PipelineParameter) else _plain(value)


def _name_of(target: Any) -> Any:
    # v1 also took a pair of the name and the kind.
    return target[0] if isinstance(target, tuple) else getattr(target, "name", target)


def _is_default(step: PipelineStep, key: str) -> bool:
    parameter = inspect.signature(type(step)).parameters.get(key)
    return parameter is not None and parameter.default == step.given[key]


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, PipelineParameter):
        return {"source": value.name}
    return str(value)


def _filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not there."""
    return {key: value for key, value in fields.items() if value is not None and value not in ([], {})}
