"""What runs in the worker for a query."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from pipelite._optional import require
from pipelite.errors import DatasetError, QueryError
from pipelite.execute import current_run
from pipelite.steps.running import is_dataset
from pipelite.steps.tables import add_table, quoted

QUERY, TABLES, PARAMETERS = "query", "tables of the query", "parameters of the query"
DATABASE, KIND = "database of the query", "form of the result"
RESULTS = ("dataframe", "arrow", "parquet")


def run_query(**inputs: Any) -> Any:
    """Run a query; gives its result in the form that was asked for."""
    query, tables, parameters, database, kind = (
        inputs.pop(name) for name in (QUERY, TABLES, PARAMETERS, DATABASE, KIND)
    )
    text = _read(query) if isinstance(query, Path) else query
    values = {name: _plain(name, _value_of(each, inputs)) for name, each in parameters}
    if database is not None:
        return _ask_database(_value_of(database, inputs), text, values, kind)
    return _ask_duckdb(text, {name: _value_of(each, inputs) for name, each in tables}, values, kind)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as exc:
        raise QueryError(f"the query cannot be read from {str(path)!r}: {exc}") from exc


def _value_of(encoded: dict[str, Any], inputs: dict[str, Any]) -> Any:
    return inputs[encoded["input"]] if "input" in encoded else encoded["value"]


def _plain(name: str, value: Any) -> Any:
    """A value to bind; numpy's scalars become Python's."""
    if isinstance(value, Path):
        raise QueryError(f"parameter {name!r} is a path; a parameter is a value: a file is one of the tables")
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _ask_duckdb(text: str, tables: dict[str, Any], values: dict[str, Any], kind: str) -> Any:
    duckdb = require("duckdb", extra="sql")
    scratch = current_run().scratch
    cores = os.environ.get("PIPELITE_STEP_SLOTS", "")
    settings = {
        "temp_directory": str(scratch),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    if cores.isdecimal() and int(cores) > 0:
        settings["threads"] = int(cores)
    with contextlib.closing(duckdb.connect(config=settings)) as connection:
        files = [path for name, table in tables.items() for path in add_table(connection, name, table, scratch)]
        # From here on nothing is read but what the step was given: anything else would not be part of its key.
        connection.execute(
            f"SET allowed_paths = [{', '.join(map(quoted, files))}]; SET allowed_directories = [{quoted(str(scratch))}]; "
            "SET enable_external_access = false; SET lock_configuration = true"
        )
        try:
            relation = _run_statements(connection, text, values)
            return _take_relation(relation, kind, scratch)
        except duckdb.Error as exc:
            raise QueryError(f"the query failed: {exc}{_describe_tables(tables)}") from exc


def _run_statements(connection: Any, text: str, values: dict[str, Any]) -> Any:
    statements = connection.extract_statements(text)
    wanted = {name for each in statements for name in each.named_parameters}
    _check_names(wanted, set(values), "$")
    relation = None
    for place, statement in enumerate(statements, 1):
        given = {name: values[name] for name in statement.named_parameters} or None
        if place < len(statements):
            connection.execute(statement, given)
        else:
            relation = connection.sql(statement, params=given)
    if relation is None:
        raise QueryError("the query gives no result; its last statement has to be a SELECT")
    return relation


def _check_names(wanted: set[str], given: set[str], mark: str) -> None:
    missing, unused = sorted(wanted - given), sorted(given - wanted)
    if missing:
        raise QueryError(f"the query has {mark}{missing[0]}, and no parameter of that name is given")
    if unused:
        raise QueryError(f"parameter {unused[0]!r} is given, and the query has no {mark}{unused[0]}")


def _take_relation(relation: Any, kind: str, scratch: Path) -> Any:
    if kind == "dataframe":
        require("pandas", extra="sql")
        return relation.df()
    if kind == "arrow":
        require("pyarrow", extra="sql")
        return relation.to_arrow_table()
    path = scratch / "result.parquet"
    relation.write_parquet(str(path))
    return path


def _describe_tables(tables: dict[str, Any]) -> str:
    return f"\nIts tables are {', '.join(tables)}." if tables else "\nIt has no tables; tables= gives it some."


def _ask_database(database: Any, text: str, values: dict[str, Any], kind: str) -> Any:
    from pipelite.data.databases import ask_file
    from pipelite.data.reading import write_parquet

    if is_dataset(database):
        database = database.as_path()
    if not isinstance(database, Path):
        raise QueryError(
            f"the database is a value of type {type(database).__qualname__!r}; the path of a file, or a dataset of one, is "
            "expected"
        )
    try:
        table = ask_file(str(database.absolute()), text, values)
    except (DatasetError, OSError) as exc:
        raise QueryError(str(exc)) from exc
    if kind == "dataframe":
        return table.to_pandas()
    if kind == "arrow":
        return table
    path = current_run().scratch / "result.parquet"
    write_parquet(path, table.schema, [table])
    return path
