"""Runs a script or a notebook that imports `azureml` as `__main__` of this process."""

from __future__ import annotations

import importlib
import os
import sys
import tokenize
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from pipelite.azureml.importing import SHIM, install
from pipelite.azureml.notebooks import run_cells


def run_file(file: str, arguments: Sequence[str] = ()) -> None:
    """Run a script as Python would, or a notebook as Jupyter would, with `azureml` found here."""
    install()
    # Processes that the script starts itself find it too.
    paths = filter(None, (str(SHIM), os.environ.get("PYTHONPATH", "")))
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    path = os.path.abspath(file)
    sys.argv = [file, *arguments]
    sys.path[0] = os.path.dirname(path)
    # The SDK had it loaded, and scripts that only say `import urllib` rely on that.
    importlib.import_module("urllib.request")
    module = ModuleType("__main__")
    # Workers are not to import it, as they do a script with functions that are steps: without a guard it would start the
    # pipeline again in each of them.
    module.__spec__ = ModuleSpec("__main__", None)
    sys.modules["__main__"] = module
    if path.endswith(".ipynb"):
        # As Jupyter has it. A notebook has no `__file__`.
        os.chdir(os.path.dirname(path))
        run_cells(path, module.__dict__)
        return
    module.__file__ = file
    with tokenize.open(file) as text:
        code = compile(text.read(), file, "exec")
    exec(code, module.__dict__)  # noqa: S102 - what it is for
