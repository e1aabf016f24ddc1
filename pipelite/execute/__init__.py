"""Runs a graph: sends steps to slots, takes in what they return, writes the run's records.

In: a graph and a workspace. Out: artifacts and records; inside a step, `current_run()`.
"""

from __future__ import annotations

from pipelite.execute.containers import LIBRARY, Container, Engine, find_engine
from pipelite.execute.context import StepContext, current_run
from pipelite.execute.coordinator import Coordinator
from pipelite.execute.course import Progress
from pipelite.execute.failures import load_exception
from pipelite.execute.functions import import_module, stop_if_importing_script
from pipelite.execute.inherited import DATASETS_VARIABLE, log_file_of, shared_variables
from pipelite.execute.interpreters import LIBRARY_VARIABLE, Interpreter
from pipelite.execute.messages import StepEnded
from pipelite.execute.outliving import start_outliving
from pipelite.execute.preview import preview
from pipelite.execute.recovery import recover_dead_runs
from pipelite.execute.slots import SLOTS_VARIABLE, count_slots, end_after, end_in_order, local_target
from pipelite.execute.snapshot import collect_sources
from pipelite.execute.targets import BUILT_IN, Targets, check_setting

__all__ = [
    "BUILT_IN",
    "DATASETS_VARIABLE",
    "LIBRARY",
    "LIBRARY_VARIABLE",
    "SLOTS_VARIABLE",
    "Container",
    "Coordinator",
    "Engine",
    "Interpreter",
    "Progress",
    "StepContext",
    "StepEnded",
    "Targets",
    "check_setting",
    "collect_sources",
    "count_slots",
    "current_run",
    "end_after",
    "end_in_order",
    "find_engine",
    "import_module",
    "load_exception",
    "local_target",
    "log_file_of",
    "preview",
    "recover_dead_runs",
    "shared_variables",
    "start_outliving",
    "stop_if_importing_script",
]
