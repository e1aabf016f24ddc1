"""What v1's calls say of a pipeline besides the module that it is; kept in the workspace by the name of that module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelite.azureml import _state
from pipelite.azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from pipelite.store import Store

_KIND = "graph"


def keep(store: Store, target: str | None, form: Mapping[str, Any]) -> None:
    """Keep the form of a pipeline that is found as "MODULE:FUNCTION"."""
    name = _name_of(target)
    if _state.get(store, _KIND, name) != form:
        _state.put(store, _KIND, name, dict(form))


def find(store: Store, target: str | None, whose: str) -> dict[str, Any]:
    """The form of a pipeline.

    Raises
    ------
    UserErrorException
        If it was made by other means than these calls.
    """
    found: dict[str, Any] | None = None if target is None else _state.get(store, _KIND, _name_of(target))
    if found is None:
        raise UserErrorException(
            f"{whose} is not of a Pipeline that was made by these calls, or by an earlier version; `pipelite graph` shows the "
            "graph of a pipeline in a file"
        )
    return found


def _name_of(target: str | None) -> str:
    return str(target).partition(":")[0]
