"""Fingerprints the step of each program folder named on the command line, each in an interpreter of its own.

Forked from one that has imported pipelite and nothing of the programs: fresh, and without the cost of starting.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

import attrs

from pipelite.fingerprint import Fingerprinter

#: Imported before the fork, since the programs import them too.
SHARED = (asyncio, attrs)


def fingerprint(folder: str, name: str) -> dict[str, object]:
    sys.path[:0] = [folder, os.path.join(folder, "site-packages")]
    sys.dont_write_bytecode = True
    module = __import__(name)
    step = getattr(module, "step", None) or module.stride
    found = Fingerprinter().code(step)
    return {
        "digest": found.digest,
        "parts": dict(found.parts),
        "not_tracked": found.not_tracked,
        "sources": sorted(os.path.relpath(path, folder) for path in found.sources),
        "loaded": sorted(name for name in sys.modules if name.partition(".")[0] in ("lazy", "named", "flow")),
    }


def in_a_child(folder: str, name: str) -> dict[str, object]:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = json.dumps(fingerprint(folder, name))
        except BaseException as exc:
            answer = json.dumps({"error": f"{type(exc).__name__}: {exc}"})
        with open(write, "w") as file:
            file.write(answer)
        os._exit(0)
    os.close(write)
    with open(read) as file:
        answer = file.read()
    os.waitpid(child, 0)
    return dict(json.loads(answer))


if __name__ == "__main__":
    module = sys.argv[1]
    for folder in sys.stdin.read().split():
        print(json.dumps(in_a_child(folder, module)), flush=True)
