"""`python -m pipelite` is the command `pipelite`."""

from __future__ import annotations

from pipelite.cli import main

if __name__ == "__main__":
    main(prog_name="pipelite")
