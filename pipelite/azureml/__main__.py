"""`python -m pipelite.azureml SCRIPT [ARGUMENTS]`: run a script or a notebook that imports `azureml`."""

from __future__ import annotations

import os
import sys
import tokenize
from importlib.machinery import ModuleSpec
from types import ModuleType

from pipelite.azureml.importing import SHIM, install


def main(arguments: list[str]) -> None:
    """Run a script as Python would, with `azureml` found here."""
    if not arguments:
        sys.exit("usage: python -m pipelite.azureml SCRIPT [ARGUMENTS]")
    script = arguments[0]
    if not os.path.isfile(script):
        sys.exit(f"there is no script {script!r} (seen from {os.getcwd()})")
    install()
    # Processes that the script starts itself find it too.
    paths = filter(None, (str(SHIM), os.environ.get("PYTHONPATH", "")))
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    sys.argv = arguments
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    module = ModuleType("__main__")
    module.__file__ = script
    # Workers are not to import it, as they do a script with functions that are steps: without a guard it would start the
    # pipeline again in each of them.
    module.__spec__ = ModuleSpec("__main__", None)
    sys.modules["__main__"] = module
    with tokenize.open(script) as file:
        code = compile(file.read(), script, "exec")
    exec(code, module.__dict__)  # noqa: S102 - what it is for


if __name__ == "__main__":
    main(sys.argv[1:])
