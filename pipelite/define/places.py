"""Where in the user's code something was written, kept raw and put into words only when somebody asks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import PurePath
from types import CodeType
from typing import Any

#: A code object and the offset of an instruction in it. Finding the line of an offset walks a table of the whole
#: function, which a body of thousands of calls would pay thousands of times.
RawPlace = tuple[CodeType, int]

#: Frame of a caller. `inspect.stack` says the same, a thousand times slower.
get_frame = sys._getframe


def format_place(code: CodeType, offset: int) -> str:
    """ "flow.py:31" for an instruction of a code object."""
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= offset < end and number is not None:
            line = number
            break
    return f"{_file_name(code.co_filename)}:{line}"


def place_of_function(func: Callable[..., Any]) -> str | None:
    """ "flow.py:12" for a function, None for what has no source line of its own."""
    code = getattr(func, "__code__", None)
    return f"{_file_name(code.co_filename)}:{code.co_firstlineno}" if isinstance(code, CodeType) else None


def _file_name(path: str) -> str:
    file = PurePath(path)
    # Jupyter compiles each cell under a made-up file name, which would tell the user nothing.
    if file.parent.name.startswith("ipykernel_") or path.startswith("<ipython-input"):
        return "notebook cell"
    return file.name or path
