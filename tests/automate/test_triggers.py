"""Triggers: what makes runs, what does not, and that each change has one, whoever looks and is killed."""

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pipelite import Dataset, FileChange, HttpCall, NewVersion, RunEnd, Trigger, Workspace
from pipelite.automate import fire_called, watching
from pipelite.automate import triggers as triggers_module
from pipelite.automate.noticing import Notices
from pipelite.automate.triggers import decide_waiting, find_trigger, list_watching
from pipelite.automate.watching import FileWatch, Watcher
from pipelite.clock import CLOCK
from pipelite.errors import DatastoreError, ParameterError, TriggerError

IS_FULL = os.environ.get("PIPELITE_CHAOS") == "full"
#: Files that are dropped, and the shares of drops with a kill and a stop.
DROPS, KILLS, STOPS = (5_000, 0.05, 0.05) if IS_FULL else (40, 0.2, 0.1)

FLOW = """
from pathlib import Path
from pipelite import Dataset, pipeline, step

@step
def note(value):
    return value

@pipeline
def plain(n: int = 1):
    return note(n)

@pipeline
def gather(files: list[Path]):
    return note([str(file) for file in files])

@pipeline
def one(file: str, n: int = 1):
    return note(file)

@pipeline
def reading(data: Dataset):
    return note(1)
"""

PUBLISH = """
import flow
for name in ("plain", "gather", "one", "reading"):
    getattr(flow, name).publish(name.capitalize())
"""


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A workspace with what is called, made once for all processes that test, and copied: publishing takes its time."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    with (shared / "triggers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = shared / "triggers"
        if not folder.exists():
            made = shared / "triggers-in-the-making"
            made.mkdir()
            (made / "flow.py").write_text(FLOW)
            environment = {**os.environ, "PIPELITE_WORKSPACE": f"{made}/.pipelite", "PYTHONDONTWRITEBYTECODE": "1"}
            subprocess.run([sys.executable, "-c", PUBLISH], cwd=made, env=environment, check=True, timeout=120)
            made.rename(folder)
    return folder


@pytest.fixture
def project(published, workspace, monkeypatch):
    """The folder around the workspace, with an empty folder `in`."""
    shutil.copytree(published / ".pipelite", workspace)
    shutil.copy(published / "flow.py", workspace.parent)
    monkeypatch.setenv("PIPELITE_PROGRESS", "quiet")
    (workspace.parent / "in").mkdir()
    return workspace.parent


@pytest.fixture
def watch():
    """Starts a watcher, and waits until it has looked at all triggers; gives what it told."""
    started = []

    def start():
        told = []
        started.append(Watcher(Workspace().store, tell=lambda event, details: told.append((event, details))))
        started[-1].start()
        wait_until(lambda: has_looked(started[-1]))
        return told

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def polls_only(monkeypatch):
    """As if the extra `watch` were not installed."""
    monkeypatch.setattr(Notices, "are_there", lambda: False)


def has_looked(watcher):
    """Whether a watcher knows the files of all triggers, and is told of changes."""
    watching = [watcher._watching.get(name) for name in list_watching(Workspace().store)]
    # A first look is due at once.
    return all(
        each is not None and each.find_due() > 0 and (each.watch is None or not each.is_busy) for each in watching
    )


def looker(trigger):
    """A daemon's view of a trigger on files, which looks when it is told to."""
    store = Workspace().store
    watch = FileWatch(store, find_trigger(store, trigger.name), CLOCK, lambda: None)

    def look():
        watch.poll_soon()
        return watch.look()

    look.watch = watch
    return look


def wait_until(holds, timeout_s=30.0):
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def on_files(path="in", **options):
    return FileChange(path, **{"interval": 0.1, "settle": 0, **options})


def names_given(parameter):
    """The names of the files that runs were told of, in the order of the runs."""
    given = [run.parameters[parameter] for run in reversed(Workspace().runs(limit=None))]
    return [[Path(each).name for each in value] if isinstance(value, list) else Path(value).name for value in given]


def test_what_is_there_is_the_baseline_and_all_changes_of_a_look_have_one_run(project):
    (project / "in/old.csv").write_text("old")
    (project / "in/other.csv").write_text("old")
    trigger = Trigger.create("new", "Gather", on=on_files("in/*.csv"), cause_parameter="files")
    look = looker(trigger)

    assert look() == []
    for name in ("b.csv", "a.csv", "c.txt"):
        (project / "in" / name).write_text("new")
    (project / "in/old.csv").write_text("changed")
    [firing] = look()

    [run] = Workspace().runs()
    assert (firing.outcome, firing.run_id) == ("fired", run.id)
    assert run.parameters == {"files": [str(project / "in" / name) for name in ("a.csv", "b.csv", "old.csv")]}
    assert run.tags["trigger"] == "new"
    assert firing.cause == {"files": 3, "paths": run.parameters["files"]}
    assert (look(), looker(trigger)(), trigger.history()) == ([], [], [firing])


def test_on_request_each_file_has_a_run_of_its_own(project):
    trigger = Trigger.create(
        "each", Workspace().published["One"], {"n": 2}, on=on_files(per_file=True), cause_parameter="file"
    )
    (project / "in/below").mkdir()
    for name in ("a", "below/b", "c"):
        (project / "in" / name).write_text("new")

    looker(trigger)()

    assert names_given("file") == ["a", "b", "c"]
    assert {run.parameters["n"] for run in Workspace().runs()} == {2}


def test_of_very_many_changes_each_run_has_some(project, monkeypatch):
    monkeypatch.setattr(watching, "MOST_FILES", 2)
    trigger = Trigger.create("many", "Gather", on=on_files(), cause_parameter="files")
    for number in range(5):
        (project / f"in/{number}").touch()

    looker(trigger)()

    assert names_given("files") == [["0", "1"], ["2", "3"], ["4"]]


def test_a_file_that_is_written_slowly_fires_once_and_when_it_is_complete(project, watch, polls_only):
    trigger = Trigger.create("slow", "Plain", on=on_files(settle=1.5))
    watch()

    with (project / "in/half").open("wb", buffering=0) as file:
        for _ in range(12):
            file.write(b"x" * 1000)
            time.sleep(0.08)
            assert trigger.history() == []
    wait_until(trigger.history)
    time.sleep(0.3)

    assert len(trigger.history()) == 1


def test_a_native_event_fires_as_soon_as_the_writer_has_closed_the_file(project, watch):
    pytest.importorskip("watchdog", reason="watchdog is not installed")
    trigger = Trigger.create("heard", "Gather", on=on_files("in/*", interval=600, settle=600), cause_parameter="files")
    (project / "in/early").touch()
    watch()

    with (project / "in/open").open("w") as file:
        file.write("half")
        file.flush()
        time.sleep(0.3)
        assert trigger.history() == []
    wait_until(trigger.history)
    (project / "elsewhere").write_text("whole")
    (project / "elsewhere").rename(project / "in/moved")
    wait_until(lambda: len(trigger.history()) == 2)

    assert names_given("files") == [["open"], ["moved"]]


def test_a_file_that_is_closed_again_and_again_fires_at_first_and_when_it_is_settled(project, watch):
    pytest.importorskip("watchdog", reason="watchdog is not installed")
    trigger = Trigger.create("bits", "Plain", on=on_files(interval=600, settle=2))
    watch()

    for _ in range(6):
        with (project / "in/bits").open("a") as file:
            file.write("bit")
        time.sleep(0.2)
    wait_until(lambda: len(trigger.history()) == 2)
    time.sleep(0.3)

    assert len(trigger.history()) == 2


def test_files_in_folders_that_are_new_or_come_later_are_heard_of(project, watch):
    pytest.importorskip("watchdog", reason="watchdog is not installed")
    Trigger.create("deep", "One", on=on_files("in", interval=600, settle=0.2, per_file=True), cause_parameter="file")
    Trigger.create("late", "One", on=on_files("late/*", interval=0.2, per_file=True), cause_parameter="file")
    watch()

    (project / "in/new/newer").mkdir(parents=True)
    (project / "in/new/newer/a").write_text("a")
    (project / "late").mkdir()
    (project / "late/b").write_text("b")

    wait_until(lambda: len(Workspace().runs()) == 2)
    assert sorted(names_given("file")) == ["a", "b"]


def test_what_is_dropped_while_nobody_looks_is_found_by_the_next(project, watch):
    Trigger.create("down", "Gather", on=on_files(), cause_parameter="files")
    (project / "in/a").touch()
    (project / "in/b").touch()

    told = watch()

    wait_until(lambda: told)
    assert (told[0][0], told[0][1]["trigger"], told[0][1]["files"]) == ("fired", "down", 2)
    assert names_given("files") == [["a", "b"]]


def test_what_another_decides_during_a_look_is_not_decided_again(project):
    trigger = Trigger.create("both", "Gather", on=on_files(), cause_parameter="files")
    mine, other = looker(trigger), looker(trigger)
    assert (mine(), other()) == ([], [])
    (project / "in/a").write_text("1")
    place = mine.watch.place

    def scan_slowly():
        del place.scan
        found = place.scan()
        other()
        (project / "in/a").write_text("22")
        other()
        return found

    place.scan = scan_slowly

    assert mine() == []
    assert names_given("files") == [["a"], ["a"]]


def test_a_file_that_comes_back_as_it_was_is_no_change(project):
    trigger = Trigger.create("back", "Gather", on=on_files(), cause_parameter="files")
    look = looker(trigger)
    (project / "in/a").write_text("1")
    (project / "in/b").write_text("1")
    look()

    # As where a disk is not there for a while.
    (project / "in").rename(project / "unmounted")
    assert look() == []
    (project / "unmounted").rename(project / "in")
    assert (look(), looker(trigger)()) == ([], [])
    (project / "in/a").unlink()
    look()
    (project / "in/a").write_text("2")

    assert len(look()) == 1
    assert names_given("files") == [["a", "b"], ["a"]]


def test_a_file_that_is_gone_for_long_is_forgotten(project, clock):
    trigger = Trigger.create("gone", "Plain", on=on_files())
    look = looker(trigger)
    for name in ("a", "b"):
        (project / "in" / name).write_text("1")
    look()
    os.rename(project / "in/a", project / "kept")
    look()

    clock.turn(days=31)
    (project / "in/b").unlink()
    look()
    os.rename(project / "kept", project / "in/a")

    assert len(look()) == 1


def test_what_changes_during_a_pause_has_no_run_and_is_in_the_history(project):
    trigger = Trigger.create("paused", "Gather", on=on_files(), cause_parameter="files")
    look = looker(trigger)
    look()
    trigger.pause()
    (project / "in/a").touch()

    assert look() == []
    trigger.resume()
    (project / "in/b").touch()
    look()

    assert names_given("files") == [["b"]]
    assert [(each.outcome, each.reason, each.cause["files"]) for each in trigger.history()] == [
        ("fired", None, 1),
        ("skipped", "the trigger was paused", 1),
    ]


def test_a_version_that_takes_no_calls_is_a_reason_and_no_trouble_for_others(project):
    bad = Trigger.create("bad", "Plain", on=on_files())
    good = Trigger.create("good", "Gather", on=on_files(), cause_parameter="files")
    Workspace().published["Plain"].disable()
    (project / "in/a").touch()

    for trigger in (bad, good):
        looker(trigger)()
    Workspace().published["Plain"].enable()

    assert looker(bad)() == []
    assert [each.history()[0].outcome for each in (bad, good)] == ["failed", "fired"]
    assert "is disabled" in bad.history()[0].reason


def test_a_mistake_of_our_own_in_one_decision_is_in_the_history(project, monkeypatch):
    trigger = Trigger.create("mistake", "Plain", on=on_files())
    (project / "in/a").touch()
    monkeypatch.setattr(triggers_module, "insert_request", lambda *args, **options: 1 / 0)

    [firing] = looker(trigger)()

    assert (firing.outcome, firing.run_id) == ("failed", None)
    assert "ZeroDivisionError" in firing.reason


def test_trouble_with_looking_is_told_once_and_passes(project, watch, polls_only):
    datastore = Workspace().datastores.register("shed", project / "in")
    trigger = Trigger.create("shed", "Gather", on=on_files(datastore.path("*.csv")), cause_parameter="files")
    (project / "secret").touch()
    (project / "in/link.csv").symlink_to(project / "secret")

    told = watch()
    wait_until(lambda: trigger.record.problem)
    time.sleep(0.3)
    assert "leads out of its root" in trigger.record.problem
    assert [event for event, _ in told] == ["failed"]
    (project / "in/link.csv").unlink()
    (project / "in/a.csv").touch()

    wait_until(lambda: len(trigger.history()) == 2)
    assert trigger.record.problem is None
    assert names_given("files") == [["a.csv"]]


def test_objects_of_other_stores_fire_at_the_next_look(project):
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
    files = fsspec.filesystem("memory")
    files.pipe(f"{project}/bucket/raw/old.csv", b"old")
    datastore = Workspace().datastores.register("bucket", f"memory:/{project}/bucket")
    on = FileChange(datastore.path("raw/*.csv"), per_file=True, settle=600)
    trigger = Trigger.create("objects", "One", on=on, cause_parameter="file")
    look = looker(trigger)

    assert look() == []
    datastore.put("flow.py", "raw/new.csv")
    datastore.put("flow.py", "raw/no.txt")
    look()

    assert [run.parameters["file"] for run in Workspace().runs()] == ["bucket/raw/new.csv"]
    with pytest.raises(TriggerError, match="takes paths of this machine"):
        Trigger.create("paths", "Gather", on=FileChange("memory://bucket/raw/*"), cause_parameter="files")


def test_the_workspace_itself_and_names_that_are_no_text_are_left_out(project):
    trigger = Trigger.create("all", "Gather", on=on_files("."), cause_parameter="files")
    (project / ".pipelite/new").touch()
    open(os.fsencode(project) + b"/in/\xff", "w").close()
    (project / "in/\xfc").touch()

    looker(trigger)()

    assert names_given("files") == [["\xfc"]]


def test_the_end_of_a_run_starts_another_that_is_told_of_it(project, watch, monkeypatch):
    monkeypatch.syspath_prepend(str(project))
    # Another test may have left its own.
    monkeypatch.delitem(sys.modules, "flow", raising=False)
    ends = Trigger.create("ends", "One", on=RunEnd("plain"), cause_parameter="file")
    fails = Trigger.create("fails", "Plain", on=RunEnd("Other", states=("failed", "canceled")))
    paused = Trigger.create("paused", "One", on=RunEnd("plain"), cause_parameter="file")
    paused.pause()
    watch()
    import flow

    # Not in workers that know a module of another test by that name.
    run = flow.plain.with_options(compute="inline").run()
    wait_until(lambda: [each.outcome for each in ends.history()] == ["fired"])

    started = Workspace().run(ends.history()[0].run_id)
    assert started.parameters == {"file": run.id, "n": 1}
    assert ends.history()[0].cause == {"run": run.id, "status": "completed"}
    assert fails.history() == []
    assert [(each.outcome, each.reason) for each in paused.history()] == [("skipped", "the trigger was paused")]


def test_of_a_published_pipeline_the_name_counts_and_ends_that_nobody_saw_are_found(project):
    trigger = Trigger.create("canceled", "Plain", on=RunEnd("One", states=("canceled",)))
    with pytest.warns(UserWarning, match="nothing serves"):
        run = Workspace().endpoints["One"].submit(file="x")
    run.cancel()

    [firing] = decide_waiting(Workspace().store, now=CLOCK.now())

    assert firing.cause == {"run": run.id, "status": "canceled"}
    assert decide_waiting(Workspace().store, now=CLOCK.now()) == []
    assert len(trigger.history()) == 1


def test_what_would_lead_to_itself_is_refused(project):
    Trigger.create("first", "Gather", {"files": []}, on=RunEnd("One"))
    Trigger.create("second", "Plain", on=RunEnd("gather"))

    with pytest.raises(TriggerError, match="lead to itself"):
        Trigger.create("third", "One", {"file": "x"}, on=RunEnd("Plain"))
    with pytest.raises(TriggerError, match="lead to itself"):
        Trigger.create("itself", "Plain", on=RunEnd("plain", states=("failed",)))


def test_a_new_version_of_a_dataset_fires_and_is_given_as_the_parameter_takes_it(project):
    for name, endpoint, parameter in (("label", "Reading", "data"), ("number", "Plain", "n")):
        Trigger.create(name, endpoint, on=NewVersion("bikes"), cause_parameter=parameter)
    for text in ("a\n1\n", "a\n1\n", "a\n2\n"):
        (project / "bikes.csv").write_text(text)
        Dataset.from_delimited_files("bikes.csv").register("bikes")
        Dataset.from_delimited_files("bikes.csv").register("others")

    decide_waiting(Workspace().store, now=CLOCK.now())

    given = [json.loads(row[0]) for row in Workspace().store.database.read("SELECT assignments FROM requests")]
    assert Counter(map(str, given)) == Counter(["{'data': 'bikes:1'}", "{'data': 'bikes:2'}", "{'n': 1}", "{'n': 2}"])


def test_what_the_database_notes_by_itself_has_the_time_of_the_one_clock(project, clock):
    Trigger.create("number", "Plain", on=NewVersion("bikes"), cause_parameter="n")
    (project / "bikes.csv").write_text("a\n1\n")
    noon = clock.turn(days=400)
    Dataset.from_delimited_files("bikes.csv").register("bikes")
    later = clock.turn(hours=1)

    [firing] = decide_waiting(Workspace().store, now=CLOCK.now())

    assert (firing.at, firing.decided_at) == (noon, later)


def test_a_secret_opens_one_trigger_until_it_is_revoked(project):
    trigger = Trigger.create("called", "Plain", {"n": 3}, on=HttpCall())
    store = Workspace().store
    secret = trigger.secret

    def call(secret, key=None):
        return fire_called(store, secret, key=key, now=CLOCK.now())

    first, same = call(secret, "k 1"), call(secret, "k 1")
    assert first.run_id == same.run_id != call(secret).run_id
    assert Workspace().run(first.run_id).parameters == {"n": 3}
    assert call("x" * 43) is None
    trigger.pause()
    assert (call(secret).outcome, call(secret, "k 1").run_id) == ("skipped", first.run_id)
    trigger.resume()
    assert trigger.renew_secret().endswith(f"/triggers/{trigger.secret}")
    assert (call(secret), call(trigger.secret).outcome) == (None, "fired")
    second = trigger.secret
    trigger.revoke_secret()
    assert (call(second), trigger.url) == (None, None)
    assert Workspace().triggers["called"].url is None
    content = b"".join(path.read_bytes() for path in store.path.glob("pipelite.db*"))
    assert secret.encode() not in content


def test_history_is_kept_to_its_last_rows(project, monkeypatch):
    monkeypatch.setattr(triggers_module, "KEPT_ROWS", 3)
    trigger = Trigger.create("called", "Plain", on=HttpCall())
    runs = [fire_called(Workspace().store, trigger.secret, now=CLOCK.now()).run_id for _ in range(6)]

    assert [each.run_id for each in trigger.history()] == runs[:1:-1]
    assert len(Workspace().runs()) == 6


@pytest.mark.parametrize(
    ("endpoint", "options", "error", "says"),
    [
        ("Plain", {"on": on_files(), "cause_parameter": "file"}, ParameterError, "no parameter 'file'"),
        ("Gather", {"on": on_files()}, ParameterError, "needs a value for 'files'"),
        ("One", {"on": on_files(), "cause_parameter": "file"}, TriggerError, "have a run for each file"),
        ("Plain", {"on": HttpCall(), "cause_parameter": "n"}, TriggerError, "nothing to give"),
        ("Plain", {"on": RunEnd("x", states=("done",))}, TriggerError, "'completed', 'failed', 'canceled'"),
        ("Plain", {"on": on_files(interval=0)}, TriggerError, "tenth of a second"),
        ("Plain", {"on": "in/*.csv"}, TriggerError, "FileChange, RunEnd, NewVersion or HttpCall"),
        ("Plain", {"on": FileChange(("gone", "x"))}, KeyError, "no datastore 'gone'"),
        ("Plain", {"on": FileChange("memory://a:b@c/x")}, DatastoreError, "holds a password"),
    ],
)
def test_a_trigger_that_could_not_work_is_refused_when_it_is_made(project, endpoint, options, error, says):
    with pytest.raises(error, match=says):
        Trigger.create("wrong", endpoint, **options)
    assert dict(Workspace().triggers) == {}


def test_of_two_with_one_name_the_second_is_refused_and_a_new_one_begins_anew(project, watch, polls_only):
    first = Trigger.create("name", "Plain", on=on_files())
    with pytest.raises(TriggerError, match="already"):
        Trigger.create("name", "Plain", on=on_files())
    watch()
    (project / "in/a").touch()
    wait_until(first.history)

    first.remove()
    second = Trigger.create("name", "Plain", on=on_files())
    (project / "in/b").touch()
    wait_until(second.history)

    assert second.history()[0].cause["files"] == 1


#: A process that is nothing but a watcher.
WATCHER = """
import sys
from pipelite.automate.watching import Watcher
from pipelite.store import hold_store
watcher = Watcher(hold_store())
watcher.start()
print("ready", flush=True)
sys.stdin.read()
watcher.stop()
"""


def start_watcher():
    return subprocess.Popen([sys.executable, "-c", WATCHER], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)


def end(process):
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()
    process.stdin.close()


@pytest.mark.parametrize("seed", [1])
def test_each_change_has_one_run_however_many_watchers_are_killed_and_stopped(project, seed):
    drawn = random.Random(seed)
    Trigger.create("each", "One", on=on_files(per_file=True, settle=0.1), cause_parameter="file")
    Trigger.create("all", "Gather", on=on_files(settle=0.1), cause_parameter="files")
    # Native events may be what each finds a change by, or a poll.
    watchers = [start_watcher() for _ in range(2)]
    expected = Counter()
    try:
        for number in range(DROPS):
            chance, which = drawn.random(), drawn.randrange(2)
            if chance < KILLS:
                end(watchers[which])
            elif chance < KILLS + STOPS:
                watchers[which].send_signal(signal.SIGSTOP)
            (project / f"in/{number}").write_text("x")
            expected[str(number)] += 1
            time.sleep(drawn.random() * 0.15)
            if watchers[which].poll() is not None:
                watchers[which] = start_watcher()
            watchers[which].send_signal(signal.SIGCONT)
        wait_until(lambda: sum(map(len, told("all"))) == DROPS == len(told("each")), timeout_s=60)
    finally:
        for each in watchers:
            end(each)

    assert Counter(Path(path).name for path in told("each")) == expected
    assert Counter(Path(path).name for paths in told("all") for path in paths) == expected


def told(trigger):
    """What the runs of a trigger were told of."""
    rows = Workspace().store.database.read(
        "SELECT assignments FROM requests WHERE requested_by = ?", (f"trigger {trigger}",)
    )
    return [next(iter(json.loads(row[0]).values())) for row in rows]
