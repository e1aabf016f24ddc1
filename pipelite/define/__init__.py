"""Functions and their calls come in; a graph of nodes with bound inputs goes out.

Nothing is computed, stored or hashed here: mistakes in a pipeline are found before any work.
"""

from __future__ import annotations

from pipelite.define.conversions import Mismatch, ParameterType, parse, register_type
from pipelite.define.decorator import step
from pipelite.define.described import NO_JSON, as_json, describe_parameter, read_parameter, to_json_schema
from pipelite.define.expanders import (
    Elements,
    Ended,
    Expander,
    Fan,
    Load,
    Logged,
    Skip,
    StatusOf,
    Stop,
)
from pipelite.define.fanning import MapStep, first_of
from pipelite.define.graph import Graph, Node
from pipelite.define.growing import GrowingTrace
from pipelite.define.handles import Item, ListOutput, Output, iter_handles, rebuild, replace_handles
from pipelite.define.mapping import read_elements
from pipelite.define.mistakes import described
from pipelite.define.options import EnvironmentSpec, StepOptions
from pipelite.define.outputs import describe_place
from pipelite.define.parameters import ParameterSpec, bind_parameters, parameters_of
from pipelite.define.step import Step
from pipelite.define.tracing import is_tracing, prefix, trace, untraced

__all__ = [
    "NO_JSON",
    "Elements",
    "Ended",
    "EnvironmentSpec",
    "Expander",
    "Fan",
    "Graph",
    "GrowingTrace",
    "Item",
    "ListOutput",
    "Load",
    "Logged",
    "MapStep",
    "Mismatch",
    "Node",
    "Output",
    "ParameterSpec",
    "ParameterType",
    "Skip",
    "StatusOf",
    "Step",
    "StepOptions",
    "Stop",
    "as_json",
    "bind_parameters",
    "describe_parameter",
    "describe_place",
    "described",
    "first_of",
    "is_tracing",
    "iter_handles",
    "parameters_of",
    "parse",
    "prefix",
    "read_elements",
    "read_parameter",
    "rebuild",
    "register_type",
    "replace_handles",
    "step",
    "to_json_schema",
    "trace",
    "untraced",
]
