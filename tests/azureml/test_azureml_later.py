"""Batch inference and searches: their arguments are checked, and that they cannot be run yet is said."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pipelite.azureml import _notices
from pipelite.azureml.core import Environment, Experiment, ScriptRunConfig, Workspace
from pipelite.azureml.core.compute import AmlCompute, ComputeTarget
from pipelite.azureml.data import OutputFileDatasetConfig
from pipelite.azureml.exceptions import NotOnOneBoxError
from pipelite.azureml.pipeline.core import PipelineData, PipelineParameter
from pipelite.azureml.pipeline.steps import AutoMLStep, HyperDriveStep, ParallelRunConfig, ParallelRunStep
from pipelite.azureml.train.automl import AutoMLConfig
from pipelite.azureml.train.estimator import Estimator
from pipelite.azureml.train.hyperdrive import (
    BanditPolicy,
    BayesianParameterSampling,
    GridParameterSampling,
    HyperDriveConfig,
    MedianStoppingPolicy,
    NoTerminationPolicy,
    PrimaryMetricGoal,
    RandomParameterSampling,
    TruncationSelectionPolicy,
    choice,
    lognormal,
    loguniform,
    normal,
    qlognormal,
    qloguniform,
    qnormal,
    quniform,
    randint,
    uniform,
)


def batch(**changes: Any) -> ParallelRunConfig:
    given = {
        "environment": Environment("batch"),
        "entry_script": "score.py",
        "error_threshold": 10,
        "output_action": "append_row",
        "compute_target": "cluster",
        "node_count": 2,
    }
    return ParallelRunConfig(**{**given, **changes})


@pytest.mark.parametrize(
    "wrong",
    [
        *({name: None} for name in ("environment", "entry_script", "error_threshold", "output_action", "node_count")),
        {"compute_target": None},
        {"environment": "batch"},
        {"error_threshold": -2},
        {"error_threshold": True},
        {"output_action": "keep"},
        {"mini_batch_size": "5 files"},
        {"mini_batch_size": 0},
        {"mini_batch_size": 5, "partition_keys": ["shop"]},
        {"partition_keys": "shop"},
        {"allowed_failed_count": -2},
        {"allowed_failed_percent": 101},
        {"run_max_try": 0},
        {"run_invocation_timeout": 0},
        {"process_count_per_node": 0},
        {"node_count": 0},
        {"append_row_file_name": "a/b.txt"},
        {"logging_level": "LOUD"},
        {"entry_script": PipelineParameter("script", "score.py")},
    ],
    ids=str,
)
def test_a_wrong_setting_of_batch_inference_is_a_value_error_that_names_it(wrong):
    (name, *_) = wrong

    with pytest.raises(ValueError, match=name):
        batch(**wrong)


def test_settings_of_batch_inference_may_be_parameters_where_v1_took_them(workspace):
    size = PipelineParameter("size", "10KB")

    assert batch(mini_batch_size=size).mini_batch_size is size
    assert batch(output_action="Append_Row", mini_batch_size="5").output_action == "append_row"


def test_more_nodes_than_the_cluster_has_is_one_warning(workspace, monkeypatch):
    monkeypatch.setattr(_notices, "_said", set())
    ws = Workspace("sub", "group", "shop")
    cluster = ComputeTarget.create(ws, "cluster", AmlCompute.provisioning_configuration(max_nodes=4))

    with pytest.warns(UserWarning, match="node_count=5 above max_nodes=4 is taken as node_count=4"):
        assert batch(compute_target=cluster, node_count=5).node_count == 4
    assert batch(compute_target=cluster, node_count=4).node_count == 4


PICTURES = OutputFileDatasetConfig("pictures").as_input("pictures")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"parallel_run_config": "config"}, "parallel_run_config is 'config'"),
        ({"inputs": []}, "a list of datasets is expected"),
        ({"inputs": ["pictures"]}, "the input 'pictures' is none"),
        ({"output": None}, "output_action='append_row' needs output"),
        ({"arguments": ["model", "--x"]}, "has to start with '-'"),
        ({"arguments": ["--model", "m", "--mini_batch_size", 3]}, "'--mini_batch_size' is one of"),
    ],
)
def test_batch_inference_with_wrong_arguments_is_a_value_error(wrong, message):
    right = {"parallel_run_config": batch(), "inputs": [PICTURES], "output": PipelineData("scores")}

    with pytest.raises(ValueError, match=message):
        ParallelRunStep(name="score", **{**right, **wrong})


def test_batch_inference_that_is_right_says_that_it_comes_later():
    with pytest.raises(NotOnOneBoxError, match=r"step 'score': ParallelRunStep .* it comes in a later version"):
        ParallelRunStep("score", batch(output_action="summary_only"), [PICTURES], arguments=["--model", "m"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"task": "clustering"}, "task='clustering' is wrong"),
        ({"primary_metric": "r2_score"}, "primary_metric='r2_score' is none of classification"),
        ({"task": "forecasting"}, "forecasting needs time_column_name"),
        ({"training_data": "frame"}, "needs label_column_name"),
        ({"validation_data": "frame", "n_cross_validations": 3}, "not both"),
        ({"validation_size": 1.5}, "validation_size=1.5"),
        ({"n_cross_validations": 1}, "at least 2"),
        ({"iterations": 0}, "iterations=0"),
        ({"max_concurrent_iterations": "4"}, "max_concurrent_iterations='4'"),
        ({"featurization": "some"}, "featurization='some'"),
    ],
)
def test_a_wrong_setting_of_automl_is_a_value_error(wrong, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        AutoMLConfig(**{"task": "classification", **wrong})


def test_automl_takes_its_settings_and_says_that_it_comes_later(workspace):
    settings = {
        "experiment_timeout_minutes": 20,
        "max_concurrent_iterations": 4,
        "primary_metric": "spearman_correlation",
    }
    config = AutoMLConfig(
        task="regression", compute_target="cluster", training_data="frame", label_column_name="y", **settings
    )

    assert AutoMLConfig(task="classification").primary_metric == "accuracy"
    assert config.user_settings["experiment_timeout_minutes"] == 20
    with pytest.raises(ValueError, match="an AutoMLConfig is expected"):
        AutoMLStep(name="search", automl_config={"task": "regression"})
    with pytest.raises(NotOnOneBoxError, match="step 'search': AutoMLStep"):
        AutoMLStep(name="search", automl_config=config, outputs=[], allow_reuse=True)
    with pytest.raises(NotOnOneBoxError, match="AutoMLConfig cannot be submitted yet"):
        Experiment(Workspace("sub", "group", "shop"), "search").submit(config, show_output=True)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (lambda: choice(1, 2), ["choice", [[1, 2]]]),
        (lambda: choice([1, 2]), ["choice", [[1, 2]]]),
        (lambda: choice(range(2)), ["choice", [[0, 1]]]),
        (lambda: randint(5), ["randint", [5]]),
        (lambda: uniform(0, 1), ["uniform", [0, 1]]),
        (lambda: quniform(1, 9, 2), ["quniform", [1, 9, 2]]),
        (lambda: loguniform(-6, -1), ["loguniform", [-6, -1]]),
        (lambda: qloguniform(1, 3, 1), ["qloguniform", [1, 3, 1]]),
        (lambda: normal(0, 1), ["normal", [0, 1]]),
        (lambda: qnormal(0, 1, 1), ["qnormal", [0, 1, 1]]),
        (lambda: lognormal(0, 1), ["lognormal", [0, 1]]),
        (lambda: qlognormal(0, 1, 1), ["qlognormal", [0, 1, 1]]),
    ],
)
def test_expressions_are_what_v1_made_of_them(expression, expected):
    assert expression() == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda: choice(),
        lambda: choice([]),
        lambda: randint(0),
        lambda: uniform(2, 1),
        lambda: quniform(0, 1, 0.5),
        lambda: RandomParameterSampling({}),
        lambda: RandomParameterSampling({"rate": 0.5}),
        lambda: GridParameterSampling({"rate": uniform(0, 1)}),
        lambda: BayesianParameterSampling({"rate": normal(0, 1)}),
        lambda: BayesianParameterSampling({"rate": quniform(0.5, 2, 1)}),
        lambda: BanditPolicy(),
        lambda: BanditPolicy(slack_factor=0.1, slack_amount=1),
        lambda: BanditPolicy(slack_factor=0.1, evaluation_interval=0),
        lambda: MedianStoppingPolicy(delay_evaluation=-1),
        lambda: TruncationSelectionPolicy(truncation_percentage=100),
        lambda: TruncationSelectionPolicy(truncation_percentage=0.5),
    ],
)
def test_wrong_expressions_samplings_and_policies_are_value_errors(make):
    with pytest.raises(ValueError):
        make()


def search(**changes: Any) -> HyperDriveConfig:
    given = {
        "hyperparameter_sampling": RandomParameterSampling({"--rate": choice(0.1, 0.2)}),
        "primary_metric_name": "accuracy",
        "primary_metric_goal": PrimaryMetricGoal.MAXIMIZE,
        "max_total_runs": 8,
        "run_config": ScriptRunConfig(".", script="train.py"),
    }
    return HyperDriveConfig(**{**given, **changes})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"run_config": None}, "exactly one of estimator, run_config and pipeline"),
        ({"pipeline": "p"}, "exactly one of estimator, run_config and pipeline"),
        ({"hyperparameter_sampling": {"rate": 1}}, "hyperparameter_sampling"),
        ({"primary_metric_goal": "more"}, "PrimaryMetricGoal.MAXIMIZE or MINIMIZE"),
        ({"max_total_runs": 0}, "max_total_runs=0"),
        ({"max_concurrent_runs": 9}, "is more than max_total_runs=8"),
        (
            {
                "hyperparameter_sampling": BayesianParameterSampling({"rate": uniform(0, 1)}),
                "policy": BanditPolicy(slack_factor=0.1),
            },
            "takes no policy that ends runs early",
        ),
    ],
)
def test_a_wrong_setting_of_a_search_for_parameters_is_a_value_error(wrong, message):
    with pytest.raises(ValueError, match=message):
        search(**wrong)


def test_a_search_for_parameters_that_is_right_says_that_it_comes_later(workspace):
    estimator = Estimator(".", entry_script="train.py")

    assert isinstance(search().policy, NoTerminationPolicy)
    for config, arguments, message in (
        (search(run_config=None, estimator=estimator), None, "needs estimator_entry_script_arguments"),
        (search(run_config=ScriptRunConfig(".", "train.py", arguments=["--x", 1])), ["--y", 2], "not both"),
        (search(run_config=None, pipeline="p"), None, "takes no configuration with a pipeline"),
        ("config", None, "hyperdrive_config is 'config'"),
    ):
        with pytest.raises(ValueError, match=message):
            HyperDriveStep("tune", config, arguments)
    with pytest.raises(NotOnOneBoxError, match="step 'tune': HyperDriveStep"):
        HyperDriveStep(name="tune", hyperdrive_config=search(), inputs=[], metrics_output=PipelineData("metrics"))
    with pytest.raises(NotOnOneBoxError, match="HyperDriveConfig cannot be submitted yet"):
        Experiment(Workspace("sub", "group", "shop"), "tune").submit(search())
