"""What the views keep in the workspace: its settings under names that start with `azureml.`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelite.api import Workspace
    from pipelite.store import Store

_PREFIX = "azureml."
#: What the default datastore of an Azure ML workspace is called; here it is the folder `data/` of the workspace.
DEFAULT_DATASTORE = "workspaceblobstore"


def open_workspace() -> Workspace:
    """The workspace of this process."""
    # Not at the top: the script of a step that only logs needs none.
    from pipelite.api import Workspace

    return Workspace()


def get(store: Store, kind: str, name: str) -> Any:
    """What is kept of one thing; None if there is none of that name."""
    from pipelite.store import get_setting

    return get_setting(store, f"{_PREFIX}{kind}.{name}")


def get_all(store: Store, kind: str) -> dict[str, Any]:
    """All that is kept of one kind, by name."""
    from pipelite.store import get_settings

    return get_settings(store, f"{_PREFIX}{kind}.")


def put(store: Store, kind: str, name: str, value: Any) -> None:
    """Keep something; JSON."""
    from pipelite.store import put_setting

    put_setting(store, f"{_PREFIX}{kind}.{name}", value)


def remove(store: Store, kind: str, name: str) -> None:
    """Forget it."""
    from pipelite.store import remove_setting

    remove_setting(store, f"{_PREFIX}{kind}.{name}")


def workspace_names(store: Store) -> tuple[str, str, str]:
    """What the scripts of this workspace call its subscription, its resource group, and itself."""
    found: list[str] = get(store, "workspace", "names") or ["local", "local", "local"]
    return found[0], found[1], found[2]


def make_id(*parts: str) -> str:
    """An id in the form of Azure's, the same for the same things."""
    import uuid

    return str(uuid.uuid5(uuid.NAMESPACE_URL, "\0".join(("pipelite", *parts))))
