"""A weather station sends a file now and then: each one starts a run of a published pipeline, which is given that file."""

from pathlib import Path

from azureml.core import Workspace
from azureml.data.datapath import DataPath, DataPathComputeBinding
from azureml.pipeline.core import Pipeline, PipelineParameter, Schedule
from azureml.pipeline.steps import PythonScriptStep

ws = Workspace.from_config()
datastore = ws.get_default_datastore()

# What a run is given that nobody gives a file.
Path("example.csv").write_text("hour,degrees\n6,4.5\n12,11.5\n")
datastore.upload_files(["example.csv"], target_path="examples", overwrite=True, show_progress=False)
readings = PipelineParameter(name="readings", default_value=DataPath(datastore, "examples/example.csv"))
binding = DataPathComputeBinding(mode="download")

average = PythonScriptStep(
    name="average",
    source_directory="average",
    script_name="average.py",
    compute_target="station-cluster",
    inputs=[(readings, binding)],
    arguments=["--readings", (readings, binding)],
)
pipeline = Pipeline(workspace=ws, steps=[average])
published = pipeline.publish(name="Average of a day", description="What the readings of a file come to", version="1.0")

# Files that are in the folder by now start nothing, and neither do those below its folders.
schedule = Schedule.create(
    ws,
    name="New readings",
    description="A run for each file that is new or has changed",
    pipeline_id=published.id,
    experiment_name="station",
    datastore=datastore,
    path_on_datastore="readings",
    polling_interval=1,
    data_path_parameter_name="readings",
)
print(f"schedule {schedule.name!r} is {schedule.status}, and looks into {schedule.path_on_datastore!r} every minute")
