"""`python -m pipelite.azureml SCRIPT_OR_NOTEBOOK [ARGUMENTS]`: run what imports `azureml`."""

from __future__ import annotations

import os
import sys

from pipelite.azureml.running import run_file


def main(arguments: list[str]) -> None:
    """Run a script or a notebook."""
    if not arguments:
        sys.exit("usage: python -m pipelite.azureml SCRIPT_OR_NOTEBOOK [ARGUMENTS]")
    script = arguments[0]
    if not os.path.isfile(script):
        sys.exit(f"there is no script {script!r} (seen from {os.getcwd()})")
    run_file(script, arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
