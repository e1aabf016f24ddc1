"""How parameters are sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelite.azureml.train.hyperdrive.parameter_expressions import Expression


class HyperParameterSampling:
    """Parameters by name, with where their values are drawn from.

    Raises
    ------
    ValueError
        If there is none, or the values of one are drawn from what this kind of sampling does not know.
    """

    #: Distributions that it knows; empty for all.
    _known: tuple[str, ...] = ()

    def __init__(self, parameter_space: Mapping[str, Any], properties: Any = None) -> None:
        kind = type(self).__name__
        if not parameter_space:
            raise ValueError(f"{kind} needs a parameter")
        for name, expression in parameter_space.items():
            if not isinstance(expression, list) or len(expression) != 2:
                raise ValueError(f"{kind}: parameter {name!r} is {expression!r}; choice(...) and the like are expected")
            if self._known and expression[0] not in self._known:
                raise ValueError(
                    f"{kind}: parameter {name!r} is {expression[0]}; it draws from {', '.join(self._known)}"
                )
            self._check(name, expression)
        self.parameter_space = dict(parameter_space)

    def _check(self, name: str, expression: Expression) -> None:
        """Raise if what a distribution is given is not taken."""


class RandomParameterSampling(HyperParameterSampling):
    """By chance."""


class GridParameterSampling(HyperParameterSampling):
    """Every combination."""

    _known = ("choice",)


class BayesianParameterSampling(HyperParameterSampling):
    """By what was seen so far."""

    _known = ("choice", "uniform", "quniform")

    def _check(self, name: str, expression: Expression) -> None:
        kind, values = expression
        if kind == "quniform" and not all(isinstance(each, int) for each in values):
            raise ValueError(f"BayesianParameterSampling: quniform of {name!r} takes whole numbers, not {values}")
