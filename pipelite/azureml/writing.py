"""Writes a graph of v1 steps as a module with an ordinary pipeline: what runs, is published, and is shown by `convert`."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from pipelite.azureml.core.dataset import AbstractDataset
from pipelite.azureml.data.data_reference import DataReference
from pipelite.azureml.data.datapath import DataPath
from pipelite.azureml.data.output_dataset_config import Origin
from pipelite.azureml.pipeline.core.graph import PipelineParameter
from pipelite.azureml.pipeline.core.ports import InputPort
from pipelite.azureml.pipeline.core.step import PipelineStep

#: What the function of the pipeline is called in the module.
FUNCTION = "azureml_pipeline"
_LINE = 110
#: What the types of parameters are called, and what makes texts of them.
_BUILT_IN = ("bool", "float", "int", "str")


@attrs.frozen
class Code:
    """An expression, as it stands in the module."""

    text: str


class Writer:
    """The text of one module."""

    def __init__(self, *, by_definition: bool = False, taken: Iterable[str] = ()) -> None:
        #: Whether inputs from datastores count by where they are, as for v1, and not by their content.
        self._by_definition = by_definition
        self._imports: dict[str, set[str]] = {}
        self._definitions: list[str] = []
        self._calls: list[str] = []
        self._taken = {FUNCTION, *_BUILT_IN, *keyword.kwlist, *taken}
        self._names: set[str] = set()
        #: The variable that holds what a call of a step gave.
        self._results: dict[PipelineStep, str] = {}
        self._defined: dict[PipelineStep, str] = {}
        self._shown_names: dict[PipelineStep, str] = {}
        #: Steps that always run: those that are not to be reused, and what reads what they write.
        self._always: set[PipelineStep] = set()
        self._registered: dict[str, str] = {}
        self._outputs: dict[str, str] = {}

    # For steps.

    def use(self, module: str, *names: str) -> None:
        """Import names."""
        self._imports.setdefault(module, set()).update(names)

    def define(self, step: PipelineStep, function: str, *values: Any, **options: Any) -> None:
        """Define a step: a call of a function that makes one."""
        name = self._shown_names[step] = self._unique_name(step.name)
        options = {"name": name, **options}
        if not step.allow_reuse or not self._always.isdisjoint(step.producers):
            # What it writes was new to v1, whatever is in it.
            self._always.add(step)
            options["cache"] = False
        elif "cache" not in options:
            # Also one without outputs, as v1 did.
            options["cache"] = True
        if step.version is not None:
            options["version"] = str(step.version)
        variable = self._unique(_identifier(step.name))
        self._defined[step] = variable
        given = [*map(shown, values), *(f"{name}={shown(value)}" for name, value in options.items())]
        self._definitions.append(f"{variable} = {_call(function, given, 0)}")

    def call(self, step: PipelineStep, inputs: Mapping[str, Any]) -> None:
        """Call it in the body, with expressions for its inputs."""
        result = self._results[step] = self._unique(f"{self._defined[step]}_out")
        given = [f"{name}={shown(value)}" for name, value in inputs.items()]
        self._calls.append(f"    {result} = {_call(self._defined[step], given, 4)}")
        waits = [self._results[each] for each in dict.fromkeys(step._after) if each in self._results]
        if waits:
            self._calls.append(f"    {result}.after({', '.join(waits)})")
        for port in step.output_ports:
            if port.registered_as:
                self._registered[f"{self._shown_names[step]}/{port.name}"] = port.registered_as
            if port.pipeline_output:
                self._outputs[port.pipeline_output] = f"{result}[{port.name!r}]"

    def value_of(self, port: InputPort) -> Code:
        """The expression for what a port reads."""
        source = port.source
        if isinstance(source, Origin):
            result = self._results.get(source.producer) if source.producer is not None else None
            if result is None:
                raise ValueError(f"input {port.name!r} is the output {source.name!r}, which no step writes")
            return Code(f"{result}[{source.name!r}]")
        if isinstance(source, AbstractDataset):
            return self._data(source)
        if isinstance(source, DataReference):
            return self._reference(source)
        return Code(source.name)

    def parameter(self, parameter: PipelineParameter) -> Code:
        """The expression for the text of a parameter's value."""
        value = parameter.default_value
        # Python's spelling is what v1 gave scripts.
        return Code(f"str({parameter.name})" if isinstance(value, bool) else parameter.name)

    # The whole.

    def write(self, steps: Sequence[PipelineStep], description: str | None) -> str:
        """The module for steps, each of which stands behind those that it waits for."""
        parameters = collect_parameters(steps)
        self._taken.update(each.name for each in parameters)
        for step in steps:
            step.write(self)
        self.use("pipelite", "pipeline")
        signature = ", ".join(self._parameter(each) for each in parameters)
        imported = set().union(*self._imports.values())
        for each in parameters:
            if each.name in (*imported, *_BUILT_IN):
                raise ValueError(f"a parameter cannot be called {each.name!r} here; give it another name")
        if not imported.isdisjoint(self._defined.values()):
            # A step is called like something that a later one needs.
            return Writer(by_definition=self._by_definition, taken=imported).write(steps, description)
        given = [f"register_outputs={shown(self._registered)}"] if self._registered else []
        decorator = f"@pipeline({', '.join(given)})" if given else "@pipeline"
        lines = [f'"""{_one_line(description) or "A pipeline of Azure ML."}"""', ""]
        lines += [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(self._imports.items())]
        lines += ["", *self._definitions, "", "", decorator, f"def {FUNCTION}({signature}):"]
        lines += self._calls
        if self._outputs:
            lines.append("    return {" + ", ".join(f"{name!r}: {text}" for name, text in self._outputs.items()) + "}")
        return "\n".join(lines) + "\n"

    def _parameter(self, parameter: PipelineParameter) -> str:
        value = parameter.default_value
        if isinstance(value, DataPath | AbstractDataset):
            return f"{parameter.name}: Dataset = {self._data(value).text}"
        return f"{parameter.name}: {type(value).__name__} = {value!r}"

    def _data(self, value: Any) -> Code:
        self.use("pipelite", "Dataset")
        code = data_code(value)
        if not self._by_definition:
            return code
        self.use("pipelite.azureml.identities", "by_definition")
        return Code(f"by_definition({code.text})")

    def _reference(self, reference: DataReference) -> Code:
        store = reference.datastore.native
        path = (reference.path_on_datastore or "").strip("/")
        if store.is_local and not self._by_definition:
            self.use("pathlib", "Path")
            root = store.url.removeprefix("file://")
            return Code(f"Path({'/'.join(filter(None, (root, path)))!r})")
        return self._data(DataPath(reference.datastore, path))

    def _unique(self, name: str) -> str:
        made, number = name, 2
        while made in self._taken:
            made, number = f"{name}_{number}", number + 1
        self._taken.add(made)
        return made

    def _unique_name(self, name: str) -> str:
        text = re.sub(r"[/\x00-\x1f]+", "-", name).strip() or "step"
        made, number = text, 2
        while made in self._names:
            made, number = f"{text}-{number}", number + 1
        self._names.add(made)
        return made


def data_code(value: Any) -> Code:
    """The expression for a dataset or a path on a datastore."""
    if isinstance(value, AbstractDataset):
        return Code(value.code)
    return Code(f"Dataset.from_files({(value.datastore_name, value.path_on_datastore)!r})")


def collect_parameters(steps: Sequence[PipelineStep]) -> list[PipelineParameter]:
    """All parameters of some steps, each once.

    Raises
    ------
    ValueError
        If two of one name have different defaults.
    """
    found: dict[str, PipelineParameter] = {}
    for step in steps:
        for each in step.parameters:
            other = found.setdefault(each.name, each)
            if other is not each and _differs(other.default_value, each.default_value):
                raise ValueError(
                    f"parameter {each.name!r} is there twice, with the defaults {other.default_value!r} and "
                    f"{each.default_value!r}; a pipeline has one parameter of a name"
                )
    return list(found.values())


def _differs(one: Any, other: Any) -> bool:
    if isinstance(one, AbstractDataset) and isinstance(other, AbstractDataset):
        return one.id != other.id
    return type(one) is not type(other) or bool(one != other)


def shown(value: Any) -> str:
    """A value as code."""
    if isinstance(value, Code):
        return value.text
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name!r}: {shown(each)}" for name, each in value.items()) + "}"
    return repr(value)


def _call(function: str, given: Sequence[str], indent: int) -> str:
    line = f"{function}({', '.join(given)})"
    if len(line) + indent <= _LINE:
        return line
    space = " " * (indent + 4)
    return f"{function}(\n" + "".join(f"{space}{each},\n" for each in given) + " " * indent + ")"


def _identifier(name: str) -> str:
    text = re.sub(r"\W+", "_", name.removesuffix(".py"), flags=re.ASCII).strip("_").lower()
    return f"step_{text}" if not text or text[0].isdigit() else text


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace('"', "'").replace("\\", "/")
