"""A function that pipelite can run, store and reuse; called directly it is still the function."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType, MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from pipelite.define.context import active
from pipelite.define.mapping import rows_of
from pipelite.define.options import StepOptions, change_options, check_name, check_outputs
from pipelite.define.places import get_frame
from pipelite.define.signatures import Signature, read_signature

P = ParamSpec("P")
Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class Step(Generic[P, R_co]):
    """A decorated function. Plain data: no store, connection or lock hangs on it."""

    __slots__ = ("__dict__", "__weakref__", "binds", "func", "is_named", "name", "options", "outputs", "signature")

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
    ) -> None:
        self.func = func
        self.name = name
        self.is_named = is_named
        self.outputs = outputs
        self.options = options or StepOptions()
        self.signature = signature
        self.binds = binds
        # Help, documentation tools and type hints are to see the function. What a callable object of another kind
        # keeps in its __dict__ is its own, and could hide the methods of the step.
        functools.update_wrapper(self, func, updated=("__dict__",) if isinstance(func, FunctionType) else ())

    @property
    def parameters(self) -> tuple[str, ...]:
        """Argument names in the order of the signature."""
        return self.signature.names

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """In a pipeline's body: one more node, and a handle for its output. Anywhere else: the function itself."""
        trace = active.trace
        if trace is None:
            return self.func(*args, **kwargs)  # type: ignore[no-any-return]
        return trace.add(self, args, kwargs, get_frame(1))  # type: ignore[no-any-return]

    def map(self: Step[..., R], *lists: Iterable[Any], **shared: Any) -> list[R]:
        """One call for each element of a list; several lists are zipped, keywords go to every call.

        In a pipeline's body the result is a list of handles.
        """
        rows = rows_of(self.name, lists)
        trace = active.trace
        if trace is None:
            return [self.func(*row, **shared) for row in rows]
        return trace.add_map(self, rows, shared, get_frame(1))  # type: ignore[no-any-return]

    def with_options(self, **changes: Any) -> Step[P, R_co]:
        """A changed copy; it takes the options of `@step`, and `regenerate_outputs`."""
        where = f"step {self.name!r}: with_options"
        changed = copy_step(self)
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
        )

    @property
    def parameters(self) -> tuple[str, ...]:
        """Argument names without the first, which is bound."""
        return self.signature.names[1:]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """As for a step that is not bound, with the instance as first argument."""
        trace = active.trace
        if trace is None:
            return self.func(*args, **kwargs)  # type: ignore[no-any-return]
        return trace.add(self.unbound, (self.instance, *args), kwargs, get_frame(1))  # type: ignore[no-any-return]

    def map(self: BoundStep[..., R], *lists: Iterable[Any], **shared: Any) -> list[R]:
        """As for a step that is not bound."""
        rows = rows_of(self.name, lists)
        trace = active.trace
        if trace is None:
            return [self.func(*row, **shared) for row in rows]
        rows = [(self.instance, *row) for row in rows]
        return trace.add_map(self.unbound, rows, shared, get_frame(1))  # type: ignore[no-any-return]

    def with_options(self, **changes: Any) -> Step[P, R_co]:
        """A changed copy, bound to the same instance."""
        return BoundStep(self.unbound.with_options(**changes), self.instance)

    def split(self, inputs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with which to call `func`, which is bound."""
        first = self.signature.names[0]
        args, kwargs = self.signature.split({first: self.instance, **inputs})
        return args[1:], kwargs

    def __reduce__(self) -> tuple[Any, ...]:
        return BoundStep, (self.unbound, self.instance)


def copy_step(step: Step[P, R]) -> Step[P, R]:
    """A copy that its maker may still change."""
    return Step(
        step.func,
        name=step.name,
        is_named=step.is_named,
        outputs=step.outputs,
        options=step.options,
        signature=step.signature,
        binds=step.binds,
    )


def _changed(base: Step[P, R], state: dict[str, Any]) -> Step[P, R]:
    changed = copy_step(base)
    for name, value in state.items():
        setattr(changed, name, value)
    return changed


def _rebuilt(func: Callable[P, R], state: dict[str, Any]) -> Step[P, R]:
    return Step(func, signature=read_signature(func), **state)
