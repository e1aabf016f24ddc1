"""Takes over what workers with a folder of their own bring back: output, what steps logged, stored values."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pipelite.execute.exchange import Exchange
from pipelite.execute.messages import Returned
from pipelite.execute.recording import Recorder
from pipelite.execute.state import NodeRun


def take_over(
    returned: Returned, exchange: Exchange, log_folder: Path, recorder: Recorder, states: list[NodeRun]
) -> None:
    """Put it where it would be had the worker seen the workspace."""
    if returned.log_file is not None and returned.log_parts:
        path = log_folder / returned.log_file
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            for offset, part in returned.log_parts:
                os.pwrite(descriptor, part, offset)
        finally:
            os.close(descriptor)
    for outcome in returned.outcomes:
        for _, kind, path, *_ in outcome.artifacts:
            exchange.fetch(path, kind)
    records = [json.loads(line) for line in returned.spool_part.splitlines()]
    for record in records:
        if record["kind"] in ("image", "file") and record["value"]["path"] is not None:
            exchange.fetch(record["value"]["path"], record["value"]["kind"])
    recorder.take_records(returned.spool_file or "", records, states)
