"""Steps that are no functions, and the environments that steps run in.

In: what to run, with placeholders for inputs and outputs. Out: a step to call in a pipeline's body.
"""

from __future__ import annotations

from pipelite.steps.commands import script, shell
from pipelite.steps.databricks import databricks
from pipelite.steps.environments import Environment
from pipelite.steps.notebooks import glue, notebook
from pipelite.steps.placeholders import Input, Output
from pipelite.steps.sql import sql
from pipelite.steps.transfers import transfer

__all__ = ["Environment", "Input", "Output", "databricks", "glue", "notebook", "script", "shell", "sql", "transfer"]
