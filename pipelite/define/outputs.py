"""What a pipeline's body may return."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pipelite.define.graph import Node
from pipelite.define.handles import PLAIN, ListOutput, Output, iter_handles, rebuild
from pipelite.define.step import Step
from pipelite.errors import TracingError
from pipelite.records import RESULT

_ADVICE = 'return a dict of names and what step calls returned, such as {"model": model}, or one of them, or nothing'


def read_outputs(returned: Any, *, pipeline: str, check_own: Callable[[Node], None]) -> dict[str, Any]:
    """Output names to handles, or to nested lists and dicts of handles."""
    if returned is None:
        return {}
    if isinstance(returned, (Output, ListOutput)):
        returned = {RESULT: returned}
    if not isinstance(returned, dict):
        raise TracingError(f"pipeline {pipeline!r} returned {_described(returned)}; {_ADVICE}")
    for name, value in returned.items():
        if not isinstance(name, str) or not name:
            raise TracingError(f"pipeline {pipeline!r} returned a dict with the key {name!r}; {_ADVICE}")
        where = f"pipeline {pipeline!r}: output {name!r}"
        if not isinstance(value, ListOutput) and not any(True for _ in iter_handles(value)):
            raise TracingError(f"{where} is {_described(value)}, and not what a step call returned; {_ADVICE}")
        for handle in iter_handles(value):
            check_own(handle.node)
    return {name: _copied(value, f"pipeline {pipeline!r}: output {name!r}") for name, value in returned.items()}


def describe_place(value: Any) -> dict[str, Any]:
    """Where one output of a pipeline comes from, as plain JSON."""
    if isinstance(value, Output):
        return {"step": value.node.name, "output": value.output, "path": list(value.path)}
    if isinstance(value, list | ListOutput):
        return {"list": [describe_place(part) for part in value]}
    if isinstance(value, tuple):
        return {"tuple": [describe_place(part) for part in value]}
    if isinstance(value, dict):
        return {"dict": {str(key): describe_place(part) for key, part in value.items()}}
    json.dumps(value)
    return {"value": value}


def _copied(value: Any, where: str) -> Any:
    if isinstance(value, (Output, ListOutput)) or type(value) in PLAIN:
        return value
    if isinstance(value, (list, tuple, dict)):
        return rebuild(value, lambda item: _copied(item, where))
    raise TracingError(f"{where} holds {_described(value)} among outputs of steps; {_ADVICE}")


def _described(value: Any) -> str:
    if isinstance(value, Step):
        return f"the step {value.name!r} itself (did you mean {value.name}(...)?)"
    if isinstance(value, tuple) and any(isinstance(item, (Output, ListOutput)) for item in value):
        return f"a tuple of {len(value)}, which gives its parts no names"
    shown = repr(value)
    return f"{shown} ({type(value).__name__})" if len(shown) <= 60 else f"a {type(value).__name__}"
