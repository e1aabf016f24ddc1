"""A published pipeline that others start by a request: this program publishes it, and tells where it is in a file."""

from pathlib import Path

from azureml.core import Workspace
from azureml.pipeline.core import Pipeline, PipelineParameter
from azureml.pipeline.steps import PythonScriptStep

ws = Workspace.from_config()
guests = PipelineParameter(name="guests", default_value=2)
sugar = PipelineParameter(name="sugar_rate", default_value=0.5)

order = PythonScriptStep(
    name="order",
    source_directory="order",
    script_name="order.py",
    compute_target="kitchen-cluster",
    arguments=["--guests", guests, "--sugar", sugar],
)
published = Pipeline(workspace=ws, steps=[order]).publish(
    name="Order of the day", description="What a number of guests needs", version="1.0"
)
Path("url.txt").write_text(published.endpoint)
print("published:", published.id)
