"""Functions and their calls come in; a graph of nodes with bound inputs goes out.

Nothing is computed, stored or hashed here: mistakes in a pipeline are found before any work.
"""

from __future__ import annotations

from pipelite.define.decorator import step
from pipelite.define.graph import Graph, Node
from pipelite.define.handles import ListOutput, Output, iter_handles, rebuild, replace_handles
from pipelite.define.options import StepOptions
from pipelite.define.parameters import ParameterSpec, bind_parameters, parameters_of
from pipelite.define.step import Step
from pipelite.define.tracing import is_tracing, prefix, trace, untraced

__all__ = [
    "Graph",
    "ListOutput",
    "Node",
    "Output",
    "ParameterSpec",
    "Step",
    "StepOptions",
    "bind_parameters",
    "is_tracing",
    "iter_handles",
    "parameters_of",
    "prefix",
    "rebuild",
    "replace_handles",
    "step",
    "trace",
    "untraced",
]
