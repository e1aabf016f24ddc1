"""Time limits on a machine that may have more to do than it has cores."""

from __future__ import annotations

import os


def allowed(seconds: float) -> float:
    """What takes so long at most on a machine with nothing else to do."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
