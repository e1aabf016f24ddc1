"""R11 (d): sixteen processes on the same keys at once. Each is computed once, and nobody reads half a result."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from pipelite import Workspace

PROGRAM = Path(__file__).parent / "programs" / "one_key.py"
PROCESSES = 16
KEYS = {"small": 3, "full": 60}
ROUNDS = {"small": 1, "full": 5}


def test_sixteen_processes_compute_each_key_once(workspace, size, seed, figures, monkeypatch):
    shutil.copy(PROGRAM, "one_key.py")
    # The outside ledger: a line for each execution, whoever made it.
    ledger, go = Path("ledger"), Path("go")
    torn = executions = 0
    for number in range(ROUNDS[size]):
        monkeypatch.setenv("PIPELITE_WORKSPACE", str(workspace.parent / f"workspace-{number}"))
        processes = [
            subprocess.Popen(
                [sys.executable, "one_key.py", str(seed + index), str(KEYS[size])],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for index in range(PROCESSES)
        ]
        go.touch()
        for process in processes:
            out, error = process.communicate(timeout=1200)
            assert process.returncode == 0, error
            torn += int(out)
        counts = Counter(line.split()[0] for line in ledger.read_text().splitlines())
        assert counts == {str(key): 1 for key in range(KEYS[size])}
        executions += counts.total()
        store = Workspace().store
        assert store.database.read("SELECT count(*) FROM claims")[0][0] == 0
        assert store.database.read("SELECT count(*) FROM runs WHERE status = 'completed'")[0][0] == PROCESSES
        ledger.unlink()
        go.unlink()

    assert torn == 0
    figures.update(processes=PROCESSES, keys=KEYS[size] * ROUNDS[size], executions=executions, torn_reads=torn)
