"""The one way to import what only some users install."""

from __future__ import annotations

import importlib
from types import ModuleType

from pipelite.errors import MissingExtraError


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra installs it.

    Raises
    ------
    MissingExtraError
        If the package is not installed. A package that is installed but broken inside raises its own error: hiding
        that would send the user to the wrong fix.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"{module!r} is not installed; it comes with the extra {extra!r}: "
            f"in your clone of pipelite, run: pip install '.[{extra}]'"
        ) from exc
