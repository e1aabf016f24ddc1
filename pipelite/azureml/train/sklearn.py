"""`azureml.train.sklearn`."""

from __future__ import annotations

from pipelite.azureml.train.estimator import Estimator


class SKLearn(Estimator):
    """An estimator whose script uses that library, which has to be installed."""
