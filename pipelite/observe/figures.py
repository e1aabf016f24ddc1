"""Durations, sizes, times and counts as people read them."""

from __future__ import annotations

from datetime import datetime

from pipelite.store import size_text


def format_duration(seconds: float | None) -> str:
    """ "0.004 s", "0.31 s", "1.2 s", "3 min 12 s", "2 h 05 min"; empty for None."""
    if seconds is None:
        return ""
    if seconds < 0.0005:
        return "0 s"
    if seconds < 0.0995:
        return f"{seconds:.3f} s"
    if seconds < 0.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min"


def format_size(n_bytes: int | None) -> str:
    """ "312 bytes", "200.0 MB"; empty for None."""
    return "" if n_bytes is None else size_text(n_bytes)


def format_time(moment: datetime | None) -> str:
    """Local time to the second; empty for None."""
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def format_count(count: int, noun: str) -> str:
    """ "1 step", "1,204 steps"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
