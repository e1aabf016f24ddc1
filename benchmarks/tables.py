"""Tables as they stand in the docs, and the line that says where and when."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Iterable, Sequence


def simple_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A simple table of reStructuredText; an empty first cell would be taken for a line that goes on."""
    cells = [tuple(header), *(tuple(cell or "--" for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def machine() -> str:
    """Date, processor, cores and Python."""
    today = dt.datetime.now(tz=dt.UTC).date()
    return (
        f"{today.isoformat()}, {platform.system()} on {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}"
    )
