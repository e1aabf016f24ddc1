"""`azureml.train.automl`: what an `AutoMLStep` searches for, whose view is not there yet."""

from __future__ import annotations

from typing import Any

#: The primary metrics of each task; the first is the default.
_METRICS = {
    "classification": (
        "accuracy",
        "AUC_weighted",
        "norm_macro_recall",
        "average_precision_score_weighted",
        "precision_score_weighted",
    ),
    "regression": (
        "normalized_root_mean_squared_error",
        "spearman_correlation",
        "r2_score",
        "normalized_mean_absolute_error",
    ),
}
_METRICS["forecasting"] = _METRICS["regression"]


class AutoMLConfig:
    """What to search a model for: the task, the metric, the data, and limits.

    Raises
    ------
    ValueError
        If there is no such task, or the task has no such metric.
    """

    def __init__(
        self,
        task: str,
        path: str | None = None,
        iterations: int | None = None,
        primary_metric: str | None = None,
        **others: Any,
    ) -> None:
        if task not in _METRICS:
            raise ValueError(f"AutoMLConfig: task={task!r} is wrong; one of {', '.join(_METRICS)} is expected")
        if primary_metric is not None and primary_metric not in _METRICS[task]:
            raise ValueError(
                f"AutoMLConfig: primary_metric={primary_metric!r} is none of {task}; it has {', '.join(_METRICS[task])}"
            )
        if task == "forecasting" and not ({"time_column_name", "forecasting_parameters"} & set(others)):
            raise ValueError("AutoMLConfig: forecasting needs time_column_name or forecasting_parameters")
        self.task = task
        self.path = path
        self.iterations = iterations
        self.primary_metric = primary_metric or _METRICS[task][0]
        self.user_settings = others
