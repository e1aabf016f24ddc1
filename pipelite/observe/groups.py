"""Fan-outs: step runs that `.map` named fit[0], fit[1], ... belong together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def fan_out_of(name: str) -> str | None:
    """ "fit" for "fit[3]"; None for a name that no fan-out gave."""
    base, bracket, index = name.rpartition("[")
    return base if bracket and base and index[-1:] == "]" and index[:-1].isdigit() else None


def group_fan_outs(items: Iterable[T], name_of: Callable[[T], str]) -> list[tuple[str | None, list[T]]]:
    """Items in order, those of one fan-out together under its name where the first stands; others alone under None."""
    groups: list[tuple[str | None, list[T]]] = []
    known: dict[str, list[T]] = {}
    for item in items:
        base = fan_out_of(name_of(item))
        if base is None:
            groups.append((None, [item]))
        elif base in known:
            known[base].append(item)
        else:
            known[base] = [item]
            groups.append((base, known[base]))
    return groups
