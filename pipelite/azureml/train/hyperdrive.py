"""`azureml.train.hyperdrive`: what a `HyperDriveStep` tries, whose view is not there yet."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any


class PrimaryMetricGoal(Enum):
    """Which values of the metric are the better ones."""

    MAXIMIZE = "MAXIMIZE"
    MINIMIZE = "MINIMIZE"


def choice(*options: Any) -> list[Any]:
    """One of some values; they may be given as one list, or as a range."""
    values = list(options[0]) if len(options) == 1 and isinstance(options[0], list | range) else list(options)
    if not values:
        raise ValueError("choice() needs a value to choose")
    return ["choice", [values]]


def randint(upper: int) -> list[Any]:
    """A whole number from 0, below a limit."""
    return ["randint", [upper]]


def uniform(min_value: float, max_value: float) -> list[Any]:
    """A number between two others."""
    return ["uniform", [min_value, max_value]]


def quniform(min_value: float, max_value: float, q: int) -> list[Any]:
    """One in steps of `q`."""
    return ["quniform", [min_value, max_value, _step(q)]]


def loguniform(min_value: float, max_value: float) -> list[Any]:
    """A number whose logarithm is between two others: the bounds are logarithms."""
    return ["loguniform", [min_value, max_value]]


def qloguniform(min_value: float, max_value: float, q: int) -> list[Any]:
    """One in steps of `q`."""
    return ["qloguniform", [min_value, max_value, _step(q)]]


def normal(mu: float, sigma: float) -> list[Any]:
    """A number of a normal distribution."""
    return ["normal", [mu, sigma]]


def qnormal(mu: float, sigma: float, q: int) -> list[Any]:
    """One in steps of `q`."""
    return ["qnormal", [mu, sigma, _step(q)]]


def lognormal(mu: float, sigma: float) -> list[Any]:
    """A number whose logarithm is of a normal distribution."""
    return ["lognormal", [mu, sigma]]


def qlognormal(mu: float, sigma: float, q: int) -> list[Any]:
    """One in steps of `q`."""
    return ["qlognormal", [mu, sigma, _step(q)]]


def _step(q: int) -> int:
    if int(q) != q or q < 1:
        raise ValueError(f"q={q!r} is wrong; a whole number from 1 is expected")
    return int(q)


class HyperParameterSampling:
    """How the next values are drawn."""

    #: What it can draw from; None is everything.
    _kinds: tuple[str, ...] | None = None

    def __init__(self, parameter_space: Mapping[str, Any], properties: Any = None) -> None:
        for name, expression in parameter_space.items():
            if self._kinds is not None and expression[0] not in self._kinds:
                raise ValueError(
                    f"{type(self).__name__}: {name!r} is {expression[0]}; it draws from {', '.join(self._kinds)}"
                )
        self.parameter_space = dict(parameter_space)


class RandomParameterSampling(HyperParameterSampling):
    """By chance."""


class GridParameterSampling(HyperParameterSampling):
    """All combinations."""

    _kinds = ("choice",)


class BayesianParameterSampling(HyperParameterSampling):
    """By what the earlier ones gave."""

    _kinds = ("choice", "uniform", "quniform")


class NoTerminationPolicy:
    """All go on to their ends."""


class BanditPolicy:
    """Those that fall behind the best are stopped.

    Raises
    ------
    ValueError
        Unless it is given one kind of slack.
    """

    def __init__(
        self,
        evaluation_interval: int = 1,
        slack_factor: float | None = None,
        slack_amount: float | None = None,
        delay_evaluation: int = 0,
    ) -> None:
        if (slack_factor is None) == (slack_amount is None):
            raise ValueError("BanditPolicy takes slack_factor or slack_amount, and not both")
        self.evaluation_interval = evaluation_interval
        self.slack_factor = slack_factor
        self.slack_amount = slack_amount
        self.delay_evaluation = delay_evaluation


class MedianStoppingPolicy:
    """Those that are worse than the median are stopped."""

    def __init__(self, evaluation_interval: int = 1, delay_evaluation: int = 0) -> None:
        self.evaluation_interval = evaluation_interval
        self.delay_evaluation = delay_evaluation


class TruncationSelectionPolicy:
    """The worst part is stopped.

    Raises
    ------
    ValueError
        If the part is no percentage from 1 to 99.
    """

    def __init__(self, truncation_percentage: int, evaluation_interval: int = 1, delay_evaluation: int = 0) -> None:
        if not 1 <= truncation_percentage <= 99:
            raise ValueError(f"truncation_percentage={truncation_percentage!r} is wrong; 1 to 99 is expected")
        self.truncation_percentage = truncation_percentage
        self.evaluation_interval = evaluation_interval
        self.delay_evaluation = delay_evaluation


class HyperDriveConfig:
    """What to try, and by which metric it is judged.

    Raises
    ------
    ValueError
        Unless it is given one thing to run.
    """

    def __init__(
        self,
        hyperparameter_sampling: HyperParameterSampling,
        primary_metric_name: str,
        primary_metric_goal: PrimaryMetricGoal,
        max_total_runs: int,
        max_concurrent_runs: int | None = None,
        max_duration_minutes: int = 10080,
        policy: Any = None,
        estimator: Any = None,
        run_config: Any = None,
        resume_from: Any = None,
        resume_child_runs: Any = None,
        pipeline: Any = None,
    ) -> None:
        if sum(each is not None for each in (estimator, run_config, pipeline)) != 1:
            raise ValueError("HyperDriveConfig takes one of estimator, run_config and pipeline")
        self.hyperparameter_sampling = hyperparameter_sampling
        self.primary_metric_name = primary_metric_name
        self.primary_metric_goal = primary_metric_goal
        self.max_total_runs = max_total_runs
        self.max_concurrent_runs = max_concurrent_runs
        self.max_duration_minutes = max_duration_minutes
        self.policy = policy or NoTerminationPolicy()
        self.estimator = estimator
        self.run_config = run_config
        self.resume_from = resume_from
        self.resume_child_runs = resume_child_runs
        self.pipeline = pipeline
