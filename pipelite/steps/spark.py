"""What runs in the worker for a script on the Spark of this machine."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

from pipelite.errors import CommandError
from pipelite.execute import current_run
from pipelite.steps.running import run_with

MASTER = "master"


def run_spark(**inputs: Any) -> Any:
    """Run a Python script by `spark-submit`; gives the paths of its outputs."""
    master = inputs.pop(MASTER)
    chosen = current_run()._interpreter
    python = sys.executable if chosen is None else chosen.python
    home = os.environ.get("SPARK_HOME")
    places = [os.path.dirname(python), *([os.path.join(home, "bin")] if home else []), os.environ.get("PATH", "")]
    program = shutil.which("spark-submit", path=os.pathsep.join(places))
    if program is None:
        raise CommandError(
            "there is no spark-submit: neither beside Python, nor in $SPARK_HOME/bin, nor on the PATH; give the step "
            'environment=Environment(packages=["pyspark"]), or install pyspark'
        )
    java = os.environ.get("JAVA_HOME")
    if shutil.which("java", path=os.path.join(java, "bin") if java else None) is None:
        raise CommandError("there is no Java, which Spark runs on: install one (17 or newer), or set JAVA_HOME")
    # Spark looks for itself, and runs the script, by the Python that these name.
    pythons = [f"PYSPARK_PYTHON={python}", f"PYSPARK_DRIVER_PYTHON={python}"]
    return run_with(inputs, interpreter=("env", *pythons, program, "--master", master))
