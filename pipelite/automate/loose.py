"""Values of parameters as some clients write them: numbers as texts, and texts as numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipelite.automate.versions import PublishedVersion
from pipelite.define import Mismatch, ParameterType, parse

_NUMBERS = ("int", "float", "bool")


def read_loosely(version: PublishedVersion, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values as the parameters take them, as far as they can be read so; the others as they are, to be refused."""
    kinds = {spec.name: spec.type for spec in version.parameters}
    return {name: _read(kinds[name], value) if name in kinds else value for name, value in given.items()}


def _read(kind: ParameterType, value: Any) -> Any:
    if kind.kind == "str" and isinstance(value, (int, float)):
        return str(value)
    if kind.kind not in _NUMBERS or not isinstance(value, str):
        return value
    try:
        # Python writes True.
        read = parse(kind, value.lower() if kind.kind == "bool" else value)
    except Mismatch:
        return value
    return value if isinstance(read, float) and not math.isfinite(read) else read
