"""Starts the published pipeline as any client does: a POST with the header of whoever has signed in."""

from pathlib import Path

import requests
from azureml.core import Experiment, Workspace
from azureml.core.authentication import InteractiveLoginAuthentication
from azureml.pipeline.core import PipelineRun

rest_endpoint = Path("url.txt").read_text()
headers = InteractiveLoginAuthentication().get_authentication_header()
response = requests.post(
    rest_endpoint,
    headers=headers,
    # Values may be text; those that are left out have their defaults.
    json={"ExperimentName": "orders", "RunSource": "SDK", "ParameterAssignments": {"guests": "7"}},
    timeout=60,
)
response.raise_for_status()
run_id = response.json()["Id"]
print("Submitted pipeline run:", run_id)

run = PipelineRun(Experiment(Workspace.from_config(), "orders"), run_id)
print("ended:", run.wait_for_completion(show_output=False))
print(run.get_metrics())
