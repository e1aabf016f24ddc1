"""`azureml.core.dataset`: the datasets of the workspace."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.azureml import _state
from pipelite.azureml._notices import note_ignored
from pipelite.azureml.core.dataset_names import find_native, is_saved, reserve_native, saved_name, to_given
from pipelite.azureml.core.datastore import Datastore
from pipelite.azureml.data.datapath import DataPath
from pipelite.azureml.exceptions import DatasetTimestampMissingError, UserErrorException
from pipelite.clock import CLOCK
from pipelite.errors import PipeliteError, UnknownNameError

if TYPE_CHECKING:
    # What many scripts import and few of them use is not to have all of this library loaded.
    from pipelite.azureml.core.workspace import Workspace
    from pipelite.azureml.data.dataset_consumption_config import DatasetConsumptionConfig
    from pipelite.data import Dataset as NativeDataset

#: Settings: NAME:VERSION of a registered dataset to its columns with times.
_TIMES = "timestamps"


class DataType:
    """The type of a column."""

    def __init__(self, name: str) -> None:
        self.name = name

    @staticmethod
    def to_string() -> DataType:
        return DataType("str")

    @staticmethod
    def to_long() -> DataType:
        return DataType("int")

    @staticmethod
    def to_float(decimal_mark: str = ".") -> DataType:
        return DataType("float")

    @staticmethod
    def to_bool() -> DataType:
        return DataType("bool")

    @staticmethod
    def to_datetime(formats: Any = None) -> DataType:
        return DataType("datetime")


class AbstractDataset:
    """A dataset, as a view on one of this library; `code` is the expression that makes that one."""

    def __init__(self, native: NativeDataset, code: str) -> None:
        self._native = native
        self.code = code

    @property
    def native(self) -> NativeDataset:
        """The dataset of this library behind it."""
        return self._native

    @property
    def name(self) -> str | None:
        native = self._native.name
        if native is None or is_saved(native):
            return None
        return to_given(_state.open_workspace().store, native)

    @property
    def version(self) -> int | None:
        return self._native.version

    @property
    def id(self) -> str:
        """The same for the same definition. From now on the dataset is found by it, as if it were registered."""
        with contextlib.suppress(PipeliteError):
            # What is not there cannot be kept; it has an id all the same.
            save(self)
        return self.definition_id

    @property
    def definition_id(self) -> str:
        """The id alone."""
        return self._native.definition.id

    @property
    def description(self) -> str | None:
        return self._record().description if self._native.name else None

    @property
    def tags(self) -> Mapping[str, str]:
        return dict(self._record().tags) if self._native.name else {}

    def _record(self) -> Any:
        assert self._native.name is not None
        return _state.open_workspace().datasets.record(self._native.name, self.version)

    def register(
        self,
        workspace: Workspace,
        name: str,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        create_new_version: bool = False,
    ) -> Any:
        """Keep it under a name; gives the registered one.

        Raises
        ------
        UserErrorException
            If the name is taken, and `create_new_version` is not set, or if it is none.
        """
        called = reserve_native(workspace.store, name)
        if called in workspace.native.datasets and not create_new_version:
            raise UserErrorException(
                f"there is a dataset {name!r} already; create_new_version=True makes this its next version, unless it is the same"
            )
        return of_native(self._native.register(called, description, tags))

    def as_named_input(self, name: str) -> DatasetConsumptionConfig:
        """This dataset for a step, by a name."""
        from pipelite.azureml.data.dataset_consumption_config import DatasetConsumptionConfig

        return DatasetConsumptionConfig(name, self)

    def take(self, count: int) -> Any:
        return self._made(self._native.take(count), f".take({count!r})")

    def skip(self, count: int) -> Any:
        return self._made(self._native.skip(count), f".skip({count!r})")

    def take_sample(self, probability: float, seed: int | None = None) -> Any:
        """About this part of the rows, the same ones for the same seed."""
        return self.random_split(probability, seed)[0]

    def random_split(self, percentage: float, seed: int | None = None) -> tuple[Any, Any]:
        first, second = self._native.random_split(percentage, seed or 0)
        call = f".random_split({percentage!r}, {seed or 0!r})"
        return self._made(first, f"{call}[0]"), self._made(second, f"{call}[1]")

    def _made(self, native: NativeDataset, call: str) -> Any:
        return type(self)(native, self.code + call)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._native}>"


class TabularDataset(AbstractDataset):
    """Rows and columns."""

    #: The columns with the time of a row, and with that of its file, as they were given; None if those it is registered with count.
    _times: tuple[str | None, str | None] | None = None

    def with_timestamp_columns(
        self,
        timestamp: str | None = None,
        partition_timestamp: str | None = None,
        validate: bool = False,
        fine_grain_timestamp: str | None = None,
        coarse_grain_timestamp: str | None = None,
    ) -> TabularDataset:
        """The same, with the column that has the time of each row; none to have none any more.

        Raises
        ------
        UserErrorException
            If only the time of files is given, or `validate` is set and there is no such column.
        """
        times = (timestamp or fine_grain_timestamp, partition_timestamp or coarse_grain_timestamp)
        if times[0] is None and times[1] is not None:
            raise UserErrorException("partition_timestamp needs timestamp, the column with the time of each row")
        missing = set(filter(None, times)) - set(self._column_names()) if validate else set()
        if missing:
            raise UserErrorException(f"there is no column {missing.pop()!r} to have times")
        made: TabularDataset = self._made(self._native, "")
        made._times = times
        return made

    @property
    def timestamp_columns(self) -> tuple[str | None, str | None]:
        """The columns with the time of a row, and with that of its file."""
        native = self._native
        row, file = self._times or (None, None)
        if self._times is None and native.registered_as is not None:
            # Looked up where it is asked for: scripts that have other questions do not wait for it.
            name, version = native.registered_as
            row, file = _state.get(_state.open_workspace().store, _TIMES, f"{name}:{version}") or (None, None)
        for kind, *rest in native.definition.operations:
            if kind == "keep":
                row = row if row in rest[0] else None
                file = file if row is not None and file in rest[0] else None
        return row, file

    def time_before(self, end_time: datetime, include_boundary: bool = True, validate: bool = True) -> TabularDataset:
        """The rows up to a time.

        Raises
        ------
        DatasetTimestampMissingError
            If no column has times.
        """
        return self._at("<=" if include_boundary else "<", end_time)

    def time_after(self, start_time: datetime, include_boundary: bool = True, validate: bool = True) -> TabularDataset:
        """The rows from a time on; raises as `time_before` does."""
        return self._at(">=" if include_boundary else ">", start_time)

    def time_between(
        self, start_time: datetime, end_time: datetime, include_boundary: bool = True, validate: bool = True
    ) -> TabularDataset:
        """The rows between two times; raises as `time_before` does."""
        return self.time_after(start_time, include_boundary).time_before(end_time, include_boundary)

    def time_recent(
        self, time_delta: timedelta, include_boundary: bool = True, validate: bool = True
    ) -> TabularDataset:
        """The rows of the last hours or days; raises as `time_before` does."""
        return self.time_after(CLOCK.now() - time_delta, include_boundary)

    def _at(self, sign: str, time: datetime) -> TabularDataset:
        column, _ = self.timestamp_columns
        if column is None:
            raise DatasetTimestampMissingError(
                "no column of this dataset has times, or it was dropped; with_timestamp_columns(timestamp=...) says which does"
            )
        # Times without a zone are in UTC, on either side.
        utc = time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
        kind = self._native.take(1).to_arrow().schema.field(column).type
        told = utc if getattr(kind, "tz", None) is not None else utc.replace(tzinfo=None)
        return self.filter(f"`{column}` {sign} {told.isoformat()!r}")

    def register(
        self,
        workspace: Workspace,
        name: str,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        create_new_version: bool = False,
    ) -> Any:
        made = super().register(workspace, name, description, tags, create_new_version)
        if self.timestamp_columns != (None, None):
            name, version = made.native.registered_as
            _state.put(workspace.store, _TIMES, f"{name}:{version}", self.timestamp_columns)
        return made

    def _made(self, native: NativeDataset, call: str) -> Any:
        made = super()._made(native, call)
        made._times = self._times
        return made

    def to_pandas_dataframe(self, on_error: str = "null", out_of_range_datetime: str = "null") -> Any:
        return self._native.to_pandas()

    def keep_columns(self, columns: str | Sequence[str], validate: bool = False) -> TabularDataset:
        names = [columns] if isinstance(columns, str) else list(columns)
        return self._kept(names)

    def drop_columns(self, columns: str | Sequence[str]) -> TabularDataset:
        dropped = {columns} if isinstance(columns, str) else set(columns)
        return self._kept([name for name in self._column_names() if name not in dropped])

    def _column_names(self) -> list[str]:
        return list(self._native.take(1).to_arrow().column_names)

    def _kept(self, names: list[str]) -> TabularDataset:
        made: TabularDataset = self._made(self._native.keep_columns(names), f".keep_columns({names!r})")
        return made

    def filter(self, expression: Any) -> TabularDataset:
        """The rows for which a condition holds: a text as `pandas.DataFrame.query` takes it, or `dataset["column"] > 1`."""
        text = str(expression)
        made: TabularDataset = self._made(self._native.filter(text), f".filter({text!r})")
        return made

    def __getitem__(self, column: str) -> Condition:
        return Condition(f"`{column}`" if not column.isidentifier() else column)

    def partition_by(
        self,
        partition_keys: Sequence[str],
        target: DataPath | tuple[Datastore, str],
        name: str | None = None,
        show_progress: bool = True,
        partition_as_file_dataset: bool = False,
    ) -> Any:
        """Write it as files in a folder for each combination of some columns; gives a dataset of these."""
        native = self._native.partition_by(list(partition_keys), place_of(target))
        if name:
            native = native.register(reserve_native(_state.open_workspace().store, name))
        return of_native(native)

    def to_csv_files(self, separator: str = ",") -> FileDataset:
        folder = _own_folder()
        self._native.to_pandas().to_csv(folder / "part-00000.csv", sep=separator, index=False)
        return _files_below(folder)

    def to_parquet_files(self) -> FileDataset:
        folder = _own_folder()
        self._native.to_parquet(folder / "part-00000.parquet")
        return _files_below(folder)


class Condition:
    """A condition on the rows of a tabular dataset, as a text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _with(self, sign: str, other: Any) -> Condition:
        return Condition(f"({self._text} {sign} {other._text if isinstance(other, Condition) else repr(other)})")

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return self._with("==", other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return self._with("!=", other)

    def __lt__(self, other: Any) -> Condition:
        return self._with("<", other)

    def __le__(self, other: Any) -> Condition:
        return self._with("<=", other)

    def __gt__(self, other: Any) -> Condition:
        return self._with(">", other)

    def __ge__(self, other: Any) -> Condition:
        return self._with(">=", other)

    def __and__(self, other: Any) -> Condition:
        return self._with("and", other)

    def __or__(self, other: Any) -> Condition:
        return self._with("or", other)

    def __invert__(self) -> Condition:
        return Condition(f"(not {self._text})")

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return self._text


class FileDataset(AbstractDataset):
    """Files."""

    def to_path(self) -> list[str]:
        """Their names below the folder of the dataset, each with a / in front."""
        return [f"/{name}" for name in self._native.files]

    def download(self, target_path: str | None = None, overwrite: bool = False, **others: Any) -> list[str]:
        """Copy them into a folder; gives the copies."""
        folder = Path(target_path) if target_path else _own_folder()
        taken = [name for name in self._native.files if (folder / name).exists()]
        if taken and not overwrite:
            raise UserErrorException(f"{str(folder / taken[0])!r} is there already; overwrite=True replaces it")
        return [str(path) for path in self._native.download(folder)]

    def mount(self, mount_point: str | None = None, **others: Any) -> MountContext:
        """A folder with them for a `with` block."""
        return MountContext(self._native, mount_point)

    def as_mount(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        return self._unnamed().as_mount(path_on_compute)

    def as_download(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        return self._unnamed().as_download(path_on_compute)

    def _unnamed(self) -> DatasetConsumptionConfig:
        return self.as_named_input(f"input_{self.definition_id[:8]}")


class MountContext:
    """Files of a dataset in a folder, as long as a `with` block goes on."""

    def __init__(self, native: NativeDataset, mount_point: str | None) -> None:
        import tempfile

        self._native = native
        self.mount_point = mount_point or tempfile.mkdtemp(prefix="azureml-mount-")

    def start(self) -> None:
        self._native.download(self.mount_point)

    def stop(self) -> None:
        import shutil

        shutil.rmtree(self.mount_point, ignore_errors=True)

    def __enter__(self) -> MountContext:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class TabularDatasetFactory:
    """`Dataset.Tabular`."""

    @staticmethod
    def from_delimited_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        infer_column_types: bool = True,
        set_column_types: Mapping[str, DataType] | None = None,
        separator: str = ",",
        header: Any = True,
        partition_format: str | None = None,
        support_multi_line: bool = False,
        empty_as_string: bool = False,
        encoding: str = "utf8",
    ) -> TabularDataset:
        _refuse("include_path", include_path, "partition_format= makes columns of the parts of paths")
        if not infer_column_types:
            note_ignored("infer_column_types=False; set_column_types says what each column is")
        options: dict[str, Any] = {
            "separator": separator,
            "header": _header_of(header, path),
            "types": {name: each.name for name, each in (set_column_types or {}).items()} or None,
            "partition_format": _seen_from(path, partition_format),
            "multi_line": support_multi_line,
            "empty_as_string": empty_as_string,
            "encoding": encoding,
        }
        defaults = {"separator": ",", "header": True, "encoding": "utf8"}
        given = {
            name: each
            for name, each in options.items()
            if each not in (defaults.get(name), None, False) or (name == "header" and each is False)
        }
        return _tabular("from_delimited_files", path, given, validate)

    @staticmethod
    def from_parquet_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        set_column_types: Any = None,
        partition_format: str | None = None,
    ) -> TabularDataset:
        _refuse("include_path", include_path, "partition_format= makes columns of the parts of paths")
        return _tabular("from_parquet_files", path, _partitioned(path, partition_format), validate)

    @staticmethod
    def from_json_lines_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        set_column_types: Any = None,
        partition_format: str | None = None,
        invalid_lines: str = "error",
        encoding: str = "utf8",
    ) -> TabularDataset:
        _refuse("include_path", include_path, "partition_format= makes columns of the parts of paths")
        return _tabular("from_json_lines_files", path, _partitioned(path, partition_format), validate)

    @staticmethod
    def from_sql_query(query: Any, validate: bool = True, set_column_types: Any = None, query_timeout: int = 30) -> Any:
        raise UserErrorException(
            "from_sql_query reads a database that is a datastore of Azure's; pipelite.Dataset.from_sql(address, query) "
            "reads one by its address, and dataset.register(name) makes it known to scripts"
        )

    @staticmethod
    def register_pandas_dataframe(
        dataframe: Any,
        target: DataPath | Datastore | tuple[Datastore, str],
        name: str,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        show_progress: bool = True,
    ) -> TabularDataset:
        """Write a data frame to a datastore as a Parquet file, and register it."""
        import tempfile

        from pipelite.data import Dataset as NativeDataset

        store, below = (target, "") if isinstance(target, Datastore) else _pair(target)
        path = "/".join(filter(None, (below.strip("/"), name, f"{os.urandom(4).hex()}.parquet")))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "data.parquet")
            dataframe.to_parquet(file)
            store.native.upload(file, path)
        called = reserve_native(store.workspace.store, name)
        native = NativeDataset.from_parquet_files((store.name, path)).register(called, description, tags)
        made: TabularDataset = of_native(native)
        return made


class FileDatasetFactory:
    """`Dataset.File`."""

    @staticmethod
    def from_files(
        path: Any, validate: bool = True, partition_format: str | None = None, is_file: bool = False
    ) -> FileDataset:
        _refuse("partition_format", partition_format, "of files it comes with batch inference; of rows it is there")
        places = _places(path)
        made = FileDataset(_make("from_files", places, {}), f"Dataset.from_files({_shown(places)})")
        _look(made, validate)
        return made

    @staticmethod
    def upload_directory(
        src_dir: str,
        target: DataPath | Datastore | tuple[Datastore, str],
        pattern: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> FileDataset:
        """Put the files of a folder on a datastore; gives a dataset of them."""
        store, below = (target, "") if isinstance(target, Datastore) else _pair(target)
        _refuse("pattern", pattern, "upload a folder that has just these files")
        store.native.upload(src_dir, below, overwrite=overwrite, show_progress=show_progress)
        return FileDatasetFactory.from_files((store, below))


class Dataset:
    """The datasets of a workspace, and what makes them: `Dataset.Tabular` and `Dataset.File`."""

    Tabular = TabularDatasetFactory
    File = FileDatasetFactory

    @staticmethod
    def get_by_name(workspace: Workspace, name: str, version: int | str = "latest") -> Any:
        """A registered dataset.

        Raises
        ------
        UserErrorException
            If there is none of that name, or no such version.
        """
        number = None if version in ("latest", None) else int(version)
        try:
            native = workspace.native.datasets.get_version(find_native(workspace.store, name), number)
        except UnknownNameError as exc:
            known = list(workspace.datasets)
            if name not in known:
                raise UserErrorException(
                    f"there is no dataset {name!r}; there are: {', '.join(known) or 'none'}"
                ) from None
            raise UserErrorException(str(exc)) from None
        return of_native(native)

    @staticmethod
    def get_by_id(workspace: Workspace, id: str) -> Any:
        """A dataset by its id: one that a step was given, a registered one, or one whose id was asked for.

        Raises
        ------
        UserErrorException
            If there is none.
        """
        from pipelite.execute import current_run

        given = [of_native(each) for each in current_run().input_datasets.values()]
        known = workspace.native.datasets
        kept = (of_native(known.get_version(each.name, each.version)) for each in known.records())
        for dataset in (*given, *kept):
            if dataset.definition_id == id:
                return dataset
        raise UserErrorException(f"there is no dataset with the id {id!r}, neither registered nor given to this step")

    @staticmethod
    def get_all(workspace: Workspace) -> Mapping[str, Any]:
        return workspace.datasets


def save(dataset: AbstractDataset) -> NativeDataset:
    """A dataset as one that the workspace keeps: it itself if it is registered, else a copy that goes by its id.

    Raises
    ------
    PipeliteError
        If its data are not there.
    """
    native = dataset.native
    if native.name is not None and not native.definition.operations:
        return native
    known, name = _state.open_workspace().datasets, saved_name(dataset.definition_id)
    return known[name] if name in known else native.register(name)


def to_kept(dataset: AbstractDataset) -> dict[str, Any]:
    """A dataset as plain JSON, for `from_kept`."""
    native = dataset.native
    registered = None if native.registered_as is None else list(native.registered_as)
    return {
        "kind": type(dataset).__name__,
        "code": dataset.code,
        "definition": native.definition.to_json(),
        "registered": registered,
    }


def from_kept(kept: Mapping[str, Any]) -> AbstractDataset:
    """What `to_kept` was given."""
    from pipelite.data import Dataset as NativeDataset
    from pipelite.data.definition import Definition

    kind = TabularDataset if kept["kind"] == TabularDataset.__name__ else FileDataset
    definition = Definition.from_json(kept["definition"])
    if kept["registered"] is not None and not definition.operations:
        return kind(_state.open_workspace().datasets.get_version(*kept["registered"]), kept["code"])
    return kind(NativeDataset(definition), kept["code"])


def of_native(native: NativeDataset) -> Any:
    """The view on a dataset of this library."""
    version = "" if native.version is None else f", {native.version}"
    code = f"Dataset.get({native.name!r}{version})" if native.name else "Dataset()"
    # What a step wrote and had registered was a dataset of files to v1, whatever the files are.
    is_output = native.is_files and any(each.artifact is not None for each in native.definition.sources)
    return (TabularDataset if native.is_tabular and not is_output else FileDataset)(native, code)


def _tabular(method: str, path: Any, options: Mapping[str, Any], validate: bool) -> TabularDataset:
    places = _places(path)
    shown = "".join(f", {name}={value!r}" for name, value in options.items())
    made = TabularDataset(_make(method, places, options), f"Dataset.{method}({_shown(places)}{shown})")
    _look(made, validate)
    return made


def _header_of(given: Any, path: Any) -> Any:
    """What v1 made of the first lines of files."""
    behavior = str(getattr(given, "name", given))
    if behavior in ("False", "NO_HEADERS"):
        return False
    places = [str(each[1] if isinstance(each, tuple) else each) for each in _places(path)]
    if len(places) == 1 and not re.search(r"[*?\[]", places[0]) and os.path.splitext(places[0])[1]:
        # One file.
        return True
    return {"ONLY_FIRST_FILE_HAS_HEADERS": "only_first", "COMBINE_ALL_FILES_HEADERS": True}.get(behavior, "first")


def _partitioned(path: Any, partition_format: str | None) -> dict[str, Any]:
    found = _seen_from(path, partition_format)
    return {} if found is None else {"partition_format": found}


def _seen_from(path: Any, partition_format: str | None) -> str | None:
    """A partition format without the folders that it shares with the path: names of files are seen from there."""
    if partition_format is None:
        return None
    first = _places(path)[0]
    base = re.split(r"/?[^/]*[*?\[]", str(first[1] if isinstance(first, tuple) else first), maxsplit=1)[0].strip("/")
    folders = partition_format.partition("{")[0].strip("/").split("/")
    for count in range(len(folders), 0, -1):
        shared = "/".join(folders[:count])
        if shared and f"/{base}".endswith(f"/{shared}"):
            return partition_format.lstrip("/").removeprefix(shared).lstrip("/")
    return partition_format


def _make(method: str, places: list[Any], options: Mapping[str, Any]) -> NativeDataset:
    from pipelite.data import Dataset as NativeDataset

    made: NativeDataset = getattr(NativeDataset, method)(places if len(places) != 1 else places[0], **options)
    return made


def _look(made: AbstractDataset, validate: bool) -> None:
    """Look at the data, as v1 did if it was asked to."""
    if not validate:
        return
    try:
        _ = made.native.files
    except PipeliteError as exc:
        raise UserErrorException(f"{exc} (validate=False defines a dataset of data that are not there yet)") from exc


def _shown(places: list[Any]) -> str:
    return repr(places if len(places) != 1 else places[0])


def _places(path: Any) -> list[Any]:
    """Where the files are, as `pipelite.Dataset` takes it."""
    given = path if isinstance(path, list) else [path]
    return [place_of(each) for each in given]


def place_of(path: Any) -> Any:
    if isinstance(path, str | os.PathLike):
        text = os.fspath(path)
        return text if "://" in text else os.path.abspath(text)
    if isinstance(path, DataPath | tuple):
        store, below = _pair(path)
        return (store.name, below)
    reference = (getattr(path, "datastore", None), getattr(path, "path_on_datastore", None))
    if isinstance(reference[0], Datastore):
        return (reference[0].name, reference[1] or "")
    raise UserErrorException(
        f"{path!r} is no path of a dataset; a URL, a pair of a datastore and a path, a DataPath, or a list of these is"
    )


def _pair(path: Any) -> tuple[Datastore, str]:
    store, below = (path.datastore, path.path_on_datastore) if isinstance(path, DataPath) else path
    if not isinstance(store, Datastore):
        raise UserErrorException(f"{path!r} names no datastore; a pair of a datastore and a path is expected")
    return store, below or ""


def _refuse(name: str, value: Any, instead: str) -> None:
    if value:
        raise UserErrorException(f"{name}={value!r} is not known here; {instead}")


def _own_folder() -> Path:
    import tempfile

    return Path(tempfile.mkdtemp(prefix="azureml-"))


def _files_below(folder: Path) -> FileDataset:
    return FileDatasetFactory.from_files(str(folder))
