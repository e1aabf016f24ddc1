"""`azureml.contrib`: previews, of which none is here."""
