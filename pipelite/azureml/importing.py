"""Has `import azureml...` find the modules of `pipelite.azureml`: in a script that runs here, and in the processes of its steps."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader, MetaPathFinder
else:
    # Of that module nothing is needed, and each script of a step would wait for it.
    Loader = MetaPathFinder = object

from pipelite.azureml.missing import find_way_out

_NAME = "azureml"
#: The package that all modules of that name are.
_OURS = "pipelite.azureml"
#: A folder whose only package, `azureml`, turns to this one: on the PYTHONPATH of a step's process.
SHIM = Path(__file__).with_name("shim")


class _Aliases(MetaPathFinder):
    """`azureml.core` is the module `pipelite.azureml.core` itself, so that its classes are the same by either name."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _NAME and not name.startswith(f"{_NAME}."):
            return None
        ours = _OURS + name[len(_NAME) :]
        found = importlib.util.find_spec(ours)
        if found is None:
            instead = find_way_out(name)
            if instead is not None:
                raise ModuleNotFoundError(f"there is no {name} here: {instead}", name=name)
            return None
        return ModuleSpec(name, _Alias(ours), is_package=found.submodule_search_locations is not None)


class _Alias(Loader):
    def __init__(self, ours: str) -> None:
        self._ours = ours
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._ours)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import gave it the spec of its other name.
        module.__spec__ = self._spec


def install() -> None:
    """From now on, `azureml` is this package, also where the SDK itself is installed."""
    if not any(isinstance(each, _Aliases) for each in sys.meta_path):
        sys.meta_path.insert(0, _Aliases())
    sys.modules[_NAME] = importlib.import_module(_OURS)
