"""Pipelines of Azure Machine Learning's SDK v1, on one box: its names as thin views on what this library has.

``python -m pipelite.azureml SCRIPT`` runs a script that imports ``azureml``; new code imports the same names from
``pipelite.azureml``, such as ``from pipelite.azureml.core import Workspace``.
"""

from importlib import import_module
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    # `import azureml.core` made these known too.
    if name in ("data", "exceptions"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
