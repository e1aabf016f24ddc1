"""Steps and pipelines are checked as v1 checked them, before anything runs."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest

from pipelite.azureml.core import Dataset, Experiment, RunConfiguration, ScriptRunConfig
from pipelite.azureml.core.compute import AmlCompute, ComputeTarget
from pipelite.azureml.core.conda_dependencies import CondaDependencies
from pipelite.azureml.data import OutputFileDatasetConfig
from pipelite.azureml.data.data_reference import DataReference
from pipelite.azureml.data.datapath import DataPath, DataPathComputeBinding
from pipelite.azureml.data.dataset_consumption_config import DatasetConsumptionConfig
from pipelite.azureml.exceptions import NotOnOneBoxError, UserErrorException
from pipelite.azureml.pipeline.core import (
    Pipeline,
    PipelineData,
    PipelineParameter,
    StepSequence,
    TrainingOutput,
)
from pipelite.azureml.pipeline.steps import CommandStep, EstimatorStep, PythonScriptStep
from pipelite.azureml.pipeline.steps.later import HyperDriveStep, KustoStep, ParallelRunConfig
from pipelite.azureml.train.automl import AutoMLConfig
from pipelite.azureml.train.estimator import Estimator
from pipelite.azureml.train.hyperdrive import BanditPolicy, GridParameterSampling, HyperDriveConfig, choice, uniform
from pipelite.azureml.train.sklearn import SKLearn
from pipelite.errors import FingerprintError


@pytest.fixture(autouse=True)
def source(write):
    return write("src/go.py", "print('gone')").parent


def step(name="go", **settings) -> PythonScriptStep:
    return PythonScriptStep("go.py", name=name, source_directory="src", **settings)


def names_of(pipeline: Pipeline) -> list[str]:
    return [each.name for each in pipeline.steps]


# Names.


@pytest.mark.parametrize("name", ["with space", "dash-ed", "ümlaut", ""])
def test_pipeline_data_has_a_name_of_letters_digits_and_underscores(name):
    with pytest.raises(ValueError, match="cannot be called"):
        PipelineData(name)
    with pytest.raises(ValueError, match="cannot be called"):
        PipelineData("good", output_name=name or "-")


def test_pipeline_data_has_a_mode_and_a_text(ws):
    data = PipelineData("clean", datastore=ws.get_default_datastore())
    assert (str(data), data.get_env_variable_name()) == ("$AZUREML_DATAREFERENCE_clean", "AZUREML_DATAREFERENCE_clean")
    with pytest.raises(ValueError, match="output_mode='direct'"):
        PipelineData("clean", output_mode="direct")


def test_a_data_reference_is_called_like_its_store_or_by_chance(ws):
    store = ws.get_default_datastore()
    assert DataReference(store).data_reference_name == store.name
    assert (
        store.path("x").data_reference_name
        == store.path("x").data_reference_name
        != store.path("y").data_reference_name
    )
    assert Pipeline(ws, [step(inputs=[store.path(""), store.path("", "named")])]).validate() == []
    for name in ("1st", "a-b", "class"):
        with pytest.raises(ValueError, match=f"an input cannot be called {name!r}"):
            step(inputs=[store.path("x", name)])
    assert store.path("x").as_download().mode == "download"
    assert store.path("x").path("y").path_on_datastore == "x/y"
    with pytest.raises(UserErrorException, match="mode='direct'"):
        DataReference(store, mode="direct")


def test_an_output_has_a_name_if_it_is_given_none():
    assert OutputFileDatasetConfig().name.startswith("output_")
    assert OutputFileDatasetConfig("a").as_input().name.startswith("input_")
    with pytest.raises(NotOnOneBoxError, match="source='x'"):
        OutputFileDatasetConfig("a", source="x")
    with pytest.raises(NotOnOneBoxError, match="source_globs"):
        OutputFileDatasetConfig("a").as_upload(source_globs="*.csv")


@pytest.mark.parametrize("name", ["1st", "a-b", "a b"])
def test_a_dataset_is_an_input_by_a_name_that_could_be_a_variable(ws, write, name):
    dataset = Dataset.File.from_files(str(write("data/a.csv", "x\n1\n")))
    with pytest.raises(UserErrorException, match="cannot be called"):
        dataset.as_named_input(name)


def test_rows_are_given_only_as_themselves(ws, write):
    dataset = Dataset.Tabular.from_delimited_files(str(write("data/a.csv", "x\n1\n")))
    assert dataset.as_named_input("x").mode == "direct"
    with pytest.raises(UserErrorException, match="only the mode 'direct'"):
        dataset.as_named_input("x").as_mount()
    with pytest.raises(UserErrorException, match="hdfs"):
        DatasetConsumptionConfig("x", dataset, mode="hdfs")
    with pytest.raises(UserErrorException, match="mode='other'"):
        DatasetConsumptionConfig("x", dataset, mode="other")


def test_an_input_may_name_a_registered_dataset(ws, write):
    made = Dataset.Tabular.from_delimited_files(str(write("data/a.csv", "x\n1\n"))).register(ws, "rides")
    assert DatasetConsumptionConfig("x", (ws, "rides")).dataset.id == made.id
    assert DatasetConsumptionConfig("x", (ws, "rides", 1)).dataset.version == 1
    with pytest.raises(UserErrorException, match="only the mode 'direct'"):
        DatasetConsumptionConfig("x", PipelineParameter("p", made), mode="mount")


def test_what_has_no_meaning_is_said_once(ws, capsys):
    config = RunConfiguration()
    config.node_count = 2
    config.environment.python.conda_dependencies = CondaDependencies.create(conda_packages=["pip", "numpy"])
    for name in ("a", "b"):
        Pipeline(ws, [step(name, runconfig=config, hash_paths=["x"])]).validate()
    PipelineData("x", output_path_on_compute="/tmp/x")
    ws.get_default_datastore().path("x").as_download(path_on_compute="/tmp/x")
    DataPathComputeBinding(path_on_compute="/tmp/x")
    said = capsys.readouterr().err
    for word in (
        "a path on the compute",
        "node_count of a run configuration",
        "hash_paths= of a step",
        "what conda is asked for",
    ):
        assert said.count(word) == 1


def test_the_ports_of_a_step_have_different_names(ws, write):
    dataset = Dataset.File.from_files(str(write("data/a.csv", "x\n1\n")))
    other = Dataset.File.from_files(str(write("data/b.csv", "x\n1\n")))
    with pytest.raises(ValueError, match="two inputs are called 'x'"):
        step(inputs=[dataset.as_named_input("x"), other.as_named_input("x")])
    with pytest.raises(ValueError, match="two outputs have one name"):
        step(outputs=[PipelineData("x"), PipelineData("x")])
    again = step(arguments=[dataset.as_named_input("x")], inputs=[dataset.as_named_input("x")])
    assert [port.name for port in again.input_ports] == ["x"]


def test_an_input_that_is_called_like_an_output_is_renamed(ws):
    first = PipelineData("x")
    made = step("one", outputs=[first])
    second = step("two", inputs=[first], outputs=[PipelineData("x")])
    assert [port.name for port in second.input_ports] == ["INPUT_x"]
    assert Pipeline(ws, [made, second]).validate() == []


# What arguments are.


def test_pipeline_data_in_the_arguments_is_also_an_input_or_an_output():
    with pytest.raises(ValueError, match="neither in inputs nor in outputs"):
        step(arguments=["--out", PipelineData("x")])


def test_an_output_config_in_the_arguments_is_an_output_unless_it_is_an_input():
    output = OutputFileDatasetConfig("x")
    writer = step("write", arguments=[output])
    assert [port.name for port in writer.output_ports] == ["x"]
    reader = step("read", arguments=[output], inputs=[output.as_input("again")])
    assert ([port.name for port in reader.input_ports], reader.output_ports) == (["again"], [])
    plain = step("plain", arguments=[output], inputs=[output])
    assert ([port.name for port in plain.input_ports], plain.output_ports) == (["x"], [])
    assert reader.producers == plain.producers == [writer]


def test_a_dataset_in_the_arguments_is_an_input_and_needs_a_name(ws, write):
    dataset = Dataset.File.from_files(str(write("data/a.csv", "x\n1\n")))
    assert [port.name for port in step(arguments=["--x", dataset.as_named_input("x")]).input_ports] == ["x"]
    for given in ({"arguments": [dataset]}, {"inputs": [dataset]}):
        with pytest.raises(ValueError, match="as_named_input"):
            step(**given)


@pytest.mark.parametrize("given", [{"arguments": "--x 1"}, {"inputs": "x"}, {"outputs": {"x": 1}}])
def test_arguments_inputs_and_outputs_are_lists(given):
    with pytest.raises(ValueError, match="it takes a list"):
        step(**given)


def test_an_argument_that_no_script_can_be_given_is_an_error(ws):
    errors = Pipeline(ws, [step(arguments=[{"a": 1}])]).validate()
    assert "nothing that a script can be given" in str(errors[0])


def test_a_path_as_a_parameter_is_a_pair_in_inputs_and_arguments(ws, write):
    store = ws.get_default_datastore()
    write(".pipelite/data/raw/a.csv", "x\n")
    parameter = PipelineParameter("path", DataPath(store, "raw"))
    made = step(
        arguments=[(parameter, DataPathComputeBinding())], inputs=[(parameter, DataPathComputeBinding(mode="download"))]
    )
    assert [port.name for port in made.input_ports] == ["path"]
    with pytest.raises(ValueError, match="a PipelineParameter with a DataPath"):
        step(inputs=[(PipelineParameter("p", 1), DataPathComputeBinding())])
    with pytest.raises(UserErrorException, match="mode='direct'"):
        DataPathComputeBinding(mode="direct")


# Copies of outputs.


@pytest.mark.parametrize(
    "change",
    [
        copy.copy,
        copy.deepcopy,
        lambda output: output.as_upload(overwrite=True),
        lambda output: output.as_mount(),
        lambda output: output.register_on_complete("kept"),
        lambda output: copy.deepcopy(output.as_upload().register_on_complete("kept")),
    ],
)
def test_a_copy_of_an_output_is_the_same_output(ws, change):
    output = OutputFileDatasetConfig("x", destination=(ws.get_default_datastore(), "x"))
    writer = step("write", arguments=[change(output)])
    for read in (output.as_input(), change(output).as_input("y")):
        assert names_of(Pipeline(ws, [step("read", arguments=[read])])) == ["write", "read"]
    assert step("again", inputs=[copy.deepcopy(output)]).producers == [writer]


def test_a_deep_copy_of_pipeline_data_is_the_same_data(ws):
    data = PipelineData("x", datastore=ws.get_default_datastore())
    step("write", outputs=[data])
    assert names_of(Pipeline(ws, [step("read", inputs=[copy.deepcopy(data)])])) == ["write", "read"]


def test_a_step_that_is_made_anew_takes_its_outputs_along(ws):
    data = PipelineData("x")
    old = step("old", outputs=[data])
    new = step("new", outputs=[data])
    reader = step("read", inputs=[data])
    assert names_of(Pipeline(ws, [reader])) == ["new", "read"]
    with pytest.raises(ValueError, match="'x' is an output of step 'old', and of step 'new'"):
        Pipeline(ws, [old, new, reader])


# Pipelines.


def test_what_the_last_step_reads_is_pulled_in(ws):
    first, second = PipelineData("a"), PipelineData("b")
    step("one", outputs=[first])
    step("two", inputs=[first], outputs=[second])
    last = step("three", inputs=[second])
    assert names_of(Pipeline(ws, steps=[last])) == ["one", "two", "three"]
    lonely = Pipeline(ws, steps=[last], resolve_closure=False)
    assert names_of(lonely) == ["three"]
    last.run_after(step("four"))
    assert names_of(Pipeline(ws, steps=[last])) == ["one", "two", "four", "three"]
    assert "which no step writes" in str(lonely.validate()[0])


def test_lists_in_lists_are_parallel_and_sequences_are_not(ws):
    a, b, c, d = (step(name) for name in "abcd")
    assert names_of(Pipeline(ws, [[a], [b, [c]], d])) == ["a", "b", "c", "d"]
    assert all(each.earlier == [] for each in (a, b, c, d))
    pipeline = Pipeline(ws, steps=StepSequence(steps=[a, [b, c], d]))
    assert [each.earlier for each in (a, b, c, d)] == [[], [a], [a], [b, c]]
    assert "d_out.after(b_out, c_out)" in pipeline.code
    assert pipeline.validate() == []


def test_steps_that_wait_for_each_other_are_found_by_validate(ws):
    one, two = step("one"), step("two")
    one.run_after(two)
    two.run_after(one)
    pipeline = Pipeline(ws, [one, two])
    assert "waits for itself" in str(pipeline.validate()[0])
    with pytest.raises(ValueError, match="waits for itself"):
        pipeline.submit("circle")


def test_an_input_that_no_step_writes_is_found_by_validate(ws):
    assert "which no step writes" in str(Pipeline(ws, [step(inputs=[PipelineData("x")])]).validate()[0])


def test_an_unknown_keyword_of_a_pipeline_is_a_value_error(ws):
    with pytest.raises(ValueError, match="default_compute"):
        Pipeline(ws, [step()], default_compute="cpu")
    with pytest.raises(ValueError, match="needs a step"):
        Pipeline(ws, [])
    with pytest.raises(ValueError, match="no step"):
        Pipeline(ws, ["go"])
    with pytest.raises(ValueError, match="'nothing'"):
        Pipeline(ws, [step()]).submit("x", nothing=1)


def test_a_missing_script_is_a_value_error_when_the_pipeline_is_made(ws):
    made = PythonScriptStep("none.py", source_directory="src")
    assert made.name == "none.py"
    with pytest.raises(ValueError, match=r"no script 'none\.py'"):
        Pipeline(ws, [made])


def test_the_folder_of_a_step_is_its_own_or_the_pipelines_or_the_working_directory(ws, write, tmp_path):
    write("here.py")
    one, two, three = step("one"), PythonScriptStep("go.py", name="two"), PythonScriptStep("here.py")
    Pipeline(ws, [one, two], default_source_directory="src")
    Pipeline(ws, [three])
    assert [each.folder for each in (one, two, three)] == [str(tmp_path / "src"), str(tmp_path / "src"), str(tmp_path)]


def test_steps_may_be_called_like_parameters_and_like_what_the_pipeline_needs(ws):
    data = PipelineData("x")
    steps = [
        step("rate", arguments=[PipelineParameter("rate", 1), PipelineParameter("flag", True)]),
        step("str"),
        step("Input", outputs=[data]),
        step("script_step"),
        step("path", inputs=[data, ws.get_default_datastore().path("", "ref")]),
        step("rate"),
    ]
    pipeline = Pipeline(ws, steps)
    assert pipeline.validate() == []
    assert [each.name for each in pipeline.native.plan()][-1] == "rate-2"
    with pytest.raises(ValueError, match="cannot be called 'str' here"):
        _ = Pipeline(ws, [step(arguments=[PipelineParameter("str", 1)])]).code


# Parameters.


@pytest.mark.parametrize("default", [None, [1], {"a": 1}, (1, 2)])
def test_the_default_of_a_parameter_is_a_plain_value(default):
    with pytest.raises(ValueError, match="is expected"):
        PipelineParameter("p", default)


@pytest.mark.parametrize("name", ["a-b", "a b", "lambda", "1st"])
def test_a_parameter_has_a_name_that_could_be_a_variable(name):
    with pytest.raises(ValueError, match="cannot be called"):
        PipelineParameter(name, 1)


def test_two_parameters_of_a_name_have_the_same_default(ws):
    assert Pipeline(
        ws, [step("a", arguments=[PipelineParameter("p", 1)]), step("b", params={"x": PipelineParameter("p", 1)})]
    )
    with pytest.raises(ValueError, match="'p' is there twice"):
        Pipeline(
            ws, [step("a", arguments=[PipelineParameter("p", 1)]), step("b", arguments=[PipelineParameter("p", 2)])]
        )


@pytest.mark.parametrize(
    ("default", "good", "bad"),
    [
        (1, 2, 2.0),
        (1, True, "2"),
        (0.5, 0.25, 1),
        (0.5, np.float64(0.25), "0.25"),
        ("a", "b", 1),
        (True, False, 1),
    ],
)
def test_a_value_at_submit_is_of_the_type_of_the_default(ws, default, good, bad):
    pipeline = Pipeline(ws, [step(arguments=[PipelineParameter("p", default)])])
    assert pipeline.values({"p": good}) == {"p": good}
    with pytest.raises(UserErrorException, match="pipeline parameter 'p'"):
        pipeline.submit("x", pipeline_parameters={"p": bad})


def test_an_unknown_parameter_is_an_error_that_names_those_there_are(ws):
    pipeline = Pipeline(ws, [step(arguments=[PipelineParameter("reg_rate", 0.5)])])
    with pytest.raises(UserErrorException, match="'reg' does not exist; there are: reg_rate"):
        Experiment(ws, "x").submit(pipeline, pipeline_parameters={"reg": 0.1})


def test_paths_and_datasets_are_parameters_of_their_own_types(ws, write):
    store = ws.get_default_datastore()
    write(".pipelite/data/raw/a.csv", "x\n")
    dataset = Dataset.File.from_files((store, "raw"))
    path = PipelineParameter("path", DataPath(store, "raw"))
    data = PipelineParameter("data", dataset)
    pipeline = Pipeline(
        ws, [step(inputs=[(path, DataPathComputeBinding()), DatasetConsumptionConfig("d", data).as_mount()])]
    )
    assert set(pipeline.values({"path": DataPath(store, "raw"), "data": dataset})) == {"path", "data"}
    for wrong in ({"path": "raw"}, {"data": DataPath(store, "raw")}):
        with pytest.raises(UserErrorException, match="its default is of type"):
            pipeline.values(wrong)


def test_a_parameter_of_a_cluster_is_taken_and_not_used(ws, capsys):
    nodes = PipelineParameter("nodes", 2)
    pipeline = Pipeline(ws, [step(runconfig_pipeline_params={"NodeCount": nodes})])
    assert pipeline.values({"nodes": 3}) == {"nodes": 3}
    assert pipeline.validate() == []
    assert capsys.readouterr().err.count("NodeCount in runconfig_pipeline_params has no meaning on one box") == 1
    with pytest.raises(ValueError, match="'Nodes'"):
        step(runconfig_pipeline_params={"Nodes": 1})


# Kinds of step.


def test_an_estimator_step_needs_an_estimator_a_target_and_arguments():
    estimator = Estimator("src", entry_script="go.py")
    for given, word in (
        ({}, "an estimator"),
        ({"estimator": estimator}, "a compute_target"),
        ({"estimator": estimator, "compute_target": "cpu"}, "estimator_entry_script_arguments"),
    ):
        with pytest.raises(ValueError, match=word):
            EstimatorStep(name="train", **given)
    for carried in ({"script_params": {"--x": 1}}, {"inputs": [1]}):
        with pytest.raises(ValueError, match="takes no estimator with"):
            EstimatorStep(
                estimator=SKLearn("src", compute_target="cpu", entry_script="go.py", **carried),
                estimator_entry_script_arguments=[],
            )


def test_an_estimator_step_is_a_script_step(ws):
    output = PipelineData("x")
    made = EstimatorStep(
        name="train",
        estimator=Estimator("src", compute_target="cpu", entry_script="go.py"),
        estimator_entry_script_arguments=["--x", output],
        outputs=[output],
        compute_target="cpu",
    )
    assert isinstance(made, PythonScriptStep)
    assert "'--x', Output('x')" in Pipeline(ws, [made]).code


def test_a_command_step_takes_a_text_a_list_or_a_script_run_config(ws):
    config = ScriptRunConfig("src", command=["python", "go.py"])
    for given in ({"command": "python go.py", "source_directory": "src"}, {"runconfig": config}):
        assert Pipeline(ws, [CommandStep(**given)]).validate() == []
    with pytest.raises(ValueError, match="needs a command"):
        CommandStep()


def test_the_target_of_a_step_is_that_of_its_configuration_unless_it_has_one(ws):
    config = RunConfiguration()
    config.target = "big"
    assert step(runconfig=config).compute_target == "big"
    assert step(runconfig=config, compute_target="small").compute_target == "small"


def test_a_cluster_is_this_box_unless_the_workspace_has_a_target_of_that_name(ws):
    cluster = ComputeTarget.create(ws, "cpu", AmlCompute.provisioning_configuration(max_nodes=4))
    for target in (cluster, "cpu", ("cpu", "AmlCompute"), "never-heard-of"):
        assert "compute=" not in Pipeline(ws, [step(compute_target=target)]).code
    ws.native.compute["cpu"] = {"kind": "local"}
    for target in (cluster, "cpu", ("cpu", "AmlCompute")):
        assert "compute='cpu'" in Pipeline(ws, [step(compute_target=target)]).code


def test_what_v1_refused_and_scripts_write_works_with_a_warning(ws):
    with pytest.warns(UserWarning, match="compute_target=, which is how SDK v1 spells it") as caught:
        made = [step("a", target="cpu"), step("b", target="cpu")]
    assert len(caught) == 1
    assert [each.compute_target for each in made] == ["cpu", "cpu"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step("c", target="cpu")


def test_typos_are_errors_of_python(ws):
    with pytest.raises(TypeError, match="'tarjet'"):
        step(tarjet="cpu")
    with pytest.raises(TypeError, match="max_node"):
        AmlCompute.provisioning_configuration(max_node=4)
    with pytest.raises(TypeError, match="entry_skript"):
        Estimator("src", entry_script="go.py", entry_skript="x")
    with pytest.raises(TypeError, match="show_outputs"):
        ComputeTarget.create(ws, "cpu", AmlCompute.provisioning_configuration()).wait_for_completion(show_outputs=True)


def test_a_training_output_is_metrics_or_a_model():
    assert TrainingOutput("metrics").type == "Metrics"
    assert TrainingOutput(type="Model", metric="AUC").metric == "AUC"
    for wrong in (
        {"type": "Other"},
        {"type": "Metrics", "iteration": 1},
        {"type": "Model", "iteration": 1, "metric": "x"},
    ):
        with pytest.raises(ValueError, match="TrainingOutput"):
            TrainingOutput(**wrong)


def test_what_comes_later_is_checked_and_says_so():
    assert (
        AutoMLConfig(task="classification", label_column_name="y", experiment_timeout_minutes=5).primary_metric
        == "accuracy"
    )
    for wrong in (
        {"task": "clustering"},
        {"task": "regression", "primary_metric": "accuracy"},
        {"task": "forecasting"},
    ):
        with pytest.raises(ValueError, match="AutoMLConfig"):
            AutoMLConfig(**wrong)
    assert choice(range(2)) == choice([0, 1]) == choice(0, 1)
    with pytest.raises(ValueError, match="draws from choice"):
        GridParameterSampling({"a": uniform(0, 1)})
    with pytest.raises(ValueError, match="slack_factor or slack_amount"):
        BanditPolicy()
    with pytest.raises(ValueError, match="one of estimator, run_config and pipeline"):
        HyperDriveConfig(GridParameterSampling({"a": choice(1)}), "loss", None, 1)
    with pytest.raises(ValueError, match="needs entry_script"):
        ParallelRunConfig(environment="x")
    with pytest.raises(NotOnOneBoxError, match="HyperDriveStep cannot be run here"):
        HyperDriveStep("search")
    with pytest.raises(NotOnOneBoxError, match="PythonScriptStep ask it"):
        KustoStep("ask")


# Snapshots.


def snapshot_of(ws) -> set[str]:
    native = Pipeline(ws, [step()]).native
    (planned,) = native.plan()
    assert planned.action == "compute"
    from pipelite.azureml.script_steps import script_step
    from pipelite.steps.running import SOURCE
    from pipelite.store import take_snapshot

    return set(take_snapshot(script_step("go.py", source_directory="src").signature.defaults[SOURCE]).files)


def test_an_amlignore_is_read_and_then_no_gitignore(ws, write):
    for name in ("big.bin", "notes.txt", "outputs/old.txt", "below/.amlignore", "below/kept.txt", "__pycache__/x.pyc"):
        write(f"src/{name}", "kept.txt\n")
    write("src/.gitignore", "notes.txt\n")
    assert snapshot_of(ws) == {
        "go.py",
        ".gitignore",
        "big.bin",
        "outputs/old.txt",
        "below/.amlignore",
        "below/kept.txt",
    }
    write("src/.amlignore", "*.bin\n/outputs\n")
    assert snapshot_of(ws) == {"go.py", ".gitignore", ".amlignore", "notes.txt", "below/.amlignore", "below/kept.txt"}
    write("src/.pipeliteignore", "below\n")
    assert "below/kept.txt" in snapshot_of(ws)


def test_a_snapshot_has_at_most_so_many_files_and_bytes(ws, write):
    with open(write("src/data/huge.bin"), "wb") as file:
        file.truncate(301_000_000)
    with pytest.raises(FingerprintError, match=r"data/huge\.bin \(301\.0 MB\).*\.amlignore"):
        Pipeline(ws, [step()]).submit("big")
    write("src/.amlignore", "*.bin")
    for number in range(2001):
        write(f"src/many/{number}.txt")
    with pytest.raises(FingerprintError, match=r"2003 files, 2001 of them in many/, and its limit is 2000"):
        Pipeline(ws, [step()]).submit("many")
