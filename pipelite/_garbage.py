"""Keeps Python's collector of cycles from looking over and over at a graph that is being built."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_depth = 0
_was_enabled = False


@contextmanager
def collector_paused() -> Iterator[None]:
    """Hold the collector back while a stretch of work makes many objects that all stay.

    Ten thousand nodes are a hundred thousand of them, and with each quarter more the collector starts again from the
    first: 7 of the 24 us that a reused step costs. It is the whole process that waits, so keep the stretch short.
    """
    global _depth, _was_enabled
    with _lock:
        if _depth == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0 and _was_enabled:
                gc.enable()
