"""How many cups does a coffee bar sell in an hour? One step cleans the counts, the next one learns from them."""

import csv
import math
from pathlib import Path

from azureml.core import Dataset, Workspace, experiment
from azureml.pipeline.core import Pipeline, PipelineData, PipelineParameter

# The SDK had no module of this name and refused it; here it is `azureml.pipeline.steps`, with a warning.
from azureml.pipeline.step import EstimatorStep, PythonScriptStep
from azureml.train.estimator import Estimator

# The module is what is imported; the class is in it.
Experiment = experiment.Experiment
CLUSTER = "bar-cluster"


def write_sales(path: Path) -> None:
    """Cups by day and hour, fewer in the evening, with a count missing now and then."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["day", "hour", "cups"])
        for day in range(1, 15):
            for hour in range(7, 19):
                cups = round(90 - 4 * hour + 6 * math.sin(day))
                rows.writerow([day, hour, "" if (day + hour) % 11 == 0 else cups])


ws = Workspace.from_config()
data_store = ws.get_default_datastore()
write_sales(Path("sales.csv"))
data_store.upload_files(["sales.csv"], target_path="sales", overwrite=True, show_progress=False)
Dataset.Tabular.from_delimited_files((data_store, "sales/sales.csv")).register(
    ws, "my_data", description="Cups sold by day and hour", create_new_version=True
)

raw_ds = Dataset.get_by_name(ws, "my_data")
estimator = Estimator(source_directory="train", entry_script="train.py", compute_target=CLUSTER)


def prepare(**options: bool) -> tuple[PythonScriptStep, PipelineData]:
    """The first step, and what passes to the next: a place that the one writes to and the other reads."""
    proc_data = PipelineData("processed", datastore=data_store)
    step = PythonScriptStep(
        name="prepare",
        source_directory="prepare",
        script_name="prepare.py",
        compute_target=CLUSTER,
        inputs=[raw_ds.as_named_input("raw_data")],
        outputs=[proc_data],
        arguments=["--folder", proc_data],
        **options,
    )
    return step, proc_data


def train(folder: PipelineData, *more: object) -> EstimatorStep:
    """The second step."""
    return EstimatorStep(
        name="train",
        estimator=estimator,
        inputs=[folder],
        estimator_entry_script_arguments=["--folder", folder, *more],
    )


step1, proc_data = prepare()
step2 = train(proc_data)

train_pipe = Pipeline(workspace=ws, steps=[step1, step2])
exp = Experiment(workspace=ws, name="my_pipe_exp")
pipe_run = exp.submit(train_pipe)
pipe_run.wait_for_completion(show_output=False)
print("first:", {step.name: step.get_metrics() for step in pipe_run.get_steps()})

# Nothing has changed, so nothing is computed again.
pipe_run = exp.submit(train_pipe)
pipe_run.wait_for_completion(show_output=False)
print("again:", [step.name for step in pipe_run.get_steps() if "azureml.reusedrunid" in step.properties])

# Unless a step never lets itself be reused, or all are asked to run.
step1, proc_data = prepare(allow_reuse=False)
train_pipe = Pipeline(workspace=ws, steps=[step1, train(proc_data)])
pipe_run = exp.submit(train_pipe, regenerate_outputs=True)
pipe_run.wait_for_completion(show_output=False)

# From the pipeline, and from the newest run of its experiment.
published_pipe = train_pipe.publish(name="train_pipe", description="Learns the cups of an hour", version="1.0")
my_pipe_exp = ws.experiments.get("my_pipe_exp")
run = list(my_pipe_exp.get_runs())[0]  # noqa: RUF015 - as scripts write it
published_pipe = run.publish_pipeline(name="train_pipe", description="Learns the cups of an hour", version="1.0")
rest_endpoint = published_pipe.endpoint
print("endpoint:", rest_endpoint)

# A value that callers give goes by the name of the parameter, `reg_rate`, whatever the variable is called.
reg_param = PipelineParameter(name="reg_rate", default_value=0.01)
_, folder = prepare()
step_x = train(folder, "--reg", reg_param)
with_parameter = Pipeline(workspace=ws, steps=[step_x])
pipe_run = exp.submit(with_parameter, pipeline_parameters={"reg_rate": 0.1})
pipe_run.wait_for_completion(show_output=False)
print("reg_rate=0.1:", {step.name: step.get_metrics() for step in pipe_run.get_steps()})
published_pipe = with_parameter.publish(name="train_pipe_reg", description="Takes a regularisation rate", version="1.0")
