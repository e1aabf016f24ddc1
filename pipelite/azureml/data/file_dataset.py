"""`azureml.data.file_dataset`: datasets of files."""

from pipelite.azureml.core.dataset import FileDataset

__all__ = ["FileDataset"]
