"""Pipelines of Azure Machine Learning's SDK v1, on one box: its names as thin views on what this library has.

``python -m pipelite.azureml SCRIPT`` runs a script that imports ``azureml``; new code imports the same names from
``pipelite.azureml``, such as ``from pipelite.azureml.core import Workspace``.
"""
