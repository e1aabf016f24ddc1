"""What all kinds of step have in common."""

from __future__ import annotations

import contextlib
import inspect
import keyword
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import attrs

from pipelite.azureml._notices import warn_spelling
from pipelite.azureml.data.data_reference import DataReference
from pipelite.azureml.data.dataset_consumption_config import DatasetConsumptionConfig
from pipelite.azureml.data.output_dataset_config import Origin, OutputAsInput, OutputFileDatasetConfig
from pipelite.azureml.pipeline.core.graph import PipelineData, PipelineOutputFileDataset, PipelineParameter
from pipelite.azureml.pipeline.core.ports import InputPort, OutputPort, is_input, read_input, read_output


class PipelineStep:
    """A step of a pipeline: what it reads, what it writes, and what it waits for."""

    #: What it was made with, by the names of the arguments.
    given: Mapping[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls)
        # What is wrong with them is for `__init__` to say.
        with contextlib.suppress(TypeError):
            made.given = dict(inspect.signature(cls).bind(*args, **kwargs).arguments)
        return made

    def __init__(
        self,
        name: str,
        inputs: Sequence[Any] | None,
        outputs: Sequence[Any] | None,
        arguments: Sequence[Any] | None = None,
        params: Mapping[str, Any] | None = None,
        allow_reuse: bool = True,
        version: str | None = None,
    ) -> None:
        self.name = name
        self.allow_reuse = allow_reuse
        self.version = version
        #: That of the pipeline it is part of.
        self.workspace: Any = None
        #: Values that have no meaning here, and may be parameters of the pipeline all the same.
        self.unused_parameters: list[Any] = []
        self.params = dict(params or {})
        for what, given in (("arguments", arguments), ("inputs", inputs), ("outputs", outputs)):
            if given is not None and not isinstance(given, list | tuple):
                raise ValueError(f"step {name!r}: {what}={given!r} is wrong; it takes a list")
        self.arguments = list(arguments or [])
        #: Input ports by the object that was given, in its order.
        self._given_inputs = list(inputs or [])
        self._given_outputs = list(outputs or [])
        self._sort_arguments()
        self.input_ports: list[InputPort] = [read_input(each, name) for each in self._given_inputs]
        self.output_ports: list[OutputPort] = [read_output(each, name) for each in self._given_outputs]
        self._check_names()
        self._after: list[PipelineStep] = []
        for port in self.output_ports:
            # A cell of a notebook that is run again makes its step anew; the last one counts.
            port.origin.producer = self

    def run_after(self, step: PipelineStep) -> None:
        """Start only when another step has ended, without reading anything of it."""
        self._after.append(step)

    @property
    def earlier(self) -> list[PipelineStep]:
        """The steps that it waits for."""
        return list(dict.fromkeys([*self.producers, *self._after]))

    @property
    def producers(self) -> list[PipelineStep]:
        """The steps that write what it reads."""
        found = [port.source.producer for port in self.input_ports if isinstance(port.source, Origin)]
        return [each for each in found if each is not None]

    @property
    def parameters(self) -> Iterator[PipelineParameter]:
        """Those that it uses."""
        for value in (*flatten(self.arguments), *self.params.values(), *self.unused_parameters):
            if isinstance(value, PipelineParameter):
                yield value
        for port in self.input_ports:
            if isinstance(port.source, PipelineParameter):
                yield port.source

    def check(self) -> None:
        """Look whether it can be part of a pipeline.

        Raises
        ------
        ValueError
            If what it needs is not there, or another step writes one of its outputs too.
        """
        for port in self.output_ports:
            if port.origin.producer is not self:
                raise ValueError(
                    f"{port.name!r} is an output of step {self.name!r}, and of step {port.origin.producer.name!r} that was "
                    "made later; each step of a pipeline writes outputs of its own"
                )

    def write(self, writer: Any) -> None:
        """Write it as code; see `writing.Writer`."""
        raise NotImplementedError

    def _sort_arguments(self) -> None:
        """What stands in the arguments is an input or an output of its own accord, as far as v1 took it for one."""
        inputs, outputs = _keys(self._given_inputs), _keys(self._given_outputs)
        for value in flatten(self.arguments):
            key = _key(value)
            if isinstance(value, OutputFileDatasetConfig):
                if key not in inputs and key not in outputs:
                    self._given_outputs.append(value)
                    outputs.add(key)
            elif isinstance(value, PipelineData | PipelineOutputFileDataset):
                if key not in inputs and key not in outputs:
                    raise ValueError(
                        f"step {self.name!r}: {value.name!r} stands in the arguments, and neither in inputs nor in outputs"
                    )
            elif is_input(value) and key not in inputs:
                self._given_inputs.append(value)
                inputs.add(key)

    def _check_names(self) -> None:
        outputs = {port.name for port in self.output_ports}
        seen: set[str] = set()
        # As v1 renamed them.
        self.input_ports = [
            attrs.evolve(port, name=f"INPUT_{port.name}") if port.name in outputs else port for port in self.input_ports
        ]
        for port in self.input_ports:
            if port.name in seen:
                raise ValueError(f"step {self.name!r}: two inputs are called {port.name!r}")
            if not port.name.isidentifier() or keyword.iskeyword(port.name):
                raise ValueError(
                    f"step {self.name!r}: an input cannot be called {port.name!r}; its name is a letter or _, then letters, "
                    "digits and _, and no word of Python's"
                )
            seen.add(port.name)
        if len(outputs) < len(self.output_ports):
            raise ValueError(f"step {self.name!r}: two outputs have one name")

    def port_of(self, value: Any) -> InputPort | OutputPort | None:
        """The port that an object among the arguments stands for."""
        key = _key(value)
        for given, port in zip(self._given_inputs, self.input_ports, strict=True):
            if given is value or key in _keys([given]):
                return port
        for given, out in zip(self._given_outputs, self.output_ports, strict=True):
            if _key(given) == key:
                return out
        return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def take_target(compute_target: Any, others: dict[str, Any], kind: str) -> Any:
    """The compute target, also as `target=`, which v1 refused."""
    if "target" in others:
        warn_spelling(f"target= of {kind}", "compute_target=")
        compute_target = compute_target or others.pop("target")
        others.pop("target", None)
    if others:
        raise TypeError(f"{kind}() got an unexpected keyword argument {next(iter(others))!r}")
    return compute_target


def flatten(values: Any) -> Iterator[Any]:
    """The values in a list of lists."""
    for value in values:
        if isinstance(value, list):
            yield from flatten(value)
        else:
            yield value


def _keys(values: Sequence[Any]) -> set[Any]:
    # What a step reads as an input of some name is meant by the output itself too.
    outputs = {id(value.output.origin) for value in values if isinstance(value, OutputAsInput)}
    return {_key(value) for value in values} | outputs


def _key(value: Any) -> Any:
    """What makes two objects the same port."""
    if isinstance(value, PipelineData | PipelineOutputFileDataset | OutputFileDatasetConfig):
        return id(value.origin)
    if isinstance(value, OutputAsInput):
        return "input", value.name, id(value.output.origin)
    if isinstance(value, DatasetConsumptionConfig):
        return "input", value.name, getattr(value.dataset, "code", None) or id(value.dataset)
    if isinstance(value, tuple):
        # A parameter with a path, and its binding.
        return "input", getattr(value[0], "name", id(value[0]))
    if isinstance(value, DataReference):
        return "input", value.data_reference_name, value.datastore, value.path_on_datastore
    inner = getattr(value, "bind_object", None)
    if isinstance(inner, PipelineData):
        return id(inner.origin)
    return id(value)
