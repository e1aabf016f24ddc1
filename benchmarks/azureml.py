"""What a step of `pipelite.azureml` costs over the same one of `pipelite.steps.script`: to define it, to start its script, and
to run it.

Run it with nothing else going on: `python benchmarks/azureml.py [--quick]`. Figures are medians of pairs, a step. Of the start of
a script it is the time of processors that counts, with bytecode at hand.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tables import simple_table

from pipelite import Step, pipeline
from pipelite.azureml.core import Workspace
from pipelite.azureml.importing import SHIM
from pipelite.azureml.pipeline.core import Pipeline, PipelineData, PipelineParameter
from pipelite.azureml.pipeline.steps import PythonScriptStep
from pipelite.steps import Input, Output, script

#: Steps of a pipeline, each of which reads what the one before wrote.
CHAIN = 50
LOG = "{}.log('x', 1)\n"
#: What a process prints goes nowhere.
QUIET = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
WRITE = "open(sys.argv[2], 'w').write(sys.argv[1])\n"
NATIVE = f"import sys\nfrom pipelite import current_run\ncurrent_run().log('x', 1)\n{WRITE}"
AZUREML = f"import sys\nfrom azureml.core import Run\nRun.get_context().log('x', 1)\n{WRITE}"


def define_native(folder: Path, length: int, value: int):
    """The steps as a pipeline of this library, traced."""
    steps: list[Step] = []
    for number in range(length):
        arguments = [Input("value"), Output("data"), *([Input("before")] if number else [])]
        steps.append(script("native.py", source_directory=folder, arguments=arguments, name=f"step {number}"))

    @pipeline(name="native")
    def flow(value: int):
        data = steps[0](value=value)
        for each in steps[1:]:
            data = each(value=value, before=data)

    flow.trace(value=value)
    return flow


def define_azureml(folder: Path, length: int, value: int) -> Pipeline:
    """The steps as a script of Azure ML defines them, written and traced."""
    parameter = PipelineParameter("value", value)
    data = None
    for number in range(length):
        before, data = data, PipelineData(f"data{number}")
        step = PythonScriptStep(
            "azure.py",
            name=f"step {number}",
            source_directory=str(folder),
            arguments=[parameter, data, *([before] if before else [])],
            inputs=[before] if before else [],
            outputs=[data],
        )
    made = Pipeline(Workspace(), [step])
    if made.validate():
        raise SystemExit(made.validate()[0])
    return made


def measure_definitions(folder: Path, n: int) -> list[float]:
    """Seconds a step, over the native ones."""
    found = []
    for value in range(n + 1):
        start = time.perf_counter()
        define_native(folder, CHAIN, value)
        native = time.perf_counter() - start
        start = time.perf_counter()
        define_azureml(folder, CHAIN, value)
        found.append((time.perf_counter() - start - native) / CHAIN)
    return found[1:]


def measure_starts(script: str, n: int) -> list[float]:
    """Seconds of processors that a process with a script takes, over one that logs by this library itself."""
    found = []
    for _ in range(n + 1):
        native = _spend(f"from pipelite import current_run\n{LOG.format('current_run()')}")
        found.append(_spend(f"{script}\n{LOG.format('Run.get_context()')}") - native)
    return found[1:]


def _spend(code: str) -> float:
    root = str(Path(__file__).parents[1])
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join((str(SHIM), root))}
    # Else each process would compile what it imports.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    # Outside of a run Azure's way to log prints: both have their say in vain.
    process = os.posix_spawn(sys.executable, [sys.executable, "-c", code], variables, file_actions=QUIET)
    _, status, used = os.wait4(process, 0)
    if status:
        raise SystemExit(f"a process ended with {status}")
    return used.ru_utime + used.ru_stime


def measure_runs(folder: Path, n: int) -> list[float]:
    """Seconds of a run of one step whose script logs a number, over the native one; what is said at submission too."""
    found = []
    for value in range(-n - 1, 0):
        native, ours = define_native(folder, 1, value), define_azureml(folder, 1, value)
        start = time.perf_counter()
        native.submit(value=value).wait()
        taken = time.perf_counter() - start
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            ours.submit("ours").wait_for_completion(show_output=False)
        found.append(time.perf_counter() - start - taken)
    return found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions, to see that it works")
    n = 3 if parser.parse_args().quick else 20
    os.environ["PIPELITE_PROGRESS"] = "quiet"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["PIPELITE_WORKSPACE"] = str(folder / "workspace")
        (folder / "src").mkdir()
        (folder / "src" / "native.py").write_text(NATIVE)
        (folder / "src" / "azure.py").write_text(AZUREML)
        rows = [
            ("definition of a step", _shown(measure_definitions(folder / "src", n)), "10 ms"),
            ("start of a script with its Run", _shown(measure_starts("from azureml.core import Run", 4 * n)), "5 ms"),
            (
                "start of one that imports Dataset too",
                _shown(measure_starts("from azureml.core import Run, Dataset", 4 * n)),
                "5 ms",
            ),
            ("run of a step whose script logs", _shown(measure_runs(folder / "src", n)), "20 ms"),
        ]
    print(simple_table(("Work over the native step", "Figure", "At most"), rows))


def _shown(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.1f} ms"


if __name__ == "__main__":
    main()
