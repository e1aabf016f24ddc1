"""Datasets: named, versioned, lazy references to data. What a step is given of one counts by content."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union

import attrs

from pipelite.data.databases import check_server
from pipelite.data.datastores import DatastorePath
from pipelite.data.definition import TABULAR, Definition, Source, encode_value
from pipelite.data.finding import Finder, FoundFile, query_result, total_size
from pipelite.data.locations import copy_atomically
from pipelite.data.paths import checked
from pipelite.data.reading import (
    WHOLE_BYTES,
    MixedTypes,
    PlainParquet,
    concatenate,
    conform,
    find_plain_parquet,
    iter_tables,
    unify,
    write_parquet,
)
from pipelite.errors import DatasetError
from pipelite.fingerprint import FileCache, combine
from pipelite.fingerprint.tracked import READ_PREFIX, TrackedData, announce_read, is_heard
from pipelite.records import ArtifactRef
from pipelite.store import CACHE, Store, hold_store

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: What `Dataset.from_...` takes: a local path or pattern, a URL, or a path on a datastore, also as a pair of its name and
#: the path; or several.
PathLike = Union[str, "os.PathLike[str]", DatastorePath, tuple[str, str]]


@attrs.frozen(kw_only=True)
class Registration:
    """The name under which a dataset is kept."""

    name: str
    version: int
    #: Whether it was asked for as the latest version.
    is_latest: bool = False


class Dataset(TrackedData):
    """A reference to tabular data or files: immutable and lazy, so that making one reads nothing.

    As an argument of a step or a pipeline it counts by the content of its files; the step gets a dataset that reads just
    the bytes that were looked at. What a step reads of a dataset that it opens itself is recorded, and the step is computed
    again when that changes.
    """

    def __init__(
        self, definition: Definition, *, workspace: Path | None = None, registration: Registration | None = None
    ) -> None:
        self._definition = definition
        self._workspace = workspace
        self._registration = registration
        #: Its files as they were looked at last: what a step reads that is sent it.
        self._found: tuple[FoundFile, ...] | None = None
        #: Whether it was sent to a step, or made from one that was: then it reads those files and no others.
        self._is_pinned = False

    # Making one.

    @classmethod
    def from_delimited_files(
        cls,
        path: PathLike | Sequence[PathLike],
        *,
        separator: str = ",",
        header: bool | Literal["first", "only_first"] = True,
        columns: Sequence[str] | None = None,
        encoding: str = "utf8",
        types: Mapping[str, str] | None = None,
        multi_line: bool = False,
        empty_as_string: bool = False,
        partition_format: str | None = None,
    ) -> Dataset:
        """Rows of delimited text files (CSV), also compressed ones (`.gz`, `.bz2`, `.zst`).

        Parameters
        ----------
        path : str, Path, path on a datastore, or a sequence of them
            With `*`, `?`, `[...]` and `**`; a folder stands for all files below it.
        header : bool, "first" or "only_first"
            Whether the first line of a file names its columns, by which files are put together; without, and without
            `columns`, they are f0, f1, ... With "first" the columns of all files are called as in the first one, whatever
            the first lines of the others say; with "only_first" these have no such line.
        columns : sequence of str, optional
            Names instead of those in the first line.
        types : mapping of str to str, optional
            Column to "str", "int", "float", "bool", "date", "datetime", instead of what is inferred from the values.
        multi_line : bool
            Whether quoted values may hold line breaks.
        empty_as_string : bool
            Whether an empty text is a text, rather than a missing value.
        partition_format : str, optional
            Columns in the names of the files: ``region={region}/{day:%Y-%m-%d}.csv``, with `int` and `float` as other types.
        """
        if header not in (True, False, "first", "only_first"):
            raise DatasetError(f"header={header!r} is wrong; True, False, 'first' or 'only_first' is expected")
        options = {
            "separator": separator,
            "header": header,
            "columns": None if columns is None else list(columns),
            "encoding": encoding,
            "types": None if types is None else dict(types),
            "multi_line": multi_line,
            "empty_as_string": empty_as_string,
            "partition_format": partition_format,
        }
        return cls._make("delimited", path, options)

    @classmethod
    def from_parquet_files(cls, path: PathLike | Sequence[PathLike], *, partition_format: str | None = None) -> Dataset:
        """Rows of Parquet files; see `from_delimited_files`."""
        return cls._make("parquet", path, {"partition_format": partition_format})

    @classmethod
    def from_json_lines_files(
        cls,
        path: PathLike | Sequence[PathLike],
        *,
        types: Mapping[str, str] | None = None,
        partition_format: str | None = None,
    ) -> Dataset:
        """Rows of files with one JSON object a line; see `from_delimited_files`."""
        return cls._make(
            "json_lines", path, {"types": None if types is None else dict(types), "partition_format": partition_format}
        )

    @classmethod
    def from_files(cls, path: PathLike | Sequence[PathLike], *, missing_ok: bool = False) -> Dataset:
        """Files of any kind.

        With `missing_ok` there may be none yet: then it is an empty folder to those who read it.
        """
        return cls._make("files", path, {"missing_ok": missing_ok or None})

    @classmethod
    def from_sql(
        cls,
        query: str,
        database: PathLike,
        parameters: Sequence[Any] | Mapping[str, Any] = (),
        *,
        credentials: Mapping[str, str] | None = None,
    ) -> Dataset:
        """Rows that a query gives on a database.

        It counts by the query and, for a file, by the content of that; the rows are kept in the workspace. A server (extra
        `database`) is asked on every use, and it is the rows that count: write ORDER BY where their order may change.

        Parameters
        ----------
        database : path, or URL of a server
            A file of SQLite or DuckDB, also on a datastore; or what SQLAlchemy takes, such as
            ``postgresql+psycopg://host/shop``, whose driver is installed.
        parameters : sequence or mapping
            Numbers, texts, dates, for ``?`` in the query, or by name: for ``:name``, in DuckDB ``$name``. On a server they
            have names. They are bound, never pasted into the text.
        credentials : mapping, optional
            Of a server: where "username" and "password" are, as "env:NAME" or "file:PATH" (a file with mode 0600).

        Raises
        ------
        DatasetError, DatastoreError
            If a secret is given as such, or a parameter is of another type.
        """
        given = (
            {name: encode_value(value) for name, value in parameters.items()}
            if isinstance(parameters, Mapping)
            else [encode_value(value) for value in parameters]
        )
        made = cls._make(
            "sql", database, {"query": query, "parameters": given, "credentials": credentials and dict(credentials)}
        )
        path = made._definition.sources[0].path
        if made._definition.is_on_server:
            check_server(path, credentials or {})
        elif credentials:
            raise DatasetError(f"{path!r} is a file, which takes no credentials; those of a datastore are its own")
        return made

    @classmethod
    def from_output(
        cls, ref: ArtifactRef, name: str, *, format: str | None = None, workspace: Path | None = None
    ) -> Dataset:
        """The output of a step: a DataFrame, an Arrow table, a file or a folder, whose files are of rows if their names
        say so.
        """
        kind = format or _format_of(ref, workspace)
        fields = {key: value for key, value in attrs.asdict(ref).items() if value is not None}
        return cls(Definition(format=kind, sources=(Source(path=name, artifact=fields),)), workspace=workspace)

    @classmethod
    def from_found(cls, definition: Definition, found: Sequence[FoundFile]) -> Dataset:
        """One whose files were looked at: it stands for their bytes as they were then. For tools."""
        made = cls(definition)
        made._found, made._is_pinned = tuple(found), True
        return made

    @classmethod
    def get(cls, name: str, version: int | None = None) -> Dataset:
        """A registered dataset; the latest version by default.

        Raises
        ------
        UnknownNameError
            If there is none of that name, or no such version.
        """
        from pipelite.data.registry import Datasets

        return Datasets(hold_store()).get_version(name, version)

    @classmethod
    def _make(cls, format: str, path: Any, options: Mapping[str, Any]) -> Dataset:
        given = path if isinstance(path, list) or (isinstance(path, tuple) and not _is_pair(path)) else [path]
        if not given:
            raise DatasetError("a dataset needs a path, and the list of them is empty")
        sources = tuple(to_source(each) for each in given)
        return cls(
            Definition(format=format, sources=sources, options={k: v for k, v in options.items() if v is not None})
        )

    # What it is.

    @property
    def name(self) -> str | None:
        """The name that it is registered under."""
        return None if self._registration is None else self._registration.name

    @property
    def version(self) -> int | None:
        """The version that it is registered as, from 1."""
        return None if self._registration is None else self._registration.version

    @property
    def definition(self) -> Definition:
        """Where its files are and how they are read; for tools."""
        return self._definition

    @property
    def is_tabular(self) -> bool:
        """Whether it has rows and columns, or is just files."""
        return self._definition.format in TABULAR

    @property
    def files(self) -> list[str]:
        """Names of its files, relative to the folder before the first wildcard."""
        return [each.name for each in self._look()]

    @property
    def size_bytes(self) -> int:
        """Size of all of its files."""
        return total_size(self._look())

    def register(self, name: str, description: str | None = None, tags: Mapping[str, str] | None = None) -> Dataset:
        """Keep it under a name in the workspace, as its next version; gives the registered dataset.

        The same as the latest version, content and all, is that version.

        Raises
        ------
        DatasetError
            If the name is none, or the data are not there.
        """
        from pipelite.data.registry import Datasets

        return Datasets(self._open()).register(self, name, description=description, tags=tags)

    # Other datasets made of it.

    def keep_columns(self, columns: str | Sequence[str]) -> Dataset:
        """These columns only, in this order."""
        return self._with("keep", [columns] if isinstance(columns, str) else list(columns))

    def filter(self, condition: str, **values: Any) -> Dataset:
        """The rows for which a condition holds, written as for `pandas.DataFrame.query`.

        Values from outside are given by name and written with ``@``: ``data.filter("hour >= @first", first=6)``. They are
        numbers, texts, true or false, dates, None, and lists of these.

        Raises
        ------
        DatasetError
            If a value is of another type.
        """
        return self._with("filter", condition, {name: encode_value(value) for name, value in values.items()})

    def take(self, count: int) -> Dataset:
        """The first rows, at most so many; the rest is not read."""
        if count < 0:
            raise DatasetError(f"take({count}): a number of rows is not negative")
        return self._with("take", int(count))

    def skip(self, count: int) -> Dataset:
        """All rows but the first, of which it leaves out so many."""
        if count < 0:
            raise DatasetError(f"skip({count}): a number of rows is not negative")
        return self._with("skip", int(count))

    def random_split(self, fraction: float, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Two datasets: about this fraction of the rows, and the others; the same ones for the same seed."""
        if not 0 <= fraction <= 1:
            raise DatasetError(f"random_split({fraction}): a fraction is between 0 and 1")
        first, second = (self._with("split", float(fraction), int(seed), part) for part in (0, 1))
        return first, second

    def partition_by(self, columns: str | Sequence[str], target: PathLike) -> Dataset:
        """Write it as Parquet files in a folder for each value of the columns (``region=north/part-0.parquet``).

        Gives the dataset of these files. `target` is a folder that is empty or not there yet.

        Raises
        ------
        DatasetError
            If a column is not there, or the folder is not empty.
        """
        from pipelite.data.partitioning import write_partitions

        return write_partitions(
            self, [columns] if isinstance(columns, str) else list(columns), to_source(target), self._open()
        )

    def _with(self, *operation: Any) -> Dataset:
        if not self.is_tabular:
            raise DatasetError(
                f"dataset {self._label} is files without rows; make it by Dataset.from_delimited_files or its like"
            )
        made = Dataset(
            attrs.evolve(self._definition, operations=(*self._definition.operations, operation)),
            workspace=self._workspace,
        )
        made._registration = self._registration
        made._found, made._is_pinned = (self._found, True) if self._is_pinned else (None, False)
        return made

    # Reading.

    def to_pandas(self) -> pd.DataFrame:
        """All rows as a DataFrame.

        Raises
        ------
        DatasetError
            If a file is missing, or is not what it is said to be.
        """
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def to_arrow(self) -> pa.Table:
        """All rows as an Arrow table.

        Raises
        ------
        DatasetError
            If a file is missing, or is not what it is said to be.
        """
        return self._read(lambda as_text: concatenate(list(self._iter_tables(as_text))))

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Write all rows to one Parquet file, complete or not at all, in parts where they are many; gives its path.

        Its types are those of `to_arrow`.

        Raises
        ------
        DatasetError
            If a file is missing, or is not what it is said to be.
        """
        target = Path(path)
        if self.size_bytes <= WHOLE_BYTES:
            table = self.to_arrow()
            write_parquet(target, table.schema, [table])
            return target

        def find_schema(as_text: Sequence[str]) -> tuple[Any, Sequence[str]]:
            return unify(self._iter_tables(as_text, for_types=True)), tuple(as_text)

        # First the types of all parts, then the rows, which are not kept in memory.
        schema, as_text = self._read(find_schema)
        write_parquet(target, schema, (conform(table, schema) for table in self._iter_tables(as_text)))
        return target

    def _read(self, read: Callable[[Sequence[str]], Any]) -> Any:
        """What `read` gives when it is told which columns to read as text: those that are numbers in some files only."""
        as_text: list[str] = []
        while True:
            try:
                return read(as_text)
            except MixedTypes as exc:
                if not set(exc.columns) - set(as_text):
                    raise DatasetError(
                        f"dataset {self._label}: the columns {exc} have different types in different files; give types=..."
                    ) from None
                as_text += exc.columns

    def iter_arrow(self) -> Iterator[pa.Table]:
        """The rows in parts, one after the other, for data larger than memory.

        A column's type is inferred for each part, unless `types` gives it.
        """
        yield from self._iter_tables(())

    def find_plain_parquet(self) -> PlainParquet | None:
        """Its Parquet files, for another reader, where that finds in them just what this one does; for tools."""
        return find_plain_parquet(self._definition, self._pin(), dataset=self._label)

    def _iter_tables(self, as_text: Sequence[str], *, for_types: bool = False) -> Iterator[Any]:
        if not self.is_tabular:
            raise DatasetError(f"dataset {self._label} is files without rows; use .as_path() or .download(folder)")
        definition, files = self._definition, self._pin()
        if definition.format == "sql" and not definition.is_on_server:
            options = definition.options
            places = [
                query_result(self._open(), each, options["query"], options["parameters"], dataset=self._label)
                for each in files
            ]
            files = [attrs.evolve(each, place=str(place)) for each, place in zip(files, places, strict=True)]

        def load_frame(file: FoundFile) -> Any:
            ref = ArtifactRef(**dict(definition.sources[0].artifact or {}))
            return self._open().artifacts.load(ref)

        yield from iter_tables(
            definition, files, dataset=self._label, load_frame=load_frame, as_text=as_text, for_types=for_types
        )

    def as_path(self) -> Path:
        """A path of this machine to read from: of its file if it has one, else a folder with all of them; not for writing.

        Raises
        ------
        DatasetError
            If it has no files as they are: rows or columns of it were chosen, or its rows are what a query or a step gave.
        """
        self._refuse_operations("as_path")
        files = self._pin()
        if len(files) == 1 and os.path.basename(files[0].place) == os.path.basename(files[0].name):
            return Path(files[0].place)
        view = self._make_view(files)
        return view / files[0].name if len(files) == 1 else view

    def download(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Copy its files into a folder, each complete or not at all; gives the copies."""
        self._refuse_operations("download")
        root = Path(os.path.abspath(folder))
        root.mkdir(parents=True, exist_ok=True)
        done = []
        for each in self._pin():
            target = root / checked(each.name, datastore=str(folder))
            copy_atomically(each.place, str(target), verify=True)
            done.append(target)
        return done

    @property
    def is_files(self) -> bool:
        """Whether it is its files as they are, of rows or not: no rows or columns of it were chosen, and no query or step
        gave them.
        """
        return not self._definition.operations and self._definition.format not in ("sql", "frame")

    def local_files(self, method: str) -> Sequence[FoundFile]:
        """Its files as they are, for a method that is named in the error; their bytes are on this machine. For tools."""
        self._refuse_operations(method)
        return self._pin()

    def _refuse_operations(self, method: str) -> None:
        if not self.is_files:
            raise DatasetError(
                f"dataset {self._label}: {method} gives files as they are, and this one is rows that were chosen, or that a "
                "query or a step gave; use .to_pandas(), .to_arrow() or .to_parquet(path)"
            )

    def _make_view(self, files: Sequence[FoundFile]) -> Path:
        """A folder of links, one for each combination of names and contents."""
        store = self._open()
        name = combine("view", [part for each in files for part in (each.name, each.place, each.digest)])
        folder = store.path / CACHE / "views" / re.sub(r"\W", "-", name)[-64:]
        if folder.exists():
            return folder
        partial = folder.with_name(f".{folder.name}-{os.getpid()}-{os.urandom(4).hex()}")
        try:
            partial.mkdir(parents=True)
            for each in files:
                link = partial / each.name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(each.place)
            # Another process may have been faster.
            if not folder.exists():
                os.rename(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return folder

    # Identity.

    def identity(self, files: FileCache | None) -> str:
        """Look at the data as they are now and give their identity: contents, relative names, and what is done with them."""
        found = self._look(files)
        self._found = tuple(found)
        return self._identity_of(found)

    def identity_only(self, files: FileCache | None) -> str:
        """Its identity as the data are now, without having the bytes here."""
        return self._identity_of(self._look(files, needs_bytes=False))

    def _identity_of(self, found: Iterable[FoundFile]) -> str:
        parts = [self._definition.reading]
        for each in found:
            parts += (each.name, each.digest)
        return combine("dataset", parts)

    def look(self) -> tuple[str, Sequence[FoundFile]]:
        """Its identity now, and its files."""
        found = self._look()
        return self._identity_of(found), found

    def note_use(self) -> None:
        """If a step runs here, record that it uses these data, which are looked at for that."""
        if is_heard():
            self._announce(self._look())

    def changed_file(self) -> str | None:
        """A file that is not as it was when the identity was given last."""
        return next((each.place for each in self._found or () if not each.is_unchanged()), None)

    def local_paths(self) -> tuple[str, ...]:
        """The files of this machine that are read for it."""
        return tuple(each.place for each in self._found or ())

    @property
    def registered_as(self) -> tuple[str, int] | None:
        return None if self._registration is None else (self._registration.name, self._registration.version)

    def looked_at_again(self) -> Dataset:
        """The same, to be looked at as it is now; one that came out of a store or to a step keeps to what was seen then."""
        return Dataset(self._definition, workspace=self._workspace, registration=self._registration)

    def _look(self, files: FileCache | None = None, *, needs_bytes: bool = True) -> Sequence[FoundFile]:
        if self._is_pinned and self._found is not None:
            return self._found
        finder = Finder(self._open(), files, needs_bytes=needs_bytes)
        return finder.find(self._definition, dataset=self._label, known=self._found or ())

    def _pin(self) -> Sequence[FoundFile]:
        """Its files, which are to be read now; a step that runs here reads them."""
        if self._is_pinned and self._found is not None:
            changed = next((each for each in self._found if not each.is_unchanged()), None)
            if changed is not None:
                self._found = self._look_for_the_same(changed)
            return self._found
        found = self._look()
        if is_heard():
            self._announce(found)
        return found

    def _look_for_the_same(self, changed: FoundFile) -> tuple[FoundFile, ...]:
        """Its files again, when one is not where it was: the copy of an object of another store may be fetched anew."""
        again = self.looked_at_again()
        if not os.path.exists(changed.place) and again.identity_only(None) == self._identity_of(self._found or ()):
            return tuple(again._look())
        raise DatasetError(
            f"dataset {self._label}: the file {changed.place!r} was changed after the run had looked at it; run it again",
            dataset=self._label,
        )

    def _announce(self, found: Sequence[FoundFile]) -> None:
        self._found, self._is_pinned = tuple(found), True
        for name in self._read_names():
            announce_read(READ_PREFIX + name, self._identity_of(found), self.local_paths())

    def _read_names(self) -> Iterator[str]:
        """Under which names its content can be asked for again."""
        if self._registration is None or self._definition.operations:
            yield f"?{self._definition.to_json()}"
        if self._registration is not None:
            yield f"{self._registration.name}:{self._registration.version}"
            if self._registration.is_latest:
                yield self._registration.name

    def _open(self) -> Store:
        return hold_store(self._workspace)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "definition": self._definition.to_json(),
            "registration": self._registration,
            "found": self._found,
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(Definition.from_json(state["definition"]), registration=state["registration"])  # type: ignore[misc]
        self._found = state["found"]
        self._is_pinned = self._found is not None

    @property
    def _label(self) -> str:
        if self._registration is None:
            return repr(str(self._definition))
        return repr(f"{self._registration.name}:{self._registration.version}")

    def __str__(self) -> str:
        if self._registration is None or self._definition.operations:
            return repr(self)
        return f"{self._registration.name}:{self._registration.version}"

    def __repr__(self) -> str:
        done = "".join(f".{operation[0]}" for operation in self._definition.operations)
        return f"<dataset {self._label.strip(chr(39))}{done}>"


def _is_pair(path: tuple[Any, ...]) -> bool:
    """Whether a tuple is a datastore and a path on it: the first part has no sign of a path."""
    return len(path) == 2 and isinstance(path[0], str) and re.fullmatch(r"[A-Za-z_][\w-]*", path[0]) is not None


def to_source(path: Any) -> Source:
    """A path or pattern, as users give it: of this machine, a URL, or on a datastore."""
    if isinstance(path, DatastorePath):
        return Source(datastore=path.datastore, path=path.path)
    if isinstance(path, tuple):
        datastore, inside = path
        return Source(datastore=datastore, path=checked(inside, datastore=datastore))
    text = os.fspath(path)
    if re.match(r"[A-Za-z][\w+.-]*://", text):
        if text.startswith("file://"):
            return Source(path=os.path.abspath(text.removeprefix("file://")))
        return Source(path=text)
    return Source(path=os.path.abspath(os.path.expanduser(text)))


_ENDINGS = {".csv": "delimited", ".parquet": "parquet", ".jsonl": "json_lines", ".ndjson": "json_lines"}
_COMPRESSED = (".gz", ".bz2", ".zst")


def _format_of(ref: ArtifactRef, workspace: Path | None) -> str:
    if ref.kind == "dataframe" or ref.type_name == "pyarrow.lib.Table":
        return "frame"
    if ref.kind == "file":
        return _ENDINGS.get(_ending(ref.path or ""), "files")
    if ref.kind == "folder":
        root = hold_store(workspace).artifacts.path(ref)
        endings = {_ending(name) for _, _, names in os.walk(root) for name in names}
        return _ENDINGS.get(endings.pop(), "files") if len(endings) == 1 else "files"
    raise DatasetError(
        f"an output of the kind {ref.kind!r} is no dataset; have the step return a DataFrame, an Arrow table, or the Path of "
        "a file or a folder"
    )


def _ending(name: str) -> str:
    stem, ending = os.path.splitext(name)
    return (os.path.splitext(stem)[1] if ending in _COMPRESSED else ending).lower()
