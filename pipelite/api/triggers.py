"""Triggers, as the user holds them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from pipelite import automate
from pipelite.api.publishing import Endpoint, Endpoints, PublishedPipeline, find_server, to_assignments
from pipelite.api.workspace import open_store
from pipelite.automate import Cause, FileChange, Firing, HttpCall, NewVersion, RunEnd, TriggerRecord
from pipelite.clock import CLOCK
from pipelite.errors import TriggerError
from pipelite.store import Store


class Trigger:
    """What happens for a published pipeline to run; a server or daemon of its workspace sees to it."""

    def __init__(self, store: Store, name: str, *, secret: str | None = None) -> None:
        self._store = store
        self.name = name
        #: What opens its URL, on the object that `create` gave only; nobody can tell it again.
        self.secret = secret

    @classmethod
    def create(
        cls,
        name: str,
        pipeline: PublishedPipeline | Endpoint | str,
        parameters: Mapping[str, Any] | None = None,
        *,
        on: Cause,
        cause_parameter: str | None = None,
        experiment: str | None = None,
        description: str | None = None,
        workspace: str | os.PathLike[str] | None = None,
    ) -> Trigger:
        """Keep a trigger. Of files, those that are there now are what changes are counted from.

        Parameters
        ----------
        pipeline
            A version, which stays the same, or an endpoint or its name: each run is of the version that it leads to then.
        on : FileChange, RunEnd, NewVersion or HttpCall
            What makes it run.
        cause_parameter : str, optional
            Name of the parameter that is told what happened: the changed paths, as a list (with `per_file` the one path);
            the id of the run that ended; the new version of a dataset as `NAME:VERSION`, or as its number if the parameter
            is an int.

        Raises
        ------
        TriggerError
            If it cannot be made so, or there is one of that name.
        ParameterError
            If a parameter is unknown, missing or of the wrong type.
        DatastoreError
            If the files that are there now cannot be listed.
        """
        store = open_store(workspace)
        if isinstance(pipeline, str):
            pipeline = Endpoints(store)[pipeline]
        if not isinstance(pipeline, (PublishedPipeline, Endpoint)):
            raise TriggerError(
                f"trigger {name!r} was given a {type(pipeline).__name__}; publish the pipeline, and give what "
                "`publish` returns or the name of the endpoint"
            )
        if not isinstance(on, (FileChange, RunEnd, NewVersion, HttpCall)):
            raise TriggerError(
                f"trigger {name!r} is to be on a {type(on).__name__}; FileChange, RunEnd, NewVersion or HttpCall is expected"
            )
        version = (pipeline.default if isinstance(pipeline, Endpoint) else pipeline)._version
        secret = automate.add_trigger(
            store,
            name,
            automate.find_version(store, version.id),
            to_assignments(store, version, parameters or {}, later=cause_parameter),
            on,
            endpoint=pipeline.name if isinstance(pipeline, Endpoint) else None,
            cause_parameter=cause_parameter,
            experiment=experiment,
            description=description,
            now=CLOCK.now(),
        )
        return cls(store, name, secret=secret)

    @property
    def record(self) -> TriggerRecord:
        """All that is stored of it."""
        return automate.find_trigger(self._store, self.name)

    @property
    def is_paused(self) -> bool:
        return self.record.is_paused

    @property
    def url(self) -> str | None:
        """The address to POST to, on the object that knows its secret: of the server that serves this workspace."""
        return None if self.secret is None else f"{find_server(self._store)}/triggers/{self.secret}"

    def history(self, *, limit: int | None = 50) -> list[Firing]:
        """What happened, the latest first: what had a run, and why the rest had none."""
        return automate.list_firings(self._store, self.name, limit=limit)

    def pause(self) -> None:
        """Have it make no runs until it is resumed."""
        automate.pause_trigger(self._store, self.name, now=CLOCK.now())

    def resume(self) -> None:
        """Have it go on; what happened meanwhile has no runs.

        Raises
        ------
        DatastoreError
            If the files that are there now cannot be listed; it stays paused.
        """
        automate.resume_trigger(self._store, self.name, now=CLOCK.now())

    def renew_secret(self) -> str:
        """Give it a new URL; the one before opens nothing any more.

        Raises
        ------
        TriggerError
            If it is not on an HttpCall.
        """
        self.secret = automate.renew_secret(self._store, self.name)
        return f"{find_server(self._store)}/triggers/{self.secret}"

    def revoke_secret(self) -> None:
        """Have its URL open nothing any more; see `renew_secret`."""
        automate.revoke_secret(self._store, self.name)
        self.secret = None

    def remove(self) -> None:
        """Forget it and its history; its runs stay."""
        automate.remove_trigger(self._store, self.name)

    def __repr__(self) -> str:
        return f"<trigger {self.name!r}>"


class Triggers(Mapping[str, Trigger]):
    """The triggers of a workspace by name."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getitem__(self, name: str) -> Trigger:
        return Trigger(self._store, automate.find_trigger(self._store, name).name)

    def __iter__(self) -> Iterator[str]:
        return iter([record.name for record in automate.list_triggers(self._store)])

    def __len__(self) -> int:
        return len(automate.list_triggers(self._store))
