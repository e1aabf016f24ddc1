"""`azureml.data.dataset_factory`: what makes datasets."""

from pipelite.azureml.core.dataset import DataType, FileDatasetFactory, TabularDatasetFactory

__all__ = ["DataType", "FileDatasetFactory", "TabularDatasetFactory"]
