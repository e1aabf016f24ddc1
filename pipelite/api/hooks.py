"""The hooks of a workspace, as the user holds them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelite import automate
from pipelite.automate import ENDS, Delivery, Hook
from pipelite.store import Store


class Hooks(Mapping[str, Hook]):
    """The hooks of a workspace by name."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getitem__(self, name: str) -> Hook:
        return automate.find_hook(self._store, name)

    def __iter__(self) -> Iterator[str]:
        return iter([hook.name for hook in automate.list_hooks(self._store)])

    def __len__(self) -> int:
        return len(automate.list_hooks(self._store))

    def add(
        self,
        name: str,
        url: str,
        *,
        events: Sequence[str] = ENDS,
        published: Sequence[str] | None = None,
        pipelines: Sequence[str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        secret_headers: Mapping[str, str] | None = None,
        secret: str | None = None,
    ) -> Hook:
        """Have a request sent on events of runs; a hook of the same name is replaced.

        Parameters
        ----------
        url : str
            Where to: http or https; or `env:NAME` or `file:PATH` where the address itself is a secret.
        events : sequence of str
            queued, started, completed, failed, canceled, interrupted; by default those that end a run.
        published, pipelines : sequence of str, optional
            Only of runs of these published pipelines, and of these pipelines.
        body : JSON value, optional
            With placeholders such as "{{run.id}}" in its strings.
        headers : mapping of str to str, optional
        secret_headers : mapping of str to str, optional
            Header to where its value is: `env:NAME`, or `file:PATH` of a file with mode 0600.
        secret : str, optional
            Where the secret is that requests are signed with, in the same way.

        Raises
        ------
        HookError
            If it cannot be kept or sent so.
        """
        hook = Hook(
            name=name,
            url=_absolute(url),
            events=tuple(events),
            published=None if published is None else tuple(published),
            pipelines=None if pipelines is None else tuple(pipelines),
            headers=dict(headers or {}),
            secret_headers={header: _absolute(where) for header, where in (secret_headers or {}).items()},
            secret=None if secret is None else _absolute(secret),
            **({} if body is None else {"body": body}),
        )
        automate.add_hook(self._store, hook)
        return hook

    def remove(self, name: str) -> None:
        """Forget a hook and its deliveries.

        Raises
        ------
        UnknownNameError
            If there is none of that name.
        """
        automate.remove_hook(self._store, name)

    def test(self, name: str) -> int:
        """Send what a hook sends, of a run that never was, once and from here; the status of the answer.

        Raises
        ------
        UnknownNameError
            If there is none of that name.
        DeliveryError
            If it was not taken.
        """
        return automate.send_test(self._store, name)

    def deliveries(
        self, hook: str | None = None, *, state: str | None = None, limit: int | None = 50
    ) -> list[Delivery]:
        """What was sent or is to be, the newest first; `state` is waiting, sending, delivered or dead."""
        return automate.list_deliveries(self._store, hook=hook, state=state, limit=limit)

    def redeliver(self, *ids: str) -> None:
        """Have deliveries sent again, under the same ids, to what the hook is now.

        Raises
        ------
        HookError
            If one is being sent, or there is none of that id.
        """
        automate.redeliver(self._store, ids)

    def __repr__(self) -> str:
        return f"<hooks {', '.join(self)}>"


def _absolute(reference: str) -> str:
    """A reference to a file as it is found from anywhere: another process in another folder will look it up."""
    path = reference.removeprefix("file:")
    if path in ("", reference):
        return reference
    return f"file:{os.path.abspath(Path(path).expanduser())}"
