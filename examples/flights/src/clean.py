"""Flights that left, with whether the sun was down when they were to leave: clean.py FOLDER CLEANED."""

from __future__ import annotations

import csv
import functools
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

from astral import Observer
from astral.sun import sunrise, sunset

from pipelite import current_run

AIRPORTS = {
    "EWR": Observer(40.692, -74.169),
    "JFK": Observer(40.640, -73.779),
    "LGA": Observer(40.777, -73.873),
}
#: Days begin at midnight there; what the clocks say in summer does not matter.
NEW_YORK = timezone(timedelta(hours=-5))
KEPT = ["month", "day", "hour", "origin", "dest", "carrier", "flight", "distance", "dep_delay"]


@functools.cache
def daylight(origin: str, day: date) -> tuple[datetime, datetime]:
    place = AIRPORTS[origin]
    return sunrise(place, day, tzinfo=NEW_YORK), sunset(place, day, tzinfo=NEW_YORK)


def is_dark(flight: dict[str, str]) -> bool:
    leaves_at = datetime.fromisoformat(flight["time_hour"]).replace(minute=int(flight["minute"]), tzinfo=UTC)
    rises_at, sets_at = daylight(flight["origin"], leaves_at.astimezone(NEW_YORK).date())
    return not rises_at <= leaves_at <= sets_at


def main(folder: Path, cleaned: Path) -> None:
    count = canceled = 0
    with open(folder / "flights.csv", newline="") as raw, open(cleaned, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*KEPT, "is_dark"])
        for flight in csv.DictReader(raw):
            count += 1
            if flight["dep_delay"] == "NA":
                canceled += 1
                continue
            writer.writerow([*(flight[name] for name in KEPT), is_dark(flight)])
    current_run().log("flights", count)
    current_run().log("canceled", canceled)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
