"""How many bikes are rented in an hour? A parameter, a schedule, a batch configuration; then a search whose results are used."""

import json
import math
import pickle
import random

import pandas as pd
from azureml.core import Dataset, Environment, Experiment, Workspace
from azureml.core.compute import AmlCompute, ComputeTarget
from azureml.core.compute_target import ComputeTargetException
from azureml.pipeline.core import Pipeline, PipelineData, PipelineEndpoint, PipelineParameter, TrainingOutput
from azureml.pipeline.core.run import PipelineRun
from azureml.pipeline.core.schedule import Schedule, ScheduleRecurrence
from azureml.pipeline.steps import ParallelRunConfig, PythonScriptStep
from azureml.train.automl import AutoMLConfig
from azureml.widgets import RunDetails
from sklearn.metrics import confusion_matrix

CLUSTER = "cpu-cluster"


def write_rentals(path: str, seed: int) -> None:
    """Hours with their temperature in degrees Celsius and how many bikes were rented; a count in fifty is missing."""
    numbers = random.Random(seed)
    lines = ["hour,temperature,cnt"]
    for number in range(300):
        hour, temperature = number % 24, numbers.uniform(-5, 30)
        count = round(40 + 5 * temperature + 60 * math.sin(math.pi * hour / 24) + numbers.gauss(0, 10))
        lines.append(f"{hour},{temperature:.1f},{'' if number % 50 == 7 else max(count, 0)}")
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")


def find_or_create_cluster(ws: Workspace) -> ComputeTarget:
    """The cluster of that name: this machine."""
    try:
        compute_target = ComputeTarget(workspace=ws, name=CLUSTER)
        print("found", compute_target.name)
    except ComputeTargetException:
        compute_config = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=4)
        compute_target = ComputeTarget.create(ws, CLUSTER, compute_config)
        compute_target.wait_for_completion(show_output=True, min_node_count=1, timeout_in_minutes=10)
    return compute_target


ws = Workspace.from_config()
compute_target = find_or_create_cluster(ws)

# A pipeline with a parameter. The SDK refused `target=`; here it is `compute_target=`, with a warning.
avg_rate_param = PipelineParameter(name="avg_rate", default_value=0.5)
train_step = PythonScriptStep(
    script_name="train.py", arguments=["--input", avg_rate_param], target=compute_target, source_directory="train"
)
pipeline = Pipeline(description="pipeline_with_parameter", workspace=ws, steps=[train_step])
pipeline_id = pipeline.publish(name="Smoothing", description="Takes an average", version="1.0").id

# The SDK refused "Hourly" as well; here it is "Hour", with a warning.
hourly = ScheduleRecurrence(frequency="Hourly", interval=4)
pipeline_schedule = Schedule.create(
    ws,
    name="RecurringSchedule",
    description="Trains model every few hours",
    pipeline_id=pipeline_id,
    experiment_name="Recurring_Pipeline_name",
    recurrence=hourly,
)
print("schedule:", pipeline_schedule.name, pipeline_schedule.status)

# Five nodes are more than the cluster has, which the SDK refused too; here it is four, with a warning.
batch_env = Environment("batch_environment")
parallel_run_config = ParallelRunConfig(
    source_directory="scripts",
    entry_script="scoring.py",
    mini_batch_size="5",
    error_threshold=4,
    output_action="append_row",
    environment=batch_env,
    compute_target=compute_target,
    node_count=5,
)
print("nodes:", parallel_run_config.node_count)

# From here on as in a notebook: find the cluster and the data, search, look at what was found.
experiment_name = "automlstep-regression"
project_folder = "./pipeline-project"
experiment = Experiment(ws, experiment_name)
compute_target = find_or_create_cluster(ws)

found = False
key = "bike-rentals"
description_text = "rentals by the hour"
if key in ws.datasets.keys():  # noqa: SIM118 - as scripts write it
    found = True
    dataset = ws.datasets[key]
if not found:
    write_rentals("rentals.csv", seed=1)
    example_data = "rentals.csv"
    dataset = Dataset.Tabular.from_delimited_files(example_data)
    dataset = dataset.register(workspace=ws, name=key, description=description_text)
df = dataset.to_pandas_dataframe()
print(df.head())

automl_settings = {
    "experiment_timeout_minutes": 20,
    "max_concurrent_iterations": 4,
    "primary_metric": "normalized_root_mean_squared_error",
    "n_cross_validations": 5,
}
automl_config = AutoMLConfig(
    compute_target=compute_target,
    task="regression",
    training_data=dataset,
    label_column_name="cnt",
    path=project_folder,
    enable_early_stopping=True,
    featurization="auto",
    debug_log="automl_errors.log",
    **automl_settings,
)

ds = ws.get_default_datastore()
metrics_output_name = "metrics_output"
best_model_output_name = "best_model_output"
metrics_data = PipelineData(
    name="metrics_data",
    datastore=ds,
    pipeline_output_name=metrics_output_name,
    training_output=TrainingOutput(type="Metrics"),
)
model_data = PipelineData(
    name="model_data",
    datastore=ds,
    pipeline_output_name=best_model_output_name,
    training_output=TrainingOutput(type="Model"),
)
# A script that searches by these settings, and writes what an AutoMLStep would: metrics of all trials, and the best model.
search_step = PythonScriptStep(
    name="automl_module",
    source_directory=automl_config.path,
    script_name="search.py",
    arguments=[
        "--label",
        "cnt",
        "--metric",
        automl_config.primary_metric,
        "--folds",
        automl_settings["n_cross_validations"],
        "--metrics",
        metrics_data,
        "--model",
        model_data,
    ],
    compute_target=compute_target,
    inputs=[dataset.as_named_input("training_data")],
    outputs=[metrics_data, model_data],
    allow_reuse=True,
)
pipeline = Pipeline(description="pipeline_with_automlstep", workspace=ws, steps=[search_step])

pipeline_run = experiment.submit(pipeline)
RunDetails(pipeline_run).show()
pipeline_run.wait_for_completion()

# Outputs come below the current folder, where they lay on the datastore.
metrics_output = pipeline_run.get_pipeline_output(metrics_output_name)
num_file_downloaded = metrics_output.download(".", show_progress=True)
with open(metrics_output._path_on_datastore) as f:
    metrics_output_result = f.read()
deserialized_metrics_output = json.loads(metrics_output_result)
print(pd.DataFrame(deserialized_metrics_output))

best_model_output = pipeline_run.get_pipeline_output(best_model_output_name)
num_file_downloaded = best_model_output.download(".", show_progress=True)
model_filename = best_model_output._path_on_datastore
with open(model_filename, "rb") as f:
    best_model = pickle.load(f)
print(best_model.steps)

write_rentals("rentals_test.csv", seed=2)
dataset_test = Dataset.Tabular.from_delimited_files(path="rentals_test.csv")
df_test = dataset_test.to_pandas_dataframe()
df_test = df_test[pd.notna(df_test["cnt"])]
y_test = df_test["cnt"]
X_test = df_test.drop(["cnt"], axis=1)
ypred = best_model.predict(X_test)
busy = y_test.mean()
cm = confusion_matrix(y_test > busy, ypred > busy)
print(pd.DataFrame(cm, index=["calm", "busy"], columns=["taken for calm", "taken for busy"]))

published_pipeline = pipeline_run.publish_pipeline(
    name="Bike sharing Train", description="Training bike sharing pipeline", version="1.0"
)
print("endpoint:", published_pipeline.endpoint)
pipeline_endpoint = PipelineEndpoint.publish(
    ws, name="Bike sharing", description="Leads to the version that is in use", pipeline=published_pipeline
)
print("default version:", pipeline_endpoint.get_default_version())

# Any run is found again by its experiment and its id.
same_run = PipelineRun(ws.experiments[experiment_name], pipeline_run.id)
RunDetails(same_run).show()
