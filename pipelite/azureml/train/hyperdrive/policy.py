"""When a run of a search is ended early."""

from __future__ import annotations

from typing import Any


class EarlyTerminationPolicy:
    """Looked at each time that so many values of the metric were logged, after the first few.

    Raises
    ------
    ValueError
        If a setting is wrong.
    """

    def __init__(self, evaluation_interval: int = 1, delay_evaluation: int = 0) -> None:
        self._check("evaluation_interval", evaluation_interval, 1)
        self._check("delay_evaluation", delay_evaluation, 0)
        self.evaluation_interval = evaluation_interval
        self.delay_evaluation = delay_evaluation

    def _check(self, name: str, value: Any, least: int) -> None:
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{type(self).__name__}: {name}={value!r}; a whole number from {least} is expected")


class BanditPolicy(EarlyTerminationPolicy):
    """Ends what is worse than the best by more than some slack."""

    def __init__(
        self,
        evaluation_interval: int = 1,
        slack_factor: float | None = None,
        slack_amount: float | None = None,
        delay_evaluation: int = 0,
    ) -> None:
        super().__init__(evaluation_interval, delay_evaluation)
        if (slack_factor is None) == (slack_amount is None):
            raise ValueError("BanditPolicy takes slack_factor or slack_amount, and not both")
        self.slack_factor = slack_factor
        self.slack_amount = slack_amount


class MedianStoppingPolicy(EarlyTerminationPolicy):
    """Ends what is worse than the median of the averages so far."""


class TruncationSelectionPolicy(EarlyTerminationPolicy):
    """Ends the worst so many in a hundred."""

    def __init__(self, truncation_percentage: int, evaluation_interval: int = 1, delay_evaluation: int = 0) -> None:
        super().__init__(evaluation_interval, delay_evaluation)
        self._check("truncation_percentage", truncation_percentage, 1)
        if truncation_percentage > 99:
            raise ValueError(f"TruncationSelectionPolicy: truncation_percentage={truncation_percentage} is above 99")
        self.truncation_percentage = truncation_percentage


class NoTerminationPolicy(EarlyTerminationPolicy):
    """Ends nothing."""

    def __init__(self) -> None:
        super().__init__()
