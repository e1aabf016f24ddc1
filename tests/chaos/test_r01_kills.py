"""R1: kill -9 of any process at any moment, again and again, on one workspace."""

from __future__ import annotations

import hashlib
import random
import time
from pathlib import Path

import random_graph
from chaos_kills import Ledger, kill, start, survivors

from pipelite.execute import recover_dead_runs
from pipelite.records import ArtifactRef, Status
from pipelite.store import Store, get_metrics, get_run, get_step_run, get_step_runs, list_runs, read_log

N_KILLS = {"small": 10, "full": 200}
VICTIMS = ("owner", "owner", "worker", "group")


class Campaign:
    """Kills on one workspace, and what has to hold after each."""

    def __init__(self, workspace: Path, seed: int) -> None:
        self.workspace = workspace
        self.draw = random.Random(seed)
        self.ledger = Ledger(workspace.parent / "ledger.jsonl")
        self.kills = dict.fromkeys(VICTIMS, 0)
        self.runs = self.resumes = self.acknowledged = 0
        self.slowest_open_s = 0.0

    def run_once(self, number: int) -> None:
        """Start one random graph, and kill and resume it until it is through."""
        parameters = {"seed": self.draw.randrange(10**9), "salt": number}
        target = f"{Path(random_graph.__file__)}:flow"
        given = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
        known = self._run_ids()
        self._disturb(["run", target, *given], None)
        [run_id] = self._run_ids() - known or [None]
        if run_id is None:
            return
        self.runs += 1
        n_resumes = 0
        while self._look(run_id).status is not Status.COMPLETED:
            done = {step.name for step in self._steps(run_id) if step.status in (Status.COMPLETED, Status.REUSED)}
            command = ["runs", "resume", run_id]
            n_resumes += 1
            self._disturb(command, run_id if n_resumes < 4 else "undisturbed", never_again=done)
        self.resumes += n_resumes
        assert self._output(run_id) == random_graph.flow(**parameters)["digest"]

    def _disturb(self, command: list[str], run_id: str | None, never_again: set[str] = frozenset()) -> None:
        """Run a command, kill one of its processes in the midst of it, and check everything."""
        process = start(*command, ledger=self.ledger.path)
        victim = self.draw.choice(VICTIMS)
        if run_id != "undisturbed":
            time.sleep(self.draw.uniform(0.2, 1.4))
            # A worker may be still to come.
            while process.poll() is None:
                if kill(process, victim, self.draw):
                    self.kills[victim] += 1
                    break
                time.sleep(0.02)
        process.wait(60)
        assert survivors(process.pid) == []
        self._check(never_again)

    def _check(self, never_again: set[str]) -> None:
        began = time.monotonic()
        with Store.open(self.workspace) as store:
            recover_dead_runs(store)
            self.slowest_open_s = max(self.slowest_open_s, time.monotonic() - began)
            self._check_database(store)
            for row in store.database.read(
                "SELECT digest, kind, path, size_bytes, mtime_ns, file_digest, type_name FROM artifacts"
            ):
                assert store.artifacts.verify(ArtifactRef(**dict(row))), dict(row)
            assert [run.id for run in list_runs(store, limit=None) if run.status is Status.RUNNING] == []
            assert list((self.workspace / "spool").iterdir()) == []
            assert list((self.workspace / "tmp").iterdir()) == []
            self._check_ledger(store, never_again)

    def _check_database(self, store: Store) -> None:
        read = store.database.read
        assert [row[0] for row in read("PRAGMA integrity_check")] == ["ok"]
        assert read("PRAGMA foreign_key_check") == []
        digests = set()
        for _ in range(2):
            assert read("PRAGMA wal_checkpoint(TRUNCATE)")[0][0] == 0
            digests.add(hashlib.sha256(store.database.path.read_bytes()).hexdigest())
        assert len(digests) == 1

    def _check_ledger(self, store: Store, never_again: set[str]) -> None:
        told = self.ledger.read_new()
        if not told:
            return
        run = get_run(store)
        self.acknowledged += len(told)
        metrics = {(metric.step_run, metric.value) for metric in get_metrics(store, run.id)}
        logs: dict[str, bytes] = {}
        for line in told:
            step, what, value = line["step"], line["what"], line["value"]
            if what == "started":
                assert step not in never_again, f"{step} was committed, and was started again"
            elif what == "logged":
                assert (step, value) in metrics
            elif what == "printed":
                if step not in logs:
                    logs[step] = read_log(store, get_step_run(store, run.id, step))
                assert value.encode() in logs[step].splitlines()
            else:
                assert run.tags[f"tag-{value}"] == str(value)

    def _look(self, run_id: str):
        with Store.open(self.workspace) as store:
            return get_run(store, run_id)

    def _steps(self, run_id: str):
        with Store.open(self.workspace) as store:
            return get_step_runs(store, run_id)

    def _output(self, run_id: str) -> str:
        with Store.open(self.workspace) as store:
            return store.artifacts.load(get_step_run(store, run_id, "combine").outputs["result"])

    def _run_ids(self) -> set[str]:
        if not self.workspace.exists():
            return set()
        with Store.open(self.workspace) as store:
            return {run.id for run in list_runs(store, limit=None)}


def test_nothing_is_lost_torn_or_repeated_whatever_is_killed(workspace, size, seed, figures):
    campaign = Campaign(workspace, seed)

    number = 0
    while sum(campaign.kills.values()) < N_KILLS[size]:
        number += 1
        campaign.run_once(number)

    assert campaign.slowest_open_s <= 1.0
    figures["kills"] = sum(campaign.kills.values())
    figures.update({f"of the {victim}": count for victim, count in campaign.kills.items()})
    figures["runs"] = campaign.runs
    figures["resumes"] = campaign.resumes
    figures["acknowledged records"] = campaign.acknowledged
    figures["slowest open"] = f"{campaign.slowest_open_s:.2f} s"
