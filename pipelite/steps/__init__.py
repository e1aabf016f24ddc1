"""Steps that are no functions: scripts and other programs.

In: what to run, with placeholders for inputs and outputs. Out: a step to call in a pipeline's body.
"""

from __future__ import annotations

from pipelite.steps.commands import script, shell
from pipelite.steps.placeholders import Input, Output

__all__ = ["Input", "Output", "script", "shell"]
