"""Runs a script, a module or a notebook that imports `azureml` as `__main__` of this process."""

from __future__ import annotations

import importlib.util
import os
import sys
import tokenize
from collections.abc import Sequence
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec
from types import ModuleType

from pipelite.azureml.importing import SHIM, install
from pipelite.azureml.notebooks import run_cells


def run_file(file: str, arguments: Sequence[str] = ()) -> None:
    """Run a script as Python would, or a notebook as Jupyter would, with `azureml` found here."""
    _find_azureml()
    path = os.path.abspath(file)
    sys.argv = [file, *arguments]
    sys.path[0] = os.path.dirname(path)
    # The SDK had it loaded, and scripts that only say `import urllib` rely on that.
    importlib.import_module("urllib.request")
    module = _main("__main__")
    if path.endswith(".ipynb"):
        # As Jupyter has it: modules are looked for where the notebook has gone. A notebook has no `__file__`.
        os.chdir(os.path.dirname(path))
        sys.path[0] = ""
        run_cells(path, module.__dict__)
        return
    module.__file__ = file
    with tokenize.open(file) as text:
        code = compile(text.read(), file, "exec")
    exec(code, module.__dict__)  # noqa: S102 - what it is for


def run_module(name: str, arguments: Sequence[str] = ()) -> None:
    """Run a module, or the `__main__` of a package, as `python -m` would, with `azureml` found here.

    Raises
    ------
    ImportError
        If there is no such module, or it is none that can be run.
    """
    _find_azureml()
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{name}.__main__")
    code = spec.loader.get_code(spec.name) if spec is not None and isinstance(spec.loader, InspectLoader) else None
    if spec is None or code is None:
        raise ImportError(f"there is no module {name!r} to run (seen from {os.getcwd()})", name=name)
    sys.argv = [spec.origin or name, *arguments]
    module = _main(f"{spec.parent}.__main__" if spec.parent else "__main__")
    # What its relative imports start from.
    module.__package__ = spec.parent
    module.__file__ = spec.origin
    exec(code, module.__dict__)  # noqa: S102 - what it is for


def _find_azureml() -> None:
    install()
    # Processes that the script starts itself find it too.
    paths = filter(None, (str(SHIM), os.environ.get("PYTHONPATH", "")))
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


def _main(name: str) -> ModuleType:
    module = sys.modules["__main__"] = ModuleType("__main__")
    # Workers are not to import it, as they do a script with functions that are steps: without a guard it would start the
    # pipeline again in each of them. No process imports a spec of such a name.
    module.__spec__ = ModuleSpec(name, None)
    return module
