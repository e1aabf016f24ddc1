"""Datasets as parameters of pipelines: given as such, or as text.

`NAME` and `NAME:VERSION` are registered ones; what has a slash is files: `DATASTORE/PATH`, an absolute path, or a URL.
"""

from __future__ import annotations

from typing import Any

from pipelite.data.dataset import Dataset
from pipelite.data.datastores import DatastorePath
from pipelite.data.paths import checked
from pipelite.data.registry import parse_label
from pipelite.define import Mismatch, register_type
from pipelite.errors import PipeliteError


def register_parameter_type() -> None:
    """Have parameters with the annotation `Dataset` take datasets."""
    register_type(
        Dataset,
        kind="dataset",
        expected="a dataset, or NAME or NAME:VERSION of one, or DATASTORE/PATH",
        convert=_convert,
    )


def _convert(value: Any) -> Dataset:
    if isinstance(value, Dataset):
        # One that an earlier run kept is looked at as it is now.
        return value.looked_at_again()
    try:
        if isinstance(value, list | tuple) and value and all(isinstance(each, str) and "/" in each for each in value):
            return Dataset.from_files([_to_path(each) for each in value])
        if not isinstance(value, str):
            raise Mismatch
        return Dataset.from_files(_to_path(value)) if "/" in value else Dataset.get(*parse_label(value))
    except PipeliteError as exc:
        raise Mismatch(str(exc)) from None


def _to_path(text: str) -> Any:
    if text.startswith("/") or "://" in text:
        return text
    datastore, _, path = text.partition("/")
    return DatastorePath(datastore=datastore, path=checked(path, datastore=datastore))
