"""A worker process that serves one supervisor: batches come in on its standard input, results go out on its output."""

from __future__ import annotations

import os

from pipelite.execute.framing import is_readable, receive, send
from pipelite.execute.worker import run_batch, start_worker

#: A child that had nothing to do for so long gives back its memory; the next batch starts another.
IDLE_S = 60.0


def main() -> None:
    """Serve until the supervisor closes its end."""
    requests, answers = os.dup(0), os.dup(1)
    start_worker(os.getppid())
    while True:
        payload = receive(requests) if is_readable(requests, IDLE_S) else None
        if payload is None:
            return
        send(answers, run_batch(payload))
