"""Rows that a query gives on a database: a file of SQLite or DuckDB, or a server that SQLAlchemy speaks to."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_plus

from pipelite._optional import require
from pipelite.data.credentials import check_references, check_url, hide, load_credentials
from pipelite.data.definition import decode_value
from pipelite.errors import DatasetError, PipeliteError

#: Values of parameters by place or by name, as JSON has them.
Parameters = Sequence[Any] | Mapping[str, Any]

_SECRET_IN_URL = re.compile(r"(^|[?&;{ ])(password|passwd|pwd|token|secret)\s*=", re.IGNORECASE)
#: What a URL of SQLAlchemy can be told apart from itself.
_CREDENTIALS = ("username", "password")
#: So many rows at a time become Arrow's.
_PART_ROWS = 50_000

Table = Any


def check_server(url: str, credentials: Mapping[str, str]) -> None:
    """Refuse secrets where they would be kept in the workspace.

    Raises
    ------
    DatastoreError, DatasetError
        Says where they belong.
    """
    check_url(_without_options(url), url, what="database")
    if _SECRET_IN_URL.search(unquote_plus(url)):
        raise DatasetError(
            f"database {_without_options(url)!r}: the URL holds a secret; leave it away, and give "
            "credentials={'password': 'env:NAME'} or 'file:PATH' instead"
        )
    unknown = sorted(set(credentials) - set(_CREDENTIALS))
    if unknown:
        raise DatasetError(
            f"database {_without_options(url)!r}: {unknown[0]!r} is no credential; there are: {', '.join(_CREDENTIALS)}"
        )
    check_references(_without_options(url), credentials, what="database")


def ask_file(place: str, query: str, parameters: Parameters, *, dataset: str | None = None) -> Table:
    """The rows that a query gives on a database in a file, which is only read; for a dataset, if it is for one.

    Raises
    ------
    DatasetError
        If the query is wrong, with what the database says of it.
    """
    where = f"dataset {dataset}: " if dataset else ""
    with open(place, "rb") as file:
        is_duckdb = file.read(12)[8:] == b"DUCK"
    log = f"{place}.wal" if is_duckdb else f"{place}-wal"
    if os.path.exists(log) and os.path.getsize(log):
        how = "`CHECKPOINT`" if is_duckdb else "`PRAGMA wal_checkpoint(TRUNCATE)`"
        raise DatasetError(
            f"{where}{place!r} has changes that are only in its write-ahead log; close what has it open, or "
            f"run {how} on it",
            dataset=dataset,
        )
    ask = _ask_duckdb if is_duckdb else _ask_sqlite
    try:
        return ask(place, query, _decoded(parameters))
    except PipeliteError:
        raise
    except Exception as exc:  # Of either library, and of what it makes of the parameters.
        raise DatasetError(f"{where}the query on {place!r} failed: {exc}", dataset=dataset) from exc


def ask_server(
    url: str, query: str, parameters: Parameters, credentials: Mapping[str, str], *, dataset: str, folder: Path
) -> Table:
    """The rows that a query gives on a server. Nothing that it changes there is committed.

    Parameters
    ----------
    credentials : where user name and password are; relative files lie in `folder`

    Raises
    ------
    DatasetError
        If the server cannot be reached, or the query is wrong, with what it says of it.
    DatastoreError
        If a credential is not there.
    """
    sqlalchemy = require("sqlalchemy", extra="database")
    secrets = load_credentials(_without_options(url), credentials, folder, what="database")
    given = _decoded(parameters)
    if given and not isinstance(given, Mapping):
        raise DatasetError(
            f"dataset {dataset}: parameters of a query on a server have names: write :name in the query, and give "
            "{'name': value}",
            dataset=dataset,
        )
    try:
        place = sqlalchemy.make_url(url).set(**secrets)
        engine = sqlalchemy.create_engine(place, poolclass=sqlalchemy.pool.NullPool)
        with engine.connect().execution_options(stream_results=True) as connection:
            result = connection.execute(sqlalchemy.text(query), dict(given))
            names = list(result.keys())
            return _make_table(names, result.partitions(_PART_ROWS))
    except PipeliteError:
        raise
    except Exception as exc:  # Of SQLAlchemy, or of the driver below it.
        said = hide(" ".join(str(exc).split()), secrets)
        # Not `from`: what the driver raised may hold the secrets.
        raise DatasetError(
            f"dataset {dataset}: the query on {_without_options(url)!r} failed: {type(exc).__name__}: {said}",
            dataset=dataset,
        ) from None


def _decoded(parameters: Parameters) -> Any:
    if isinstance(parameters, Mapping):
        return {name: decode_value(value) for name, value in parameters.items()}
    return [decode_value(value) for value in parameters]


def _ask_sqlite(place: str, query: str, parameters: Any) -> Table:
    def adapt(value: Any) -> Any:
        # SQLite has no dates; this is how it writes them itself.
        return (
            value.isoformat(" ") if hasattr(value, "hour") else value.isoformat() if isinstance(value, date) else value
        )

    named = isinstance(parameters, Mapping)
    given = {k: adapt(v) for k, v in parameters.items()} if named else [adapt(v) for v in parameters]
    with contextlib.closing(sqlite3.connect(f"file:{quote(place)}?mode=ro&immutable=1", uri=True)) as connection:
        cursor = connection.execute(query, given)
        names = [column[0] for column in cursor.description or ()]
        return _make_table(names, iter(lambda: cursor.fetchmany(_PART_ROWS), []))


def _ask_duckdb(place: str, query: str, parameters: Any) -> Table:
    duckdb = require("duckdb", extra="sql")
    config = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "enable_external_access": False,
        "lock_configuration": True,
    }
    with contextlib.closing(duckdb.connect(place, read_only=True, config=config)) as connection:
        relation = connection.sql(query, params=parameters or None)
        if relation is None:
            raise ValueError("it gives no rows; it has to be a SELECT")
        _check_columns(relation.columns)
        return relation.to_arrow_table()


def _make_table(names: Sequence[str], parts: Iterator[Sequence[Sequence[Any]]]) -> Table:
    pyarrow = require("pyarrow", extra="data")
    _check_columns(names)
    tables = [
        pyarrow.table([_make_column(pyarrow, values) for values in zip(*rows, strict=True)], names=list(names))
        for rows in parts
    ]
    if not tables:
        return pyarrow.table({name: pyarrow.nulls(0) for name in names})
    return pyarrow.concat_tables(tables, promote_options="permissive")


def _make_column(pyarrow: Any, values: Sequence[Any]) -> Any:
    with contextlib.suppress(pyarrow.ArrowException):
        column = pyarrow.array(values)
        if not isinstance(column.type, pyarrow.BaseExtensionType):
            return column
    # Of several types, or of one that not every reader of Parquet knows, such as UUIDs.
    return pyarrow.array([None if value is None else str(value) for value in values])


def _check_columns(names: Sequence[str]) -> None:
    if not names:
        raise ValueError("it gives no rows; it has to be a SELECT")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(f"it gives several columns {name!r}; tell them apart by AS")


def _without_options(url: str) -> str:
    """A URL as it may be shown."""
    return re.sub(r"(://)[^/@]*@", r"\1", url).partition("?")[0]
