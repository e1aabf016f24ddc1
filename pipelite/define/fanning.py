"""The expanders that every pipeline can use: `.map` over what a step returns, and `first_of`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pipelite.define.context import active
from pipelite.define.expanders import Body, Elements, Expander, Fan, Skip, StatusOf
from pipelite.define.handles import ListOutput, Output, iter_handles
from pipelite.define.mapping import check_lengths
from pipelite.define.mistakes import described
from pipelite.define.places import get_frame
from pipelite.define.step import Step
from pipelite.define.wording import with_article
from pipelite.errors import DefinitionError
from pipelite.records import Status

T = TypeVar("T")


class MapStep(Expander):
    """One call of a step for each element of lists that are known only when other steps have run."""

    __slots__ = ("base",)

    is_transparent = True
    is_list = True

    base: Step[..., Any]

    def __init__(self, base: Step[..., Any]) -> None:
        plain = base._copied()
        plain.conditions = ()
        super().__init__(
            _map,
            name=base.name,
            steps=(plain,),
            is_named=base.is_named,
            options=base.options,
            conditions=base.conditions,
        )
        self.base = plain

    @property
    def element_outputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the outputs that each element has."""
        return self.base.outputs

    def expand(self, inputs: Mapping[str, Any]) -> Body:
        return _map(inputs["lists"], inputs["shared"], inputs["first"], self.base)

    def iter_awaited(self, inputs: Mapping[str, Any]) -> Iterator[Output]:
        # Elements, and what is the same for every call, are what the calls wait for, each for its own.
        yield from (column for column in inputs["lists"] if isinstance(column, Output))

    def __reduce__(self) -> tuple[Any, ...]:
        return MapStep, (self.base,)


def _map(lists: Any, shared: Any, first: tuple[Any, ...] = (), base: Any = None) -> Body:
    columns = []
    for place, column in enumerate(lists):
        if isinstance(column, Output):
            columns.append((described(column), (yield Elements(column))))
        else:
            columns.append((f"list {place + 1}", column))
    check_lengths(base.name, columns)
    rows = zip(*(column for _, column in columns), strict=True)
    calls = yield Fan(base, [(*first, *row) for row in rows] if first else list(rows), shared)
    return calls


class FirstOf(Expander):
    """Stands for the first of several outputs whose steps were not skipped."""

    is_transparent = True
    takes_skipped = True

    def __init__(self, conditions: tuple[tuple[Any, bool], ...] = ()) -> None:
        super().__init__(_first_of, name="first_of", conditions=conditions)

    def _copied(self) -> FirstOf:
        return FirstOf(self.conditions)

    def __reduce__(self) -> tuple[Any, ...]:
        return FirstOf, ()


def _first_of(*alternatives: Any) -> Body:
    names: dict[str, None] = {}
    for alternative in alternatives:
        for handle in iter_handles(alternative):
            if (yield StatusOf(handle)) in (Status.SKIPPED, Status.CANCELED):
                names[handle.node.name] = None
                break
        else:
            return alternative
    listed = ", ".join(repr(name) for name in names)
    raise Skip(f"all of its alternatives were skipped: {listed}")


_step = FirstOf()


def first_of(*alternatives: T) -> T:
    """The first of several outputs whose step was not skipped: of a step `.when(...)` and another `.unless(...)`.

    If all were skipped, it counts as skipped too. Outside of a pipeline it is the first that is not None.

    Raises
    ------
    DefinitionError
        If in a pipeline's body it is given anything but outputs of steps.
    """
    trace = active.trace
    if trace is None:
        return next((each for each in alternatives if each is not None), None)  # type: ignore[return-value]
    if not alternatives:
        raise DefinitionError("first_of() is given nothing; it takes the outputs of several steps")
    for each in alternatives:
        if not isinstance(each, (Output, ListOutput)):
            raise DefinitionError(
                f"first_of(...) got {with_article(type(each).__name__)}; it takes the outputs of several steps"
            )
    return trace.add(_step, alternatives, {}, get_frame(1))  # type: ignore[no-any-return]
