"""Steps that run a notebook."""

from __future__ import annotations

import keyword
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pipelite.define import Step
from pipelite.errors import DefinitionError
from pipelite.steps.commands import SIZE_LIMIT_BYTES, encode, find_source, make_step
from pipelite.steps.kernels import HTML, NOTEBOOK, PARAMETERS, SCRAP_TYPE, SCRAPS, run_notebook
from pipelite.steps.placeholders import Input, Output
from pipelite.steps.running import COMMAND, SOURCE


def notebook(
    file: str | os.PathLike[str],
    *,
    source_directory: str | os.PathLike[str] | None = None,
    parameters: Mapping[str, Any] = MappingProxyType({}),
    size_limit_bytes: int = SIZE_LIMIT_BYTES,
    **options: Any,
) -> Step[..., Any]:
    """A step that runs a notebook from its first cell to its last, in a kernel of its own. Needs the extra `notebook`.

    Its outputs are those among the parameters and, behind them, `notebook` and `html`, the executed notebook as files,
    and `scraps`, a dict of what the notebook recorded by `pipelite.steps.glue`.

    Parameters
    ----------
    file : path
        The notebook, seen from the source directory.
    source_directory : path, optional
        What the notebook needs beside itself, as for `script`.
    parameters : dict
        Names that are assigned in a cell behind the one with the tag `parameters`, or at the top: plain values, paths,
        datasets, `Input`, `Output`, outputs of other steps.
    size_limit_bytes : int
        The most that the files of the source directory may have together.
    **options
        Those of `@step`, without `outputs`.

    Raises
    ------
    DefinitionError
        If a parameter or an option is wrong.
    """
    where = f"notebook({os.fspath(file)!r})"
    needed, folder = find_source(file, source_directory, size_limit_bytes, where)
    given: Any = parameters
    if not isinstance(given, Mapping):
        raise DefinitionError(f"{where}: parameters={parameters!r} is wrong; it takes a dict")
    for name in given:
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
            raise DefinitionError(f"{where}: {name!r} cannot be a parameter; it takes the name of a variable")
    pairs = [
        [name, encode(value) if isinstance(value, Input | Output) else {"value": value}]
        for name, value in given.items()
    ]
    return make_step(
        run_notebook,
        list(given.values()),
        {SOURCE: folder, COMMAND: needed, PARAMETERS: pairs},
        where=where,
        default_name=os.path.splitext(os.path.basename(needed))[0],
        options=options,
        more_outputs=(NOTEBOOK, HTML, SCRAPS),
    )


def glue(name: str, value: Any) -> None:
    """In a notebook: record a value that JSON can hold; the notebook's step has it among its `scraps`.

    The form is that of scrapbook (https://nteract-scrapbook.readthedocs.io), which may be used instead.
    """
    from IPython.display import display

    scrap = {"name": name, "data": value, "encoder": "json", "version": 1}
    display({SCRAP_TYPE: scrap}, raw=True, metadata={"scrapbook": {"name": name, "data": True}})  # type: ignore[no-untyped-call]
