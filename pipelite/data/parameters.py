"""Datasets as parameters of pipelines: given as such, or as text `NAME` or `NAME:VERSION`."""

from __future__ import annotations

from typing import Any

from pipelite.data.dataset import Dataset
from pipelite.data.registry import parse_label
from pipelite.define import Mismatch, register_type
from pipelite.errors import PipeliteError


def register_parameter_type() -> None:
    """Have parameters with the annotation `Dataset` take datasets."""
    register_type(Dataset, kind="dataset", expected="a dataset, or NAME or NAME:VERSION of one", convert=_convert)


def _convert(value: Any) -> Dataset:
    if isinstance(value, Dataset):
        # One that an earlier run kept is looked at as it is now.
        return value.looked_at_again()
    if not isinstance(value, str):
        raise Mismatch
    try:
        return Dataset.get(*parse_label(value))
    except PipeliteError as exc:
        raise Mismatch(str(exc)) from None
