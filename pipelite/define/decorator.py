"""`@step`: what makes a step of a function, and says of anything else why it cannot be one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from os import PathLike
from types import MethodType
from typing import Any, ParamSpec, TypeVar, overload

from pipelite.define.handles import iter_handles
from pipelite.define.options import StepOptions, change_options, check_name, check_outputs
from pipelite.define.places import place_of_function
from pipelite.define.signatures import Signature, read_signature
from pipelite.define.step import BoundStep, Step
from pipelite.define.wording import with_article
from pipelite.errors import DefinitionError

P = ParamSpec("P")
R = TypeVar("R")

_NOT_GIVEN: Any = object()
_Paths = str | PathLike[str] | tuple[str | PathLike[str], ...] | list[str | PathLike[str]]


@overload
def step(
    func: Callable[P, R],
    /,
    *,
    name: str = ...,
    outputs: tuple[str, ...] | list[str] = ...,
    cache: bool | timedelta | None = ...,
    version: str | None = ...,
    depends_on: _Paths = ...,
    track: str | tuple[str, ...] | list[str] = ...,
    retries: int = ...,
    retry_delay: float | timedelta = ...,
    retry_backoff: float = ...,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = ...,
    timeout: float | timedelta | None = ...,
    cpus: int = ...,
    compute: str | None = ...,
    environment: Any = ...,
) -> Step[P, R]: ...
@overload
def step(
    *,
    name: str = ...,
    outputs: tuple[str, ...] | list[str] = ...,
    cache: bool | timedelta | None = ...,
    version: str | None = ...,
    depends_on: _Paths = ...,
    track: str | tuple[str, ...] | list[str] = ...,
    retries: int = ...,
    retry_delay: float | timedelta = ...,
    retry_backoff: float = ...,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = ...,
    timeout: float | timedelta | None = ...,
    cpus: int = ...,
    compute: str | None = ...,
    environment: Any = ...,
) -> Callable[[Callable[P, R]], Step[P, R]]: ...
def step(func: Any = _NOT_GIVEN, /, *args: Any, **options: Any) -> Any:
    """Make a step of a function: `@step`, `@step(retries=2)` or `step(function, retries=2)`.

    Parameters
    ----------
    name : str
        What it is called in runs; by default the function's name, made unique where it is called more than once.
    outputs : tuple of str
        Names of several outputs; the function returns a tuple or a dict of them.
    cache : bool or timedelta
        False: never reuse. True: reuse even if it returned None. A timedelta: reuse while the result is younger.
    version : str
        Counts as part of the code: change it to compute anew.
    depends_on : path or tuple of paths
        Files and folders whose contents count as part of the code.
    track : str or tuple of str
        Installed packages whose source counts as your own code.
    retries, retry_delay, retry_backoff, retry_on
        How often a failed step runs again; the wait before, in seconds or as a timedelta; by what factor it grows;
        for which exceptions.
    timeout : seconds or timedelta
        For one attempt.
    cpus : int
        How many slots it takes.
    compute : str
        Name of a compute target.
    environment
        The packages that it runs in.

    Raises
    ------
    DefinitionError
        If it is no plain function, or an option is wrong.
    """
    if args or (func is not _NOT_GIVEN and not callable(func) and not isinstance(func, (staticmethod, classmethod))):
        raise DefinitionError(_misuse(func))
    # A wrong option is reported at the line with the option, before there is a function.
    _options(options, where="@step")
    if func is _NOT_GIVEN:
        return functools.partial(_make, options=options)
    return _make(func, options)


def _make(func: Any, options: dict[str, Any]) -> Step[..., Any]:
    binds = "instance"
    if isinstance(func, (staticmethod, classmethod)):
        binds = "nothing" if isinstance(func, staticmethod) else "class"
        func = func.__func__
    _check_function(func)
    instance = _NOT_GIVEN
    if isinstance(func, MethodType):
        # The object is an input like any other, and counts by its value.
        func, instance = func.__func__, func.__self__
    where = f"step {_function_name(func)!r}"
    name, outputs, checked = _options(options, where=where)
    made: Step[..., Any] = Step(
        func,
        name=name or _function_name(func),
        is_named=name is not None,
        outputs=outputs,
        options=checked,
        signature=_signature(func),
        binds=binds,
    )
    return made if instance is _NOT_GIVEN else BoundStep(made, instance)


def _options(options: dict[str, Any], *, where: str) -> tuple[str | None, tuple[str, ...], StepOptions]:
    rest = dict(options)
    name = check_name(rest.pop("name"), where=where) if "name" in rest else None
    outputs = check_outputs(rest.pop("outputs"), where=where) if "outputs" in rest else ()
    return name, outputs, change_options(StepOptions(), rest, where=where)


def _misuse(first: Any) -> str:
    if isinstance(first, str):
        return f"@step({first!r}): to name a step write @step(name={first!r})"
    if isinstance(first, property):
        return "@step stands on a property; write a method, or put @property above @step"
    return (
        f"@step got {with_article(type(first).__name__)} where it takes a function; "
        "options go by name: @step(outputs=(...), retries=2)"
    )


def _check_function(func: Any) -> None:
    name, where = _function_name(func), _where(func)
    if isinstance(func, Step):
        raise DefinitionError(f"{name!r} is a step already; for a changed copy use {name}.with_options(...)")
    if isinstance(func, type):
        raise DefinitionError(
            f"{name!r} is a class, and a step is a function; write a function that makes {with_article(name)}, or decorate a method"
        )
    if not callable(func):
        raise DefinitionError(_misuse(func))
    if type(func).__module__.split(".")[0] == "pipelite":
        raise DefinitionError(f"{name!r} is {with_article(type(func).__name__.lower())}, and a step is a function")
    inner = _innermost(func)
    if inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner):
        raise DefinitionError(
            f"{name!r}{where} is an async function, which a step cannot be: each step runs in a process of its own. "
            "Write `def`, and inside it asyncio.run(...)"
        )
    if inspect.isgeneratorfunction(inner):
        raise DefinitionError(
            f"{name!r}{where} is a generator function (it has a `yield`), and a generator cannot be stored; "
            "return a list of what it yields"
        )


def _innermost(func: Any) -> Any:
    """What is called in the end: the function in a partial, the `__call__` of an object."""
    while isinstance(func, functools.partial):
        func = func.func
    if not hasattr(func, "__code__") and not isinstance(func, MethodType) and not inspect.isbuiltin(func):
        return type(func).__call__
    return func


def _function_name(func: Any) -> str:
    while isinstance(func, functools.partial):
        func = func.func
    name = getattr(func, "__name__", None) or type(func).__name__
    return "lambda" if name == "<lambda>" else str(name)


def _where(func: Any) -> str:
    place = place_of_function(func)
    return f" ({place})" if place else ""


def _signature(func: Callable[..., Any]) -> Signature:
    name = _function_name(func)
    try:
        signature = read_signature(func)
    except (ValueError, TypeError) as exc:
        raise DefinitionError(
            f"Python cannot tell which arguments {name!r} takes, as with some functions written in C; "
            f"write a function that calls it, and make that the step ({exc})"
        ) from None
    for argument, default in signature.defaults.items():
        if any(True for _ in iter_handles(default)):
            raise DefinitionError(
                f"step {name!r}{_where(func)}: the default of {argument!r} is the output of a step; "
                "pass it as an argument instead"
            )
    return signature
