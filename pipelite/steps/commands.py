"""Steps that run a Python script or another program in a process of its own."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import Parameter
from pathlib import Path
from typing import Any

from pipelite import define
from pipelite.define import Step, StepOptions
from pipelite.define.handles import ListOutput
from pipelite.define.options import change_options, check_name
from pipelite.define.signatures import BindError, Signature
from pipelite.errors import DefinitionError
from pipelite.steps.placeholders import Input, Output
from pipelite.steps.running import COMMAND, DATASETS, SOURCE, STDOUT, is_dataset, plain_text, run_command, run_script
from pipelite.store import SourceFolder

#: The most that the files of a source directory may have together, if nothing else is said.
SIZE_LIMIT_BYTES = 100_000_000


def script(
    file: str | os.PathLike[str],
    *,
    source_directory: str | os.PathLike[str] | None = None,
    arguments: Sequence[Any] = (),
    datasets: Sequence[Input] = (),
    size_limit_bytes: int = SIZE_LIMIT_BYTES,
    **options: Any,
) -> Step[..., Any]:
    """A step that runs a Python script in a process of its own, in a private copy of its source directory.

    Parameters
    ----------
    file : path
        The script, seen from the source directory.
    source_directory : path, optional
        What the script needs beside itself; by default the folder that it lies in. A relative path starts at the
        working directory.
    arguments : list
        What stands behind the script's name: texts and numbers; a `Path`, which counts by its content; a dataset, which
        becomes a path; `Input("raw")` for what the step is called with; `Output("clean")` for a path to write to; outputs
        of other steps. An element that is a list gives several arguments.
    datasets : list of Input
        Datasets that the step is called with and that are no arguments: the script finds them, like those that are,
        in `pipelite.current_run().input_datasets`.
    size_limit_bytes : int
        The most that the files of the source directory may have together.
    **options
        Those of `@step`, without `outputs`: these are the `Output(...)` among the arguments.

    Raises
    ------
    DefinitionError
        If an argument or an option is wrong.
    """
    where = f"script({os.fspath(file)!r})"
    needed, folder = find_source(file, source_directory, size_limit_bytes, where)
    command = [needed, *take_list(arguments, "arguments", where)]
    named = _named(datasets, where)
    return make_step(
        run_script,
        [*command, *named],
        {SOURCE: folder, COMMAND: encode(command), STDOUT: None, DATASETS: encode(named)},
        where=where,
        default_name=os.path.splitext(os.path.basename(needed))[0],
        options=options,
    )


def shell(
    command: Sequence[Any],
    *,
    source_directory: str | os.PathLike[str] | None = None,
    datasets: Sequence[Input] = (),
    stdout: Output | None = None,
    size_limit_bytes: int = SIZE_LIMIT_BYTES,
    **options: Any,
) -> Step[..., Any]:
    """A step that runs a program: an argument vector, which no shell looks at.

    Parameters
    ----------
    command : list
        The program and its arguments, as `arguments` of `script`.
    source_directory : path, optional
        A folder of which the program gets a private copy to run in; by default it runs in an empty folder.
    datasets : list of Input
        As for `script`.
    stdout : Output, optional
        A file that what the program prints goes to, instead of the log.
    size_limit_bytes : int
        The most that the files of the source directory may have together.
    **options
        Those of `@step`, without `outputs`.

    Raises
    ------
    DefinitionError
        If an argument or an option is wrong.
    """
    if isinstance(command, str):
        raise DefinitionError(
            f'shell({command!r}) is one text; a command is a list: shell(["sort", Input("table")]). For a command of a '
            f'shell write shell(["sh", "-c", {command!r}])'
        )
    items = list(command)
    where = f"shell({[str(item) for item in items[:2]]})"
    if not items or not isinstance(items[0], str | Path) or not items[0]:
        raise DefinitionError(f"{where}: the first of a command is a program, such as shell(['sort', ...])")
    program = os.fspath(items[0])
    if stdout is not None and not isinstance(stdout, Output):
        raise DefinitionError(f'{where}: stdout={stdout!r} is wrong; it takes an Output, such as Output("sorted")')
    folder = None
    if source_directory is not None:
        folder = source_folder(source_directory, size_limit_bytes, where)
    words = [program, *take_list(items[1:], "command", where)]
    named = _named(datasets, where)
    return make_step(
        run_command,
        [*words, stdout, *named],
        {SOURCE: folder, COMMAND: encode(words), STDOUT: encode(stdout), DATASETS: encode(named)},
        where=where,
        default_name=os.path.basename(program),
        options=options,
    )


class SpecStep(Step[..., Any]):
    """A step of a function of ours, which is given the inputs of a call and what was said when the step was made."""

    __slots__ = ()

    @property
    def whole_output(self) -> str | None:
        """With one named output, that one: it is what a call stands for."""
        return self.outputs[0] if len(self.outputs) == 1 else super().whole_output

    def with_options(self, **changes: Any) -> Step[..., Any]:
        """A changed copy; it takes the options of `@step`, without `outputs`, and `regenerate_outputs`."""
        _refuse_outputs(changes, f"step {self.name!r}")
        return super().with_options(**changes)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Outside of a pipeline: run it here and now."""
        try:
            _, inputs = self.split(self.signature.bind(args, kwargs))
        except BindError as exc:
            raise DefinitionError(f"step {self.name!r} {exc}; it takes {self.name}{self.signature}") from None
        made = super()._call((), inputs)
        return made[0] if made is not None and len(self.outputs) == 1 else made

    def _copied(self) -> Step[..., Any]:
        return _rebuilt(type(self), self._state())

    def _state(self) -> dict[str, Any]:
        names = ("func", "name", "is_named", "outputs", "options", "signature", "binds", "conditions")
        return {name: getattr(self, name) for name in names}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self._state())


class CommandStep(SpecStep):
    """A step whose outputs are the files and folders that a process writes."""

    __slots__ = ()

    starts_process = True


class SpecSignature(Signature):
    """The inputs of a call, and what is the same for all of its calls."""

    __slots__ = ()

    def split(self, inputs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """All by name."""
        return (), dict(inputs)

    def __str__(self) -> str:
        return f"({', '.join(self.positional)})"


def _rebuilt(kind: type[SpecStep], state: dict[str, Any]) -> SpecStep:
    return kind(**state)


def make_step(
    func: Callable[..., Any],
    placeholders: list[Any],
    fixed: Mapping[str, Any],
    *,
    where: str,
    default_name: str,
    options: dict[str, Any],
    more_outputs: tuple[str, ...] = (),
    kind: type[SpecStep] = CommandStep,
) -> Step[..., Any]:
    """A step of a function that is given the inputs by name, and what is the same for all calls.

    Parameters
    ----------
    placeholders : where inputs and outputs are looked for
    fixed : by names that no call could use by mistake: they are part of the key, and of what is said about it
    more_outputs : outputs that are always there, behind those of the placeholders
    """
    _refuse_outputs(options, where)
    names = [each.name for each in _iter_placeholders(placeholders) if isinstance(each, Output)]
    names += more_outputs
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DefinitionError(f"{where}: {twice[0]!r} is the name of two outputs; give one of them another name")
    inputs = dict.fromkeys(each.name for each in _iter_placeholders(placeholders) if isinstance(each, Input))
    both = sorted({*names} & {*inputs})
    if both:
        raise DefinitionError(f"{where}: {both[0]!r} is the name of an input and of an output; rename one of them")
    parameters = {name: Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in inputs}
    for name, value in fixed.items():
        parameters[name] = _fixed_parameter(name, value)
    rest = dict(options)
    is_named = "name" in rest
    name = check_name(rest.pop("name", default_name), where=where)
    return kind(
        func,
        name=name,
        is_named=is_named,
        signature=SpecSignature(parameters),
        outputs=tuple(names),
        options=change_options(StepOptions(), rest, where=where),
        binds="nothing",
    )


def _fixed_parameter(name: str, value: Any) -> Parameter:
    # The name is none that Python takes, which `inspect` would refuse.
    parameter = Parameter("fixed", Parameter.KEYWORD_ONLY, default=value)
    parameter._name = name  # type: ignore[attr-defined]
    return parameter


def _refuse_outputs(options: Mapping[str, Any], where: str) -> None:
    if "outputs" in options:
        raise DefinitionError(f'{where}: outputs= is not taken; write Output("name") among the arguments')


def find_source(
    file: str | os.PathLike[str],
    source_directory: str | os.PathLike[str] | None,
    limit: Any,
    where: str,
    **rules: Any,
) -> tuple[str, SourceFolder]:
    """Name of a file as seen from its source directory, and that directory, by default the folder that it lies in."""
    path = os.fspath(file)
    if source_directory is None:
        source_directory, path = os.path.dirname(os.path.abspath(path)), os.path.basename(path)
    needed = posixpath.normpath(path.replace(os.sep, "/"))
    if os.path.isabs(path) or needed.startswith("../") or needed in ("", ".", ".."):
        raise DefinitionError(
            f"{where}: the file has to lie in the source directory {os.fspath(source_directory)!r}, and is given as seen "
            'from there, such as "train.py"'
        )
    return needed, source_folder(source_directory, limit, where, needed=needed, **rules)


def source_folder(
    path: str | os.PathLike[str], limit: Any, where: str, *, needed: str = "", **rules: Any
) -> SourceFolder:
    """A folder that a process gets a copy of; `needed` is a file that has to be in it, `rules` are others than the usual."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise DefinitionError(f"{where}: size_limit_bytes={limit!r} is wrong; it takes a whole number from 1")
    return SourceFolder(os.path.abspath(path), needed, limit, **rules)


def take_list(arguments: Any, what: str, where: str) -> list[Any]:
    """Arguments as they stand in the graph."""
    if isinstance(arguments, str) or not isinstance(arguments, Sequence):
        raise DefinitionError(f"{where}: {what}={arguments!r} is wrong; it takes a list")
    return [_take(each, f"{where}: argument {place}") for place, each in enumerate(arguments, 1)]


def _named(datasets: Any, where: str) -> list[Input]:
    if (
        isinstance(datasets, str)
        or not isinstance(datasets, Sequence)
        or not all(isinstance(each, Input) for each in datasets)
    ):
        raise DefinitionError(
            f'{where}: datasets={datasets!r} is wrong; it takes a list of Input, such as [Input("rides")]'
        )
    return list(datasets)


def _take(value: Any, where: str) -> Any:
    """An argument as it stands in the graph: text, path, dataset, placeholder, handle, or a list of these."""
    if isinstance(value, Input | Output | define.Output | Path) or is_dataset(value):
        return value
    if isinstance(value, ListOutput | list | tuple):
        return [_take(each, where) for each in value]
    if isinstance(value, Step):
        raise DefinitionError(
            f"{where} is the step {value.name!r} itself, not its output; did you mean {value.name}(...)?"
        )
    text = plain_text(value)
    if text is None:
        raise DefinitionError(
            f"{where} is {value!r}; a command takes texts, numbers and paths: write anything else to a file, and pass its Path"
        )
    return text


def _iter_placeholders(value: Any) -> Iterator[Input | Output]:
    if isinstance(value, Input | Output):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _iter_placeholders(each)


def encode(value: Any) -> Any:
    """With dicts in the place of placeholders, which are then plain values to all that follows."""
    if isinstance(value, list):
        return [encode(each) for each in value]
    if isinstance(value, Input):
        return {"input": value.name}
    if isinstance(value, Output):
        return {"output": value.name, "file_name": value.file_name or value.name, "is_folder": value.is_folder}
    return value
