"""Finds the pipeline that a text such as "flow.py:train" names."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from pipelite.api.pipelines import Pipeline
from pipelite.errors import NotFoundError, PipeliteError


def find_pipeline(target: str) -> Pipeline[..., Any]:
    """The pipeline under "FILE_OR_MODULE:PIPELINE"; without a name the only one there.

    Its module is imported under the name it has for everybody else: results are shared between `python flow.py`,
    `flow.py:train` and `import flow`.

    Raises
    ------
    NotFoundError
        If there is no such file, module or pipeline; names what there is.
    """
    place, _, name = target.rpartition(":") if ":" in target else (target, "", "")
    module = _load(place)
    found = {
        key: value for key, value in vars(module).items() if isinstance(value, Pipeline) and not key.startswith("_")
    }
    if name:
        value = getattr(module, name, None)
        if isinstance(value, Pipeline):
            return value
        if value is not None:
            raise NotFoundError(f"{name!r} in {place} is not a pipeline; is @pipeline missing above it? {_list(found)}")
        raise NotFoundError(f"{place} has no pipeline {name!r}; {_list(found)}")
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise NotFoundError(f"{place} has no pipeline: a function with @pipeline above it is expected there")
    raise NotFoundError(f"{place} has several pipelines: say which, as {place}:{next(iter(found))}; {_list(found)}")


def _list(found: dict[str, Pipeline[..., Any]]) -> str:
    return f"it has {', '.join(sorted(found))}" if found else "it has none at all"


def _load(place: str) -> ModuleType:
    if place.endswith(".py") or "/" in place:
        return _load_file(Path(place))
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as exc:
        if exc.name is None or not (place == exc.name or place.startswith(f"{exc.name}.")):
            raise
        raise NotFoundError(
            f"there is no module {place!r}; give a file (flow.py:train), or run this where {place!r} can be imported"
        ) from exc


def _load_file(path: Path) -> ModuleType:
    path = path.expanduser().resolve()
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    # A file inside of a package is part of it: its relative imports have to work.
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    name = ".".join(parts)
    module = importlib.import_module(name) if all(part.isidentifier() for part in parts) else None
    if module is None or module.__file__ is None or Path(module.__file__).resolve() != path:
        # Its name is no module name, or another module bears it.
        from pipelite.execute import import_module

        if module is not None:
            raise PipeliteError(
                f"{path} is hidden by another module of the name {name!r} ({module.__file__}); rename the file"
            )
        return import_module(name, str(path))  # type: ignore[no-any-return]
    return module
