"""How many threads a step's libraries may use: as many as the cores it was given."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

#: What numerical libraries look at when they are loaded.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)
#: What joblib, and so scikit-learn's n_jobs=-1, takes for the number of cores.
CORES_VARIABLE = "LOKY_MAX_CPU_COUNT"
#: How many slots the step that runs in this process has: what it starts itself is to use these.
STEP_SLOTS_VARIABLE = "PIPELITE_STEP_SLOTS"
#: The workers that this process runs inside of, as RUN/PROCESS, the outermost first: a run that it starts holds them up.
STEP_WORKERS_VARIABLE = "PIPELITE_STEP_WORKERS"


def make_worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker: one core's worth of threads, unless the user has set a figure."""
    limits = dict.fromkeys(THREAD_VARIABLES, "1")
    return {**limits, **environment, CORES_VARIABLE: "1", STEP_SLOTS_VARIABLE: "1"}


_cpus_in_use = 1


def use_threads(cpus: int, environment: Mapping[str, str]) -> None:
    """Let the libraries of this worker use `cpus` threads from now on.

    `environment` is the worker's own, which holds for one core.
    """
    global _cpus_in_use
    if cpus == _cpus_in_use and os.environ.get(STEP_SLOTS_VARIABLE) == str(cpus):
        return
    for name in (*THREAD_VARIABLES, CORES_VARIABLE, STEP_SLOTS_VARIABLE):
        if cpus > 1:
            os.environ[name] = str(cpus)
        elif name in environment:
            os.environ[name] = environment[name]
    _cpus_in_use = cpus
    if "numpy" not in sys.modules:
        return
    # Pools of libraries that are loaded have read their variables already; threadpoolctl talks to them.
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:  # numpy without scikit-learn
        return
    threadpool_limits(limits=cpus)
