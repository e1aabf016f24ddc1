"""Plain functions in a module of their own: a pool's workers import them, where one of the script is pickled each time."""

from __future__ import annotations


def increment(x: int) -> int:
    return x + 1


def spin(loops: int) -> int:
    """Work that holds a core and nothing else."""
    total = 0
    for number in range(loops):
        total += number & 7
    return total
