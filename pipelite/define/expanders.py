"""Nodes that add others to the graph while it runs: the protocol between such a node's body and who drives it.

The body is a generator function. In it, step calls make nodes as they do in a pipeline's body; what it yields is a
request, and what `yield` gives back is the answer:

- `yield [handles]`: start everything called so far, report on these from now on, and give the next `Ended` or `Logged`
  event; None once nothing that it listens to is under way any more. `yield []` only waits for the next event.
- `yield Load(handle)`: the value of an output that is there.
- `yield Elements(handle)`: the list that an output is, as a list of handles.
- `yield Fan(step, rows, shared)`: one call for each row, named `name[0]`, `name[1]`, ... after the node itself; gives the
  list of their handles.
- `yield Stop(handle)`: end a step that it made, or drop it if it has not started; its status is then `canceled`.
- `yield StatusOf(handle)`: the `Status` of the step that a handle comes from.

What it returns is the node's output. Handles may stand in it, in lists, tuples and dicts. Inputs come as handles: a step
that is called takes them as they are, and `Load` gives their values.

    def search(train, rates):
        trials = fit.map(rates, train=train)
        best = None
        while (event := (yield trials)) is not None:
            ...
        return {"model": best}

    node = Expander(search, name="search", steps=(fit,))
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

import attrs

from pipelite.define.conditions import are_met
from pipelite.define.handles import Output, iter_handles
from pipelite.define.options import StepOptions
from pipelite.define.signatures import read_signature
from pipelite.define.step import Step
from pipelite.records import Status


@attrs.frozen
class Load:
    """Asks for the value of an output of a step that is done."""

    handle: Output


@attrs.frozen
class Elements:
    """Asks for the elements of an output that is a list."""

    handle: Output


@attrs.frozen
class Fan:
    """Asks for one call of a step for each row of positional arguments; `shared` goes to every call by keyword."""

    step: Step[..., Any]
    rows: Sequence[tuple[Any, ...]]
    shared: Mapping[str, Any]


@attrs.frozen
class Stop:
    """Asks to end a step, whether it runs or waits; nothing happens to one that has ended."""

    handle: Output


@attrs.frozen
class StatusOf:
    """Asks how a step is."""

    handle: Output


@attrs.frozen(kw_only=True)
class Ended:
    """A step that was listened to has ended."""

    #: As the call gave it.
    handle: Output
    status: Status
    #: What went wrong, in words; None if nothing did.
    error: str | None
    #: The last value of each number or text that it logged, by name.
    metrics: Mapping[str, Any]
    duration_s: float


@attrs.frozen(kw_only=True)
class Logged:
    """A step that is listened to has logged a number or a text."""

    handle: Output
    name: str
    value: Any
    #: The step number given with it, e.g. an epoch.
    step: int | None


class Skip(Exception):
    """Raised by an expander that is to count as skipped; says why."""


Request = Load | Elements | Fan | Stop | StatusOf | Sequence[Any] | Output | None
Body = Generator[Any, Any, Any]


class Expander(Step[..., Any]):
    """A step whose body is driven by the coordinator, not sent to a slot; see the module for the protocol.

    Parameters
    ----------
    func : generator function
    steps : the steps it is known to call; a mistake in their code is then met before any work
    tolerates_failures : whether a child that fails is only reported to it; else it fails the run, as any step does
    """

    __slots__ = ("steps", "tolerates_failures")

    is_expander = True
    #: Whether the node is no step run of its own, but stands for what it returns.
    is_transparent = False
    #: Whether it starts also if what it waits for was skipped.
    takes_skipped = False

    def __init__(
        self,
        func: Callable[..., Body],
        *,
        name: str,
        steps: tuple[Step[..., Any], ...] = (),
        tolerates_failures: bool = False,
        is_named: bool = False,
        outputs: tuple[str, ...] = (),
        options: StepOptions | None = None,
        conditions: tuple[tuple[Any, bool], ...] = (),
    ) -> None:
        super().__init__(
            func,
            name=name,
            signature=read_signature(func),
            is_named=is_named,
            outputs=outputs,
            options=options,
            binds="nothing",
            conditions=conditions,
        )
        self.steps = steps
        self.tolerates_failures = tolerates_failures

    def expand(self, inputs: Mapping[str, Any]) -> Body:
        """Start its body."""
        args, kwargs = self.split(inputs)
        return self.func(*args, **kwargs)  # type: ignore[no-any-return]

    def iter_awaited(self, inputs: Mapping[str, Any]) -> Iterator[Output]:
        """The inputs that have to be there before it starts."""
        for value in inputs.values():
            yield from iter_handles(value)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return drive(self.func(*args, **kwargs)) if are_met(self.conditions) else None

    def _copied(self) -> Expander:
        return type(self)(
            self.func,
            name=self.name,
            steps=self.steps,
            tolerates_failures=self.tolerates_failures,
            is_named=self.is_named,
            outputs=self.outputs,
            options=self.options,
            conditions=self.conditions,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        state = {"steps": self.steps, "tolerates_failures": self.tolerates_failures, "outputs": self.outputs}
        return _rebuilt, (type(self), self.func, {"name": self.name, "is_named": self.is_named, **state}, self.options)


def _rebuilt(kind: type[Expander], func: Callable[..., Body], state: dict[str, Any], options: StepOptions) -> Expander:
    return kind(func, options=options, **state)


def drive(body: Body) -> Any:
    """Run a body outside of a pipeline, where step calls are function calls and their outputs are values."""
    answer: Any = None
    waiting: list[Any] = []
    try:
        while True:
            request = body.send(answer)
            if isinstance(request, Load):
                answer = request.handle
            elif isinstance(request, Elements):
                answer = list(request.handle)
            elif isinstance(request, Fan):
                answer = [request.step._call(row, dict(request.shared)) for row in request.rows]
            elif isinstance(request, StatusOf):
                answer = Status.COMPLETED
            elif isinstance(request, Stop):
                answer = None
            else:
                waiting += request or ()
                value = waiting.pop(0) if waiting else None
                answer = value if value is None else _ended(value)
    except StopIteration as stop:
        return stop.value


def _ended(value: Any) -> Ended:
    return Ended(handle=value, status=Status.COMPLETED, error=None, metrics={}, duration_s=0.0)
