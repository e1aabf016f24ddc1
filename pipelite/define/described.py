"""Parameters described as plain JSON, for whoever checks values without the code that declared them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipelite.define.conversions import ParameterType, to_text
from pipelite.define.parameters import ParameterSpec


def describe_parameter(spec: ParameterSpec) -> dict[str, Any]:
    """One argument of a pipeline as JSON; a default that JSON has no form for is left to the code ("default_in_code")."""
    described: dict[str, Any] = {"name": spec.name, "type": _describe_type(spec.type), "required": spec.required}
    if not spec.required:
        value = as_json(spec.default)
        if spec.type.kind == "other" or value is NO_JSON:
            described["default_in_code"] = True
        else:
            described["default"] = value
    return described


def read_parameter(described: Mapping[str, Any]) -> ParameterSpec:
    """The argument that was described; members of an enumeration are their names, and datasets their labels."""
    return ParameterSpec(
        name=described["name"],
        type=_read_type(described["type"]),
        default=described.get("default"),
        required=described["required"],
    )


#: What `as_json` gives for a value that JSON has no form for.
NO_JSON: Any = object()


def as_json(value: Any) -> Any:
    """A value of a parameter as JSON that the same parameter takes."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (list, tuple)):
        parts = [as_json(part) for part in value]
        return NO_JSON if any(part is NO_JSON for part in parts) else parts
    if isinstance(value, Mapping):
        pairs = {to_text(key): as_json(part) for key, part in value.items()}
        return NO_JSON if any(part is NO_JSON for part in pairs.values()) else pairs
    text = to_text(value)
    # What nothing knows how to write down has only what Python prints of it.
    return NO_JSON if text == object.__repr__(value) or text == repr(value) else text


def _describe_type(kind: ParameterType) -> dict[str, Any]:
    described: dict[str, Any] = {"kind": kind.kind, "expected": kind.expected}
    if kind.kind == "enum":
        # Only their names travel.
        described["kind"] = "literal"
    if kind.nullable:
        described["nullable"] = True
    if kind.choices:
        described["choices"] = [choice.name if kind.kind == "enum" else choice for choice in kind.choices]
    for name in ("items", "keys"):
        part = getattr(kind, name)
        if part is not None:
            described[name] = _describe_type(part)
    if kind.members:
        described["members"] = [_describe_type(member) for member in kind.members]
    return described


def _read_type(described: Mapping[str, Any]) -> ParameterType:
    return ParameterType(
        kind=described["kind"],
        expected=described["expected"],
        nullable=described.get("nullable", False),
        choices=tuple(described.get("choices", ())),
        items=_read_type(described["items"]) if "items" in described else None,
        keys=_read_type(described["keys"]) if "keys" in described else None,
        members=tuple(_read_type(member) for member in described.get("members", ())),
    )


def to_json_schema(spec: ParameterSpec) -> dict[str, Any]:
    """What a value of a parameter looks like, as a JSON Schema (2020-12); the kind is in its description."""
    schema = {**_schema(spec.type), "description": spec.kind}
    if not spec.required and spec.default is not None:
        json.dumps(spec.default)
        schema["default"] = spec.default
    return schema


def _schema(kind: ParameterType) -> dict[str, Any]:
    made: dict[str, Any] = _SCHEMAS.get(kind.kind, dict)()
    if kind.kind == "literal":
        made = {"enum": [*kind.choices, None] if kind.nullable else list(kind.choices)}
    elif kind.kind in ("list", "tuple"):
        made = {"type": "array", **({"items": _schema(kind.items)} if kind.items else {})}
    elif kind.kind == "dict":
        made = {"type": "object", **({"additionalProperties": _schema(kind.items)} if kind.items else {})}
    elif kind.kind == "union":
        made = {"anyOf": [_schema(member) for member in kind.members]}
    if kind.nullable and kind.kind != "literal":
        made = {"anyOf": [made, {"type": "null"}]} if made else made
    return made


_SCHEMAS: Mapping[str, Any] = {
    "str": lambda: {"type": "string"},
    "path": lambda: {"type": "string", "minLength": 1},
    "dataset": lambda: {"type": "string", "minLength": 1},
    "int": lambda: {"type": "integer"},
    "float": lambda: {"type": "number"},
    "bool": lambda: {"type": "boolean"},
    "date": lambda: {"type": "string", "format": "date"},
    "datetime": lambda: {"type": "string", "format": "date-time"},
}
