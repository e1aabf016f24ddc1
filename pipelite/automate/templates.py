"""Bodies of requests: JSON in which `{{run.id}}` stands for a field of a run.

A template is a JSON value, and fields are put into its strings before it becomes text: whatever a field holds, the result
is JSON of the same form.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipelite.store import finite

#: What is sent where a hook says nothing else; the form that Standard Webhooks proposes.
DEFAULT_BODY: Mapping[str, Any] = {"type": "run.{{event}}", "timestamp": "{{at}}", "data": "{{run}}"}

_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")

FIELDS = ("event", "at", "hook", "delivery", "run")
RUN_FIELDS = (
    "id",
    "number",
    "pipeline",
    "experiment",
    "published",
    "version",
    "status",
    "error",
    "created_at",
    "started_at",
    "ended_at",
    "duration_s",
    "parameters",
    "tags",
    "metrics",
)
#: Fields of a run that hold values by name.
_BY_NAME = ("parameters", "tags", "metrics")


def find_mistakes(template: Any) -> Iterator[str]:
    """What is wrong with a template, in words."""
    if isinstance(template, str):
        for name in _PLACEHOLDER.findall(template):
            if not _is_known(name):
                yield f"{{{{{name}}}}} stands for nothing; there are {', '.join(FIELDS)} and run.{', run.'.join(RUN_FIELDS)}"
    elif isinstance(template, list):
        for part in template:
            yield from find_mistakes(part)
    elif isinstance(template, dict):
        for key, part in template.items():
            if not isinstance(key, str) or _PLACEHOLDER.search(key):
                yield f"the key {key!r} is wrong; keys are text, without {{{{...}}}}"
            yield from find_mistakes(part)
    elif isinstance(template, float) and not math.isfinite(template):
        yield "NaN and infinity are no JSON"
    elif not isinstance(template, (bool, int, float, type(None))):
        yield f"{type(template).__name__} is no JSON"


def _is_known(name: str) -> bool:
    first, _, rest = name.partition(".")
    if first != "run" or not rest:
        return name in FIELDS
    field, dot, key = rest.partition(".")
    return field in RUN_FIELDS and (not dot or (field in _BY_NAME and bool(key)))


def render(template: Any, fields: Mapping[str, Any]) -> bytes:
    """The body of a request.

    A string that is one placeholder and nothing else becomes the field as it is, a number or an object too; within other
    text it becomes text. What is not there is null, or no text.
    """
    return json.dumps(_fill(template, fields), allow_nan=False).encode("ascii")


def _fill(template: Any, fields: Mapping[str, Any]) -> Any:
    if isinstance(template, str):
        if whole := _PLACEHOLDER.fullmatch(template):
            return _look_up(whole[1], fields)
        # In one pass: a field that holds {{...}} itself is not looked into.
        return _PLACEHOLDER.sub(lambda found: _as_text(_look_up(found[1], fields)), template)
    if isinstance(template, list):
        return [_fill(part, fields) for part in template]
    if isinstance(template, dict):
        return {key: _fill(part, fields) for key, part in template.items()}
    return template


def _look_up(name: str, fields: Mapping[str, Any]) -> Any:
    first, _, rest = name.partition(".")
    value = fields.get(first)
    if rest and isinstance(value, Mapping):
        # What comes after is a name that may have dots in it.
        field, dot, key = rest.partition(".")
        value = value.get(field)
        if dot:
            value = value.get(key) if isinstance(value, Mapping) else None
    return finite(value)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
