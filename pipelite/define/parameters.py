"""The arguments of a pipeline: what each takes, and the values of one run."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from pipelite.define.annotations import resolve_annotations, type_of_annotation, type_of_default, with_none
from pipelite.define.conversions import REGISTERED, Mismatch, ParameterType, convert, parse, to_text
from pipelite.define.handles import ListOutput, iter_handles
from pipelite.define.places import place_of_function
from pipelite.define.wording import did_you_mean, followed_by, shortened
from pipelite.errors import DefinitionError, ParameterError


@attrs.frozen(kw_only=True)
class ParameterSpec:
    """One argument of a pipeline."""

    name: str
    type: ParameterType
    #: None if it is required.
    default: Any = None
    required: bool

    @property
    def kind(self) -> str:
        """What it takes, in words: "a whole number"."""
        return self.type.expected

    @property
    def choices(self) -> tuple[str, ...]:
        """The texts that it takes, where they are a fixed few."""
        return tuple(to_text(choice) for choice in self.type.choices)

    def describe(self) -> dict[str, Any]:
        """What a command line or a web page says of it; plain JSON."""
        return {
            "name": self.name,
            "type": self.type.kind,
            "expected": self.kind,
            "required": self.required,
            "nullable": self.type.nullable,
            "default": None if self.required else to_text(self.default),
            "choices": list(self.choices),
            "as_text": self.type.kind != "other",
        }


def parameters_of(func: Callable[..., Any], *, pipeline: str | None = None) -> tuple[ParameterSpec, ...]:
    """The arguments of a pipeline's function, typed by annotation, else by default, else as JSON.

    Raises
    ------
    DefinitionError
        If it takes *args, **kwargs or arguments by position only, or a default is not of its annotation.
    """
    place = place_of_function(func)
    where = f"pipeline {pipeline or getattr(func, '__name__', 'pipeline')!r}{f' ({place})' if place else ''}"
    if inspect.iscoroutinefunction(func) or inspect.isasyncgenfunction(func) or inspect.isgeneratorfunction(func):
        kind = "a generator" if inspect.isgeneratorfunction(func) else "an async function"
        raise DefinitionError(f"{where} is {kind}, and its body runs once from top to bottom; write a plain `def`")
    annotations = resolve_annotations(func)
    return tuple(_spec(each, annotations, where) for each in _signature(func, where).values())


def bind_parameters(
    specs: Iterable[ParameterSpec], values: Mapping[str, Any], *, text: bool = False, pipeline: str = "pipeline"
) -> dict[str, Any]:
    """A value for each parameter, checked and converted, in the order of the signature.

    Parameters
    ----------
    values
        By name. A handle of a step's output stays as it is: that is a pipeline called inside another.
    text
        Whether a str is text to convert, as from a command line, rather than the value itself.

    Raises
    ------
    ParameterError
        Naming the parameter (also as its attribute `parameter`), what came and what is expected.
    """
    by_name = {spec.name: spec for spec in specs}
    for name in values:
        if name not in by_name:
            message = f"pipeline {pipeline!r} has no parameter {name!r}{did_you_mean(name, by_name)}"
            takes = f"it takes {', '.join(by_name) or 'none'}"
            raise ParameterError(followed_by(message, takes), parameter=name)
    missing = [name for name, spec in by_name.items() if spec.required and name not in values]
    if missing:
        needed = " and ".join(f"{name!r} ({by_name[name].kind})" for name in missing)
        raise ParameterError(
            f"pipeline {pipeline!r} needs {'a value' if len(missing) == 1 else 'values'} for {needed}",
            parameter=missing[0],
        )
    return {
        name: _bound(spec, values[name], text=text, pipeline=pipeline) if name in values else _default(spec, pipeline)
        for name, spec in by_name.items()
    }


def _signature(func: Callable[..., Any], where: str) -> Mapping[str, inspect.Parameter]:
    try:
        if sys.version_info >= (3, 14):
            import annotationlib

            signature = inspect.signature(func, annotation_format=annotationlib.Format.FORWARDREF)
        else:
            signature = inspect.signature(func)
    except (ValueError, TypeError) as exc:
        raise DefinitionError(f"{where}: Python cannot tell which arguments it takes; decorate a function") from exc
    return signature.parameters


def _spec(parameter: inspect.Parameter, annotations: Mapping[str, Any], where: str) -> ParameterSpec:
    name, default = parameter.name, parameter.default
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
        raise DefinitionError(
            f"{where} takes {stars}{name}, and a run records its parameters by name; "
            "name them one by one, or take a list or a dict"
        )
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise DefinitionError(
            f"{where} takes {name!r} by position only, but parameters are given by name; drop the '/'"
        )
    required = default is parameter.empty
    if name in annotations:
        kind = type_of_annotation(annotations[name])
        kind = with_none(kind) if default is None else kind
    else:
        kind = type_of_annotation(parameter.empty) if required else type_of_default(default)
    if required:
        return ParameterSpec(name=name, type=kind, required=True)
    if kind.kind in {each.kind for each in REGISTERED.values()}:
        # It may be a name, that is looked up when a run needs it.
        return ParameterSpec(name=name, type=kind, default=default, required=False)
    try:
        return ParameterSpec(name=name, type=kind, default=convert(kind, default), required=False)
    except Mismatch as exc:
        raise DefinitionError(
            f"{where}: the default of {name!r} is {_shown(default)}, but its annotation takes {kind.expected}{_hint(exc)}"
        ) from None


def _bound(spec: ParameterSpec, value: Any, *, text: bool, pipeline: str) -> Any:
    if isinstance(value, ListOutput) or any(True for _ in iter_handles(value)):
        return value
    try:
        return parse(spec.type, value) if text and isinstance(value, str) else convert(spec.type, value)
    except Mismatch as exc:
        raise ParameterError(
            f"pipeline {pipeline!r}: parameter {spec.name!r} takes {spec.kind}, but got {_shown(value)}{_hint(exc)}",
            parameter=spec.name,
        ) from None


def _default(spec: ParameterSpec, pipeline: str) -> Any:
    # Converted once more: a list or dict is a new one for each run, whatever a body did to the last.
    return _bound(spec, spec.default, text=False, pipeline=pipeline)


def _hint(mismatch: Mismatch) -> str:
    return f"; {mismatch}" if str(mismatch) else ""


def _shown(value: Any) -> str:
    return f"{shortened(value)} ({type(value).__name__})"
