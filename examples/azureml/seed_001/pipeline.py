"""Which of two kinds of seed is it? One step prepares measurements and the next trains on them; two more run beside both."""

import random
from pathlib import Path

from azureml.core import Experiment, Workspace
from azureml.core.compute import ComputeTarget, DataFactoryCompute
from azureml.pipeline.core import Pipeline, PipelineData, Schedule, ScheduleRecurrence
from azureml.pipeline.steps import DataTransferStep, PythonScriptStep


def write_measurements(path: Path) -> None:
    """Lengths and widths in millimetres of seeds of two kinds; one line in twenty is a slip of the pen."""
    numbers = random.Random(1)
    lines = ["length,width,kind"]
    for number in range(200):
        kind = number % 2
        length, width = numbers.gauss(5 + kind, 0.3), numbers.gauss(2 + kind, 0.4)
        lines.append(f"{-length if number % 20 == 0 else length:.2f},{width:.2f},{kind}")
    path.write_text("\n".join(lines) + "\n")


ws = Workspace.from_config()
store = ws.get_default_datastore()
write_measurements(Path("seeds.csv"))
store.upload_files(["seeds.csv"], target_path="measured", overwrite=True, show_progress=False)
# What is there already is named by a DataReference; PipelineData is one too, of a place that a step will fill.
measured = store.path("measured/seeds.csv", data_reference_name="measured")
prepared = PipelineData("prepared", datastore=store)

# Each step may name another compute target; every name is this machine until the workspace says otherwise.
prepare = PythonScriptStep(
    name="prepare data",
    source_directory="prepare",
    script_name="prepare.py",
    compute_target="cpu-cluster",
    arguments=["--measured", measured, "--prepared", prepared],
    inputs=[measured],
    outputs=[prepared],
)
train = PythonScriptStep(
    name="train model",
    source_directory="train",
    script_name="train.py",
    compute_target="gpu-cluster",
    arguments=["--data", prepared],
    inputs=[prepared],
)
# These read nothing of the others, so they run side by side with them.
describe = PythonScriptStep(
    name="describe data",
    source_directory="describe",
    script_name="describe.py",
    compute_target="cpu-cluster",
    arguments=[measured],
    inputs=[measured],
)
copy = DataTransferStep(
    name="keep a copy",
    source_data_reference=measured,
    destination_data_reference=store.path("archive/seeds.csv", data_reference_name="archive"),
    source_reference_type="file",
    destination_reference_type="file",
    compute_target=ComputeTarget.create(ws, "data-factory", DataFactoryCompute.provisioning_configuration()),
)

pipeline = Pipeline(workspace=ws, steps=[prepare, train, describe, copy])
experiment = Experiment(workspace=ws, name="seed-kinds")
run = experiment.submit(pipeline)
print("ended:", run.wait_for_completion(show_output=False))
for step in run.get_steps():
    print(f"{step.name}:", step.get_metrics())

# As a REST endpoint, and by itself from time to time.
published = pipeline.publish(name="seed kinds", description="Tells two kinds of seed apart", version="1.0")
schedule = Schedule.create(
    ws,
    name="every week",
    pipeline_id=published.id,
    experiment_name="seed-kinds",
    recurrence=ScheduleRecurrence(frequency="Week", interval=1, week_days=["Monday"], time_of_day="06:30"),
)
print("endpoint:", published.endpoint)
print("schedule:", schedule.name, schedule.status)
