"""The workspace, as the user holds it."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelite.errors import StorageError
from pipelite.records import Status
from pipelite.store import Store, clear_dead_owners, find_dead_runs, get_run, hold_store, list_runs

if TYPE_CHECKING:
    from pipelite.api.compute import ComputeTargets
    from pipelite.api.environments import Environments
    from pipelite.api.hooks import Hooks
    from pipelite.api.publishing import Endpoints, PublishedPipelines
    from pipelite.api.runs import Run
    from pipelite.api.schedules import Schedules
    from pipelite.api.triggers import Triggers
    from pipelite.data import Datasets, Datastores


#: Stores of this process whose dead runs were marked.
_cleaned: weakref.WeakSet[Store] = weakref.WeakSet()
_lock = threading.Lock()


def open_store(path: str | os.PathLike[str] | None = None, *, create: bool = True) -> Store:
    """The workspace folder, held open once a process.

    The first opening marks the runs whose process is gone as interrupted.
    """
    store = hold_store(path, create=create)
    with _lock:
        if store not in _cleaned:
            _cleaned.add(store)
            # A disk that is full must not keep anybody from looking; they are closed when there is space.
            with contextlib.suppress(StorageError):
                close_dead_runs(store)
    return store


def close_dead_runs(store: Store) -> list[str]:
    """Mark the runs whose process is gone as interrupted, keep all that they had logged, and return their ids."""
    if not find_dead_runs(store) and not os.listdir(store.path / "spool"):
        clear_dead_owners(store.path)
        return []
    # Only then: to look at runs, the room above is not needed.
    from pipelite.execute import recover_dead_runs

    return recover_dead_runs(store)


class Workspace:
    """A workspace folder and what is in it.

    Parameters
    ----------
    path : str or Path, optional
        The folder; by default that of PIPELITE_WORKSPACE, else the nearest `.pipelite` upwards of the working
        directory, else a new one there.

    Raises
    ------
    WorkspaceError
        If it cannot be used, for example because it lies on a network file system or was made by a newer version.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._store = open_store(path)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._store.path

    @property
    def store(self) -> Store:
        """The room below, for tools; not part of the public surface."""
        return self._store

    def runs(
        self,
        *,
        pipeline: str | None = None,
        experiment: str | None = None,
        status: str | None = None,
        since: datetime | None = None,
        limit: int | None = 50,
    ) -> list[Run]:
        """Runs that match everything given, the newest first."""
        from pipelite.api.runs import Run

        records = list_runs(
            self._store,
            pipeline=pipeline,
            experiment=experiment,
            status=None if status is None else Status(status),
            since=since,
            limit=limit,
        )
        return [Run(self._store, record.id) for record in records]

    def run(self, id: str | None = None) -> Run:
        """One run by its id, or the beginning or end of it; the newest without one.

        Raises
        ------
        NotFoundError
            If there is none, or several.
        """
        from pipelite.api.runs import Run

        return Run(self._store, get_run(self._store, id).id)

    @property
    def compute(self) -> ComputeTargets:
        """Where steps can run, by name."""
        from pipelite.api.compute import ComputeTargets

        return ComputeTargets(self._store)

    @property
    def environments(self) -> Environments:
        """The environments that were made for steps, and what becomes of those that steps ask for."""
        from pipelite.api.environments import Environments

        return Environments(self._store)

    @property
    def datasets(self) -> Datasets:
        """The registered datasets by name, each its latest version; with `records`, `uses` and `made_from`."""
        from pipelite.data import Datasets

        return Datasets(self._store)

    @property
    def datastores(self) -> Datastores:
        """Named places for data: a mapping with `register` and `remove`."""
        from pipelite.data import Datastores

        return Datastores(self._store)

    @property
    def published(self) -> PublishedPipelines:
        """The published pipelines: by name the version that its endpoint leads to, by id any version."""
        from pipelite.api.publishing import PublishedPipelines

        return PublishedPipelines(self._store)

    @property
    def endpoints(self) -> Endpoints:
        """The names that lead to one version each of a published pipeline."""
        from pipelite.api.publishing import Endpoints

        return Endpoints(self._store)

    @property
    def hooks(self) -> Hooks:
        """Requests that are sent on events of runs: a mapping with `add`, `remove`, `test`, `deliveries`, `redeliver`."""
        from pipelite.api.hooks import Hooks

        return Hooks(self._store)

    @property
    def schedules(self) -> Schedules:
        """When published pipelines run by themselves, by name."""
        from pipelite.api.schedules import Schedules

        return Schedules(self._store)

    @property
    def triggers(self) -> Triggers:
        """What makes published pipelines run besides schedules, by name."""
        from pipelite.api.triggers import Triggers

        return Triggers(self._store)

    @property
    def experiments(self) -> list[str]:
        """Names of all experiments, in alphabetical order."""
        rows = self._store.database.read("SELECT DISTINCT experiment FROM runs ORDER BY experiment")
        return [row["experiment"] for row in rows]

    def __repr__(self) -> str:
        return f"<workspace {self.path}>"
