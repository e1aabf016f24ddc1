"""Reads files of rows as Arrow tables, in parts where they are large, and does with the rows what a dataset asks for."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from pipelite._optional import require
from pipelite.data.definition import Definition, decode_value
from pipelite.data.finding import FoundFile
from pipelite.data.locations import TEMPORARY
from pipelite.errors import DatasetError

#: A file up to this size is read in one go: then the types of its columns are inferred from all of it.
WHOLE_BYTES = 256 << 20
#: Of a larger one, how much is read at a time.
PART_BYTES = 32 << 20
PART_ROWS = 1 << 18

Table = Any


class MixedTypes(Exception):
    """Columns read as numbers in one place and as something else in another."""

    def __init__(self, columns: Sequence[str]) -> None:
        super().__init__(", ".join(columns))
        self.columns = columns


def iter_tables(
    definition: Definition,
    files: Sequence[FoundFile],
    *,
    dataset: str,
    load_frame: Callable[[FoundFile], Any],
    as_text: Sequence[str] = (),
    for_types: bool = False,
) -> Iterator[Table]:
    """Yield the rows of a definition, one table after the other; what is not needed is not read.

    Parameters
    ----------
    load_frame : function
        Gives the DataFrame that a step returned, from the file that it is stored in.
    as_text : sequence of str
        Columns to read as text, whatever they hold.
    for_types : bool
        Yield of each file no more than the first part that has rows: all parts of one file have the same types.

    Raises
    ------
    DatasetError
        If a file is not of the format: rows of different lengths, another encoding, a missing column.
    """
    steps = [_make_operation(operation, dataset) for operation in definition.operations]
    partitions = Partitions(definition.options.get("partition_format"), dataset)
    names: Sequence[str] | None = None
    for file in files:
        columns = partitions.values_of(file.name)
        for part in _iter_file(_behind_first(definition, names), file, dataset, load_frame, as_text):
            names = part.column_names if names is None else names
            table = _add_columns(part, columns)
            for step in steps:
                table = step(table)
            yield table
            if any(step.is_done for step in steps):
                return
            if for_types and table.num_rows:
                break


@attrs.frozen(kw_only=True)
class PlainParquet:
    """Parquet files that have the rows of a dataset as they are, but for columns that stand in their names."""

    #: Where the files are.
    files: Sequence[str]
    #: All columns, in order.
    columns: Sequence[str]
    #: Those among them that stand in the names of files: an Arrow table with a row for each file, in order; None if none.
    partitions: Table | None


def find_plain_parquet(definition: Definition, files: Sequence[FoundFile], *, dataset: str) -> PlainParquet | None:
    """The files of a definition, if another reader of Parquet finds in them what `iter_tables` does; else None."""
    if definition.format != "parquet" or any(kind != "keep" for kind, *_ in definition.operations):
        return None
    pyarrow, parquet = require("pyarrow", extra="data"), require("pyarrow.parquet", extra="data")
    partitions = Partitions(definition.options.get("partition_format"), dataset)
    named = [partitions.values_of(file.name) for file in files]
    try:
        schemas = [parquet.read_schema(file.place).remove_metadata() for file in files]
    except (pyarrow.ArrowException, OSError):
        # Reading it in the usual way says what is wrong.
        return None
    schema = schemas[0]
    if any(each != schema for each in schemas[1:]) or any(
        not _PLAIN_TYPE.fullmatch(str(each)) for each in schema.types
    ):
        return None
    columns = list(dict.fromkeys((*schema.names, *named[0])))
    for _, names in definition.operations:
        if not set(names) <= set(columns):
            return None
        columns = list(names)
    if len({name.lower() for name in columns}) < len(columns):
        return None
    chosen = [name for name in named[0] if name in columns]
    table = pyarrow.table({name: [each[name] for each in named] for name in chosen}) if chosen else None
    return PlainParquet(files=[file.place for file in files], columns=columns, partitions=table)


#: Types that every reader of Parquet takes for the same.
_PLAIN_TYPE = re.compile(
    r"u?int(8|16|32|64)|float|double|bool|(large_)?(string|binary)|date32\[day\]|timestamp\[(ms|us|ns)(, tz=UTC)?\]|"
    r"decimal128\(.*\)"
)


def concatenate(tables: Sequence[Table]) -> Table:
    """One table of all; whole numbers and fractions become fractions.

    Raises
    ------
    MixedTypes
        If a column holds numbers in one and texts in another.
    """
    pyarrow = require("pyarrow", extra="data")
    tables = [table for table in tables if table.num_rows] or list(tables[:1]) or [pyarrow.table({})]
    try:
        return pyarrow.concat_tables(tables, promote_options="permissive")
    except pyarrow.ArrowTypeError:
        raise _mixed([table.schema for table in tables]) from None


def unify(tables: Iterable[Table]) -> Any:
    """The schema that all tables have together, as `concatenate` would give it; each is looked at once.

    Raises
    ------
    MixedTypes
        If a column holds numbers in one and texts in another.
    """
    pyarrow = require("pyarrow", extra="data")
    first, schemas = None, []
    for table in tables:
        first = first if first is not None else table.schema
        if table.num_rows and table.schema not in schemas:
            schemas.append(table.schema)
    if not schemas:
        return first if first is not None else pyarrow.schema([])
    try:
        return pyarrow.unify_schemas(schemas, promote_options="permissive")
    except pyarrow.ArrowTypeError:
        raise _mixed(schemas) from None


def conform(table: Table, schema: Any) -> Table:
    """The same rows with the columns and types of a schema that `unify` gave."""
    pyarrow = require("pyarrow", extra="data")
    return pyarrow.concat_tables([schema.empty_table(), table], promote_options="permissive")


def write_parquet(path: Path, schema: Any, tables: Iterable[Table]) -> None:
    """Write tables of one schema to a file, which is complete or not there."""
    parquet = require("pyarrow.parquet", extra="data")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{TEMPORARY}{os.getpid()}-{os.urandom(6).hex()}")
    try:
        with parquet.ParquetWriter(partial, schema) as writer:
            for table in tables:
                writer.write_table(table)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _mixed(schemas: Sequence[Any]) -> MixedTypes:
    names = dict.fromkeys(name for schema in schemas for name in schema.names)
    return MixedTypes(
        [name for name in names if len({str(each.field(name).type) for each in schemas if name in each.names}) > 1]
    )


# Files.


def _iter_file(
    definition: Definition,
    file: FoundFile,
    dataset: str,
    load_frame: Callable[[FoundFile], Any],
    as_text: Sequence[str],
) -> Iterator[Table]:
    pyarrow = require("pyarrow", extra="data")
    require("pandas", extra="data")
    try:
        if definition.format == "delimited":
            yield from _iter_delimited(pyarrow, definition.options, file, as_text)
        elif definition.format == "json_lines":
            yield from _iter_json_lines(pyarrow, definition.options, file, as_text)
        elif definition.format == "frame":
            frame = load_frame(file)
            yield frame if isinstance(frame, pyarrow.Table) else pyarrow.Table.from_pandas(frame, preserve_index=False)
        else:
            yield from _iter_parquet(file)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowKeyError, pyarrow.ArrowTypeError, UnicodeError, LookupError) as exc:
        raise DatasetError(_explain(exc, definition, file, dataset), dataset=dataset) from exc
    except OSError as exc:
        raise DatasetError(
            f"dataset {dataset}: the file {file.name!r} ({file.place}) cannot be read: {exc}", dataset=dataset
        ) from exc


def _behind_first(definition: Definition, names: Sequence[str] | None) -> Definition:
    """How a file is read, given the names of the columns of the first one."""
    options = definition.options
    if names is None or options.get("header") not in ("first", "only_first"):
        return definition
    is_left_out = options["header"] == "first"
    return attrs.evolve(definition, options={**options, "columns": list(names), "header": is_left_out})


def _iter_delimited(
    pyarrow: Any, options: Mapping[str, Any], file: FoundFile, as_text: Sequence[str]
) -> Iterator[Table]:
    csv = require("pyarrow.csv", extra="data")
    header = options.get("header", True)
    names = options.get("columns")
    is_whole = file.size_bytes <= WHOLE_BYTES
    read = csv.ReadOptions(
        encoding=options.get("encoding", "utf8"),
        autogenerate_column_names=not header and not names,
        column_names=names,
        skip_rows=1 if header and names else 0,
        block_size=max(file.size_bytes + 1, 1 << 16) if is_whole and not _is_compressed(file) else PART_BYTES,
    )
    parse = csv.ParseOptions(
        delimiter=options.get("separator", ","), newlines_in_values=bool(options.get("multi_line", False))
    )
    convert = csv.ConvertOptions(
        column_types={**_types(pyarrow, options), **dict.fromkeys(as_text, pyarrow.string())},
        strings_can_be_null=not options.get("empty_as_string", False),
        null_values=["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A", "n/a"],
        quoted_strings_can_be_null=False,
    )
    with _open(pyarrow, file) as stream:
        if is_whole:
            whole = csv.read_csv(stream, read_options=read, parse_options=parse, convert_options=convert)
            yield _in_text(_with_distinct_names(whole))
            return
        reader = csv.open_csv(stream, read_options=read, parse_options=parse, convert_options=convert)
        for batch in reader:
            yield _in_text(_with_distinct_names(pyarrow.Table.from_batches([batch])))


def _with_distinct_names(table: Table) -> Table:
    """The same; of columns that a header names alike, the later ones are NAME.1, NAME.2 and so on, as pandas has it."""
    names = table.column_names
    if len(set(names)) == len(names):
        return table
    taken, found = set(names), []
    for place, name in enumerate(names):
        made, number = name, 1
        while name in names[:place] and made in taken:
            made, number = f"{name}.{number}", number + 1
        taken.add(made)
        found.append(made)
    return table.rename_columns(found)


def _in_text(table: Table) -> Table:
    """The same; what is no text in the encoding is read as bytes, which nobody asked for."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if str(column.type) == "binary":
            raise UnicodeError(f"in column {name!r}")
    return table


def _iter_json_lines(
    pyarrow: Any, options: Mapping[str, Any], file: FoundFile, as_text: Sequence[str]
) -> Iterator[Table]:
    json = require("pyarrow.json", extra="data")
    types = {**_types(pyarrow, options), **dict.fromkeys(as_text, pyarrow.string())}
    schema = pyarrow.schema(list(types.items())) if types else None
    is_whole = file.size_bytes <= WHOLE_BYTES and not _is_compressed(file)
    read = json.ReadOptions(block_size=max(file.size_bytes + 1, 1 << 16) if is_whole else PART_BYTES)
    with _open(pyarrow, file) as stream:
        if file.size_bytes:
            yield json.read_json(stream, read_options=read, parse_options=json.ParseOptions(explicit_schema=schema))


def _iter_parquet(file: FoundFile) -> Iterator[Table]:
    pyarrow = require("pyarrow", extra="data")
    parquet = require("pyarrow.parquet", extra="data")
    with parquet.ParquetFile(file.place) as opened:
        count = 0
        for batch in opened.iter_batches(batch_size=PART_ROWS):
            count += 1
            yield pyarrow.Table.from_batches([batch])
        if not count:
            yield opened.schema_arrow.empty_table()


def _open(pyarrow: Any, file: FoundFile) -> Any:
    return pyarrow.input_stream(file.place, compression=_compression(file))


def _compression(file: FoundFile) -> str | None:
    # A copy in the cache has another name.
    ending = file.name.rpartition(".")[2].lower()
    return {"gz": "gzip", "bz2": "bz2", "zst": "zstd", "lz4": "lz4"}.get(ending)


def _is_compressed(file: FoundFile) -> bool:
    return _compression(file) is not None


def _types(pyarrow: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    names = {"str": "string", "int": "int64", "float": "float64", "date": "date32", "datetime": "timestamp[us]"}
    return {
        column: pyarrow.type_for_alias(names.get(kind, kind)) for column, kind in (options.get("types") or {}).items()
    }


def _explain(exc: Exception, definition: Definition, file: FoundFile, dataset: str) -> str:
    said = " ".join(str(exc).split())[:300]
    where = f"dataset {dataset}: the file {file.name!r} ({file.place})"
    if isinstance(exc, UnicodeError) or "UTF8" in said or "UTF-8" in said:
        return (
            f"{where} is not in the encoding {definition.options.get('encoding', 'utf8')!r} ({said}); "
            "give encoding=..., for example 'latin-1' or 'cp1252'"
        )
    if re.search(r"Expected \d+ columns, got \d+", said):
        return (
            f"{where} has rows of different lengths ({said}); correct that line, or give separator=... if columns are "
            "set apart by something else"
        )
    if "conversion error" in said:
        return f"{where} holds a value that is not of its column's type ({said}); give types={{COLUMN: 'str'}}"
    if "Empty CSV" in said:
        return f"{where} is empty; a file of columns begins with their names"
    return f"{where} cannot be read as {definition.format.replace('_', ' ')} ({type(exc).__name__}: {said})"


# Columns from names.


class Partitions:
    """Columns that stand in the names of files: ``region={region}/{day:%Y-%m-%d}.csv``.

    A type may follow the name: `int`, `float`, or a date as `strftime` writes it (also ``yyyy/MM/dd``). ``*`` stands for
    anything within a part.
    """

    def __init__(self, text: str | None, dataset: str) -> None:
        self._text = text
        self._dataset = dataset
        self._kinds: dict[str, str] = {}
        self._pattern = None if text is None else re.compile(f"(?:.*/)?{self._compile(text.lstrip('/'))}\\Z")

    def _compile(self, text: str) -> str:
        pattern = ""
        for piece in re.split(r"(\{\w+(?::[^{}]*)?\}|\*)", text):
            if piece == "*":
                pattern += "[^/]*"
            elif piece.startswith("{"):
                name, _, kind = piece[1:-1].partition(":")
                self._kinds[name] = _strptime_format(kind)
                depth = kind.count("/")
                pattern += f"(?P<{name}>[^/]+{'/[^/]+' * depth})"
            else:
                pattern += re.escape(piece)
        return pattern

    def values_of(self, name: str) -> dict[str, Any]:
        """The columns of one file.

        Raises
        ------
        DatasetError
            If its name is not of the form.
        """
        if self._pattern is None:
            return {}
        found = self._pattern.match(name)
        try:
            if found is not None:
                return {column: _convert(text, self._kinds[column]) for column, text in found.groupdict().items()}
        except ValueError as exc:
            raise DatasetError(
                f"dataset {self._dataset}: the name {name!r} does not fit the partition format {self._text!r}: {exc}",
                dataset=self._dataset,
            ) from None
        raise DatasetError(
            f"dataset {self._dataset}: the name {name!r} does not fit the partition format {self._text!r}; "
            "narrow the path to the files that do",
            dataset=self._dataset,
        )


def _strptime_format(kind: str) -> str:
    if kind in ("", "int", "float") or "%" in kind:
        return kind
    for ours, theirs in (("yyyy", "%Y"), ("MM", "%m"), ("dd", "%d"), ("HH", "%H"), ("mm", "%M"), ("ss", "%S")):
        kind = kind.replace(ours, theirs)
    return kind


def _convert(text: str, kind: str) -> Any:
    from urllib.parse import unquote

    text = unquote(text)
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text)
    return datetime.strptime(text, kind) if kind else text  # noqa: DTZ007 - a date in a name has no zone.


def _add_columns(table: Table, columns: Mapping[str, Any]) -> Table:
    pyarrow = require("pyarrow", extra="data")
    for name, value in columns.items():
        column = pyarrow.repeat(pyarrow.scalar(value), table.num_rows)
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, column)
        else:
            table = table.append_column(name, column)
    return table


# Rows.


class _Operation(ABC):
    """One thing that is done with the rows; told the parts in order."""

    is_done = False

    @abstractmethod
    def __call__(self, table: Table) -> Table:
        """The rows of one part after it."""


class _Keep(_Operation):
    def __init__(self, names: Sequence[str], dataset: str) -> None:
        self._names = names
        self._dataset = dataset

    def __call__(self, table: Table) -> Table:
        missing = [name for name in self._names if name not in table.column_names]
        if missing:
            raise DatasetError(
                f"dataset {self._dataset} has no column {missing[0]!r}; it has {', '.join(table.column_names)}",
                dataset=self._dataset,
            )
        return table.select(list(self._names))


class _Filter(_Operation):
    def __init__(self, condition: str, values: Mapping[str, Any], dataset: str) -> None:
        self._condition = condition
        self._values = {name: decode_value(value) for name, value in values.items()}
        self._dataset = dataset

    def __call__(self, table: Table) -> Table:
        numpy = require("numpy", extra="data")
        pyarrow = require("pyarrow", extra="data")
        try:
            chosen = table.to_pandas().eval(self._condition, engine="python", local_dict=self._values, global_dict={})
            mask = numpy.broadcast_to(numpy.asarray(chosen), (table.num_rows,))
            if mask.dtype != bool:
                raise TypeError(f"it gives {mask.dtype}, and true or false is expected for each row")
        except Exception as exc:  # The condition is the user's own: anything may be wrong with it.
            raise DatasetError(
                f"dataset {self._dataset}: the filter {self._condition!r} cannot be evaluated "
                f"({type(exc).__name__}: {exc}); the columns are {', '.join(table.column_names)}",
                dataset=self._dataset,
            ) from exc
        return table.filter(pyarrow.array(mask))


class _Take(_Operation):
    def __init__(self, count: int) -> None:
        self._left = count

    def __call__(self, table: Table) -> Table:
        table = table.slice(0, self._left)
        self._left -= table.num_rows
        self.is_done = self._left <= 0
        return table


class _Skip(_Operation):
    def __init__(self, count: int) -> None:
        self._left = count

    def __call__(self, table: Table) -> Table:
        skipped = min(self._left, table.num_rows)
        self._left -= skipped
        return table.slice(skipped)


class _Split(_Operation):
    """Each row falls to the first part or the other by its place alone, however the parts are cut."""

    def __init__(self, fraction: float, seed: int, part: int) -> None:
        self._random = require("numpy", extra="data").random.default_rng(seed)
        self._fraction = fraction
        self._is_first = part == 0

    def __call__(self, table: Table) -> Table:
        pyarrow = require("pyarrow", extra="data")
        falls_first = self._random.random(table.num_rows) < self._fraction
        return table.filter(pyarrow.array(falls_first if self._is_first else ~falls_first))


def _make_operation(operation: Sequence[Any], dataset: str) -> _Operation:
    kind, *arguments = operation
    if kind == "keep":
        return _Keep(arguments[0], dataset)
    if kind == "filter":
        return _Filter(arguments[0], arguments[1], dataset)
    if kind == "take":
        return _Take(arguments[0])
    if kind == "skip":
        return _Skip(arguments[0])
    assert kind == "split", kind
    return _Split(*arguments)
