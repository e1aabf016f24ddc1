"""R1: kill -9 of any process at any moment, again and again, on one workspace."""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter
from pathlib import Path

import random_graph
from chaos_kills import Ledger, kill, start, survivors

from pipelite.execute import recover_dead_runs
from pipelite.records import ArtifactRef, RunRecord, Status, StepRunRecord
from pipelite.store import Store, get_metrics, get_run, get_step_run, get_step_runs, list_runs, read_log

N_KILLS = {"small": 12, "full": 500}
FEWEST_STEPS = {"small": 5, "full": 40}
#: Whom to kill in a process that starts a run, and in those that resume one.
VICTIMS = {"run": ("owner", "worker", "group"), "resume": ("owner", "worker", "group", "resumer")}
#: So many times a run is resumed and killed again, before it is let through.
N_DISTURBED = 4
#: All that was ever stored is looked at after so many kills; in between only what is new.
LOOK_AT_ALL = 25

FINISHED = (Status.COMPLETED, Status.REUSED)


class Campaign:
    """Kills on one workspace, and what has to hold after each."""

    def __init__(self, workspace: Path, seed: int, fewest_steps: int) -> None:
        self.workspace = workspace
        self.draw = random.Random(seed)
        self.fewest_steps = fewest_steps
        self.ledger = Ledger(workspace.parent / "ledger.jsonl")
        self.kills: Counter[str] = Counter()
        self.runs = self.resumes = self.acknowledged = self.verified = self.steps_lost = self.retried = 0
        self.slowest_open_s = 0.0

    def run_once(self, number: int) -> None:
        """Start one random graph, and kill and resume it until it is through."""
        parameters = {
            "seed": self.draw.randrange(10**9),
            "n_steps": self.draw.randint(self.fewest_steps, 40),
            "salt": number,
        }
        target = f"{Path(random_graph.__file__)}:flow"
        given = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
        known = self._run_ids()
        self._disturb("run", target, *given)
        [run_id] = self._run_ids() - known or [None]
        if run_id is None:
            return
        self.runs += 1
        n_resumes = 0
        while self._look(run_id)[0].status is not Status.COMPLETED:
            done = {step.name for step in self._look(run_id)[1] if step.status in FINISHED}
            n_resumes += 1
            self._disturb("runs", "resume", run_id, never_again=done, kills=n_resumes <= N_DISTURBED)
        self.resumes += n_resumes
        assert self._output(run_id) == random_graph.flow(**parameters)["digest"]

    def _disturb(self, *command: str, never_again: set[str] = frozenset(), kills: bool = True) -> None:
        """Run a command, kill one of its processes in the midst of it, and check everything."""
        victim = self.draw.choice(VICTIMS[command[-2 if command[0] == "runs" else 0]])
        wait_s = self.draw.uniform(0.2, 1.4)
        process = start(*command, CHAOS_LEDGER=str(self.ledger.path))
        killed = None
        if kills:
            time.sleep(wait_s)
            # Whom it shall be may be still to come.
            while process.poll() is None and not (killed := kill(process, victim, self.ledger.busy())):
                time.sleep(0.005)
        if killed:
            self.kills[victim] += 1
        if killed and victim == "resumer":
            # The process that resumes the run does so all the same, whoever looks at the workspace meanwhile.
            with Store.open(self.workspace) as store:
                recover_dead_runs(store)
        process.wait(60)
        assert survivors(process.pid, 60 if victim == "resumer" else 5) == []
        told = self._check(never_again)
        if killed and victim == "worker":
            self._check_other_steps(killed, told)
        elif killed and victim == "resumer":
            assert self._look()[0].status is Status.COMPLETED, self._look()[0].error

    def _check(self, never_again: set[str]) -> list[dict]:
        began = time.monotonic()
        with Store.open(self.workspace) as store:
            recover_dead_runs(store)
            self.slowest_open_s = max(self.slowest_open_s, time.monotonic() - began)
            self._check_database(store)
            self.check_artifacts(store, after=0 if self.kills.total() % LOOK_AT_ALL == 0 else self.verified)
            assert [run.id for run in list_runs(store, limit=None) if run.status is Status.RUNNING] == []
            assert list((self.workspace / "spool").iterdir()) == []
            assert [path.name for path in (self.workspace / "tmp").iterdir()] == []
            told = self.ledger.read_new()
            if told:
                self._check_ledger(store, told, never_again)
            return told

    def _check_database(self, store: Store) -> None:
        read = store.database.read
        assert [row[0] for row in read("PRAGMA integrity_check")] == ["ok"]
        assert read("PRAGMA foreign_key_check") == []
        digests = set()
        for _ in range(2):
            assert read("PRAGMA wal_checkpoint(TRUNCATE)")[0][0] == 0
            digests.add(hashlib.sha256(store.database.path.read_bytes()).hexdigest())
        assert len(digests) == 1

    def check_artifacts(self, store: Store, after: int) -> None:
        rows = store.database.read(
            "SELECT rowid AS number, digest, kind, path, size_bytes, mtime_ns, file_digest, type_name FROM artifacts "
            "WHERE rowid > ? ORDER BY rowid",
            [after],
        )
        for row in map(dict, rows):
            self.verified = max(self.verified, row.pop("number"))
            assert store.artifacts.verify(ArtifactRef(**row)), row

    def _check_ledger(self, store: Store, told: list[dict], never_again: set[str]) -> None:
        run = get_run(store)
        self.acknowledged += len(told)
        metrics = {(metric.step_run, metric.value) for metric in get_metrics(store, run.id)}
        # What an earlier attempt of a step had printed is in the log of that attempt, which a retry replaces.
        attempts = {line["step"]: line["attempt"] for line in told if line["what"] == "started"}
        logs: dict[str, list[bytes]] = {}
        for line in told:
            step, what, value = line["step"], line["what"], line["value"]
            if what == "started":
                assert step not in never_again, f"{step} was committed, and was started again"
            elif what == "logged":
                assert (step, value) in metrics
            elif what == "printed":
                if step not in logs:
                    logs[step] = read_log(store, get_step_run(store, run.id, step)).splitlines()
                assert value.encode() in logs[step] or line["attempt"] < attempts[step], line
            else:
                assert run.tags[f"tag-{value}"] == str(value)

    def _check_other_steps(self, killed: int, told: list[dict]) -> None:
        """A worker's death fails or repeats the step that it ran, and no other."""
        if not told:
            return
        run, steps = self._look()
        running = {line["step"] for line in told if line["process"] == killed}
        failed = [step for step in steps if step.status is Status.FAILED]
        assert run.status is (Status.FAILED if failed else Status.COMPLETED)
        assert len(failed) <= 1
        for step in failed:
            assert "WorkerDied: its worker process was ended by SIGKILL" in step.error
            # Who has a second try uses it.
            assert not step.name.startswith("large")
            # It may not have come to its first line; `combine` has none.
            assert step.name in running or not any(line["step"] == step.name for line in told)
            assert step.name not in running or step.name == _last_of(told, killed)
        started = Counter(line["step"] for line in told if line["what"] == "started")
        again = {name for name, count in started.items() if count > 1}
        # Tiny steps that it had done just before are done again, if the worker had not yet sent what came of them.
        assert again <= running
        assert _last_of(told, killed) not in again or _last_of(told, killed).startswith("large")
        self.steps_lost += len(failed)
        self.retried += len(again)

    def _look(self, run_id: str | None = None) -> tuple[RunRecord, list[StepRunRecord]]:
        with Store.open(self.workspace) as store:
            run = get_run(store, run_id)
            return run, get_step_runs(store, run.id)

    def _output(self, run_id: str) -> str:
        with Store.open(self.workspace) as store:
            return store.artifacts.load(get_step_run(store, run_id, "combine").outputs["result"])

    def _run_ids(self) -> set[str]:
        if not self.workspace.exists():
            return set()
        with Store.open(self.workspace) as store:
            return {run.id for run in list_runs(store, limit=None)}


def _last_of(told: list[dict], process: int) -> str | None:
    """The step that a process told of last; None if it told nothing."""
    return next((line["step"] for line in reversed(told) if line["process"] == process), None)


def test_nothing_is_lost_torn_or_repeated_whatever_is_killed(workspace, size, seed, figures):
    campaign = Campaign(workspace, seed, FEWEST_STEPS[size])

    number = 0
    while campaign.kills.total() < N_KILLS[size]:
        number += 1
        campaign.run_once(number)

    with Store.open(workspace) as store:
        campaign.check_artifacts(store, after=0)
    # A second is what it takes; that of a machine that has much else to do is longer.
    assert campaign.slowest_open_s <= {"small": 10.0, "full": 1.0}[size]
    figures["kills"] = campaign.kills.total()
    figures.update({f"of the {victim}": count for victim, count in sorted(campaign.kills.items())})
    figures["steps that died with their worker"] = campaign.steps_lost
    figures["were done again"] = campaign.retried
    figures["runs"] = campaign.runs
    figures["resumes"] = campaign.resumes
    figures["acknowledged records"] = campaign.acknowledged
    figures["artifacts"] = campaign.verified
    figures["slowest open"] = f"{campaign.slowest_open_s:.2f} s"
