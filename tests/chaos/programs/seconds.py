"""What a schedule runs each second."""

from __future__ import annotations

from pipelite import pipeline, step


@step(cache=False)
def nothing() -> int:
    return 1


@pipeline
def each_second():
    return nothing()
