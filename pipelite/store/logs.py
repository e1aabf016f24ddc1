"""What steps printed: parts of the log files of workers."""

from __future__ import annotations

from pathlib import Path

from pipelite.records import StepRunRecord
from pipelite.store.reader import get_origin
from pipelite.store.sizes import size_text
from pipelite.store.workspace import Store

#: Of a longer output only the first and the last half of this is shown.
LOG_CAP_BYTES = 50 * 1024 * 1024


def read_log(store: Store, step_run: StepRunRecord, *, cap_bytes: int = LOG_CAP_BYTES) -> bytes:
    """Return what a step run printed; of a reused one what its origin printed; of a running one what is there."""
    found = find_log_part(store, step_run)
    if found is None:
        return b""
    path, start, end = found
    with path.open("rb") as file:
        file.seek(start)
        if end - start <= cap_bytes:
            return file.read(end - start)
        first = file.read(cap_bytes // 2)
        file.seek(end - cap_bytes // 2)
        last = file.read(cap_bytes // 2)
    left_out = end - start - 2 * (cap_bytes // 2)
    line_end = b"" if first.endswith(b"\n") else b"\n"
    return first + line_end + f"... {size_text(left_out)} left out ...\n".encode() + last


def read_log_from(store: Store, step_run: StepRunRecord, offset: int, *, limit: int = 1024 * 1024) -> bytes:
    """Return the next bytes of what a step run printed, from an offset within its part: to follow one that runs."""
    found = find_log_part(store, step_run)
    if found is None:
        return b""
    path, start, end = found
    with path.open("rb") as file:
        file.seek(start + offset)
        return file.read(max(0, min(limit, end - start - offset)))


def find_log_part(store: Store, step_run: StepRunRecord) -> tuple[Path, int, int] | None:
    """Return file, start and end of the part of it that a step run printed; None if it printed nothing yet."""
    origin = get_origin(store, step_run)
    if origin.log_file is None:
        return None
    path = store.path / "logs" / origin.log_file
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    start = min(origin.log_start or 0, size)
    end = size if origin.log_end is None else min(origin.log_end, size)
    return path, start, max(start, end)
