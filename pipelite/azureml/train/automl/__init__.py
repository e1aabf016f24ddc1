"""`azureml.train.automl`: what a search for models is told."""

from __future__ import annotations

from typing import Any

from pipelite.azureml.exceptions import NotOnOneBoxError

#: Metrics by which models are compared, by task; the first is the default.
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
_WHOLE_FROM_1 = ("iterations", "max_cores_per_iteration", "max_concurrent_iterations", "iteration_timeout_minutes")


class AutoMLConfig:
    """The task of a search, its data, and how long it takes.

    Raises
    ------
    ValueError
        If a setting is wrong.
    """

    def __init__(
        self,
        task: str,
        path: str | None = None,
        iterations: int | None = None,
        primary_metric: str | None = None,
        compute_target: Any = None,
        training_data: Any = None,
        validation_data: Any = None,
        label_column_name: str | None = None,
        n_cross_validations: int | str | None = None,
        validation_size: float | None = None,
        featurization: Any = "auto",
        **settings: Any,
    ) -> None:
        if task not in _METRICS:
            raise ValueError(f"AutoMLConfig: task={task!r} is wrong; one of {', '.join(_METRICS)} is expected")
        metrics = _METRICS[task]
        if primary_metric is not None and primary_metric not in metrics:
            raise ValueError(
                f"AutoMLConfig: primary_metric={primary_metric!r} is none of {task}; one of {', '.join(metrics)} is expected"
            )
        if task == "forecasting" and not {"time_column_name", "forecasting_parameters"} & {*settings}:
            raise ValueError("AutoMLConfig: forecasting needs time_column_name or forecasting_parameters")
        if training_data is not None and label_column_name is None:
            raise ValueError("AutoMLConfig: training_data needs label_column_name")
        if validation_data is not None and (n_cross_validations is not None or validation_size is not None):
            raise ValueError("AutoMLConfig takes validation_data, or n_cross_validations and validation_size, not both")
        if validation_size is not None and not 0.0 < validation_size < 1.0:
            raise ValueError(f"AutoMLConfig: validation_size={validation_size!r} is wrong; it lies between 0 and 1")
        if isinstance(n_cross_validations, int) and n_cross_validations < 2:
            raise ValueError(f"AutoMLConfig: n_cross_validations={n_cross_validations}; at least 2 are needed")
        if featurization not in ("auto", "off") and not hasattr(featurization, "__dict__"):
            raise ValueError(f"AutoMLConfig: featurization={featurization!r}; 'auto' or 'off' is expected")
        for name, value in {"iterations": iterations, **settings}.items():
            if name in _WHOLE_FROM_1 and value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"AutoMLConfig: {name}={value!r} is wrong; a whole number from 1 is expected")
        self.task = task
        self.path = path
        self.compute_target = compute_target
        self.primary_metric = primary_metric or metrics[0]
        self.user_settings = {
            "iterations": iterations,
            "training_data": training_data,
            "validation_data": validation_data,
            "label_column_name": label_column_name,
            "n_cross_validations": n_cross_validations,
            "validation_size": validation_size,
            "featurization": featurization,
            **settings,
        }

    def as_pipeline(self, workspace: Any) -> Any:
        """What `Experiment.submit` runs."""
        raise NotOnOneBoxError("AutoMLConfig cannot be submitted yet; it comes in a later version")
