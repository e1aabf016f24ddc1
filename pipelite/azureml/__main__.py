"""`python -m pipelite.azureml SCRIPT_OR_NOTEBOOK [ARGUMENTS]`, or `-m MODULE [ARGUMENTS]`: run what imports `azureml`."""

from __future__ import annotations

import os
import sys

from pipelite.azureml.hints import find_hint
from pipelite.azureml.running import run_file, run_module


def main(arguments: list[str]) -> None:
    """Run a script, a notebook or a module."""
    if not arguments or arguments == ["-m"]:
        sys.exit("usage: python -m pipelite.azureml SCRIPT_OR_NOTEBOOK [ARGUMENTS], or -m MODULE [ARGUMENTS]")
    script, *others = arguments
    if script != "-m" and not os.path.isfile(script):
        sys.exit(f"there is no script {script!r} (seen from {os.getcwd()})")
    try:
        if script == "-m":
            run_module(others[0], others[1:])
        else:
            run_file(script, others)
    except Exception as exc:
        hint = find_hint(f"{type(exc).__name__}: {exc}")
        if hint is not None:
            exc.add_note(hint)
        raise


if __name__ == "__main__":
    main(sys.argv[1:])
