"""Where the values of a parameter are drawn from: a list of a distribution's name and what it takes."""

from __future__ import annotations

from typing import Any

Expression = list[Any]


def choice(*options: Any) -> Expression:
    """One of some values: given one by one, or as a list or a range.

    Raises
    ------
    ValueError
        If there are none.
    """
    given = list(options[0]) if len(options) == 1 and isinstance(options[0], list | tuple | range) else list(options)
    if not given:
        raise ValueError("choice() needs values to choose from")
    return ["choice", [given]]


def randint(upper: int) -> Expression:
    """A whole number from 0 to below `upper`."""
    return ["randint", [_whole("randint", upper)]]


def uniform(min_value: float, max_value: float) -> Expression:
    """A number between two."""
    return ["uniform", _ordered("uniform", min_value, max_value)]


def quniform(min_value: float, max_value: float, q: int) -> Expression:
    """As `uniform`, rounded to multiples of `q`."""
    return ["quniform", [*_ordered("quniform", min_value, max_value), _whole("quniform", q)]]


def loguniform(min_value: float, max_value: float) -> Expression:
    """The exponential of a number between two, which are logarithms."""
    return ["loguniform", _ordered("loguniform", min_value, max_value)]


def qloguniform(min_value: float, max_value: float, q: int) -> Expression:
    """As `loguniform`, rounded to multiples of `q`."""
    return ["qloguniform", [*_ordered("qloguniform", min_value, max_value), _whole("qloguniform", q)]]


def normal(mu: float, sigma: float) -> Expression:
    """A number of the normal distribution."""
    return ["normal", [mu, sigma]]


def qnormal(mu: float, sigma: float, q: int) -> Expression:
    """As `normal`, rounded to multiples of `q`."""
    return ["qnormal", [mu, sigma, _whole("qnormal", q)]]


def lognormal(mu: float, sigma: float) -> Expression:
    """The exponential of a number of the normal distribution."""
    return ["lognormal", [mu, sigma]]


def qlognormal(mu: float, sigma: float, q: int) -> Expression:
    """As `lognormal`, rounded to multiples of `q`."""
    return ["qlognormal", [mu, sigma, _whole("qlognormal", q)]]


def _ordered(name: str, low: float, high: float) -> list[float]:
    if low > high:
        raise ValueError(f"{name}({low!r}, {high!r}): the first is the lower one")
    return [low, high]


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: {value!r} is wrong; a whole number from 1 is expected")
    return value
