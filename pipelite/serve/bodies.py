"""JSON as it came over the network: read strictly, so that what is stored is what was meant."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from flask import Request

from pipelite.serve.refusals import Refusal, invalid

#: Values inside of values.
MOST_LEVELS = 64


def read_json(content: bytes) -> Any:
    """The value that a body spells.

    Raises
    ------
    Refusal
        If it is no JSON in UTF-8, has a name twice in an object, a number that is none or is too large, half a character,
        or too many levels.
    """
    try:
        # What is too deep for the parser is so for everybody.
        value = _decoder.decode(content.decode("utf-8"))
        _check(value)
    except RecursionError:
        raise invalid(f"the body has more than {MOST_LEVELS} levels of lists and objects") from None
    except UnicodeError:
        raise invalid("the body is not UTF-8, or has half of a surrogate pair in it") from None
    except ValueError as exc:
        raise invalid(f"the body is not JSON as it is taken here: {exc}") from None
    return value


def read_object(content: bytes, content_type: str, *, names: frozenset[str] | None = None) -> dict[str, Any]:
    """The object in a body; an empty body is an empty object.

    Raises
    ------
    Refusal
        If it is something else, or has a name besides `names`, if any are given.
    """
    if not content:
        return {}
    if content_type != "application/json":
        raise Refusal(415, "UnsupportedMediaType", f"the body is {content_type or 'of no type'}; send application/json")
    value = read_json(content)
    if not isinstance(value, dict):
        raise invalid("the body is not a JSON object")
    for name in value:
        if names is not None and name not in names:
            raise invalid(f"nothing is known of {name!r}; the body may have {', '.join(sorted(names))}", parameter=name)
    return value


def read_as(schema: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """The object in a body, as its schema in the table of routes has it.

    Raises
    ------
    Refusal
        If it is something else; naming what does not fit.
    """
    body = read_object(request.get_data(), request.mimetype, names=frozenset(schema["properties"]))
    _check_as(schema, body, "")
    return body


#: Of the types that schemas of bodies have.
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
}


def _check_as(schema: Mapping[str, Any], value: Any, name: str) -> None:
    kind = schema["type"]
    if type(value) not in _TYPES[kind]:
        raise invalid(f"{name} is {_shown(value)}, and has to be of the type {kind}", parameter=name)
    if "enum" in schema and value not in schema["enum"]:
        raise invalid(f"{name} is {_shown(value)}; one of {', '.join(schema['enum'])} is expected", parameter=name)
    size = value if kind in ("integer", "number") else len(value)
    least = schema.get("minimum", schema.get("minLength"))
    most = schema.get("maximum", schema.get("maxLength", schema.get("maxItems")))
    if (least is not None and size < least) or (most is not None and size > most):
        what = "is" if kind in ("integer", "number") else "has the length"
        between = f"from {least or 0}" + ("" if most is None else f" to {most}")
        raise invalid(f"{name} {what} {str(size)[:40]}, and {between} is expected", parameter=name)
    if kind == "string" and "\0" in value:
        raise invalid(f"{name} has a character in it that no text has", parameter=name)
    for each in value if kind == "array" else ():
        _check_as(schema["items"], each, name)
    if "properties" in schema:
        _check_members(schema, value, name)


def _check_members(schema: Mapping[str, Any], value: Mapping[str, Any], name: str) -> None:
    for missing in schema.get("required", ()):
        if missing not in value:
            raise invalid(f"{missing} is missing", parameter=missing)
    for key, each in value.items():
        if key not in schema["properties"]:
            raise invalid(f"nothing is known of {key!r} in {name}", parameter=name)
        _check_as(schema["properties"][key], each, key)


def _shown(value: Any) -> str:
    return json.dumps(value)[:100]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object has a name twice")
    return made


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse)


def _check(value: Any) -> None:
    level = [value]
    for _ in range(MOST_LEVELS + 1):
        below: list[Any] = []
        for each in level:
            if type(each) is str:
                if not each.isascii():
                    each.encode()
            elif type(each) is dict:
                below += each
                below += each.values()
            elif type(each) is list:
                below += each
        if not below:
            return
        level = below
    raise RecursionError
