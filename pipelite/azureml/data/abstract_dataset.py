"""`azureml.data.abstract_dataset`: what all datasets are."""

from pipelite.azureml.core.dataset import AbstractDataset

__all__ = ["AbstractDataset"]
