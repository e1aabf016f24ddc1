"""From what stands behind the colon of a parameter, or its default, to its type."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from enum import Enum
from inspect import Parameter
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union

import attrs

from pipelite.define.conversions import REGISTERED, ParameterType, to_text
from pipelite.define.wording import with_article

_JSON = ParameterType(kind="json", expected="a JSON value", nullable=True)
_STR = ParameterType(kind="str", expected="a text")

_SIMPLE: dict[Any, ParameterType] = {
    str: _STR,
    int: ParameterType(kind="int", expected="a whole number"),
    float: ParameterType(kind="float", expected="a number"),
    bool: ParameterType(kind="bool", expected="true or false"),
    date: ParameterType(kind="date", expected="a date such as 2026-01-31"),
    datetime: ParameterType(kind="datetime", expected="a date and time such as 2026-01-31T12:00:00"),
    list: ParameterType(kind="list", expected="a list"),
    tuple: ParameterType(kind="tuple", expected="a list"),
    dict: ParameterType(kind="dict", expected="a dict"),
    Any: _JSON,
    object: _JSON,
    Parameter.empty: _JSON,
}
_PATH = ParameterType(kind="path", expected="a path")


def type_of_annotation(annotation: Any) -> ParameterType:
    """The type that an annotation means; for one that says nothing to us, "other"."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return type_of_annotation(arguments[0])
    if hasattr(annotation, "__supertype__"):
        return type_of_annotation(annotation.__supertype__)
    if sys.version_info >= (3, 12) and isinstance(annotation, typing.TypeAliasType):
        return type_of_annotation(annotation.__value__)
    if origin is Literal:
        return _literal(arguments)
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin is not None and not arguments:
        return _of_class(origin)  # typing.List and its like, bare.
    if origin is not None:
        return _container(annotation, origin, arguments)
    return _of_class(annotation)


def type_of_default(default: Any) -> ParameterType:
    """The type of a parameter that has a default and no annotation."""
    if default is None:
        return _JSON
    return _PATH if isinstance(default, PurePath) else _of_class(type(default))


def with_none(kind: ParameterType) -> ParameterType:
    """The same type, or None."""
    if kind.nullable:
        return kind
    return attrs.evolve(kind, nullable=True, expected=f"{kind.expected} or None")


def resolve_annotations(func: Callable[..., Any]) -> dict[str, Any]:
    """Annotations by parameter, texts (`from __future__ import annotations`) evaluated.

    One that cannot be evaluated, since its name is imported for type checkers only, stays a text.
    """
    try:
        return typing.get_type_hints(func, include_extras=True)
    except Exception:  # Whatever the user's annotations raise; then each is tried by itself.
        found = _raw_annotations(func)
    names = {**getattr(func, "__globals__", {}), **_closure(func)}
    return {name: _evaluated(annotation, names) for name, annotation in found.items()}


def _raw_annotations(func: Callable[..., Any]) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(func, format=annotationlib.Format.FORWARDREF)
    return getattr(func, "__annotations__", {})


def _closure(func: Callable[..., Any]) -> dict[str, Any]:
    names = getattr(getattr(func, "__code__", None), "co_freevars", ())
    found = {}
    for name, cell in zip(names, getattr(func, "__closure__", None) or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # Not filled yet.
            continue
    return found


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, names)  # noqa: S307 - the user's own source, as typing.get_type_hints does it.
    except Exception:  # Any error means the same: this one stays a text.
        return annotation


def _of_class(annotation: Any) -> ParameterType:
    try:
        if annotation in _SIMPLE:
            return _SIMPLE[annotation]
    except TypeError:  # Not hashable, so nothing that we know.
        return _other(annotation)
    if isinstance(annotation, type) and annotation in REGISTERED:
        return REGISTERED[annotation]
    if isinstance(annotation, type) and issubclass(annotation, PurePath):
        return _PATH
    if isinstance(annotation, type) and issubclass(annotation, Enum) and len(annotation):
        members = tuple(annotation)
        names = ", ".join(member.name for member in members)
        return ParameterType(kind="enum", expected=f"one of {names}", choices=members)
    if annotation in (Sequence, Mapping):
        return _SIMPLE[list if annotation is Sequence else dict]
    return _other(annotation)


def _other(annotation: Any) -> ParameterType:
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", None) or str(annotation)
    return ParameterType(kind="other", expected=with_article(name), nullable=True)


def _literal(choices: tuple[Any, ...]) -> ParameterType:
    values = tuple(choice for choice in choices if choice is not None)
    expected = f"one of {', '.join(to_text(choice) for choice in values)}"
    kind = ParameterType(kind="literal", expected=expected, choices=values)
    return with_none(kind) if len(values) < len(choices) else kind


def _union(arguments: tuple[Any, ...]) -> ParameterType:
    members = tuple(type_of_annotation(each) for each in arguments if each is not type(None))
    if len(members) == 1:
        kind = members[0]
    else:
        expected = " or ".join(member.expected for member in members)
        kind = ParameterType(kind="union", expected=expected, members=members)
    return with_none(kind) if len(members) < len(arguments) else kind


def _container(annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> ParameterType:
    if origin in (list, Sequence) or (origin is tuple and arguments[1:] == (...,)):
        items = type_of_annotation(arguments[0])
        kind = "tuple" if origin is tuple else "list"
        return ParameterType(kind=kind, expected=f"a list, each element {items.expected}", items=items)
    if origin in (dict, Mapping):
        keys, items = (type_of_annotation(each) for each in arguments)
        return ParameterType(kind="dict", expected=f"a dict, each value {items.expected}", keys=keys, items=items)
    return ParameterType(kind="other", expected=with_article(str(annotation).replace("typing.", "")), nullable=True)
