"""Steps that run SQL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pipelite.define import Step
from pipelite.errors import DefinitionError
from pipelite.steps.commands import SpecStep, encode, make_step
from pipelite.steps.placeholders import Input, Output
from pipelite.steps.queries import DATABASE, KIND, PARAMETERS, QUERY, RESULTS, TABLES, run_query


def sql(
    query: str | os.PathLike[str],
    *,
    tables: Mapping[str, Any] = MappingProxyType({}),
    parameters: Mapping[str, Any] = MappingProxyType({}),
    database: str | os.PathLike[str] | Input | None = None,
    result: Literal["dataframe", "arrow", "parquet"] = "dataframe",
    **options: Any,
) -> Step[..., Any]:
    """A step that runs a query by DuckDB (extra `sql`), or in a database of SQLite or DuckDB.

    Parameters
    ----------
    query : str or path
        SQL, or the path of a file with it, whose content counts. Of several statements the last gives the result.
    tables : dict
        Names of tables to what they are: datasets, DataFrames, Arrow tables, paths of CSV, Parquet or JSON files or of
        folders of these, `Input("rides")` for what the step is called with, outputs of other steps. The query reads no
        other file.
    parameters : dict
        Values of `$name` in the query (`:name` for SQLite), or `Input`. They are bound, never pasted into the text.
    database : path, dataset or Input, optional
        A database of SQLite or DuckDB to read from, a file, instead of tables.
    result : "dataframe", "arrow" or "parquet"
        What the step gives: a pandas DataFrame, an Arrow table, or the path of a Parquet file.
    **options
        Those of `@step`, without `outputs`.

    Raises
    ------
    DefinitionError
        If a table, a parameter or an option is wrong.
    """
    is_file = isinstance(query, os.PathLike)
    where = f"sql({os.fspath(query)[:60]!r})"
    if not is_file and not str(query).strip():
        raise DefinitionError(f"{where}: the query is empty")
    if result not in RESULTS:
        raise DefinitionError(f"{where}: result={result!r} is wrong; it takes one of {', '.join(map(repr, RESULTS))}")
    if database is not None and tables:
        raise DefinitionError(f"{where} has a database and tables; a query in a database reads the tables of that")
    if isinstance(database, str):
        database = Path(database)
    return make_step(
        run_query,
        [*tables.values(), *parameters.values(), database],
        {
            QUERY: Path(query) if is_file else str(query),
            TABLES: _encode_all(tables, "tables", where),
            PARAMETERS: _encode_all(parameters, "parameters", where),
            DATABASE: None if database is None else _encode(database),
            KIND: result,
        },
        where=where,
        default_name=Path(query).stem if is_file else "sql",
        options=options,
        kind=SpecStep,
    )


def _encode_all(given: Mapping[Any, Any], what: str, where: str) -> list[Any]:
    pairs = []
    for name, value in given.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise DefinitionError(f"{where}: {name!r} in {what} is no name of letters, digits and _")
        if isinstance(value, Output):
            raise DefinitionError(f"{where}: {what} has {value!r}; what the query gives is the output of the step")
        if what == "tables" and isinstance(value, str):
            raise DefinitionError(f"{where}: table {name!r} is a text; for a file write Path({value!r})")
        pairs.append([name, _encode(value)])
    return pairs


def _encode(value: Any) -> Any:
    return encode(value) if isinstance(value, Input) else {"value": value}
