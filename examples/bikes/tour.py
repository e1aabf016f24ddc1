"""A walk through pipelite on real data: compute, reuse, edit a helper, compute again what reaches it.

Works on a copy of this folder, `build/bikes` unless another is given, which stays for a look around.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMANDS = {"python": [sys.executable], "pipelite": [sys.executable, "-m", "pipelite"]}

BEFORE = "16 <= hour <= 19"
AFTER = "16 <= hour <= 18"


def fresh_copy(folder: Path) -> None:
    """The example as it is, in a folder of its own, with no workspace yet."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("__pycache__", ".pipelite", "tour.py"))


def run(command: str, *, folder: Path) -> None:
    """Run one command in the copy as a user would type it."""
    program, *arguments = command.split()
    print(f"> {command}", flush=True)
    started = time.perf_counter()
    environment = {**os.environ, "PIPELITE_WORKSPACE": str(folder / ".pipelite")}
    subprocess.run([*COMMANDS[program], *arguments], cwd=folder, env=environment, check=True)
    print(f"({time.perf_counter() - started:.1f} s)\n", flush=True)


def edit_helper(folder: Path) -> None:
    """Shorten the evening rush hour by an hour, in a helper that no step calls directly."""
    features = folder / "features.py"
    text = features.read_text(encoding="utf-8")
    assert text.count(BEFORE) == 1
    features.write_text(text.replace(BEFORE, AFTER), encoding="utf-8")


def main(folder: Path) -> None:
    fresh_copy(folder)
    print("1. Everything is computed, in parallel.\n")
    run("python flow.py", folder=folder)
    print("2. Again: nothing has changed, everything is reused.\n")
    run("pipelite run flow.py:bikes", folder=folder)
    print(f"3. In the helper is_rush_hour of features.py, '{BEFORE}' becomes '{AFTER}'.\n")
    edit_helper(folder)
    run("python flow.py", folder=folder)
    print("Why?\n")
    run("pipelite runs explain", folder=folder)
    print(f"The copy stays in {os.path.relpath(folder)}: try `pipelite runs list` there.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parent.parent / "build" / "bikes").resolve())
