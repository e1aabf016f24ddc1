"""How full is a lake? Levels are prepared in one way for training and for prediction; two pipelines share a model."""

import random
from pathlib import Path

from azureml.core import Experiment, Workspace
from azureml.core.compute import AmlCompute, ComputeTarget
from azureml.core.compute_target import ComputeTargetException
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.runconfig import DEFAULT_CPU_IMAGE, RunConfiguration
from azureml.data.data_reference import DataReference
from azureml.pipeline.core import Pipeline, PipelineData
from azureml.pipeline.steps import PythonScriptStep


def write_levels(path: Path, days: range) -> None:
    """Rain of a day in millimetres and the level of the lake on the next one in metres; a gauge fails now and then."""
    numbers = random.Random(days.start)
    lines = ["day,rain,level"]
    for day in days:
        rain = numbers.expovariate(0.2)
        level = 3 + 0.05 * rain + numbers.gauss(0, 0.02)
        lines.append(f"{day},{'' if day % 12 == 0 else f'{rain:.1f}'},{level:.2f}")
    path.write_text("\n".join(lines) + "\n")


ws = Workspace.from_config()

aml_compute_target = "aml-compute"
try:
    aml_compute = AmlCompute(ws, aml_compute_target)
    print("found existing compute target.")
except ComputeTargetException:
    print("creating new compute target")
    provisioning_config = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", min_nodes=1, max_nodes=1)
    aml_compute = ComputeTarget.create(ws, aml_compute_target, provisioning_config)
    aml_compute.wait_for_completion(show_output=True, min_node_count=None, timeout_in_minutes=20)

# What the scripts are run with. The container is recorded; the packages follow the workspace's setting `environments`.
run_amlcompute = RunConfiguration()
run_amlcompute.target = aml_compute_target
run_amlcompute.environment.docker.enabled = True
run_amlcompute.environment.docker.base_image = DEFAULT_CPU_IMAGE
run_amlcompute.environment.python.user_managed_dependencies = False
run_amlcompute.auto_prepare_environment = True
run_amlcompute.environment.python.conda_dependencies = CondaDependencies.create(
    pip_packages=["numpy", "pandas", "scikit-learn", "sklearn_pandas"]
)

# Raw data that lie on the datastore already.
def_blob_store = ws.get_default_datastore()
write_levels(Path("levels.csv"), range(1, 200))
write_levels(Path("new_levels.csv"), range(200, 230))
def_blob_store.upload_files(["levels.csv", "new_levels.csv"], target_path="lake", overwrite=True, show_progress=False)
raw_data = DataReference(datastore=def_blob_store, data_reference_name="raw_data", path_on_datastore="lake/levels.csv")

processed_data = PipelineData("processed_data", datastore=def_blob_store)

# One script in two modes: here it prepares data to train with.
data_prep_step = PythonScriptStep(
    name="process_data_step",
    source_directory="process",
    script_name="process.py",
    arguments=["--process_mode", "train", "--input", raw_data, "--output", processed_data],
    inputs=[raw_data],
    outputs=[processed_data],
    compute_target=aml_compute,
    runconfig=run_amlcompute,
)
train_step = PythonScriptStep(
    name="train_step",
    source_directory="train",
    script_name="train.py",
    arguments=["--input", processed_data],
    inputs=[processed_data],
    compute_target=aml_compute,
    runconfig=run_amlcompute,
)
training = Experiment(ws, "lake-training").submit(Pipeline(workspace=ws, steps=[data_prep_step, train_step]))
print("training:", training.wait_for_completion(show_output=False))
print("model:", ws.models["lake-level"].id, ws.models["lake-level"].tags)

# And here data to predict for, in a pipeline of its own, which takes the model from the registry.
new_data = DataReference(
    datastore=def_blob_store, data_reference_name="new_data", path_on_datastore="lake/new_levels.csv"
)
processed_new_data = PipelineData("processed_new_data", datastore=def_blob_store)
predictions = PipelineData("predictions", datastore=def_blob_store, pipeline_output_name="predictions")
inference_prep_step = PythonScriptStep(
    name="process_data_step",
    source_directory="process",
    script_name="process.py",
    arguments=["--process_mode", "inference", "--input", new_data, "--output", processed_new_data],
    inputs=[new_data],
    outputs=[processed_new_data],
    compute_target=aml_compute,
    runconfig=run_amlcompute,
)
predict_step = PythonScriptStep(
    name="predict_step",
    source_directory="predict",
    script_name="predict.py",
    arguments=["--input", processed_new_data, "--output", predictions],
    inputs=[processed_new_data],
    outputs=[predictions],
    compute_target=aml_compute,
    runconfig=run_amlcompute,
    # The newest model is none of its inputs, so it is asked for anew each time.
    allow_reuse=False,
)
scoring = Experiment(ws, "lake-scoring").submit(Pipeline(workspace=ws, steps=[inference_prep_step, predict_step]))
print("scoring:", scoring.wait_for_completion(show_output=False))
found = scoring.get_pipeline_output("predictions")
found.download(".", show_progress=False)
print(Path(found.path_on_datastore, "levels.csv").read_text().splitlines()[:3])
