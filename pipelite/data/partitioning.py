"""Writes the rows of a dataset into a folder for each value of some columns."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipelite._optional import require
from pipelite.data.datastores import Datastores
from pipelite.data.definition import Source
from pipelite.errors import DatasetError
from pipelite.store import Store

if TYPE_CHECKING:
    from pipelite.data.dataset import Dataset

#: What a missing value is called in the name of a folder.
_MISSING = "__missing__"


def write_partitions(dataset: Dataset, columns: Sequence[str], target: Source, store: Store) -> Dataset:
    """Write Parquet files and give the dataset of them; see `Dataset.partition_by`."""
    from pipelite.data.dataset import Dataset

    table = dataset.to_arrow()
    missing = [name for name in columns if name not in table.column_names]
    if missing or not columns:
        raise DatasetError(
            f"{dataset!r} has no column {(missing or ['(none given)'])[0]!r}; it has {', '.join(table.column_names)}"
        )
    if len(columns) == len(table.column_names):
        raise DatasetError(f"{dataset!r} has no other columns than {', '.join(columns)}; at least one has to remain")
    formats = "/".join(f"{name}={{{name}{_kind(table.schema.field(name).type)}}}" for name in columns)
    pattern = "/".join([*(f"{name}=*" for name in columns), "*.parquet"])
    partition_format = f"{formats}/*.parquet"
    if target.datastore is None:
        _write_local(table, columns, target.path)
        return Dataset.from_parquet_files(os.path.join(target.path, pattern), partition_format=partition_format)
    datastore = Datastores(store)[target.datastore]
    if datastore.list(target.path):
        raise DatasetError(f"the folder {str(target)!r} is not empty; give one that is not there yet")
    folder = tempfile.mkdtemp(dir=store.path / "tmp")
    try:
        local = os.path.join(folder, "parts")
        _write_local(table, columns, local)
        datastore.upload(local, target.path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    where = (target.datastore, f"{target.path}/{pattern}".lstrip("/"))
    return Dataset.from_parquet_files(where, partition_format=partition_format)


def _write_local(table: Any, columns: Sequence[str], target: str) -> None:
    """Write all files under a temporary name, and rename their folder."""
    parquet = require("pyarrow.parquet", extra="data")
    if os.path.exists(target) and (not os.path.isdir(target) or os.listdir(target)):
        raise DatasetError(f"the folder {target!r} is not empty; give one that is not there yet")
    partial = f"{target.rstrip(os.sep)}.part-{os.urandom(4).hex()}"
    frame = table.to_pandas()
    try:
        os.makedirs(partial)
        for values, rows in frame.groupby(list(columns), sort=True, dropna=False):
            parts = [f"{name}={_text(value)}" for name, value in zip(columns, values, strict=True)]
            folder = os.path.join(partial, *parts)
            os.makedirs(folder)
            chosen = table.take(rows.index.to_numpy()).drop_columns(list(columns))
            parquet.write_table(chosen, os.path.join(folder, "part-0.parquet"))
        if os.path.isdir(target):
            os.rmdir(target)
        os.rename(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _text(value: Any) -> str:
    if value is None or value != value:  # NaN, NaT and the like are not equal to themselves.
        return _MISSING
    return quote(value.strftime("%Y-%m-%d") if hasattr(value, "strftime") else str(value), safe=" +,@")


def _kind(arrow_type: Any) -> str:
    name = str(arrow_type)
    if name.startswith(("int", "uint")):
        return ":int"
    if name in ("float", "double", "halffloat"):
        return ":float"
    return ":%Y-%m-%d" if name.startswith(("date", "timestamp")) else ""
