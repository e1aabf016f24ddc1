"""`azureml.data.output_dataset_config`: a folder that a step writes."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelite.azureml.exceptions import UserErrorException

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


class Registration:
    """What a folder is registered as, when its step has completed."""

    def __init__(self, name: str, description: str | None, tags: Mapping[str, str] | None) -> None:
        self.name = name
        self.description = description
        self.tags = dict(tags or {})


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
        # v1 drew a name by chance, so that no step was ever reused that had one.
        self.name = name or f"output_{next(_numbers):08x}"
        self.destination = destination
        self.source = source
        self.partition_format = partition_format
        self.mode = "mount"
        self.registration: Registration | None = None
        #: What all copies of one output have in common.
        self.origin = Origin(self.name)

    def as_mount(self, disable_metadata_cache: bool = False) -> OutputFileDatasetConfig:
        return self._with(mode="mount")

    def as_upload(self, overwrite: bool = False, source_globs: Any = None) -> OutputFileDatasetConfig:
        return self._with(mode="upload", overwrite=overwrite, source_globs=source_globs)

    def register_on_complete(
        self, name: str, description: str | None = None, tags: Mapping[str, str] | None = None
    ) -> OutputFileDatasetConfig:
        """Have the folder registered as a dataset when the run has completed."""
        return self._with(registration=Registration(name, description, tags))

    def as_input(self, name: str | None = None) -> OutputAsInput:
        """The folder as an input of a later step, by a name."""
        return OutputAsInput(self, name or f"input_{self.name}")

    def _with(self, **changes: Any) -> OutputFileDatasetConfig:
        changed = copy.copy(self)
        changed.__dict__.update(changes)
        return changed

    def __repr__(self) -> str:
        return f"<output {self.name!r}>"


class OutputAsInput:
    """A folder that an earlier step wrote, as an input of a later one; that is what makes the one wait for the other."""

    def __init__(self, output: OutputFileDatasetConfig, name: str, mode: str = "mount") -> None:
        from pipelite.azureml.data import dataset_consumption_config

        dataset_consumption_config.DatasetConsumptionConfig(name, output, mode)
        self.output = output
        self.name = name
        self.mode = mode

    def as_mount(self, path_on_compute: str | None = None) -> OutputAsInput:
        return OutputAsInput(self.output, self.name, "mount")

    def as_download(self, path_on_compute: str | None = None) -> OutputAsInput:
        return OutputAsInput(self.output, self.name, "download")
