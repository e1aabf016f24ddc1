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
    return run_with(inputs, spark_command(inputs.pop(MASTER)))


def spark_command(master: str) -> tuple[str, ...]:
    """What stands before a script that the Spark of this machine is to run.

    Raises
    ------
    CommandError
        If there is no Spark, or no Java.
    """
    here = current_run()
    chosen = here._interpreter
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
    # What Spark writes by itself is gone with the step, also if it is killed.
    scratch = str(here.scratch)
    settings = {
        # Its ports are for itself, and a page that is gone with the step is for nobody.
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        # It would tell of its own shutdown behind the script's traceback.
        "spark.log.level": "WARN",
        "spark.local.dir": scratch,
    }
    variables = {
        # By these Spark finds itself, and runs the script.
        "PYSPARK_PYTHON": python,
        "PYSPARK_DRIVER_PYTHON": python,
        "SPARK_SUBMIT_OPTS": f'{os.environ.get("SPARK_SUBMIT_OPTS", "")} "-Djava.io.tmpdir={scratch}"',
    }
    told = [f"{name}={value}" for name, value in variables.items()]
    options = [text for name, value in settings.items() for text in ("--conf", f"{name}={value}")]
    return ("env", *told, program, "--master", master, *options)
