"""What is run, how often, and by which metric it is judged."""

from __future__ import annotations

import enum
from typing import Any

from pipelite.azureml.exceptions import NotOnOneBoxError
from pipelite.azureml.train.hyperdrive.policy import EarlyTerminationPolicy, NoTerminationPolicy
from pipelite.azureml.train.hyperdrive.sampling import BayesianParameterSampling, HyperParameterSampling


class PrimaryMetricGoal(enum.Enum):
    """Whether more is better."""

    MAXIMIZE = "MAXIMIZE"
    MINIMIZE = "MINIMIZE"

    @staticmethod
    def from_str(goal: str) -> PrimaryMetricGoal:
        return PrimaryMetricGoal(goal.upper())


class HyperDriveConfig:
    """A search for parameters.

    Raises
    ------
    ValueError
        If a setting is wrong.
    """

    def __init__(
        self,
        hyperparameter_sampling: HyperParameterSampling,
        primary_metric_name: str,
        primary_metric_goal: PrimaryMetricGoal,
        max_total_runs: int,
        max_concurrent_runs: int | None = None,
        max_duration_minutes: int = 10080,
        policy: EarlyTerminationPolicy | None = None,
        estimator: Any = None,
        run_config: Any = None,
        resume_from: Any = None,
        resume_child_runs: Any = None,
        pipeline: Any = None,
        debug_flag: Any = None,
        custom_run_id: str | None = None,
    ) -> None:
        if [estimator, run_config, pipeline].count(None) != 2:
            raise ValueError("HyperDriveConfig takes exactly one of estimator, run_config and pipeline")
        if not isinstance(hyperparameter_sampling, HyperParameterSampling):
            raise ValueError(f"HyperDriveConfig: hyperparameter_sampling is {hyperparameter_sampling!r}, which is none")
        if not isinstance(primary_metric_goal, PrimaryMetricGoal):
            raise ValueError(
                f"HyperDriveConfig: primary_metric_goal={primary_metric_goal!r}; PrimaryMetricGoal.MAXIMIZE or MINIMIZE is "
                "expected"
            )
        counts = {
            "max_total_runs": max_total_runs,
            "max_concurrent_runs": max_concurrent_runs,
            "max_duration_minutes": max_duration_minutes,
        }
        for name, value in counts.items():
            if name == "max_concurrent_runs" and value is None:
                continue
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"HyperDriveConfig: {name}={value!r} is wrong; a whole number from 1 is expected")
        if max_concurrent_runs is not None and max_concurrent_runs > max_total_runs:
            raise ValueError(
                f"HyperDriveConfig: max_concurrent_runs={max_concurrent_runs} is more than max_total_runs={max_total_runs}"
            )
        ends_early = policy is not None and not isinstance(policy, NoTerminationPolicy)
        if ends_early and isinstance(hyperparameter_sampling, BayesianParameterSampling):
            raise ValueError("HyperDriveConfig: BayesianParameterSampling takes no policy that ends runs early")
        self.hyperparameter_sampling = hyperparameter_sampling
        self.primary_metric_name = primary_metric_name
        self.primary_metric_goal = primary_metric_goal
        self.max_total_runs = max_total_runs
        self.max_concurrent_runs = max_concurrent_runs or max_total_runs
        self.max_duration_minutes = max_duration_minutes
        self.policy = policy or NoTerminationPolicy()
        self.estimator = estimator
        self.run_config = run_config
        self.pipeline = pipeline

    def as_pipeline(self, workspace: Any) -> Any:
        """What `Experiment.submit` runs."""
        raise NotOnOneBoxError("HyperDriveConfig cannot be submitted yet; it comes in a later version")
