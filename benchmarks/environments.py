"""One virtual environment a tool, made once below the cache folder and used again while its list is the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

LIST = "requirements.txt"


def environment_python(folder: Path, requirements: list[str]) -> Path:
    """The interpreter of an environment that has just these; making one is all that needs the package index."""
    python = folder / "bin" / "python"
    wanted = "\n".join([f"# {sys.version}".replace("\n", " "), *requirements, ""])
    made = folder / LIST
    if made.is_file() and made.read_text(encoding="utf-8") == wanted:
        return python
    print(f"making {folder} ...", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
    # Last, so that an environment which is only half there is made anew.
    made.write_text(wanted, encoding="utf-8")
    return python
