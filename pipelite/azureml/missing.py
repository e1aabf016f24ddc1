"""Modules of the SDK that are not here, and what to do instead."""

from __future__ import annotations

#: By the name of a module, with all below it.
_INSTEAD = {
    "azureml._restclient": "it was private to the SDK; catch azureml.exceptions.UserErrorException",
    "azureml._vendor": "it was private to the SDK",
    "azureml.automl": "it comes with AutoMLStep, in a later version",
    "azureml.contrib.automl": "it comes with AutoMLStep, in a later version",
    "azureml.contrib.interpret": "the package interpret-community explains models without Azure",
    "azureml.contrib.notebook": "pipelite.steps.notebook runs a notebook as a step; a PythonScriptStep runs it as a script",
    "azureml.dataprep": "Dataset.Tabular reads data, and pandas changes them",
    "azureml.explain": "the package interpret-community explains models without Azure",
    "azureml.interpret": "the package interpret-community explains models without Azure",
    "azureml.mlflow": "log with Run.get_context().log(name, value)",
    "azureml.opendatasets": "Azure's public data sets are not copied; put the files that you need on a datastore, or read "
    "them by their URL: Dataset.Tabular.from_delimited_files(...), from_parquet_files(...)",
    "azureml.tensorboard": "start it on the folder of its logs: tensorboard --logdir FOLDER",
    "azureml.train.automl.constants": "it comes with AutoMLStep, in a later version",
    "azureml.train.automl.run": "it comes with AutoMLStep, in a later version",
    "azureml.train.automl.runtime": "it comes with AutoMLStep, in a later version",
}


def find_way_out(module: str) -> str | None:
    """What to do instead of importing a module; None if nothing is known of it."""
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        found = _INSTEAD.get(".".join(parts[:length]))
        if found is not None:
            return found
    return None
