"""Writes graphs of v1 steps as a module with ordinary pipelines: what runs, is published, and is shown by `convert`."""

from __future__ import annotations

import ast
import keyword
import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from pipelite.azureml.core.dataset import AbstractDataset
from pipelite.azureml.data.data_reference import DataReference
from pipelite.azureml.data.datapath import DataPath
from pipelite.azureml.data.output_dataset_config import Origin
from pipelite.azureml.layout import lay_out, lay_out_list
from pipelite.azureml.pipeline.core.graph import PipelineParameter
from pipelite.azureml.pipeline.core.ports import InputPort
from pipelite.azureml.pipeline.core.step import PipelineStep

#: What the function of the pipeline is called in the module.
FUNCTION = "azureml_pipeline"
#: What the folder of the module is called in it.
_HERE = "HERE"
#: What stands in a module from elsewhere, which nothing in it is to hide.
_KNOWN = (
    *("bool", "float", "int", "str"),
    *("Dataset", "Environment", "Input", "Output", "Path", "pipeline"),
    *("by_definition", "databricks", "script_step", "transfer_step"),
    _HERE,
)


@attrs.frozen
class Code:
    """An expression, as it stands in the module."""

    text: str


class Writer:
    """The text of one module.

    Parameters
    ----------
    by_definition : bool
        Have inputs from datastores count by where they are, as for v1, and not by their content.
    folder : path, optional
        Where the module is going to lie, for paths that are to be seen from there; by default they are absolute.
    root : path, optional
        The folder whose files are seen from there.
    """

    def __init__(self, *, by_definition: bool = False, folder: str | None = None, root: str | None = None) -> None:
        self._by_definition = by_definition
        self._folder = folder
        self._root = root
        self._imports: dict[str, set[str]] = {}
        #: Variables of steps by what they are.
        self._definitions: dict[str, str] = {}
        self._functions: list[str] = []
        self._taken = {*_KNOWN, *keyword.kwlist}
        self._uses_here = False
        self._start()

    def _start(self) -> None:
        """Begin a pipeline."""
        self._calls: list[_Call] = []
        #: Variables of the body that something reads.
        self._read: set[str] = set()
        self._names: set[str] = set()
        #: The variable that holds what a call of a step gave.
        self._results: dict[PipelineStep, str] = {}
        self._defined: dict[PipelineStep, str] = {}
        self._shown_names: dict[PipelineStep, str] = {}
        #: Steps that always run: those that are not to be reused, and what reads what they write.
        self._always: set[PipelineStep] = set()
        self._registered: dict[str, str] = {}
        self._outputs: dict[str, Code] = {}

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
        elif not step.output_ports:
            # v1 reused also what has no outputs.
            options["cache"] = True
        if step.version is not None:
            options["version"] = str(step.version)
        given = [*map(shown, values), *(f"{name}={shown(value)}" for name, value in options.items())]
        code = f"{function}({', '.join(given)})"
        # One that two pipelines have is defined once.
        if code not in self._definitions:
            self._definitions[code] = self._unique(to_identifier(step.name), "step")
        self._defined[step] = self._definitions[code]

    def call(self, step: PipelineStep, inputs: Mapping[str, Any]) -> None:
        """Call it in the body, with expressions for its inputs."""
        given = ", ".join(f"{name}={shown(value)}" for name, value in inputs.items())
        result = self._results[step] = self._unique_result(f"{self._defined[step]}_out")
        after = [self._result(each) for each in dict.fromkeys(step._after) if each in self._results]
        self._calls.append(_Call(result, f"{self._defined[step]}({given})", after))
        for port in step.output_ports:
            if port.registered_as:
                self._registered[f"{self._shown_names[step]}/{port.name}"] = port.registered_as
            if port.pipeline_output:
                self._outputs[port.pipeline_output] = Code(f"{self._result(step)}[{port.name!r}]")

    def _result(self, step: PipelineStep) -> str:
        """The variable with what a step gave, which is then one that is needed."""
        result = self._results[step]
        self._read.add(result)
        return result

    def value_of(self, port: InputPort) -> Code:
        """The expression for what a port reads."""
        source = port.source
        if isinstance(source, Origin):
            if source.producer not in self._results:
                raise ValueError(f"input {port.name!r} is the output {source.name!r}, which no step writes")
            return Code(f"{self._result(source.producer)}[{source.name!r}]")
        if isinstance(source, AbstractDataset):
            return self.data(source)
        if isinstance(source, DataReference):
            return self._reference(source)
        return Code(source.name)

    def parameter(self, parameter: PipelineParameter) -> Code:
        """The expression for the text of a parameter's value."""
        value = parameter.default_value
        # Python's spelling is what v1 gave scripts.
        return Code(f"str({parameter.name})" if isinstance(value, bool) else parameter.name)

    def data(self, value: AbstractDataset | DataPath) -> Code:
        """The expression for a dataset or a path on a datastore."""
        self.use("pipelite", "Dataset")
        if isinstance(value, AbstractDataset):
            code = ast.unparse(_Paths(self).visit(ast.parse(value.code, mode="eval")))
        else:
            code = f"Dataset.from_files({(value.datastore_name, value.path_on_datastore)!r}, missing_ok=True)"
        if not self._by_definition:
            return Code(code)
        self.use("pipelite.azureml.identities", "by_definition")
        return Code(f"by_definition({code})")

    def path(self, path: str) -> Code:
        """The expression for an absolute path: a text, or where that is possible a path from where the module lies."""
        if self._folder is None or self._root is None or not is_below(path, self._root):
            return Code(repr(path))
        self.use("pathlib", "Path")
        self._uses_here = True
        seen = os.path.relpath(path, self._folder)
        return Code(_HERE if seen == os.curdir else f"{_HERE} / {seen!r}")

    # The whole.

    def reserve(self, name: str, steps: Sequence[PipelineStep]) -> str:
        """Have no step take the name of a pipeline's function, nor of its parameters; gives one for the function.

        Raises
        ------
        ValueError
            If a parameter is called like something that the module needs.
        """
        for parameter in collect_parameters(steps):
            if parameter.name in (*_KNOWN, *keyword.kwlist):
                raise ValueError(f"a parameter cannot be called {parameter.name!r} here; give it another name")
            self._taken.add(parameter.name)
        return self._unique(name, "pipeline")

    def add(self, steps: Sequence[PipelineStep], function: str, **options: Any) -> None:
        """A pipeline of steps, each of which stands behind those that it waits for.

        Parameters
        ----------
        function : what `reserve` gave
        **options
            Those of `@pipeline`.

        Raises
        ------
        ValueError
            If the steps do not go together.
        """
        self._start()
        for step in steps:
            step.write(self)
        self.use("pipelite", "pipeline")
        signature = [self._parameter(each) for each in collect_parameters(steps)]
        if self._registered:
            options["register_outputs"] = self._registered
        given = ", ".join(f"{name}={shown(value)}" for name, value in options.items())
        lines = [lay_out(f"pipeline({given})" if given else "pipeline", lead="@")]
        lines.append(lay_out_list(f"def {function}(", signature, "):"))
        for call in self._calls:
            lead = f"{call.result} = " if call.result in self._read or call.after else ""
            lines.append(lay_out(call.code, lead=lead, indent=4))
            if call.after:
                lines.append(lay_out(f"{call.result}.after({', '.join(call.after)})", indent=4))
        if self._outputs:
            lines.append(lay_out(shown(self._outputs), lead="return ", indent=4))
        self._functions.append("\n".join(lines))

    def text(self, description: str | None, main: Sequence[str] = ()) -> str:
        """The module; `main` is what it does when it is run as a script."""
        lines = [f'"""{_one_line(description) or "A pipeline of Azure ML."}"""', ""]
        groups = [{"pathlib"} & {*self._imports}, {*self._imports} - {"pathlib"}]
        for group in filter(None, groups):
            lines += [f"from {module} import {', '.join(sorted(self._imports[module]))}" for module in sorted(group)]
            lines.append("")
        if self._uses_here:
            lines += [f"{_HERE} = Path(__file__).parent", ""]
        lines += [lay_out(code, lead=f"{name} = ") for code, name in self._definitions.items()]
        blocks = ["\n".join(lines), *self._functions]
        if main:
            blocks.append("\n".join(['if __name__ == "__main__":', *(lay_out(each, indent=4) for each in main)]))
        return "\n\n\n".join(blocks) + "\n"

    def _parameter(self, parameter: PipelineParameter) -> str:
        value = parameter.default_value
        if isinstance(value, DataPath | AbstractDataset):
            return f"{parameter.name}: Dataset = {lay_out(self.data(value).text)}"
        return f"{parameter.name}: {type(value).__name__} = {lay_out(repr(value))}"

    def _reference(self, reference: DataReference) -> Code:
        store = reference.datastore.native
        path = (reference.path_on_datastore or "").strip("/")
        place = "/".join(filter(None, (store.url.removeprefix("file://"), path)))
        if store.is_local and not self._by_definition and os.path.exists(place):
            self.use("pathlib", "Path")
            found = self.path(place)
            return found if found.text.startswith(_HERE) else Code(f"Path({found.text})")
        return self.data(DataPath(reference.datastore, path))

    def _unique(self, name: str, kind: str) -> str:
        """A name of the module; one that is taken first gets its kind behind it, and then numbers."""
        made, number = name, 1
        while made in self._taken:
            made, number = (f"{name}_{kind}" if number == 1 else f"{name}_{number}"), number + 1
        self._taken.add(made)
        return made

    def _unique_result(self, name: str) -> str:
        """A name of the body, which hides none of the module."""
        made, number = name, 2
        while made in self._taken or made in self._results.values():
            made, number = f"{name}_{number}", number + 1
        return made

    def _unique_name(self, name: str) -> str:
        made = unique_name(name, self._names)
        self._names.add(made)
        return made


@attrs.frozen
class _Call:
    """A call of a step in the body of a pipeline."""

    result: str
    code: str
    #: Variables of the steps that it waits for without reading anything.
    after: list[str]


class _Paths(ast.NodeTransformer):
    """Shows the paths of this machine in the expression for a dataset as the writer does."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if isinstance(node.value, str) and os.path.isabs(node.value):
            return ast.parse(self._writer.path(node.value).text, mode="eval").body
        return node


def is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder, or in it."""
    return f"{os.path.abspath(path)}{os.sep}".startswith(f"{os.path.abspath(folder).rstrip(os.sep)}{os.sep}")


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
        return one.definition_id != other.definition_id
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


def unique_name(name: str, taken: Collection[str]) -> str:
    """What a step is called in a run: its name, with a number if others have it."""
    text = re.sub(r"[/\x00-\x1f]+", "-", name).strip() or "step"
    made, number = text, 2
    while made in taken:
        made, number = f"{text}-{number}", number + 1
    return made


def to_identifier(name: str) -> str:
    """A name as a variable can have it."""
    text = re.sub(r"\W+", "_", name.removesuffix(".py"), flags=re.ASCII).strip("_").lower()
    return f"step_{text}" if not text or text[0].isdigit() else text


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace('"', "'").replace("\\", "/")
