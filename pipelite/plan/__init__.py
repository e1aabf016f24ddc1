"""Decides per node whether its output is reused or computed, and why.

In: nodes whose inputs are known, and what is stored. Out: a key and a decision for each.
"""

from pipelite.plan.decide import Decision, decide
from pipelite.plan.planner import PlannedNode, Planner, load_outputs
from pipelite.plan.reads import MISSING, digest_read, find_changed_read, uses_of

__all__ = [
    "MISSING",
    "Decision",
    "PlannedNode",
    "Planner",
    "decide",
    "digest_read",
    "find_changed_read",
    "load_outputs",
    "uses_of",
]
