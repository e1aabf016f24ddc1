"""A function that pipelite can run, store and reuse; called directly it is still the function."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType, MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from pipelite.define.conditions import are_met, read_condition
from pipelite.define.context import active
from pipelite.define.mapping import has_unknown_length, rows_of
from pipelite.define.options import StepOptions, change_options, check_name, check_outputs
from pipelite.define.places import get_frame
from pipelite.define.signatures import Signature, read_signature
from pipelite.records import RESULT

P = ParamSpec("P")
Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class Step(Generic[P, R_co]):
    """A decorated function. Plain data: no store, connection or lock hangs on it."""

    __slots__ = (
        "__dict__",
        "__weakref__",
        "binds",
        "conditions",
        "func",
        "is_named",
        "name",
        "options",
        "outputs",
        "signature",
    )

    func: Callable[..., Any]
    #: What its nodes are called.
    name: str
    #: Whether the user chose the name: two calls under one chosen name are a mistake.
    is_named: bool
    #: Names of several outputs; empty for a step with one, which is then called `records.RESULT`.
    outputs: tuple[str, ...]
    options: StepOptions
    signature: Signature
    #: What becomes the first argument where the step stands in a class: "instance", "class" or "nothing".
    binds: str
    #: What its nodes run under: handles or truth values, each with what it has to come out as.
    conditions: tuple[tuple[Any, bool], ...]

    #: Whether its node adds others to the graph while it runs.
    is_expander = False
    #: Whether its function only starts a process, and that is what runs in the step's environment.
    starts_process = False
    #: Whether its output is a list of outputs, as long as what was mapped, and what outputs each element has by name.
    is_list = False
    element_outputs: tuple[str, ...] = ()

    def __init__(
        self,
        func: Callable[..., Any],
        *,
        name: str,
        signature: Signature,
        is_named: bool = False,
        outputs: tuple[str, ...] = (),
        options: StepOptions | None = None,
        binds: str = "instance",
        conditions: tuple[tuple[Any, bool], ...] = (),
    ) -> None:
        self.func = func
        self.name = name
        self.is_named = is_named
        self.outputs = outputs
        self.options = options or StepOptions()
        self.signature = signature
        self.binds = binds
        self.conditions = conditions
        # Help, documentation tools and type hints are to see the function. What a callable object of another kind
        # keeps in its __dict__ is its own, and could hide the methods of the step.
        functools.update_wrapper(self, func, updated=("__dict__",) if isinstance(func, FunctionType) else ())

    @property
    def whole_output(self) -> str | None:
        """The output that the handle of a call stands for; None for all of several."""
        return None if self.outputs else RESULT

    @property
    def parameters(self) -> tuple[str, ...]:
        """Argument names in the order of the signature."""
        return self.signature.names

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """In a pipeline's body: one more node, and a handle for its output. Anywhere else: the function itself."""
        trace = active.trace
        if trace is None:
            return self._call(args, kwargs)  # type: ignore[no-any-return]
        return trace.add(self, args, kwargs, get_frame(1))  # type: ignore[no-any-return]

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Outside of a pipeline: what Python does, and None where a condition is not met."""
        return self.func(*args, **kwargs) if are_met(self.conditions) else None

    def map(self: Step[..., R], *lists: Iterable[Any], **shared: Any) -> list[R]:
        """One call for each element of a list; several lists are zipped, keywords go to every call.

        In a pipeline's body the result is a list of handles. What is mapped may be the output of a step, whose length is
        known only when the step has run.
        """
        trace = active.trace
        if trace is not None and has_unknown_length(lists):
            return trace.add_growing_map(self, lists, shared, get_frame(1))  # type: ignore[no-any-return]
        rows = rows_of(self.name, lists)
        if trace is None:
            return [self._call(row, shared) for row in rows]
        return trace.add_map(self, rows, shared, get_frame(1))  # type: ignore[no-any-return]

    def when(self, condition: Any) -> Step[P, R_co]:
        """A copy that runs only if the condition comes out true: `alarm.when(is_high(x))(x)`.

        Otherwise it is skipped, and so is what needs its output. A condition is the output of a step, or True or False.
        """
        return self._under(condition, expected=True)

    def unless(self, condition: Any) -> Step[P, R_co]:
        """A copy that runs only if the condition comes out false."""
        return self._under(condition, expected=False)

    def _under(self, condition: Any, *, expected: bool) -> Step[P, R_co]:
        changed = self._copied()
        changed.conditions = (*self.conditions, (read_condition(self.name, condition, expected=expected), expected))
        return changed

    def _copied(self) -> Step[P, R_co]:
        """A copy that its maker may still change."""
        return Step(
            self.func,
            name=self.name,
            is_named=self.is_named,
            outputs=self.outputs,
            options=self.options,
            signature=self.signature,
            binds=self.binds,
            conditions=self.conditions,
        )

    def with_options(self, **changes: Any) -> Step[P, R_co]:
        """A changed copy; it takes the options of `@step`, and `regenerate_outputs`."""
        where = f"step {self.name!r}: with_options"
        changed = self._copied()
        if "name" in changes:
            changed.name = check_name(changes.pop("name"), where=where)
            changed.is_named = True
        if "outputs" in changes:
            changed.outputs = check_outputs(changes.pop("outputs"), where=where)
        changed.options = change_options(self.options, changes, where=where)
        return changed

    def split(self, inputs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with which to call `func`, from inputs by name."""
        return self.signature.split(inputs)

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Step[P, R_co]: ...
    @overload
    def __get__(self: Step[Concatenate[Any, Q], R], instance: object, owner: type | None = None) -> Step[Q, R]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Step[..., Any]:
        if self.binds == "class":
            return BoundStep(self, owner if instance is None else type(instance))
        if instance is None or self.binds == "nothing":
            return self
        return BoundStep(self, instance)

    def __repr__(self) -> str:
        return f"<step {self.name!r}>"

    # Nothing of a step is ever changed in place, so that it can stand for its copies.
    def __copy__(self) -> Step[P, R_co]:
        return self

    def __deepcopy__(self, memo: Any) -> Step[P, R_co]:
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        """By reference, as functions are pickled; a changed copy by what was changed."""
        found = self._found_by_name()
        if found is self:
            return str(self.__dict__["__qualname__"])
        state = {name: getattr(self, name) for name in ("name", "is_named", "outputs", "options")}
        if isinstance(found, Step) and found.func is self.func:
            return _changed, (found, state)
        return _rebuilt, (self.func, {**state, "binds": self.binds})

    def _found_by_name(self) -> Any:
        found: Any = sys.modules.get(self.__dict__.get("__module__", ""))
        for part in self.__dict__.get("__qualname__", "").split("."):
            found = found.__dict__.get(part) if hasattr(found, "__dict__") else None
        return found


class BoundStep(Step[P, R_co]):
    """A step of a class, looked up on an instance: the instance is its first input."""

    __slots__ = ("instance", "unbound")

    #: What stands in the graph: a plain step whose first input is the instance.
    unbound: Step[..., Any]
    instance: Any

    def __init__(self, unbound: Step[..., Any], instance: Any) -> None:
        self.unbound = unbound
        self.instance = instance
        super().__init__(
            MethodType(unbound.func, instance),
            name=unbound.name,
            is_named=unbound.is_named,
            outputs=unbound.outputs,
            options=unbound.options,
            signature=unbound.signature,
            binds="nothing",
            conditions=unbound.conditions,
        )

    @property
    def parameters(self) -> tuple[str, ...]:
        """Argument names without the first, which is bound."""
        return self.signature.names[1:]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """As for a step that is not bound, with the instance as first argument."""
        trace = active.trace
        if trace is None:
            return self._call(args, kwargs)  # type: ignore[no-any-return]
        return trace.add(self.unbound, (self.instance, *args), kwargs, get_frame(1))  # type: ignore[no-any-return]

    def map(self: BoundStep[..., R], *lists: Iterable[Any], **shared: Any) -> list[R]:
        """As for a step that is not bound."""
        trace = active.trace
        if trace is not None and has_unknown_length(lists):
            first = (self.instance,)
            return trace.add_growing_map(self.unbound, lists, shared, get_frame(1), first)  # type: ignore[no-any-return]
        rows = rows_of(self.name, lists)
        if trace is None:
            return [self._call(row, shared) for row in rows]
        rows = [(self.instance, *row) for row in rows]
        return trace.add_map(self.unbound, rows, shared, get_frame(1))  # type: ignore[no-any-return]

    def with_options(self, **changes: Any) -> Step[P, R_co]:
        """A changed copy, bound to the same instance."""
        return BoundStep(self.unbound.with_options(**changes), self.instance)

    def _under(self, condition: Any, *, expected: bool) -> Step[P, R_co]:
        return BoundStep(self.unbound._under(condition, expected=expected), self.instance)

    def split(self, inputs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with which to call `func`, which is bound."""
        first = self.signature.names[0]
        args, kwargs = self.signature.split({first: self.instance, **inputs})
        return args[1:], kwargs

    def __reduce__(self) -> tuple[Any, ...]:
        return BoundStep, (self.unbound, self.instance)


def _changed(base: Step[P, R], state: dict[str, Any]) -> Step[P, R]:
    changed = base._copied()
    for name, value in state.items():
        setattr(changed, name, value)
    return changed


def _rebuilt(func: Callable[P, R], state: dict[str, Any]) -> Step[P, R]:
    return Step(func, signature=read_signature(func), **state)
