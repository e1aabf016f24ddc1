"""Turns `import azureml` to `pipelite.azureml`, in the processes of steps."""

from pipelite.azureml.importing import install

install()
