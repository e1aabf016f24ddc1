"""`azureml.train.dnn`."""

from __future__ import annotations

from pipelite.azureml.train.estimator import Estimator


class TensorFlow(Estimator):
    """An estimator whose script uses that library, which has to be installed."""


class PyTorch(Estimator):
    """An estimator whose script uses that library, which has to be installed."""
