"""Types of parameters: what each takes, from Python and as text.

Text is converted strictly and Python values hardly at all, so that a typing mistake is an error before any work, and
one value reaches the body in one form however it was given.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import attrs

from pipelite.define.wording import did_you_mean

T = TypeVar("T")


class Mismatch(Exception):
    """A value is not of the type; the text, if any, is a hint for the end of a sentence."""


@attrs.frozen(kw_only=True)
class ParameterType:
    """One type of a parameter."""

    #: "str", "int", "float", "bool", "path", "date", "datetime", "enum", "literal", "list", "tuple", "dict", "union",
    #: "json" (anything that JSON has) or "other" (anything, from Python only).
    kind: str
    #: What it takes, in words: "a whole number".
    expected: str
    #: Whether None is taken too.
    nullable: bool = False
    #: The values of a Literal, the members of an Enum.
    choices: tuple[Any, ...] = ()
    #: Of each element of a list or tuple, of each value of a dict.
    items: ParameterType | None = None
    #: Of each key of a dict.
    keys: ParameterType | None = None
    #: Of a union.
    members: tuple[ParameterType, ...] = ()


def convert(kind: ParameterType, value: Any) -> Any:
    """A value given from Python or as JSON, in the form in which the body gets it.

    Raises
    ------
    Mismatch
        If it is not of the type.
    """
    if value is None and kind.nullable:
        return None
    if kind.kind not in ("json", "other"):
        value = _without_numpy(value)
    return _CONVERSIONS[kind.kind](kind, value)


def parse(kind: ParameterType, text: str) -> Any:
    """A value given as text, on a command line or in the environment.

    Raises
    ------
    Mismatch
        If the text does not spell a value of the type.
    """
    if kind.nullable and text.lower() in ("none", "null") and text not in kind.choices:
        return None
    return _PARSERS[kind.kind](kind, text)


def to_text(value: Any) -> str:
    """The text that `parse` reads as this value."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, default=to_text, ensure_ascii=False)
    return str(value)


def _without_numpy(value: Any) -> Any:
    """Numbers that come out of arrays count as the numbers that they are."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    return value


def _convert_str(_: ParameterType, value: Any) -> str:
    # Members of a StrEnum and other subclasses count as their text.
    return str.__str__(value) if isinstance(value, str) else _mismatch()


def _convert_int(_: ParameterType, value: Any) -> int:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else _mismatch()


def _convert_float(_: ParameterType, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Mismatch
    try:
        return float(value)
    except OverflowError:
        raise Mismatch("it is too large") from None


def _convert_bool(_: ParameterType, value: Any) -> bool:
    return value if isinstance(value, bool) else _mismatch()


def _convert_path(_: ParameterType, value: Any) -> Path:
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else _mismatch()
    return Path(path) if path and isinstance(path, str) else _mismatch("an empty path names nothing")


def _convert_date(_: ParameterType, value: Any) -> date:
    if isinstance(value, str):
        return _from_iso(date.fromisoformat, value)
    return value if isinstance(value, date) and not isinstance(value, datetime) else _mismatch()


def _convert_datetime(_: ParameterType, value: Any) -> datetime:
    if isinstance(value, str):
        return _from_iso(datetime.fromisoformat, value)
    return value if isinstance(value, datetime) else _mismatch()


def _from_iso(read: Callable[[str], T], text: str) -> T:
    try:
        return read(text)
    except ValueError as exc:
        raise Mismatch(str(exc)) from None


def _convert_enum(kind: ParameterType, value: Any) -> Any:
    enum: type[Enum] = type(kind.choices[0])
    if isinstance(value, enum):
        return value
    if type(value) is not str:
        raise Mismatch
    if value in enum.__members__:
        return enum.__members__[value]
    raise Mismatch(did_you_mean(value, enum.__members__).removeprefix("; "))


def _convert_literal(kind: ParameterType, value: Any) -> Any:
    for choice in kind.choices:
        if type(choice) is type(value) and choice == value:
            return choice
    texts = [choice for choice in kind.choices if isinstance(choice, str)]
    raise Mismatch(did_you_mean(value, texts).removeprefix("; ") if isinstance(value, str) else "")


def _convert_list(kind: ParameterType, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise Mismatch
    return [_part(kind.items, item, f"element [{index}]") for index, item in enumerate(value)]


def _convert_tuple(kind: ParameterType, value: Any) -> tuple[Any, ...]:
    return tuple(_convert_list(kind, value))


def _convert_dict(kind: ParameterType, value: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise Mismatch
    return {_key(kind.keys, key): _part(kind.items, item, f"[{key!r}]") for key, item in value.items()}


def _part(kind: ParameterType | None, value: Any, where: str) -> Any:
    if kind is None:
        return value
    try:
        return convert(kind, value)
    except Mismatch:
        raise Mismatch(f"{where} is {value!r}") from None


def _key(kind: ParameterType | None, key: Any) -> Any:
    if kind is None:
        return key
    try:
        return convert(kind, key)
    except Mismatch:
        # The keys of JSON are texts, whatever they spell.
        return parse(kind, key) if isinstance(key, str) else _mismatch(f"the key {key!r} is wrong")


def _convert_union(kind: ParameterType, value: Any) -> Any:
    converted = []
    for member in kind.members:
        try:
            converted.append(convert(member, value))
        except Mismatch:
            continue
    for each in converted:
        # 5 for `float | int` stays an int.
        if type(each) is type(value):
            return each
    return converted[0] if converted else _mismatch()


def _convert_any(_: ParameterType, value: Any) -> Any:
    return value


def _mismatch(hint: str = "") -> NoReturn:
    raise Mismatch(hint)


def _parse_int(_: ParameterType, text: str) -> int:
    digits = text[1:] if text[:1] in ("+", "-") else text
    # int() takes more than a person means: "1_000", " 5 ", digits of other scripts.
    return int(text) if digits.isascii() and digits.isdigit() else _mismatch()


def _parse_float(_: ParameterType, text: str) -> float:
    if "_" in text or text != text.strip() or not text.isascii():
        raise Mismatch
    try:
        return float(text)
    except ValueError:
        raise Mismatch from None


def _parse_bool(_: ParameterType, text: str) -> bool:
    return {"true": True, "false": False}[text] if text in ("true", "false") else _mismatch()


def _parse_literal(kind: ParameterType, text: str) -> Any:
    for choice in kind.choices:
        if to_text(choice) == text:
            return choice
    raise Mismatch(did_you_mean(text, [to_text(choice) for choice in kind.choices]).removeprefix("; "))


def _parse_json(kind: ParameterType, text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        hint = f"as text it is JSON, and this is none: {exc}"
        if kind.kind == "json":
            hint = f"without an annotation it is read as JSON, where a text has quotes: '\"{text}\"'"
        raise Mismatch(hint) from None
    return convert(kind, value)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not in JSON")


def _parse_union(kind: ParameterType, text: str) -> Any:
    # Every text is a str: what says more goes first.
    for member in sorted(kind.members, key=lambda member: member.kind == "str"):
        try:
            return parse(member, text)
        except Mismatch:
            continue
    raise Mismatch


def _parse_other(_: ParameterType, text: str) -> NoReturn:
    raise Mismatch("it has no form as text; run the pipeline from Python to pass it")


def register_type(cls: type, *, kind: str, expected: str, convert: Callable[[Any], Any]) -> None:
    """Have parameters with this annotation take what `convert` makes of a value or a text; it raises `Mismatch`.

    A default is not converted before a run asks for it.
    """
    REGISTERED[cls] = ParameterType(kind=kind, expected=expected)
    _CONVERSIONS[kind] = _PARSERS[kind] = lambda _, value: convert(value)


#: Types of rooms above, by class.
REGISTERED: dict[type, ParameterType] = {}

_CONVERSIONS: dict[str, Callable[[ParameterType, Any], Any]] = {
    "str": _convert_str,
    "int": _convert_int,
    "float": _convert_float,
    "bool": _convert_bool,
    "path": _convert_path,
    "date": _convert_date,
    "datetime": _convert_datetime,
    "enum": _convert_enum,
    "literal": _convert_literal,
    "list": _convert_list,
    "tuple": _convert_tuple,
    "dict": _convert_dict,
    "union": _convert_union,
    "json": _convert_any,
    "other": _convert_any,
}

#: The others read their text as `convert` does: texts, paths, dates, names of members.
_PARSERS: dict[str, Callable[[ParameterType, str], Any]] = {
    **_CONVERSIONS,
    "int": _parse_int,
    "float": _parse_float,
    "bool": _parse_bool,
    "literal": _parse_literal,
    "list": _parse_json,
    "tuple": _parse_json,
    "dict": _parse_json,
    "union": _parse_union,
    "json": _parse_json,
    "other": _parse_other,
}
