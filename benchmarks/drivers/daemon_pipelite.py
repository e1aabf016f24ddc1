"""A pipeline with a schedule of every second and one of every minute, which `create` makes; notes its slots in a file."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta

from pipelite import Schedule, pipeline, step


@step(cache=False)
def note(name: str, slot: str, ledger: str) -> None:
    line = f"{name} {datetime.fromisoformat(slot).timestamp():.0f}\n"
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


@pipeline
def noting(name: str, slot: str, ledger: str):
    note(name, slot, ledger)


if __name__ == "__main__":
    import daemon_pipelite

    start = datetime.fromtimestamp(int(sys.argv[2]), UTC)
    published = daemon_pipelite.noting.publish("Noting")
    for name, span in (("second", timedelta(seconds=1)), ("minute", timedelta(minutes=1))):
        given = {"name": name, "ledger": os.path.abspath("ledger.txt")}
        Schedule.create(name, published, given, every=span, start=start, slot_parameter="slot", overlap="allow")
