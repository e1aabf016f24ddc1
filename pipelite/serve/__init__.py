"""HTTP requests come in; queued runs and answers go out: the REST interface of a workspace, and who may call it.

Nothing that users wrote is imported, and nothing is unpickled, in a process that serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelite._optional import require

if TYPE_CHECKING:
    import os

    from pipelite.api import Workspace


def make_app(
    workspace: Workspace | str | os.PathLike[str] | None = None,
    *,
    hosts: Sequence[str] = (),
    paths: Sequence[str | os.PathLike[str]] = (),
) -> Any:
    """A WSGI application that answers requests for a workspace; `pipelite serve` and `pipelite daemon` execute the runs.

    Parameters
    ----------
    workspace : Workspace or path, optional
        By default the one that `Workspace()` opens.
    hosts : names
        What the header Host may say besides `localhost` and loopback addresses: how clients call the machine.
    paths : folders
        Absolute paths that a parameter of type `Path` takes lie below one of these.

    Raises
    ------
    MissingExtraError
        If Flask is not installed.
    """
    require("flask", extra="serve")
    from pipelite.api.workspace import open_store
    from pipelite.serve.app import App
    from pipelite.serve.service import Service

    store = open_store(workspace) if workspace is None or not hasattr(workspace, "store") else workspace.store
    return App(Service(store, hosts=hosts, paths=paths))


__all__ = ["make_app"]
