"""What stands in the arguments of a command for what is known only when it runs."""

from __future__ import annotations

import keyword
from typing import Any

import attrs

from pipelite.errors import DefinitionError


def _check_name(instance: Any, attribute: Any, value: Any) -> None:
    if not isinstance(value, str) or not value.isidentifier() or keyword.iskeyword(value):
        raise DefinitionError(
            f"{type(instance).__name__}({value!r}) is wrong; it takes a name of letters, digits and _, such as "
            f'{type(instance).__name__}("clean")'
        )


def _check_file_name(instance: Output, attribute: Any, value: Any) -> None:
    if value is not None and (not isinstance(value, str) or value in ("", ".", "..") or "/" in value or "\0" in value):
        raise DefinitionError(
            f"Output({instance.name!r}): file_name={value!r} is wrong; it takes the name of a file without a folder, "
            'such as "clean.csv"'
        )


@attrs.frozen
class Input:
    """An argument of the step's call: a file, a folder or a dataset, which the command is given as a path, or a plain value."""

    name: str = attrs.field(validator=_check_name)


@attrs.frozen
class Output:
    """A path that nothing is at yet: the command writes a file or a folder there, which becomes an output of the step.

    Parameters
    ----------
    name : str
        What the output is called.
    file_name : str, optional
        What the file or folder is called, where its ending matters; else it is called as the output.
    is_folder : bool
        Make an empty folder before the command starts, for one that writes into a folder that has to be there.
    """

    name: str = attrs.field(validator=_check_name)
    file_name: str | None = attrs.field(default=None, kw_only=True, validator=_check_file_name)
    is_folder: bool = attrs.field(default=False, kw_only=True)
