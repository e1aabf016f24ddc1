"""`azureml.data.tabular_dataset`: datasets of rows and columns."""

from pipelite.azureml.core.dataset import TabularDataset

__all__ = ["TabularDataset"]
