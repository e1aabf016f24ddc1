"""Steps that copy data from one place to another."""

from __future__ import annotations

from typing import Any

from pipelite.define import Step
from pipelite.steps.commands import SpecStep, make_step


def transfer(source: Any, target: Any, **options: Any) -> Step[..., Any]:
    """A step that copies a file or a folder between datastores and folders of this machine; gives the copy as a dataset.

    What the target has already is not sent again. The step is reused while the source is the same and the target still
    holds what was written.

    Parameters
    ----------
    source : path on a datastore, path, URL, Dataset or Input
        As `Dataset.from_files` takes it, `Input("rides")` for what the step is called with, or in a pipeline's body the
        output of another step or a parameter.
    target : path on a datastore, or path
        For a folder, the folder that its files are put in. For a file also its own path, if that ends as the file's name
        does (``lake.path("raw/new.csv")``); else the folder that it is put in. A relative local path starts at the working
        directory. Other files of the folder stay as they are.
    **options
        Those of `@step`, without `outputs`.

    Raises
    ------
    DefinitionError
        If the source, the target or an option is wrong.
    DatastoreError
        If a path leads out of its datastore.
    """
    # What it takes to read data is of no use to other steps, and takes a while to import.
    from pipelite.steps.transferring import SOURCE, TARGET, encode_source, encode_target, run_transfer, shown

    where = f"transfer({shown(source)}, {shown(target)})"
    return make_step(
        run_transfer,
        [source],
        {SOURCE: encode_source(source, where), TARGET: encode_target(target, where)},
        where=where,
        default_name="transfer",
        options=options,
        kind=SpecStep,
    )
