"""A transfer copies what is not there yet, and is reused as long as the source is the same and the target holds it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data.real_stores import MAKERS
from pipelite import Dataset, Workspace, current_run, pipeline, step
from pipelite.data.known import KnownDigests
from pipelite.errors import DatastoreError, DefinitionError, StepFailed
from pipelite.steps import Input, transfer

#: Said by aiohttp of how adlfs sends a file; Python shows it to nobody who does not ask.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


@pytest.fixture
def source(write, tmp_path):
    write("source/a.csv", "x\n1\n")
    write("source/deep/b.csv", "x\n22\n")
    write("source/deep/c.csv", "x\n333\n")
    return tmp_path / "source"


@pytest.fixture
def lake_folder(stores, tmp_path):
    """A datastore that is a folder."""
    stores.register("lake", tmp_path / "lake")
    return tmp_path / "lake"


@step
def content(data) -> dict:
    here = data.as_path()
    files = [here] if here.is_file() else sorted(path for path in here.rglob("*") if path.is_file())
    return {path.name: path.read_text() for path in files}


def tree(folder: Path) -> dict[str, str]:
    """Names and contents of all that is below a folder, also what is hidden."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def run_once(source, target, **options):
    """The step run of a transfer in a pipeline of its own, and what it gave."""
    copy = transfer(source, target, name="copy", **options)

    @pipeline
    def flow():
        return copy()

    run = flow.run()
    return run.steps["copy"], run.outputs["result"]


WHOLE = {"a.csv": "x\n1\n", "deep/b.csv": "x\n22\n", "deep/c.csv": "x\n333\n"}


class TestWhatIsReused:
    def test_a_second_run_transfers_nothing_and_gives_the_same(self, source, lake_folder):
        first, made = run_once(source, ("lake", "copy"))
        again, same = run_once(source, ("lake", "copy"))

        assert tree(lake_folder / "copy") == WHOLE
        assert not first.reused
        assert first.metrics == {"files": 3, "bytes": 15, "files_skipped": 0, "bytes_skipped": 0}
        assert "transferred 3 of 3 files, 15 bytes" in first.logs
        assert again.reused
        assert made.files == same.files == ["a.csv", "deep/b.csv", "deep/c.csv"]

    def test_a_changed_byte_of_the_source_sends_that_file_only(self, source, lake_folder):
        run_once(source, ("lake", "copy"))
        (source / "a.csv").write_text("x\n9\n")

        ran, _ = run_once(source, ("lake", "copy"))

        assert (ran.reused, ran.metrics["files"], ran.metrics["files_skipped"]) == (False, 1, 2)
        assert tree(lake_folder / "copy") == {**WHOLE, "a.csv": "x\n9\n"}

    @pytest.mark.parametrize(
        "change", [Path.unlink, lambda path: path.write_text("x\n7\n")], ids=["deleted", "changed"]
    )
    def test_a_target_that_does_not_hold_what_was_written_is_written_again(self, source, lake_folder, change):
        run_once(source, ("lake", "copy"))
        change(lake_folder / "copy/a.csv")

        ran, _ = run_once(source, ("lake", "copy"))

        assert (ran.reused, ran.metrics["files"]) == (False, 1)
        assert ran.record.reason.startswith("the data in 'lake/copy', which it read or wrote, ")
        assert tree(lake_folder / "copy") == WHOLE
        assert run_once(source, ("lake", "copy"))[0].reused

    def test_what_others_put_beside_the_copy_stays_and_does_not_count(self, source, lake_folder):
        (lake_folder / "copy").mkdir(parents=True)
        (lake_folder / "copy/mine.csv").write_text("mine")

        _, made = run_once(source, ("lake", "copy"))
        (lake_folder / "copy/yours.csv").write_text("yours")

        assert made.files == ["a.csv", "deep/b.csv", "deep/c.csv"]
        assert run_once(source, ("lake", "copy"))[0].reused
        assert tree(lake_folder / "copy") == {**WHOLE, "mine.csv": "mine", "yours.csv": "yours"}

    def test_a_source_on_a_datastore_is_looked_at_again(self, source, lake_folder, stores):
        stores["lake"].upload(source, "raw")
        assert not run_once(("lake", "raw"), "copy")[0].reused
        assert run_once(("lake", "raw"), "copy")[0].reused

        (lake_folder / "raw/a.csv").write_text("x\n9\n")

        assert run_once(("lake", "raw"), "copy")[0].metrics["files"] == 1
        assert tree(Path("copy")) == {**WHOLE, "a.csv": "x\n9\n"}

    def test_what_depends_on_a_copy_counts_by_its_content(self, source, lake_folder):
        @pipeline
        def flow(data: Path, place: str):
            return content(transfer(data, ("lake", place))())

        assert flow.run(data=source, place="copy").outputs["result"] == {
            "a.csv": "x\n1\n",
            "b.csv": "x\n22\n",
            "c.csv": "x\n333\n",
        }
        assert flow.run(data=source, place="other").steps["content"].reused
        (source / "a.csv").write_text("x\n9\n")
        assert flow.run(data=source, place="other").outputs["result"]["a.csv"] == "x\n9\n"


class TestSources:
    def test_the_output_of_a_step_may_be_a_file_a_folder_or_a_copy(self, lake_folder):
        @step(outputs=("table", "folder"))
        def make():
            (current_run().scratch / "table.csv").write_text("x\n1\n")
            (current_run().scratch / "parts").mkdir()
            (current_run().scratch / "parts/one.csv").write_text("x\n2\n")
            return current_run().scratch / "table.csv", current_run().scratch / "parts"

        @pipeline
        def flow():
            table, folder = make()
            first = transfer(table, ("lake", "tables"))()
            transfer(folder, ("lake", "parts"))()
            transfer(first, "local.csv")()

        flow.run()

        assert tree(lake_folder) == {"tables/table.csv": "x\n1\n", "parts/one.csv": "x\n2\n"}
        assert Path("local.csv").read_text() == "x\n1\n"
        assert {each.status for each in flow.run().steps.values()} == {"reused"}

    def test_a_dataset_keeps_how_it_is_read(self, source, lake_folder):
        data = Dataset.from_delimited_files("source/**/*.csv", types={"x": "str"})

        _, made = run_once(data, ("lake", "copy"))

        assert made.to_pandas()["x"].tolist() == ["1", "22", "333"]
        assert made.register("copied").files == data.files

    def test_a_registered_dataset_that_is_sent_is_used(self, source, lake_folder):
        Dataset.from_files("source").register("numbers")

        run_once(Dataset.get("numbers"), ("lake", "copy"))

        assert [use.step_run for use in Workspace().datasets.uses("numbers")] == ["copy"]

    @pytest.mark.parametrize("given", [Path("source"), "source", ("local", "in"), "source/deep/*.csv"])
    def test_what_a_step_is_called_with_may_be_any_of_them(self, source, stores, given):
        stores["local"].upload(source, "in")
        send = transfer(Input("data"), "copy")

        @pipeline
        def flow():
            return send(given)

        flow.run()

        expected = {"b.csv": "x\n22\n", "c.csv": "x\n333\n"} if "*" in str(given) else WHOLE
        assert tree(Path("copy")) == expected

    def test_a_path_that_a_step_is_called_with_as_a_text_is_looked_at_again(self, source):
        send = transfer(Input("data"), "copy", name="send")

        @pipeline
        def flow(data: str):
            send(data)

        flow.run(data="source")
        assert flow.run(data="source").steps["send"].reused
        (source / "new.csv").write_text("x\n4\n")
        assert flow.run(data="source").steps["send"].metrics["files"] == 1

    def test_a_url_is_fetched(self, source):
        quiet = type("Handler", (SimpleHTTPRequestHandler,), {"log_message": lambda *words: None})
        pytest.importorskip("aiohttp", reason="aiohttp is not installed")
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(source))) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            ran, _ = run_once(f"http://127.0.0.1:{server.server_port}/a.csv", "copy/")
            server.shutdown()
            thread.join()

        assert tree(Path("copy")) == {"a.csv": "x\n1\n"}
        assert ran.metrics["bytes"] == 4

    def test_called_directly_it_just_copies(self, source):
        made = transfer(source / "a.csv", "copy/")()

        assert made.as_path() == Path("copy/a.csv").absolute()
        assert tree(Path("copy")) == {"a.csv": "x\n1\n"}


@pytest.mark.parametrize(
    ("target", "place"),
    [("out.csv", "out.csv"), ("out", "out/a.csv"), ("out.csv/", "out.csv/a.csv"), ("there.csv", "there.csv/a.csv")],
)
def test_a_file_goes_to_its_path_or_into_a_folder(source, target, place):
    Path("there.csv").mkdir()

    run_once(source / "a.csv", target)

    assert Path(place).read_text() == "x\n1\n"
    assert not list(Path().rglob(".pipelite-part-*"))


class TestRealStores:
    @pytest.mark.parametrize("kind", list(MAKERS))
    def test_a_folder_goes_there_and_back_and_the_second_run_sends_nothing(
        self, kind, request, stores, monkeypatch, tmp_path, source
    ):
        lake = MAKERS[kind](request, stores, monkeypatch, f"there-{kind}", tmp_path)

        @pipeline
        def flow():
            there = transfer(source, lake.path("in"), name="there")()
            seen = content(there)
            back = transfer(there, "back", name="back")()
            return {"seen": seen, "back": back}

        run = flow.run()

        assert tree(Path("back")) == WHOLE
        assert run.outputs["seen"]["c.csv"] == "x\n333\n"
        assert {each.status for each in flow.run().steps.values()} == {"reused"}
        lake.remove("in/deep/b.csv")
        again = flow.run()
        assert again.steps["there"].metrics["files"] == 1
        assert again.steps["content"].reused
        lake.location.reconnect()

    @pytest.mark.parametrize(("one", "other"), [("s3", "sftp"), ("sftp", "s3"), ("azure", "s3"), ("s3", "azure")])
    def test_between_two_stores(self, one, other, request, stores, monkeypatch, tmp_path, source):
        origin = MAKERS[one](request, stores, monkeypatch, f"from-{one}-{other}", tmp_path, called="origin")
        goal = MAKERS[other](request, stores, monkeypatch, f"to-{one}-{other}", tmp_path, called="goal")
        origin.upload(source, "raw")

        ran, made = run_once(origin.path("raw"), goal.path("copy"))

        assert ran.metrics["files"] == 3
        goal.download("copy", tmp_path / "check")
        assert tree(tmp_path / "check") == WHOLE
        assert made.files == ["a.csv", "deep/b.csv", "deep/c.csv"]
        (source / "a.csv").write_text("x\n9\n")
        origin.upload(source / "a.csv", "raw", overwrite=True)
        ran, _ = run_once(origin.path("raw"), goal.path("copy"))
        assert (ran.metrics["files"], ran.metrics["files_skipped"]) == (1, 2)
        for each in (origin, goal):
            each.location.reconnect()

    def test_marks_that_a_folder_is_complete_are_sent_last(self, lake_behind_proxy, tmp_path):
        lake, proxy = lake_behind_proxy
        for name in ("_SUCCESS", "part-0", "part-1", "zone/part-2"):
            (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "out" / name).write_text(name)

        run_once(tmp_path / "out", lake.path("copy"))

        assert proxy.sent()[-1] == "raw/copy/_SUCCESS"
        assert len(proxy.sent()) == 4


class TestWhatGoesWrongOnTheWay:
    @pytest.mark.parametrize("method", ["PUT", "GET"])
    def test_bytes_that_change_on_the_way_are_noticed_and_sent_again(self, lake_behind_proxy, source, method):
        lake, proxy = lake_behind_proxy
        lake.upload(source / "a.csv", "raw")
        changed = []

        def change(which, path, body):
            if which == method and path.endswith("a.csv") and not changed and body:
                changed.append(path)
                return body.replace(b"1\n", b"8\n")
            return body

        proxy.change = change
        if method == "PUT":
            run_once(source, lake.path("copy"))
            lake.download("copy", "check")
        else:
            run_once(lake.path("raw"), "check")

        assert changed
        assert Path("check/a.csv").read_text() == "x\n1\n"

    def test_a_connection_that_is_lost_for_a_moment_is_made_again(self, lake_behind_proxy, source):
        lake, proxy = lake_behind_proxy
        lost = []

        def lose(method, path):
            if method == "PUT" and path not in lost:
                lost.append(path)
                raise ConnectionError

        proxy.before = lose
        ran, _ = run_once(source, lake.path("copy"))

        assert len(lost) == 3
        assert ran.attempts == 1
        assert sorted(proxy.sent()) == ["raw/copy/a.csv", "raw/copy/deep/b.csv", "raw/copy/deep/c.csv"]

    @pytest.mark.usefixtures("impatient")
    def test_after_a_store_went_away_midway_only_the_rest_is_sent(self, lake_behind_proxy, source):
        lake, proxy = lake_behind_proxy

        def refuse(method, path):
            if path.endswith("b.csv"):
                raise ConnectionError

        proxy.before = refuse
        with pytest.raises(
            StepFailed, match=r"step 'copy' failed: DatastoreError: datastore 'lake' .* cannot be reached to"
        ):
            run_once(source, lake.path("copy"), compute="inline")
        there = {entry.path for entry in lake.list("copy")}
        assert Workspace().run().steps["copy"].metrics["files"] == len(there)
        proxy.before = lambda method, path: None
        proxy.passed.clear()

        run_once(source, lake.path("copy"), compute="inline")

        assert {path.removeprefix("raw/") for path in proxy.sent()} == {f"copy/{name}" for name in WHOLE} - there

    @pytest.mark.parametrize("direction", ["there", "back"])
    def test_after_a_kill_midway_only_the_rest_is_sent(self, lake_behind_proxy, tmp_path, write, direction):
        lake, proxy = lake_behind_proxy
        many = tmp_path / "many"
        many.mkdir()
        for number in range(20):
            (many / f"{number:02}.txt").write_text(f"file {number}")
        if direction == "back":
            lake.upload(many, "many")
        command = "many", '("lake", "copy")' if direction == "there" else '"copy"'
        given = f'"{command[0]}"' if direction == "there" else '("lake", "many")'
        write("flow.py", f"from pipelite.steps import transfer\ntransfer({given}, {command[1]})()\n")
        proxy.passed.clear()
        method = "PUT" if direction == "there" else "GET"
        stuck, passes = threading.Event(), iter(range(9))

        def hold(which, path):
            if which == method and next(passes, None) is None:
                stuck.wait(60)
                raise ConnectionError

        def done():
            if direction == "there":
                return len(KnownDigests(Workspace().store, lake, [f"copy/{path.name}" for path in many.iterdir()]))
            return len(list(Path(".pipelite-part-copy").glob("*.txt")))

        proxy.before = hold
        process = subprocess.Popen([sys.executable, "flow.py"])
        wait_until(lambda: done() == 9)
        process.send_signal(signal.SIGKILL)
        process.wait()
        stuck.set()
        moved = proxy.sent() if direction == "there" else proxy.fetched()
        assert not Path("copy").exists()
        proxy.before = lambda which, path: None
        proxy.passed.clear()

        subprocess.run([sys.executable, "flow.py"], check=True, timeout=60)

        rest = proxy.sent() if direction == "there" else proxy.fetched()
        assert len(moved) == 9
        assert not {*moved} & {*rest}
        assert len({*moved} | {*rest}) == 20
        if direction == "there":
            lake.download("copy", "copy")
        assert tree(Path("copy")) == tree(many)
        assert not list(Path().glob(".pipelite-part-*"))

    @pytest.mark.parametrize("how", ["cancel", "timeout"])
    def test_what_ends_it_midway_leaves_nothing_under_its_name(self, lake_behind_proxy, source, how):
        lake, proxy = lake_behind_proxy
        lake.upload(source, "in")
        stuck, reached = threading.Event(), threading.Event()

        def hold(method, path):
            if method == "GET" and path.endswith("c.csv"):
                reached.set()
                stuck.wait(60)
                raise ConnectionError

        proxy.before = hold
        copy = transfer(lake.path("in"), "copy", name="copy", timeout=6 if how == "timeout" else None)

        @pipeline
        def flow():
            copy()

        run = flow.submit()
        assert reached.wait(30)
        if how == "cancel":
            run.cancel()
            assert run.wait(30).status == "canceled"
        else:
            with pytest.raises(StepFailed, match="timeout"):
                run.wait(30)
        stuck.set()

        assert not Path("copy").exists()
        proxy.before = lambda method, path: None
        flow.run()
        assert tree(Path("copy")) == WHOLE
        assert not list(Path().glob(".pipelite-part-*"))

    @pytest.mark.usefixtures("soon_discouraged")
    def test_a_folder_that_is_there_stays_as_it_was_until_all_has_arrived(self, lake_behind_proxy, source, write):
        lake, proxy = lake_behind_proxy
        lake.upload(source, "in")
        write("copy/a.csv", "old")

        def refuse(method, path):
            if path.endswith("c.csv"):
                raise ConnectionError

        proxy.before = refuse
        with pytest.raises(StepFailed, match="cannot be reached"):
            run_once(lake.path("in"), "copy", compute="inline")
        assert Dataset.from_files("copy").files == ["a.csv"]
        assert Path("copy/a.csv").read_text() == "old"
        proxy.before = lambda method, path: None

        run_once(lake.path("in"), "copy", compute="inline")
        assert tree(Path("copy")) == WHOLE

    def test_two_transfers_to_one_folder_at_once_wait_for_each_other(self, source, write):
        for number in range(30):
            write(f"more/{number}.txt", str(number))
        sends = [transfer(Path("source"), "copy", name="one"), transfer(Path("more"), "copy", name="two")]

        @pipeline
        def flow():
            for send in sends:
                send()

        flow.run()

        assert tree(Path("copy")) == WHOLE | {f"{number}.txt": str(number) for number in range(30)}


class TestRefusals:
    def test_an_unknown_datastore_is_named(self, source, lake_folder):
        with pytest.raises(StepFailed, match=r"step 'copy' failed: .*no datastore 'laek'; there are local, lake"):
            run_once(source, ("laek", "copy"))

    def test_a_source_that_is_not_there_is_named(self, lake_folder):
        with pytest.raises(StepFailed, match=r"step 'copy' failed: .*no file or folder 'nothing' on datastore 'lake'"):
            run_once(("lake", "nothing"), "copy")
        with pytest.raises(Exception, match=r"step 'copy', argument .*: there is no file or folder '.*nothing.csv'"):
            run_once("nothing.csv", "copy")

    def test_a_folder_without_files_is_refused(self, tmp_path):
        (tmp_path / "empty").mkdir()

        with pytest.raises(StepFailed, match="has no files, so there is nothing to transfer"):
            run_once(tmp_path / "empty", "copy")

    def test_a_value_that_is_no_file_is_refused(self):
        @step
        def number():
            return 7

        @pipeline
        def flow():
            transfer(number(), "copy")()

        with pytest.raises(StepFailed, match="the source is a value of type 'int'; a transfer takes files"):
            flow.run()

    def test_refused_credentials_are_told_without_showing_them(self, sftp_server, stores, source, monkeypatch):
        monkeypatch.setenv("LAKE_PASSWORD", "s3cr3t")
        options = {"port": sftp_server[0], "username": "nobody", "look_for_keys": False, "allow_agent": False}
        stores.register("lake", "sftp://127.0.0.1/tmp", options=options, credentials={"password": "env:LAKE_PASSWORD"})

        with pytest.raises(
            StepFailed, match=r"step 'copy' failed: .*refuses to .*password from env:LAKE_PASSWORD"
        ) as caught:
            run_once(source, ("lake", "copy"))

        assert "s3cr3t" not in str(caught.value) + Workspace().run().steps["copy"].logs

    @pytest.mark.parametrize("path", ["../x", "/etc", "raw/../../x"])
    def test_a_path_that_climbs_out_of_a_datastore_is_refused(self, path):
        with pytest.raises(DatastoreError, match="lake"):
            transfer(("lake", path), "copy")
        with pytest.raises(DatastoreError, match="lake"):
            transfer("source", ("lake", path))

    def test_a_link_that_leads_out_is_refused_on_both_sides(self, source, lake_folder, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "linked").mkdir()
        (tmp_path / "linked/out").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(StepFailed, match="is a link that leads out of its root"):
            run_once(tmp_path / "linked", "copy")

        lake_folder.mkdir()
        (lake_folder / "deep").symlink_to(tmp_path / "elsewhere")
        for target in (("lake", ""), ("lake", "deep"), lake_folder):
            with pytest.raises(StepFailed, match="is a link that leads out of its root"):
                run_once(source, target)
        assert tree(tmp_path / "elsewhere") == {}

    def test_a_folder_is_not_copied_into_itself(self, source):
        with pytest.raises(StepFailed, match="lies in the source"):
            run_once(source, source / "copy")

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: transfer(7, "copy"), "the source is '7' of type 'int'; it takes a path on a datastore"),
            (lambda: transfer("a", 7), "the target is '7' of type 'int'; it takes a path on a datastore"),
            (lambda: transfer("a", Input("b")), "the target is .* of type 'Input'"),
            (lambda: transfer("a", "s3://bucket/copy"), "the target is a URL; register a datastore"),
            (lambda: transfer(("a b", "c"), "copy"), "is no pair of a datastore's name and a path"),
            (lambda: transfer("a", "copy/*.csv"), "the target is a pattern"),
            (lambda: transfer("a", "b", outputs=("x",)), "outputs= is not taken"),
            (lambda: transfer("a", "b", retires=3), "retires"),
        ],
    )
    def test_mistakes_are_found_where_they_are_written(self, make, message):
        with pytest.raises(DefinitionError, match=message):
            make()


def wait_until(condition) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
