"""R1, one by one: a process is killed before its first, second, third ... call that writes, until it has no more."""

from __future__ import annotations

import itertools
import random
import signal
from pathlib import Path

import disk_graph
import faults
import pytest
from chaos_kills import start, survivors
from wholeness import check_complete, check_whole

from pipelite import Workspace
from pipelite.api.starting import resume_run
from pipelite.store import Store, list_runs

#: Changes of folders (files opened for writing, renamed, removed ...), writes (also one that is half done), space that is
#: claimed, and SQL statements that write.
CALLS = ("change", "os write", "os posix_fallocate", "sql")
KINDS = [(call, faults.KILL) for call in CALLS] + [("os write", faults.KILL_HALFWAY)]
#: With the small size, as many random ones of the first of these.
N_SMALL, FIRST = 4, 12


class Victims:
    """Runs on one workspace, each of which loses a process at one call."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.numbers = itertools.count(1)
        self.kills = {"owner": 0, "worker": 0}
        self.resumed = 0

    def strike(self, call: str, reason: str, where: str, nth: int) -> bool:
        """Whether there was an Nth such call; whatever became of it, nothing is lost and the run goes on to its end."""
        number = next(self.numbers)
        note = self.workspace.parent / "struck"
        note.unlink(missing_ok=True)
        fault = {
            faults.VARIABLE: f"{call} {nth} {reason}",
            faults.WHERE_VARIABLE: where,
            faults.NOTE_VARIABLE: str(note),
            "PIPELITE_SLOTS": "1",
        }
        process = start("run", f"{disk_graph.__file__}:flow", "-p", f"number={number}", **fault)
        exit_code = process.wait(60)
        assert survivors(process.pid, 5) == []
        struck = note.exists()
        if where == "owner":
            assert exit_code == (-signal.SIGKILL if struck else 0)
        else:
            # A worker that dies before it has started a step is replaced.
            assert exit_code in ((0, 1) if struck else (0,))
        self.kills[where] += struck
        if not self.workspace.exists():
            return struck
        with Store.open(self.workspace) as store:
            check_whole(store)
            records = [run for run in list_runs(store, limit=None) if run.parameters["number"] == number]
        for record in records:
            if record.status != "completed":
                assert record.status == "interrupted" if where == "owner" else "ended by SIGKILL" in record.error
                resume_run(disk_graph.flow, {"number": number}, record).wait(60)
                self.resumed += 1
            check_complete(Workspace().run(record.id), number)
        return struck


@pytest.mark.parametrize("where", ["owner", "worker"])
def test_a_process_that_dies_at_any_call_that_writes_loses_nothing(where, workspace, size, seed, figures):
    victims = Victims(workspace)
    draw = random.Random(seed)

    if size == "small":
        for _ in range(N_SMALL):
            victims.strike(*draw.choice(KINDS), where, draw.randint(1, FIRST))
    else:
        for call, reason in KINDS:
            nth = next(nth for nth in itertools.count(1) if not victims.strike(call, reason, where, nth))
            figures[f"calls {call} {reason}"] = nth - 1
        assert victims.kills[where] > len(KINDS)

    figures["kills"] = victims.kills[where]
    figures["resumed"] = victims.resumed
