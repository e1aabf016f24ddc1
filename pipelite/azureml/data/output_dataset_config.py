"""`azureml.data.output_dataset_config`: a folder that a step writes."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelite.azureml._notices import note_ignored
from pipelite.azureml.exceptions import NotOnOneBoxError, UserErrorException

if TYPE_CHECKING:
    from pipelite.azureml.core.datastore import Datastore

_NAME = re.compile(r"\w+\Z", re.ASCII)
_numbers = itertools.count(1)


class Origin:
    """One output of one step, whatever copies and forms there are of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: The step that writes it.
        self.producer: Any = None

    def __deepcopy__(self, memo: Any) -> Origin:
        return self


class Registration:
    """What a folder is registered as, when its step has completed."""

    def __init__(self, name: str, description: str | None, tags: Mapping[str, str] | None) -> None:
        self.name = name
        self.description = description
        self.tags = dict(tags or {})


class Rows:
    """How rows are read of the files that a step wrote: calls on `Dataset.Tabular`, and on what it gives."""

    def __init__(self, *calls: tuple[str, dict[str, Any]]) -> None:
        self.calls = calls

    @staticmethod
    def of(method: str, options: Mapping[str, Any]) -> Rows:
        types = {name: each.name for name, each in (options.get("set_column_types") or {}).items()}
        return Rows((method, {**options, "set_column_types": types} if types else dict(options)))

    def then(self, method: str, **options: Any) -> Rows:
        return Rows(*self.calls, (method, options))


class OutputFileDatasetConfig:
    """A folder that is there, and empty, when the step's script starts.

    `as_upload`, `as_mount` and `register_on_complete` give copies, each of which is still the same output.
    """

    def __init__(
        self,
        name: str | None = None,
        destination: tuple[Datastore, str | None] | None = None,
        source: str | None = None,
        partition_format: str | None = None,
    ) -> None:
        if name is not None and not _NAME.match(name):
            raise UserErrorException(f"an output cannot be called {name!r}; letters, digits and _ are taken")
        if destination is not None and len(tuple(destination)) != 2:
            raise UserErrorException(
                f"output {name!r}: destination={destination!r} is wrong; it is a pair of a datastore and a path"
            )
        if source is not None:
            raise NotOnOneBoxError(
                f"output {name!r}: source={source!r} is not known here; have the script write into the folder that it "
                "is given"
            )
        # v1 drew a name by chance, so that no step was ever reused that had one.
        self.name = name or f"output_{next(_numbers):08x}"
        self.destination = destination
        self.partition_format = partition_format
        self.mode = "mount"
        self.registration: Registration | None = None
        #: What all copies of one output have in common.
        self.origin = Origin(self.name)

    def as_mount(self, disable_metadata_cache: bool = False) -> OutputFileDatasetConfig:
        return self._with(mode="mount")

    def as_upload(self, overwrite: bool = False, source_globs: Any = None) -> OutputFileDatasetConfig:
        """As v1 sent it when the script had ended; here all modes are one folder."""
        if source_globs is not None:
            raise NotOnOneBoxError(
                f"output {self.name!r}: source_globs={source_globs!r} is not known here; all that the script leaves in the "
                "folder is kept, so have it remove the rest"
            )
        return self._with(mode="upload")

    def register_on_complete(
        self, name: str, description: str | None = None, tags: Mapping[str, str] | None = None
    ) -> OutputFileDatasetConfig:
        """Have the folder registered as a dataset when the run has completed."""
        if description or tags:
            note_ignored("description= and tags= of register_on_complete")
        return self._with(registration=Registration(name, description, tags))

    def as_input(self, name: str | None = None) -> OutputAsInput:
        """The folder as an input of a later step, by a name."""
        return OutputAsInput(self, name or f"input_{self.name}")

    def read_delimited_files(self, **options: Any) -> OutputTabularDatasetConfig:
        """The rows of the delimited files in it; the options are those of `Dataset.Tabular.from_delimited_files`."""
        return OutputTabularDatasetConfig(self, Rows.of("from_delimited_files", options))

    def read_parquet_files(self, **options: Any) -> OutputTabularDatasetConfig:
        """The rows of the Parquet files in it."""
        return OutputTabularDatasetConfig(self, Rows.of("from_parquet_files", options))

    def _with(self, **changes: Any) -> OutputFileDatasetConfig:
        changed = copy.copy(self)
        changed.__dict__.update(changes)
        return changed

    def __repr__(self) -> str:
        return f"<output {self.name!r}>"


class OutputAsInput:
    """A folder that an earlier step wrote, as an input of a later one; that is what makes the one wait for the other."""

    def __init__(
        self, output: OutputFileDatasetConfig, name: str, mode: str = "mount", rows: Rows | None = None
    ) -> None:
        from pipelite.azureml.data import dataset_consumption_config

        dataset_consumption_config.DatasetConsumptionConfig(name, output, mode)
        self.output = output
        self.name = name
        self.mode = mode
        self.rows = rows

    def as_mount(self, path_on_compute: str | None = None) -> OutputAsInput:
        return OutputAsInput(self.output, self.name, "mount")

    def as_download(self, path_on_compute: str | None = None) -> OutputAsInput:
        return OutputAsInput(self.output, self.name, "download")


class OutputTabularDatasetConfig:
    """Rows of what a step writes, for a later step that finds them in `run.input_datasets`."""

    def __init__(self, output: OutputFileDatasetConfig, rows: Rows) -> None:
        self.output = output
        self.rows = rows

    def keep_columns(self, columns: Any, validate: bool = False) -> OutputTabularDatasetConfig:
        return OutputTabularDatasetConfig(self.output, self.rows.then("keep_columns", columns=columns))

    def drop_columns(self, columns: Any) -> OutputTabularDatasetConfig:
        return OutputTabularDatasetConfig(self.output, self.rows.then("drop_columns", columns=columns))

    def as_input(self, name: str | None = None) -> OutputAsInput:
        return OutputAsInput(self.output, name or f"input_{self.output.name}", "direct", self.rows)
