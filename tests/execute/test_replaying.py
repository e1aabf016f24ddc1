"""A run that goes on drives its expanders through what they did and were told before it was interrupted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelite import Workspace
from pipelite.api.workspace import close_dead_runs
from pipelite.define import Ended, Logged
from pipelite.records import Status
from pipelite.store import get_growth

STEPS = """
import random, time
from pathlib import Path
from pipelite import current_run, pipeline, step
from pipelite.define import Elements, Ended, Expander, Load, Logged, StatusOf, Stop

def note(text):
    with open("ledger", "a") as file:
        file.write(text + "\\n")

def wait_for(path):
    while not Path(path).exists():
        time.sleep(0.005)

@step
def give(value):
    return value
"""

# Early stopping and promotion as in ASHA: what it makes depends on the order in which it hears of things.
SEARCH = (
    STEPS
    + """
@step(cache=False)
def train(name, trial, budget):
    note(f"start {name}")
    for epoch in range(budget):
        time.sleep(random.uniform(0.0, 0.06))
        current_run().log("loss", (trial * 7) % 5 + 1 / (epoch + 1), step=epoch)
    note(f"end {name}")
    return {"trial": trial, "budget": budget}

def search(label, n_trials, most):
    heard, waiting = [], []
    made, best = 0, {}

    def make(trial, budget):
        nonlocal made
        made += 1
        return train.with_options(name=f"{made}-trial-{trial}")(f"{label}/{made}-trial-{trial}", trial, budget)

    running = [make(trial, 4) for trial in range(n_trials)]
    while (event := (yield running)) is not None:
        running = []
        if isinstance(event, Logged):
            heard.append(["logged", event.name, event.value, event.step])
            if event.value > best.setdefault(event.step, event.value) + 2:
                yield Stop(event.handle)
            best[event.step] = min(best[event.step], event.value)
        else:
            heard.append(["ended", event.status.value, event.error, event.duration_s, dict(event.metrics)])
            if event.status.value == "completed":
                waiting.append((yield Load(event.handle)))
            if len(waiting) == 2 and made < most:
                chosen = waiting[made % 2]
                waiting = []
                running = [make(chosen["trial"] + made, chosen["budget"] + 1), make(made, 2)]
    return {"heard": heard, "made": made}

@pipeline
def flow(n_trials: int = 4, most: int = 12):
    found = [Expander(search, name=label, steps=(train,))(label, n_trials, most) for label in ("one", "two")]
    return {"one": found[0], "two": found[1], "doubled": give.map(found[0]["heard"])}
"""
)


#: Processes of the test that goes on.
_started: list[subprocess.Popen[bytes]] = []


@pytest.fixture
def project(workspace: Path) -> Iterator[Path]:
    yield workspace.parent
    # Of a test that failed halfway.
    while _started:
        end(_started.pop())


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """Start the command line in a session of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelite", *arguments],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _started.append(process)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process now, with all that it has started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def write(project: Path, source: str) -> None:
    (project / "flow.py").write_text(source)


def ledger(project: Path) -> list[str]:
    path = project / "ledger"
    return path.read_text().splitlines() if path.exists() else []


def until(condition) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def kill(process: subprocess.Popen[bytes]):
    """The run of a process that is killed now with all that it has started."""
    end(process)
    close_dead_runs(Workspace().store)
    return Workspace().run()


def resume():
    """The run, after it has gone on to its end."""
    command = [sys.executable, "-m", "pipelite", "runs", "resume"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 1), done.stderr
    return Workspace().run()


def completed(run) -> dict[str, object]:
    return {name: step for name, step in run.steps.items() if step.status in ("completed", "reused")}


def is_running(name: str) -> bool:
    return name in Workspace().run().steps and Workspace().run().steps[name].status == "running"


def kept_log(run) -> dict[int, list[list[object]]]:
    """What each expander was told, without the steps' positions."""
    told: dict[int, list[list[object]]] = {}
    for entry in get_growth(Workspace().store, run.id):
        if entry.kind in ("logged", "ended"):
            told.setdefault(entry.position, []).append([entry.kind, *entry.value[1:]])
    return told


def told(found) -> list[list[object]]:
    """What an expander says that it heard, as its log has it."""
    return [event[:4] for event in found["heard"]]


def decide_again(project: Path, label: str, found, names: list[str]) -> list[str]:
    """The names of the steps that the body makes when it hears the same, without any run."""
    space: dict[str, object] = {"__name__": "again"}
    exec(compile((project / "flow.py").read_text(), "again.py", "exec"), space)
    made: list[str] = []

    class Train:
        def with_options(self, name):
            made.append(name)
            return lambda *_: name

    space["train"] = Train()
    body = space["search"](label, 4, 12)
    request = next(body)
    for event, about in zip(found["heard"], names, strict=True):
        if event[0] == "logged":
            answer = Logged(handle=about, name=event[1], value=event[2], step=event[3])
        else:
            answer = Ended(handle=about, status=Status(event[1]), error=event[2], metrics=event[4], duration_s=event[3])
        request = body.send(answer)
        while type(request).__name__ in ("Load", "Stop"):
            loads = type(request).__name__ == "Load"
            request = body.send(_output_of(request.handle) if loads else None)
    with pytest.raises(StopIteration):
        body.send(None)
    return made


def _output_of(name):
    return Workspace().run().steps[name].outputs["result"]


def check_decisions(project: Path, run) -> None:
    """What was made is what the body's logic makes of what it heard."""
    steps = {step.record.position: name for name, step in run.steps.items()}
    log = get_growth(Workspace().store, run.id)
    for label in ("one", "two"):
        position = run.steps[label].record.position
        about = [
            steps[entry.value[0]] for entry in log if entry.position == position and entry.kind in ("logged", "ended")
        ]
        made = decide_again(project, label, run.outputs[label], about)
        assert [f"{label}/{name}" for name in made] == [name for name in run.steps if name.startswith(f"{label}/")]
        assert len(made) == run.outputs[label]["made"]


def go_on_and_check(project: Path, before) -> object:
    """Resume a killed run to its end; it goes on from what it had done."""
    done = completed(before)
    started = len(ledger(project))
    log = kept_log(before)
    places = {name: step.record.position for name, step in before.steps.items()}

    run = resume()

    assert run.status == "completed", run.error
    again = [line.removeprefix("start ") for line in ledger(project)[started:] if line.startswith("start ")]
    assert set(again).isdisjoint(done)
    assert {name: run.steps[name].record.position for name in places} == places
    for label in ("one", "two"):
        earlier = log.get(run.steps[label].record.position, [])
        assert told(run.outputs[label])[: len(earlier)] == earlier
        assert run.steps[label].record.reason is None
    return run


@pytest.mark.parametrize("n_lines", [1, 9, 16, 25, 32])
def test_a_killed_search_goes_on_from_what_it_had_heard(project, n_lines):
    write(project, SEARCH)
    process = start("run", "flow.py", "--quiet")
    until(lambda: len(ledger(project)) >= n_lines or process.poll() is not None)
    interrupted = kill(process)

    # Of the last moments of a search a fast machine may be through before the signal arrives.
    run = interrupted if interrupted.status == "completed" else go_on_and_check(project, interrupted)

    check_decisions(project, run)


def test_searches_that_are_killed_again_and_again_come_to_their_end(project):
    write(project, SEARCH)
    arguments = ["run", "flow.py", "--quiet"]
    done: set[str] = set()
    places: dict[str, int] = {}
    log: dict[int, list[list[object]]] = {}
    for n_more in (4, 7, 7, 7):
        n_before = len(ledger(project))
        process = start(*arguments)
        until(lambda n=n_before + n_more, process=process: len(ledger(project)) >= n or process.poll() is not None)
        interrupted = kill(process)
        assert not done & {line.removeprefix("start ") for line in ledger(project)[n_before:]}
        assert {name: interrupted.steps[name].record.position for name in places} == places
        now = kept_log(interrupted)
        for position, events in log.items():
            assert now[position][: len(events)] == events
        done, log = set(completed(interrupted)), now
        places = {name: step.record.position for name, step in interrupted.steps.items()}
        arguments = ["runs", "resume"]

    run = go_on_and_check(project, interrupted)

    check_decisions(project, run)
    assert kept_log(run) == {run.steps[label].record.position: told(run.outputs[label]) for label in ("one", "two")}


# Single things that happen to a step in between, one flow for each.


def interrupt(project: Path, source: str, ready) -> object:
    """Run a flow, and kill it once `ready` is true of it."""
    write(project, source)
    process = start("run", "flow.py", "--quiet")
    until(lambda: (project / ".pipelite" / "pipelite.db").exists() and Workspace().runs())
    until(ready)
    return kill(process)


def is_logged(kind: str, n: int = 1) -> bool:
    """Whether that many entries of a kind are in the log."""
    return sum(entry.kind == kind for entry in get_growth(Workspace().store, Workspace().run().id)) >= n


TOLERANT = (
    STEPS
    + """
@step
def work(name):
    note(f"start {name}")
    print(f"this is {name}")
    current_run().log("loss", 1.0)
    if name == "bad":
        raise ValueError("it is bad")
    if name == "slow":
        time.sleep(0 if Path("go").exists() else 60)
    if name == "late":
        wait_for("go")
    return name

def body():
    heard = []
    bad, slow, late = [work.with_options(name=name)(name) for name in ("bad", "slow", "late")]
    after = give.with_options(name="after")(slow)
    while (event := (yield [bad, slow])) is not None:
        heard.append([event.handle.node.name, type(event).__name__])
        if isinstance(event, Logged) and event.handle is slow:
            yield Stop(slow)
        if len([1 for _, kind in heard if kind == "Ended"]) == 2:
            break
    statuses = []
    for each in (bad, slow, after):
        statuses.append((yield StatusOf(each)).value)
    ended = yield [late]
    while not isinstance(ended, Ended):
        ended = yield []
    return {"heard": heard, "statuses": statuses, "late": late, "error": ended.error}

@pipeline
def flow():
    return Expander(body, name="search", steps=(work, give), tolerates_failures=True)()
"""
)


def test_failures_that_it_went_on_from_and_steps_that_it_stopped_stay_as_they_are(project):
    interrupted = interrupt(project, TOLERANT, lambda: is_logged("status", 3) and "start late" in ledger(project))
    assert interrupted.steps["search/slow"].status == "canceled"
    assert interrupted.steps["search/late"].status == "interrupted"
    before = {name: interrupted.steps[f"search/{name}"].record for name in ("bad", "slow", "after")}
    (project / "go").touch()

    run = resume()

    assert run.status == "completed", run.error
    found = run.outputs["result"]
    assert found["statuses"] == ["failed", "canceled", "skipped"]
    assert found["late"] == "late"
    assert sorted(ledger(project)) == ["start bad", "start late", "start late", "start slow"]
    assert {name: run.steps[f"search/{name}"].record for name in ("bad", "slow")} == {
        name: before[name] for name in ("bad", "slow")
    }
    assert "this is bad" in run.steps["search/bad"].logs
    assert "it is bad" in run.steps["search/bad"].error
    assert run.steps["search/after"].status == "skipped"


def test_a_failure_that_the_run_does_not_tolerate_is_tried_again(project):
    flaky = TOLERANT.replace('if name == "bad"', 'if name == "bad" and not Path("go").exists()')
    flaky = flaky.replace(", tolerates_failures=True", "").replace("@pipeline", "@pipeline(keep_going=True)")
    interrupted = interrupt(
        project, flaky, lambda: is_logged("failed") and is_logged("ended") and is_logged("status", 3)
    )
    (project / "go").touch()

    run = resume()

    assert run.status == "completed", run.error
    assert run.steps["search/bad"].status == "completed"
    assert ledger(project).count("start bad") == 2
    assert run.outputs["result"]["heard"].count(["search/bad", "Ended"]) == 1
    assert run.steps["search/bad"].record.position == interrupted.steps["search/bad"].record.position
    assert run.steps["search"].record.reason is None


CHANGING = (
    STEPS
    + """
@step(cache=False)
def work(name, seed):
    note(f"start {name}")
    current_run().log("loss", seed)
    if name == "last":
        wait_for("go")
    return [name, seed]

def body():
    way = Path("way").read_text()
    first = work.with_options(name="first")("first", 1)
    if way == "other name":
        second = work.with_options(name="other")("other", 2)
    else:
        second = work.with_options(name="second")("second", len(way) if way == "other input" else 2)
    ended = []
    while len(ended) < 2:
        event = yield [first, second]
        if isinstance(event, Ended):
            ended.append([event.handle.node.name, event.metrics["loss"]])
        elif way == "early" and not ended:
            return {"ended": ended}
    return {"ended": sorted(ended), "last": work.with_options(name="last")("last", 3)}

@pipeline
def flow():
    return Expander(body, name="search", steps=(work,))()
"""
)


@pytest.mark.parametrize(
    ("way", "ended", "started", "reason"),
    [
        ("same", [["search/first", 1], ["search/second", 2]], [], None),
        (
            "other name",
            [["search/first", 1], ["search/other", 2]],
            ["other"],
            "it made 'search/first', 'search/second'",
        ),
        ("other input", [["search/first", 1], ["search/second", 11]], ["second"], "it was told that 'search/second'"),
    ],
)
def test_a_body_that_does_not_do_the_same_again_goes_on_from_there(project, way, ended, started, reason):
    (project / "way").write_text("same")
    interrupted = interrupt(project, CHANGING, lambda: "start last" in ledger(project))
    assert len(completed(interrupted)) == 2
    earlier_key = interrupted.steps["search/second"].record.key
    n_before = len(ledger(project))
    (project / "way").write_text(way)
    (project / "go").touch()

    run = resume()

    assert run.status == "completed", run.error
    assert run.outputs["result"] == {"ended": ended, "last": ["last", 3]}
    assert run.metric_series("search/last/loss")[-1] == (None, 3)
    again = [line.removeprefix("start ") for line in ledger(project)[n_before:]]
    assert sorted(again) == sorted([*started, "last"])
    if reason is None:
        assert run.steps["search"].record.reason is None
    else:
        assert run.steps["search"].record.reason.startswith(f"not as before the run was resumed, when {reason}")
        [kept] = [step for name, step in run.steps.items() if name.startswith("search/second~")]
        assert kept.record.key == earlier_key
        assert kept.outputs == {"result": ["second", 2]}
    assert {step.status for step in run.steps.values()} == {"completed"}


def test_a_body_that_returns_before_its_log_is_through_does_not_keep_what_it_had_made(project):
    (project / "way").write_text("same")
    interrupt(project, CHANGING, lambda: "start last" in ledger(project))
    (project / "way").write_text("early")
    (project / "go").touch()

    run = resume()

    assert run.outputs["result"] == {"ended": []}
    assert run.steps["search"].record.reason.startswith("not as before")
    [last] = [step for name, step in run.steps.items() if name.startswith("search/last")]
    assert last.record.name == "search/last~1"
    assert last.status == "canceled"


def test_a_step_whose_result_is_gone_runs_again_and_is_heard_of_anew(project):
    (project / "way").write_text("same")
    big = CHANGING.replace(
        "return [name, seed]", "return [name, seed, 'x' * (100_000 if name == 'first' else 0)][:2 + (name == 'first')]"
    )
    interrupted = interrupt(project, big, lambda: "start last" in ledger(project))
    [ref] = interrupted.steps["search/first"].record.outputs.values()
    next((project / ".pipelite").rglob(Path(ref.path).name)).unlink()
    (project / "go").touch()

    run = resume()

    assert run.status == "completed", run.error
    assert sorted(ledger(project)) == ["start first", "start first", "start last", "start last", "start second"]
    assert run.outputs["result"]["ended"] == [["search/first", 1], ["search/second", 2]]
    assert "had ended as completed" in run.steps["search"].record.reason


NESTED = (
    STEPS
    + """
@step(cache=False)
def numbers(n, delay):
    note(f"start numbers {n}")
    time.sleep(delay if not Path("go").exists() else 0.3 - delay)
    return list(range(n))

@step(cache=False)
def double(x, label):
    note(f"start {label} {x}")
    time.sleep(0.02)
    return 2 * x

def body(label, n):
    label = yield Load(label)
    first = double.map(numbers(n, 0.05 * n), label=label)
    heard = []
    while (event := (yield [first])) is not None:
        if isinstance(event, Ended):
            heard.append([event.handle.node.name, (yield Load(event.handle))])
    listed = []
    for element in (yield Elements(first)):
        listed.append((yield Load(element)))
    later = double.map(give(listed), label=label + "-later")
    while (yield [later]) is not None:
        pass
    return {"heard": heard, "later": later}

one = Expander(body, name="one", steps=(numbers, double, give))

@pipeline
def flow():
    slow = double.map(numbers(4, 0.25), label="slow")
    quick = double.map(numbers(5, 0.0), label="quick")
    inner = one.map(give(["a", "b"]), n=3)
    return {"slow": slow, "quick": quick, "inner": inner, "last": double.map(quick, label="last")}
"""
)


@pytest.mark.parametrize("n_lines", [6, 14, 22, 28])
def test_maps_in_expanders_and_expanders_in_maps_keep_their_places(project, n_lines):
    interrupted = interrupt(project, NESTED, lambda: len(ledger(project)) >= n_lines)
    done = completed(interrupted)
    places = {name: step.record.position for name, step in interrupted.steps.items()}
    n_before = len(ledger(project))
    (project / "go").touch()

    run = resume()

    assert run.status == "completed", run.error
    assert run.outputs["slow"] == [0, 2, 4, 6]
    assert run.outputs["last"] == [0, 4, 8, 12, 16]
    assert [found["later"] for found in run.outputs["inner"]] == [[0, 4, 8]] * 2
    again = {name for name in run.steps.keys() - done.keys() if "give" not in name} - {"one[0]", "one[1]"}
    assert len(ledger(project)) - n_before == len(again)
    assert {name: run.steps[name].record.position for name in places} == places
    assert all(run.steps[f"one[{index}]"].record.reason is None for index in range(2))


def test_a_map_whose_list_has_become_longer_keeps_what_it_had_done(project):
    source = (
        STEPS
        + """
@step
def read(path: Path):
    return [int(word) for word in path.read_text().split()]

@step(cache=False)
def double(x):
    note(f"start {x}")
    if x == 3:
        wait_for("go")
    return 2 * x

@pipeline
def flow():
    return {"first": double.map(read(Path("numbers"))), "other": double.map(give([7, 8]))}
"""
    )
    (project / "numbers").write_text("1 2 3")
    interrupted = interrupt(
        project, source, lambda: "start 3" in ledger(project) and len(completed(Workspace().run())) >= 3
    )
    done = {name: step.outputs["result"] // 2 for name, step in completed(interrupted).items() if "double" in name}
    (project / "numbers").write_text("1 2 3 4")
    (project / "go").touch()

    run = resume()

    assert run.status == "completed", run.error
    assert run.outputs["first"] == [2, 4, 6, 8]
    assert run.outputs["other"] == [14, 16]
    assert {number for number in done.values() if ledger(project).count(f"start {number}") > 1} == set()
    assert set(ledger(project)) == {f"start {number}" for number in (1, 2, 3, 4, 7, 8)}
    assert [name for name in run.steps if name.startswith("double[")] == [f"double[{index}]" for index in range(4)]


def test_what_an_interrupted_step_had_logged_unheard_is_told_before_it_runs_again(project):
    source = (
        STEPS
        + """
@step
def work():
    for epoch in range(3):
        current_run().log("loss", epoch, step=epoch)
        note(f"logged {epoch}")
        wait_for(f"go-{epoch}")

def body():
    heard = []
    running = [work()]
    while (event := (yield running)) is not None:
        heard.append(event.value if isinstance(event, Logged) else event.status.value)
    return heard

@pipeline
def flow():
    return Expander(body, name="search", steps=(work,))()
"""
    )
    write(project, source)
    process = start("run", "flow.py", "--quiet")
    until(lambda: ledger(project) and is_logged("logged"))
    process.send_signal(signal.SIGSTOP)
    (project / "go-0").touch()
    until(lambda: ledger(project) == ["logged 0", "logged 1"])
    interrupted = kill(process)
    assert interrupted.metric_series("search/work/loss") == [(0, 0), (1, 1)]
    assert kept_log(interrupted) == {0: [["logged", "loss", 0, 0]]}
    (project / "go-1").touch()
    (project / "go-2").touch()

    run = resume()

    assert run.outputs["result"] == [0, 1, 0, 1, 2, "completed"]


def test_a_resumed_run_that_fails_before_its_expander_begins_can_go_on_later(project):
    (project / "way").write_text("same")
    source = CHANGING.replace(
        "@pipeline\ndef flow():\n    return Expander(body,",
        """@step(cache=False)
def check(path: Path):
    if path.read_text() == "fail":
        raise ValueError("told to fail")

@pipeline
def flow():
    return Expander(lambda checked: body(),""",
    ).replace("steps=(work,))()", 'steps=(work,))(check(Path("checked")))')
    (project / "checked").write_text("pass")
    interrupt(project, source, lambda: "start last" in ledger(project))
    (project / "checked").write_text("fail")

    failed = resume()

    assert failed.status == "failed"
    statuses = {name: step.status for name, step in failed.steps.items() if "~" not in name}
    assert statuses["search/first"] == statuses["search/second"] == "completed"
    assert statuses["search"] == statuses["search/last"] == "skipped"
    (project / "checked").write_text("pass again")
    (project / "go").touch()

    run = resume()

    assert run.status == "completed", run.error
    assert sorted(ledger(project)) == ["start first", "start last", "start last", "start second"]
    assert run.steps["search"].record.reason is None


def test_what_a_step_logged_that_ran_with_another_input_is_not_mixed_with_what_it_logs_now(project):
    (project / "way").write_text("same")
    source = CHANGING.replace(
        'work.with_options(name="last")("last", 3)', 'work.with_options(name="last")("last", len(way))'
    )
    # Until its row is stored with its key.
    interrupt(project, source, lambda: is_running("search/last"))
    (project / "way").write_text("other way")
    (project / "go").touch()

    run = resume()

    assert run.outputs["result"]["last"] == ["last", 9]
    assert run.metric_series("search/last/loss") == [(None, 9)]
    assert run.metric_series("search/last~1/loss") == [(None, 4)]
