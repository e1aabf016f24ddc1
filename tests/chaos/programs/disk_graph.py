"""A pipeline that writes to the workspace in every way that there is."""

from __future__ import annotations

import faults
import numpy as np

from pipelite import current_run, pipeline, step

# Here, because workers import this module too.
faults.install()


@step
def array(number: int):
    print(f"array {number}")
    current_run().log("number", number)
    # Large enough for its place on the disk to be reserved first.
    return np.full(200_000, number)


@step
def pickled(number: int):
    current_run().tag("number", str(number))
    return {"numbers": (number,) * 3000}


@step
def folder(number: int):
    path = current_run().scratch / "folder"
    path.mkdir()
    for name in ("one", "two"):
        (path / name).write_text(f"{name} {number}" * 500)
    current_run().upload_file("one", path / "one")
    return path


@step
def total(array, pickled, folder):
    print("total")
    return int(array.sum()) + sum(pickled["numbers"]) + len((folder / "one").read_text())


@pipeline
def flow(number: int):
    return {"total": total(array(number), pickled(number), folder(number))}
