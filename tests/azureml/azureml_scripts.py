"""Writing scripts for steps."""

from __future__ import annotations

import textwrap
from pathlib import Path


def write_file(path: Path, text: str) -> Path:
    """Write a file below folders that need not be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path
