"""Plain functions in a module of their own, which a pool's workers import instead of getting them pickled."""

from __future__ import annotations


def increment(x: int) -> int:
    return x + 1


def make_array(n: int, seed: int):
    import numpy as np

    array = np.arange(n, dtype="float64")
    array[0] = seed
    return array


def sum_array(array) -> float:
    return float(array.sum())
