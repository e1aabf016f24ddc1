"""`transfer_step`: a copy as Azure ML's data transfers made it, as a step of an ordinary pipeline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pipelite.data import Dataset, Datastore, Datastores
from pipelite.data.locations import LocalFolder
from pipelite.define import Step
from pipelite.errors import CommandError, DefinitionError
from pipelite.steps import Input
from pipelite.steps.commands import SpecStep, make_step
from pipelite.steps.transferring import SOURCE, TARGET, encode_source, encode_target, run_transfer
from pipelite.store import hold_store

#: What the step is called with.
_SOURCE = "source"
#: Inputs that are the same for all calls of one step.
_TARGET, _TYPES = "target of the copy", "types"
_KINDS = (None, "file", "directory")


def transfer_step(
    target: tuple[str, str],
    *,
    output: str = "copy",
    source_type: str | None = None,
    target_type: str | None = None,
    **options: Any,
) -> Step[..., Any]:
    """A step that copies the file or folder that it is called with as `source`; gives the copy as a dataset.

    Parameters
    ----------
    target : pair of a datastore's name and a path
    output : str
        What the copy is called as an output of the step.
    source_type : 'file' or 'directory', optional
        What the source has to be.
    target_type : 'file' or 'directory', optional
        Whether the target is the path of the copy itself, or a folder to put a file in; a folder is always put in a folder.
        By default it is what is there already, else what the source is.
    **options
        Those of `@step`, without `outputs`.

    Raises
    ------
    DefinitionError
        If an argument or an option is wrong.
    """
    where = f"transfer_step({target!r})"
    for name, kind in (("source_type", source_type), ("target_type", target_type)):
        if kind not in _KINDS:
            raise DefinitionError(f"{where}: {name}={kind!r} is wrong; 'file' or 'directory' is expected")
    return make_step(
        run_transfer_step,
        [Input(_SOURCE)],
        {_TARGET: encode_target(target, where), _TYPES: [source_type, target_type]},
        where=where,
        default_name="transfer",
        options=options,
        more_outputs=(output,),
        kind=SpecStep,
    )


def run_transfer_step(**inputs: Any) -> tuple[Dataset]:
    """Copy the source to the target; gives the dataset of the copy."""
    source, target, (source_type, target_type) = inputs[_SOURCE], inputs[_TARGET], inputs[_TYPES]
    is_folder = _is_folder(source)
    kind = "directory" if is_folder else "file"
    if source_type not in (None, kind):
        raise CommandError(f"the source {source!s} is a {kind}, and source_type is {source_type!r}")
    place = Datastores(hold_store())[target["datastore"]]
    wanted = target_type or _kind_of(place, target["path"]) or kind
    if is_folder and wanted == "file":
        raise CommandError(
            f"the source {source!s} is a directory, and the target {target['path']!r} on {target['datastore']!r} a file; "
            "give a directory as the target"
        )
    goal = {**target, "is_folder": wanted == "directory", "is_file": wanted == "file"}
    return (run_transfer(**{SOURCE: encode_source(source, "transfer_step"), TARGET: goal}),)


def _is_folder(source: Path | Dataset) -> bool:
    if isinstance(source, Path):
        return source.is_dir()
    sources, files = source.definition.sources, source.files
    return not (len(sources) == len(files) == 1 and os.path.basename(sources[0].path) == files[0])


def _kind_of(datastore: Datastore, path: str) -> str | None:
    """What is at a path already; None if nothing is."""
    location = datastore.location
    if isinstance(location, LocalFolder):
        place = location.place(path)
        return "directory" if os.path.isdir(place) else "file" if os.path.exists(place) else None
    if path and datastore.find(path) is not None:
        return "file"
    return "directory" if not path or datastore.list(path) else None
