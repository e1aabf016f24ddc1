"""The calls that `step.map(...)` stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, Sized
from typing import Any

from pipelite.define.handles import ListOutput, Output
from pipelite.define.mistakes import described
from pipelite.define.wording import with_article
from pipelite.errors import DefinitionError


def rows_of(step: str, lists: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """One row of positional arguments for each call.

    Raises
    ------
    DefinitionError
        If something is no list, or the lists differ in length.
    """
    if not lists:
        raise DefinitionError(f"{step}.map() maps nothing: its first argument is a list; keywords go to every call")
    columns = [_column(step, each) for each in lists]
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        told = ", ".join(str(length) for length in lengths[:-1])
        raise DefinitionError(
            f"{step}.map(...) got lists of {told} and {lengths[-1]} elements; they are zipped, so they must be of one length. "
            "An argument that is the same for every call goes by keyword"
        )
    return list(zip(*columns, strict=True))


def has_unknown_length(lists: tuple[Any, ...]) -> bool:
    """Whether one of the lists is the output of a step, which nobody knows before it has run."""
    return any(isinstance(each, Output) for each in lists)


def read_columns(step: str, lists: tuple[Any, ...]) -> list[Any]:
    """Lists as such, and outputs of steps as they are; what can be known to be wrong is refused now.

    Raises
    ------
    DefinitionError
        If something is neither.
    """
    return [each if _is_mappable(step, each) else _column(step, each) for each in lists]


def _is_mappable(step: str, mapped: Any) -> bool:
    if not isinstance(mapped, Output):
        return False
    names = mapped.node.step.outputs if mapped.output is None and not mapped.path else ()
    if names:
        raise DefinitionError(
            f"{step}.map(...) got {described(mapped)}, which has {len(names)} outputs ({', '.join(names)}); "
            "map over one of them, or over [*handle]"
        )
    return True


def check_lengths(step: str, columns: Sequence[tuple[str, Sequence[Any]]]) -> None:
    """Refuse lists of several lengths, which are given with what they are called.

    Raises
    ------
    DefinitionError
        Naming each list and its length.
    """
    if len({len(column) for _, column in columns}) > 1:
        told = ", ".join(f"{len(column)} ({name})" for name, column in columns)
        raise DefinitionError(
            f"{step}.map(...) got lists of different lengths: {told}; they are zipped, so they must be of one length. "
            "An argument that is the same for every call goes by keyword"
        )


def read_elements(step: str, name: str, value: Any) -> list[Any]:
    """The elements of a value that an upstream step returned.

    Raises
    ------
    DefinitionError
        If it is no list; says what it is.
    """
    advice = _advice(value)
    if advice is not None:
        raise DefinitionError(f"{step}.map(...) got {name}, which came out as {advice}")
    return list(value)


def _column(step: str, mapped: Any) -> list[Any]:
    advice = _advice(mapped)
    if advice is not None:
        raise DefinitionError(f"{step}.map(...) got {advice}")
    return list(mapped)


def _advice(mapped: Any) -> str | None:
    """What is wrong with a thing to be mapped; None for what is fine."""
    kind = with_article(type(mapped).__name__)
    if isinstance(mapped, ListOutput):
        return None
    if isinstance(mapped, (str, bytes)):
        return f"the text {mapped!r}, which is not a list; to map one element write [{mapped!r}]"
    if isinstance(mapped, Mapping):
        return "a dict; map over list(d.items()), or over its keys and values as two lists"
    if isinstance(mapped, Set) and not hasattr(mapped, "mapping"):
        return f"{kind}, which has no order; map over sorted(...)"
    if type(mapped).__name__ == "DataFrame":
        return "a DataFrame, which would give its column names; map over a list of what each call is to take"
    if isinstance(mapped, Iterator):
        return f"{kind}, which can be read only once; map over list(...)"
    if not isinstance(mapped, Iterable) or not isinstance(mapped, Sized):
        return f"{kind}, which is not a list; an argument that is the same for every call goes by keyword"
    return None
