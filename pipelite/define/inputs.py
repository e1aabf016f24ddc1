"""What a step call may be given in a pipeline's body, and the copy of it that the graph keeps."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from pipelite.define.graph import Node
from pipelite.define.handles import PLAIN, Item, ListOutput, Output, iter_handles, rebuild
from pipelite.define.step import Step
from pipelite.define.wording import with_article


class InputError(Exception):
    """Half a sentence about what is wrong with an argument; the step, the place and the name go before it."""


def take(value: Any, found: dict[Node, None]) -> Any:
    """The value as it is now, and the nodes whose outputs it holds.

    Lists, tuples, dicts and sets are copied: a body that fills one list and passes it to several steps means its
    contents at each call. A list of handles from `.map` becomes a list.

    Raises
    ------
    InputError
        If it holds a step that was not called, or a handle where handles cannot be found again.
    """
    try:
        return _take(value, found)
    except RecursionError:
        raise InputError(
            f"is {with_article(type(value).__name__)} that is nested too deep, or contains itself"
        ) from None


def _take(value: Any, found: dict[Node, None]) -> Any:
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is Output or kind is Item:
        found[value.node] = None
        return value
    if kind is ListOutput:
        found.update(dict.fromkeys(element.node for element in value.elements))
        return list(value.elements)
    if isinstance(value, (list, tuple)) and PLAIN.issuperset(map(type, value)):
        return value[:] if kind in (list, tuple) else rebuild(value, _same)
    if isinstance(value, dict):
        _check_keys(value)
    if isinstance(value, (list, tuple, dict)):
        return rebuild(value, lambda item: _take(item, found))
    if isinstance(value, Step):
        raise InputError(
            f"is the step {value.name!r} itself, not its output; did you mean {value.name}(...)? "
            f"To pass the plain function, write {value.name}.func"
        )
    if isinstance(value, Set):
        if any(isinstance(item, (Output, ListOutput)) for item in value):
            raise InputError("is a set with outputs of steps in it; sets have no order: pass a list")
        return set(value) if kind is set else value
    _check_fields(value)
    return value


def _same(item: Any) -> Any:
    return item


def _check_keys(value: dict[Any, Any]) -> None:
    if any(isinstance(key, (Output, ListOutput)) for key in value):
        raise InputError("is a dict with the output of a step as a key; outputs can be the values of a dict only")


def _check_fields(value: Any) -> None:
    """Records are values as a whole: a handle inside would stay a handle when the step runs."""
    kind = type(value)
    names = getattr(kind, "__dataclass_fields__", None)
    if names is None:
        names = [field.name for field in getattr(kind, "__attrs_attrs__", ())]
    for name in names:
        if any(True for _ in iter_handles(getattr(value, name, None))):
            raise InputError(
                f"is {with_article(kind.__name__)} whose field {name!r} holds the output of a step; "
                f"pass the output on its own, and make the {kind.__name__} inside the step"
            )
