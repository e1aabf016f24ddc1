"""`python -m pipelite.azureml SCRIPT_OR_NOTEBOOK [ARGUMENTS]`, or `-m MODULE [ARGUMENTS]`: run what imports `azureml`."""

from __future__ import annotations

import os
import sys

from pipelite.azureml.running import run_file, run_module


def main(arguments: list[str]) -> None:
    """Run a script, a notebook or a module."""
    if not arguments or arguments == ["-m"]:
        sys.exit("usage: python -m pipelite.azureml SCRIPT_OR_NOTEBOOK [ARGUMENTS], or -m MODULE [ARGUMENTS]")
    script = arguments[0]
    if script == "-m":
        run_module(arguments[1], arguments[2:])
        return
    if not os.path.isfile(script):
        sys.exit(f"there is no script {script!r} (seen from {os.getcwd()})")
    run_file(script, arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
