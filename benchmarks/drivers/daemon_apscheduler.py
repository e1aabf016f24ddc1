"""A scheduler of APScheduler's with its jobs in a database, to which `create` adds them; notes what it executes in a file."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

STORES = {"default": {"type": "sqlalchemy", "url": "sqlite:///jobs.sqlite"}}


def nothing() -> None:
    pass


def note(event) -> None:
    line = f"{event.job_id} {event.scheduled_run_time.timestamp():.0f}\n"
    descriptor = os.open("ledger.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def create(start: datetime) -> None:
    scheduler = BackgroundScheduler(jobstores=STORES, timezone=UTC)
    scheduler.start(paused=True)
    for name, span in (("second", {"seconds": 1}), ("minute", {"minutes": 1})):
        scheduler.add_job(nothing, "interval", id=name, start_date=start, next_run_time=start, **span)
    scheduler.shutdown()


if __name__ == "__main__":
    # By its own name, so that the job is found when it is loaded.
    sys.modules["daemon_apscheduler"] = sys.modules["__main__"]
    nothing.__module__ = "daemon_apscheduler"
    if sys.argv[1:2] == ["create"]:
        create(datetime.fromtimestamp(int(sys.argv[2]), UTC))
    else:
        scheduler = BlockingScheduler(jobstores=STORES, timezone=UTC)
        scheduler.add_listener(note, EVENT_JOB_EXECUTED)
        scheduler.start()
