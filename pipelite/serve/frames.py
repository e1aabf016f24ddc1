"""DataFrames as files that others read: converted in a process of their own, since in the workspace they are pickles."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from pipelite.records import ArtifactRef
from pipelite.serve.refusals import Refusal
from pipelite.store import Store, temporary_prefix

#: What a table can be asked for as, and how that is called.
FORMATS = {"parquet": "application/vnd.apache.parquet", "csv": "text/csv; charset=utf-8"}
#: A conversion that takes longer is given up.
MOST_S = 60.0

#: One at a time: a large table takes its size in memory.
_converting = threading.Lock()


def convert_frame(store: Store, ref: ArtifactRef, name: str, format: str) -> Path:
    """Write a stored DataFrame or Series as Parquet or CSV; gives a temporary file, which the caller removes.

    Raises
    ------
    Refusal
        If its bytes are not those that were stored, or it has no such form.
    """
    # Only what a run of this workspace has stored is loaded, and even that not by this process.
    if not store.artifacts.verify(ref):
        raise Refusal(410, "Gone", f"output {name!r} is damaged; a run with the same parameters computes it again")
    descriptor, target = tempfile.mkstemp(dir=store.path / "tmp", prefix=f"{temporary_prefix(store.owner.name)}frame-")
    os.close(descriptor)
    try:
        with _converting:
            done = subprocess.run(
                [sys.executable, "-P", "-m", __name__, str(store.artifacts.path(ref)), target, format],
                cwd=store.path / "tmp",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=MOST_S,
                check=False,
            )
        if done.returncode == 0:
            return Path(target)
        why = done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        why = f"it took longer than {MOST_S:g} s"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(target)
    raise Refusal(409, "Conflict", f"output {name!r} cannot be written as {format}: {why}")


def main(source: str, target: str, format: str) -> None:
    """In the child."""
    from pipelite.store.containers import load_pickle

    value: Any = load_pickle(Path(source))
    if not hasattr(value, "columns"):
        value = value.to_frame(name=value.name if value.name is not None else "value")
    if format == "csv":
        value.to_csv(target)
    else:
        value.to_parquet(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
