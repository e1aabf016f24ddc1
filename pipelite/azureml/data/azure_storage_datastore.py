"""`azureml.data.azure_storage_datastore`: the kinds of datastores."""

from pipelite.azureml.core.datastore import AzureBlobDatastore, AzureFileDatastore
from pipelite.azureml.core.datastore import Datastore as AbstractAzureStorageDatastore

__all__ = ["AbstractAzureStorageDatastore", "AzureBlobDatastore", "AzureFileDatastore"]
