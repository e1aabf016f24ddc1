"""A task of huey's that is due each minute, its finest; notes in a file when it is executed."""

from __future__ import annotations

import os
import time

from huey import SqliteHuey, crontab

huey = SqliteHuey(filename="huey.sqlite")


@huey.periodic_task(crontab(minute="*"))
def minute() -> None:
    # A task is not told its time: it is executed within seconds of it.
    line = f"minute {int(time.time()) // 60 * 60}\n"
    descriptor = os.open("ledger.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)
