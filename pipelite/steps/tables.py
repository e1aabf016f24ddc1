"""What the tables of a query are to DuckDB: files that it reads itself where it can, else Arrow tables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite._optional import require
from pipelite.errors import DatasetError, QueryError
from pipelite.steps.running import is_dataset

if TYPE_CHECKING:
    from pipelite.data import Dataset

#: Ending of a file to the method of a DuckDB connection that reads it.
_READERS = {
    ".csv": "read_csv",
    ".tsv": "read_csv",
    ".txt": "read_csv",
    ".parquet": "read_parquet",
    ".json": "read_json",
    ".jsonl": "read_json",
    ".ndjson": "read_json",
}
_COMPRESSED = (".gz", ".zst")

#: Up to so many bytes of files, what DuckDB does not read itself is kept in memory.
MEMORY_BYTES = 256 << 20

#: The column that tells which file a row is from.
_FILE = "pipelite file"


def add_table(connection: Any, name: str, table: Any, scratch: Path) -> list[str]:
    """Make a table known; gives the files that it is read from.

    Raises
    ------
    QueryError
        If it is none, or cannot be read.
    """
    if is_dataset(table):
        try:
            if table.is_tabular:
                return _add_dataset(connection, name, table, scratch)
            table = table.as_path()
        except DatasetError as exc:
            raise QueryError(f"table {name!r}: {exc}") from exc
    if isinstance(table, Path):
        return _add_files(connection, name, table)
    try:
        connection.register(name, table)
    except _error() as exc:
        raise QueryError(
            f"table {name!r} is a value of type {type(table).__qualname__!r}; a table is a dataset, a DataFrame, an Arrow "
            "table, or the path of a CSV, Parquet or JSON file"
        ) from exc
    return []


def _add_dataset(connection: Any, name: str, dataset: Dataset, scratch: Path) -> list[str]:
    """DuckDB reads Parquet files itself. The types in texts are those that Arrow finds in them, so it reads those."""
    plain = dataset.find_plain_parquet()
    # In a path that it is given, DuckDB takes these for wildcards.
    if plain is not None and not any(letter in place for place in plain.files for letter in "*?["):
        _add_parquet(connection, name, plain.files, plain.columns, plain.partitions)
        return list(plain.files)
    if dataset.size_bytes <= MEMORY_BYTES:
        connection.register(name, dataset.to_arrow())
        return []
    # Arrow's own stream of batches could be read only once, and a query may use a table twice.
    path = str(dataset.to_parquet(scratch / f"{name}.parquet"))
    _add_parquet(connection, name, [path], ["*"], None)
    return [path]


def _add_parquet(connection: Any, name: str, files: Any, columns: Any, partitions: Any) -> None:
    places = f"[{', '.join(map(quoted, files))}]"
    if partitions is None:
        chosen = ", ".join(each if each == "*" else _identifier(each) for each in columns)
        rows = f"read_parquet({places}, hive_partitioning = false)"
    else:
        named, beside = partitions.column_names, f"{name} partitions"
        chosen = ", ".join(f"{'p' if each in named else 'f'}.{_identifier(each)}" for each in columns)
        connection.register(beside, partitions.append_column(_FILE, [list(files)]))
        rows = (
            f"read_parquet({places}, hive_partitioning = false, filename = {quoted(_FILE)}) f "
            f"JOIN {_identifier(beside)} p ON f.{_identifier(_FILE)} = p.{_identifier(_FILE)}"
        )
    connection.execute(f"CREATE VIEW {_identifier(name)} AS SELECT {chosen} FROM {rows}")


def _add_files(connection: Any, name: str, table: Path) -> list[str]:
    files = (
        sorted(str(each.absolute()) for each in table.rglob("*") if each.is_file())
        if table.is_dir()
        else [str(table.absolute())]
    )
    readers = {_reader_of(name, path) for path in files}
    if len(readers) != 1:
        what = "files of several kinds" if readers else "no files"
        raise QueryError(f"table {name!r}: the folder {str(table)!r} has {what}; files of one kind are expected")
    try:
        getattr(connection, readers.pop())(files).create_view(name)
    except _error() as exc:
        raise QueryError(f"table {name!r} cannot be read from {str(table)!r}: {exc}") from exc
    return files


def _reader_of(name: str, path: str) -> str:
    stem, ending = os.path.splitext(path)
    if ending in _COMPRESSED:
        ending = os.path.splitext(stem)[1]
    if ending.lower() not in _READERS:
        raise QueryError(
            f"table {name!r}: of {path!r} cannot be told what it is; the name ends in one of {', '.join(_READERS)}"
        )
    return _READERS[ending.lower()]


def _error() -> type[Exception]:
    error: type[Exception] = require("duckdb", extra="sql").Error
    return error


def quoted(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
