"""Runs, step runs, results and logs: written by their owner alone, read by everybody at any time."""

import multiprocessing
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from pipelite.errors import NotFoundError, OwnershipLost
from pipelite.records import RESULT, ArtifactRef, CodeFingerprint, FileRead, Status
from pipelite.store import (
    RESULT_COLUMNS,
    STEP_RUN_COLUMNS,
    OwnerLock,
    Recovered,
    RunWriter,
    Store,
    close_dead_runs,
    create_run,
    decode_outputs,
    encode_outputs,
    encode_reads,
    find_known,
    get_code,
    get_metrics,
    get_origin,
    get_parameters_pickle,
    get_previous_step_run,
    get_previous_step_runs,
    get_run,
    get_run_sources,
    get_source,
    get_step_run,
    get_step_run_by_id,
    get_step_runs,
    is_alive,
    is_cancel_requested,
    list_runs,
    now_text,
    read_log,
    read_log_from,
    request_cancel,
    step_run_id,
)

SPAWN = multiprocessing.get_context("spawn")
FIVE = ArtifactRef(digest="int:5", kind="json", inline="5", size_bytes=1, type_name="int")
ARRAY = ArtifactRef(
    digest="ndarray#ab",
    kind="npy",
    path="ab/abcd.npy",
    size_bytes=800,
    mtime_ns=1_700_000_000_000_000_000,
    file_digest="abcd",
    type_name="numpy.ndarray",
)


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "ws") as opened:
        yield opened


def start(store, pipeline="train", **fields):
    """A new run of this process, and its writer."""
    run = create_run(store, pipeline=pipeline, owner=store.owner.name, **fields)
    return run, RunWriter(store, run.id, store.owner.name)


def step_row(run, position, **fields):
    """A row in the order of STEP_RUN_COLUMNS: a completed step run, where nothing else is said."""
    row = {
        **dict.fromkeys(STEP_RUN_COLUMNS),
        "id": step_run_id(run.number, position),
        "run_id": run.id,
        "position": position,
        "name": f"step-{position}",
        "step": "flow.step",
        "status": "completed",
        "key": f"key-{position}",
        "inputs": "{}",
        "after": "[]",
        "environment": "python 3.11",
        "outputs": encode_outputs({RESULT: FIVE}),
        "form": "value",
        "attempts": 1,
        "started_at": now_text(),
        "ended_at": now_text(),
        "duration_s": 0.5,
        "reads": "{}",
    }
    assert not set(fields) - set(row)
    return tuple({**row, **fields}.values())


def result_row(run, position, **fields):
    row = {
        "key": f"key-{position}",
        "reads_digest": "",
        "step_run_id": step_run_id(run.number, position),
    }
    assert tuple(row) == RESULT_COLUMNS
    return tuple({**row, **fields}.values())


def log_to(store, name, content):
    path = store.path / "logs" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


class TestRuns:
    def test_a_new_run_has_an_id_of_its_time_and_the_next_number(self, store):
        first, _ = start(store)
        second, _ = start(store)

        assert (first.number, second.number) == (1, 2)
        assert first.id.startswith(f"{first.created_at:%Y%m%d-%H%M%S}-")
        assert len(first.id) == len("20261121-142501-7k3f9q")
        assert first.status is Status.RUNNING

    def test_numbers_are_not_given_twice(self, store):
        start(store)
        second, _ = start(store)
        with store.database.write() as connection:
            connection.execute("DELETE FROM runs WHERE id = ?", (second.id,))

        assert start(store)[0].number == 3

    def test_everything_about_a_run_is_read_as_it_was_written(self, store):
        first, _ = start(store)
        run, _ = start(
            store,
            experiment="bikes",
            target="flow:train",
            description="with \N{SNOWMAN}",
            parameters={"rate": "0.1"},
            parameters_pickle=b"pickle",
            options={"keep_going": True},
            outputs={"model": {"step": "fit", "output": "result", "path": []}},
            tags={"kind": "test"},
            rerun_of=first.id,
            git_commit="abc",
            packages={"numpy": "2.0"},
            sources={"flow.py": "digest"},
        )

        assert get_run(store, run.id) == run
        assert (run.experiment, run.target, run.description) == ("bikes", "flow:train", "with \N{SNOWMAN}")
        assert (run.parameters, run.options, run.tags) == ({"rate": "0.1"}, {"keep_going": True}, {"kind": "test"})
        assert (run.rerun_of, run.git_commit, run.packages) == (first.id, "abc", {"numpy": "2.0"})
        assert run.outputs["model"]["step"] == "fit"
        assert get_parameters_pickle(store, run.id) == b"pickle"
        assert get_run_sources(store, run.id) == {"flow.py": "digest"}
        assert run.created_at.tzinfo is not None
        assert run.started_at == run.created_at

    def test_the_experiment_is_the_pipeline_where_none_is_given(self, store):
        assert start(store, "train")[0].experiment == "train"

    def test_a_queued_run_has_not_started(self, store):
        run = create_run(store, pipeline="train", owner=None, status=Status.QUEUED)

        assert (run.status, run.started_at, run.owner) == (Status.QUEUED, None, None)

    def test_the_newest_run_is_found_by_none_and_last(self, store):
        start(store)
        newest, _ = start(store)

        assert get_run(store).id == newest.id
        assert get_run(store, "last").id == newest.id

    def test_a_run_is_found_by_the_beginning_or_the_end_of_its_id(self, store):
        run, _ = start(store)

        assert get_run(store, run.id[:-2]).id == run.id
        assert get_run(store, run.id[-4:]).id == run.id

    def test_an_ambiguous_beginning_lists_the_runs(self, store):
        runs = [start(store)[0] for _ in range(2)]

        with pytest.raises(NotFoundError, match="may be several runs") as caught:
            get_run(store, runs[0].id[:4])

        assert all(run.id in str(caught.value) for run in runs)

    def test_an_unknown_run_names_near_ones(self, store):
        run, _ = start(store)
        typo = run.id[:-1] + "_"

        with pytest.raises(NotFoundError, match=f"no run '{typo}'; did you mean {run.id}"):
            get_run(store, typo)

    def test_a_pattern_is_no_beginning_of_an_id(self, store):
        start(store)

        with pytest.raises(NotFoundError, match="no run '%'"):
            get_run(store, "%")

    def test_an_empty_workspace_says_so(self, store):
        with pytest.raises(NotFoundError, match="has no runs yet"):
            get_run(store)
        with pytest.raises(NotFoundError, match="has no runs yet"):
            get_run(store, "abc")

    def test_runs_are_listed_newest_first_and_by_what_is_asked_for(self, store):
        train, writer = start(store, "train")
        score, _ = start(store, "score", experiment="bikes")
        writer.commit(status=Status.COMPLETED)

        assert [run.id for run in list_runs(store)] == [score.id, train.id]
        assert [run.id for run in list_runs(store, limit=1)] == [score.id]
        assert [run.id for run in list_runs(store, pipeline="train")] == [train.id]
        assert [run.id for run in list_runs(store, experiment="bikes", limit=None)] == [score.id]
        assert [run.id for run in list_runs(store, status=Status.COMPLETED)] == [train.id]
        assert list_runs(store, pipeline="train", status=Status.RUNNING) == []
        assert list_runs(store, since=datetime.now(UTC) + timedelta(hours=1)) == []


class TestCommits:
    def test_everything_of_one_commit_is_stored(self, store):
        run, writer = start(store)
        code = CodeFingerprint(
            digest="code", parts={"function flow.step": "x"}, not_tracked=("eval",), sources={"/flow.py": "source"}
        )
        ended = datetime.now(UTC)

        writer.commit(
            step_runs=[step_row(run, 0, code="code")],
            results=[result_row(run, 0)],
            artifacts=[(ARRAY.digest, "npy", ARRAY.path, 800, ARRAY.mtime_ns, "abcd", "numpy.ndarray", now_text())],
            metrics=[(step_run_id(run.number, 0), "accuracy", "scalar", 3, "0.9", now_text())],
            codes=[code, code],
            sources={"source": b"def step(): ..."},
            tags={"a": "b"},
            outputs={"result": {"step": "step-0"}},
            run_sources={"flow.py": "source"},
            status=Status.COMPLETED,
            error="none at all",
            ended_at=ended,
            duration_s=1.5,
        )

        stored = get_run(store, run.id)
        assert (stored.status, stored.tags, stored.ended_at, stored.duration_s) == ("completed", {"a": "b"}, ended, 1.5)
        assert (stored.outputs, stored.error) == ({"result": {"step": "step-0"}}, "none at all")
        assert get_step_runs(store, run.id)[0].outputs == {RESULT: FIVE}
        assert get_code(store, "code") == code
        assert get_source(store, "source") == b"def step(): ..."
        assert get_run_sources(store, run.id) == {"flow.py": "source"}
        assert find_known(store, "code", ["code", "other"]) == {"code"}
        assert find_known(store, "sources", ["source", "other"]) == {"source"}
        [metric] = get_metrics(store, run.id)
        assert (metric.step_run, metric.name, metric.step, metric.value) == ("step-0", "accuracy", 3, 0.9)

    def test_a_row_is_written_when_a_step_starts_and_again_when_it_ends(self, store):
        run, writer = start(store)
        writer.commit(step_runs=[step_row(run, 0, status="running", outputs=None, ended_at=None, attempts=0)])
        assert get_step_run(store, run.id, "step-0").status is Status.RUNNING

        writer.commit(step_runs=[step_row(run, 0)])

        [step_run] = get_step_runs(store, run.id)
        assert (step_run.status, step_run.attempts, step_run.outputs) == (Status.COMPLETED, 1, {RESULT: FIVE})

    def test_nothing_of_a_commit_is_stored_if_a_part_of_it_fails(self, store):
        run, writer = start(store)

        with pytest.raises(Exception, match="FOREIGN KEY"):
            writer.commit(step_runs=[step_row(run, 0)], metrics=[(77, "a", "scalar", None, "1", now_text())])

        assert get_step_runs(store, run.id) == []

    def test_storing_an_artifact_again_lifts_its_mark_of_removal(self, store):
        _, writer = start(store)
        row = (ARRAY.digest, "npy", ARRAY.path, 800, ARRAY.mtime_ns, "abcd", "numpy.ndarray", now_text())
        writer.commit(artifacts=[row])
        with store.database.write() as connection:
            connection.execute("UPDATE artifacts SET removal_marked_at = ?", (now_text(),))

        writer.commit(artifacts=[row])

        assert [row[0] for row in store.database.read("SELECT removal_marked_at FROM artifacts")] == [None]

    def test_an_owner_that_was_replaced_stores_nothing_more(self, store):
        run, writer = start(store)
        with store.database.write() as connection:
            connection.execute("UPDATE runs SET owner = 'another' WHERE id = ?", (run.id,))

        with pytest.raises(OwnershipLost, match="belongs to another process") as caught:
            writer.commit(step_runs=[step_row(run, 0)], status=Status.COMPLETED)
        with pytest.raises(OwnershipLost):
            writer.look()

        assert caught.value.run_id == run.id
        assert get_run(store, run.id).status is Status.RUNNING
        assert get_step_runs(store, run.id) == []

    def test_known_identities_go_along_with_a_commit(self, store):
        _, writer = start(store)
        store.file_cache.put("/a", 1, 2, 3, "digest")

        writer.commit()

        assert not store.file_cache.has_new
        assert store.file_cache.get("/a", 1, 2, 3) == "digest"

    def test_the_owner_sees_a_request_to_cancel(self, store):
        run, writer = start(store)
        assert not writer.look()

        assert request_cancel(store, run.id)

        assert is_cancel_requested(store, run.id)
        writer.commit()
        assert writer.cancel_requested
        assert writer.look()

    def test_a_run_that_has_ended_cannot_be_canceled(self, store):
        run, writer = start(store)
        writer.commit(status=Status.COMPLETED)

        assert not request_cancel(store, run.id)
        with pytest.raises(NotFoundError, match="no run 'nothing'"):
            request_cancel(store, "nothing")

    def test_text_that_is_no_unicode_can_be_stored(self, store):
        broken = ArtifactRef(digest="str:\ud800", kind="json", inline='"\ud800"', type_name="str")
        run, writer = start(store, parameters={"name": "\ud800"})

        writer.commit(step_runs=[step_row(run, 0, outputs=encode_outputs({RESULT: broken}))])

        assert get_step_runs(store, run.id)[0].outputs == {RESULT: broken}
        assert run.parameters == {"name": "\ud800"}


class TestOutputs:
    @pytest.mark.parametrize(
        "outputs",
        [
            {},
            {RESULT: FIVE},
            {RESULT: ARRAY},
            {"train": ARRAY, 'odd "name"\n': FIVE, "\N{SNOWMAN}": FIVE},
            {RESULT: ArtifactRef(digest="folder#1", kind="folder", path="ab/x", mtime_ns=0, file_digest="x")},
        ],
    )
    def test_outputs_come_back_as_they_were(self, outputs):
        assert decode_outputs(encode_outputs(outputs)) == outputs

    def test_fields_with_nothing_in_them_are_left_out(self):
        plain = ArtifactRef(digest="int:5", kind="json", inline="5")

        assert encode_outputs({RESULT: plain}) == '{"result":{"digest":"int:5","kind":"json","inline":"5"}}'

    def test_no_outputs_at_all_are_an_empty_mapping(self):
        assert decode_outputs(None) == {}


class TestResults:
    def test_results_are_found_in_bulk_with_their_outputs(self, store):
        run, writer = start(store)
        writer.commit(
            step_runs=[step_row(run, position) for position in range(1200)],
            results=[result_row(run, position) for position in range(1200)],
        )

        found = store.find_results([f"key-{position}" for position in range(1300)])

        assert len(found) == 1200
        [result] = found["key-7"]
        assert (result.key, result.step_run_id, result.form) == ("key-7", step_run_id(run.number, 7), "value")
        assert decode_outputs(result.outputs) == {RESULT: FIVE}
        assert datetime.fromisoformat(result.created_at).tzinfo is not None

    def test_results_that_differ_in_what_was_read_are_given_newest_first(self, store):
        run, writer = start(store)
        reads = encode_reads((FileRead(path="a.csv", digest="1"),))
        writer.commit(
            step_runs=[step_row(run, 0), step_row(run, 1, reads=reads)],
            results=[
                result_row(run, 0, key="k"),
                result_row(run, 1, key="k", reads_digest="1"),
            ],
        )

        newest, oldest = store.find_results(["k"])["k"]

        assert newest.reads == (FileRead(path="a.csv", digest="1"),)
        assert oldest.reads == ()

    def test_what_is_computed_anew_takes_the_place_of_what_was_stored(self, store):
        first, writer = start(store)
        writer.commit(step_runs=[step_row(first, 0)], results=[result_row(first, 0)])
        second, writer = start(store)
        writer.commit(step_runs=[step_row(second, 0)], results=[result_row(second, 0)])

        [result] = store.find_results(["key-0"])["key-0"]

        assert result.step_run_id == step_run_id(second.number, 0)

    def test_without_keys_nothing_is_found(self, store):
        assert store.find_results([]) == {}


class TestStepRuns:
    def test_a_reused_step_run_has_outputs_metrics_and_logs_of_the_one_it_came_from(self, store):
        first, writer = start(store)
        log_to(store, "first/worker.log", b"before|hello from fit|after")
        writer.commit(
            step_runs=[step_row(first, 0, form="dict", log_file="first/worker.log", log_start=7, log_end=21)],
            metrics=[(step_run_id(first.number, 0), "accuracy", "scalar", None, "0.9", now_text())],
        )
        second, writer = start(store)
        origin = step_run_id(first.number, 0)

        writer.commit(
            step_runs=[step_row(second, 5, name="fit", status="reused", outputs=None, computed_by=origin, attempts=0)]
        )

        reused = get_step_run(store, second.id, "fit")
        assert (reused.status, reused.outputs, reused.form) == (Status.REUSED, {RESULT: FIVE}, "dict")
        assert get_origin(store, reused) == get_step_run_by_id(store, origin)
        assert read_log(store, reused) == b"hello from fit"
        assert [(metric.step_run, metric.value) for metric in get_metrics(store, second.id)] == [("fit", 0.9)]
        [details] = store.database.read("SELECT * FROM step_run_details WHERE run_id = ?", (second.id,))
        assert (details["outputs"], details["computed_by_run"]) == (encode_outputs({RESULT: FIVE}), first.id)
        assert (details["log_file"], details["log_start"]) == ("first/worker.log", 7)

    def test_two_equal_nodes_of_a_run_may_be_stored_in_any_order(self, store):
        run, writer = start(store)
        twin = step_row(run, 0, status="reused", outputs=None, computed_by=step_run_id(run.number, 1))

        writer.commit(step_runs=[twin, step_row(run, 1)])

        assert get_step_run(store, run.id, "step-0").outputs == {RESULT: FIVE}

    def test_step_runs_come_in_the_order_of_the_graph(self, store):
        run, writer = start(store)
        other, other_writer = start(store)
        writer.commit(step_runs=[step_row(run, position) for position in (2, 0, 1)])
        other_writer.commit(step_runs=[step_row(other, 0)])

        assert [step_run.position for step_run in get_step_runs(store, run.id)] == [0, 1, 2]

    def test_an_unknown_step_names_near_ones(self, store):
        run, writer = start(store)
        writer.commit(step_runs=[step_row(run, 0, name="evaluate")])

        with pytest.raises(NotFoundError, match="has no step 'evalute'; it has evaluate"):
            get_step_run(store, run.id, "evalute")

    def test_step_runs_of_an_unknown_run_are_an_error(self, store):
        with pytest.raises(NotFoundError, match="no run 'nothing'"):
            get_step_runs(store, "nothing")

    def test_the_previous_step_run_is_that_of_the_same_name_and_pipeline(self, store):
        first, writer = start(store)
        writer.commit(step_runs=[step_row(first, 0), step_row(first, 1)])
        second, writer = start(store)
        # Skipped, so without a key: it says nothing about what changed.
        writer.commit(step_runs=[step_row(second, 0), step_row(second, 1, status="skipped", key=None)])
        other, writer = start(store, "another")
        writer.commit(step_runs=[step_row(other, 0)])
        third, writer = start(store)
        writer.commit(step_runs=[step_row(third, 0), step_row(third, 1), step_row(third, 2)])

        found = get_previous_step_runs(store, third.id, ["step-0", "step-1", "step-2"])

        assert {name: step_run.run_id for name, step_run in found.items()} == {"step-0": second.id, "step-1": first.id}
        assert get_previous_step_run(store, get_step_run(store, third.id, "step-1")).run_id == first.id
        assert get_previous_step_run(store, get_step_run(store, first.id, "step-1")) is None

    def test_a_run_is_summed_up_by_the_states_of_its_steps(self, store):
        run, writer = start(store)
        rows = [step_row(run, position, status=status) for position, status in enumerate(["completed", "failed"])]
        writer.commit(step_runs=rows)

        [summary] = store.database.read("SELECT * FROM run_summary")

        assert (summary["steps"], summary["computed"], summary["failed"], summary["reused"]) == (2, 1, 1, 0)


class TestLogs:
    def test_a_running_step_has_what_is_there_so_far(self, store):
        run, writer = start(store)
        log_to(store, "worker.log", b"earlier step\nso far\n")
        writer.commit(step_runs=[step_row(run, 0, status="running", log_file="worker.log", log_start=13, log_end=None)])
        step_run = get_step_run(store, run.id, "step-0")

        assert read_log(store, step_run) == b"so far\n"
        log_to(store, "worker.log", b"earlier step\nso far\nand more\n")
        assert read_log_from(store, step_run, 7) == b"and more\n"
        assert read_log_from(store, step_run, 7, limit=3) == b"and"
        assert read_log_from(store, step_run, 700) == b""

    def test_of_a_long_output_the_first_and_the_last_part_are_shown(self, store):
        run, writer = start(store)
        log_to(store, "worker.log", b"x" * 10 + b"first" + b"." * 2000 + b"last!" + b"y" * 10)
        writer.commit(step_runs=[step_row(run, 0, log_file="worker.log", log_start=10, log_end=2020)])

        shown = read_log(store, get_step_run(store, run.id, "step-0"), cap_bytes=10)

        assert shown == b"first\n... 2.0 KB left out ...\nlast!"

    def test_a_step_without_a_log_has_an_empty_one(self, store):
        run, writer = start(store)
        writer.commit(step_runs=[step_row(run, 0), step_row(run, 1, log_file="gone.log", log_start=0, log_end=5)])

        assert [read_log(store, step_run) for step_run in get_step_runs(store, run.id)] == [b"", b""]


OWNS = """
import sys
from pipelite.store import RunWriter, Store, create_run

store = Store.open(sys.argv[1])
run = create_run(store, pipeline="train", owner=store.owner.name)
print(run.id, store.owner.name, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_owner(store):
    """Another process that owns a running run."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNS, str(store.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.run_id, process.owner = process.stdout.readline().split()
    yield process
    process.kill()
    process.communicate()


class TestOwners:
    def test_an_owner_is_alive_until_it_lets_go(self, store):
        owner = OwnerLock(store.path)
        assert is_alive(store.path, owner.name)

        owner.release()

        assert not is_alive(store.path, owner.name)
        assert not is_alive(store.path, "never-was")

    def test_a_new_owner_clears_away_the_locks_of_dead_ones(self, store):
        gone = store.path / "owners" / "gone.lock"
        gone.write_text("{}")
        os.utime(gone, (0, 0))

        living = [OwnerLock(store.path), OwnerLock(store.path)]

        assert not gone.exists()
        assert all(is_alive(store.path, owner.name) for owner in living)
        for owner in living:
            owner.release()

    def test_a_run_of_a_killed_process_becomes_interrupted(self, store, other_owner):
        run = get_run(store, other_owner.run_id)
        RunWriter(store, run.id, other_owner.owner).commit(
            step_runs=[
                step_row(run, 0),
                step_row(run, 1, status="running", ended_at=None),
                step_row(run, 2, status="pending", ended_at=None),
            ]
        )
        assert close_dead_runs(store) == []

        other_owner.send_signal(signal.SIGKILL)
        other_owner.wait()
        logged = (step_run_id(run.number, 1), "accuracy", "scalar", None, "0.5", now_text())

        assert close_dead_runs(store, recover=lambda run: Recovered(metrics=(logged,))) == [run.id]
        assert get_run(store, run.id).status is Status.INTERRUPTED
        assert "ended before the run did" in get_run(store, run.id).error
        assert [step_run.status for step_run in get_step_runs(store, run.id)] == ["completed", "interrupted", "pending"]
        assert [metric.value for metric in get_metrics(store, run.id)] == [0.5]
        assert close_dead_runs(store) == []

    def test_one_that_was_taken_for_dead_is_stopped_at_its_next_write(self, store):
        run, writer = start(store)
        (store.path / "owners" / f"{store.owner.name}.lock").unlink()

        assert close_dead_runs(store) == [run.id]

        with pytest.raises(OwnershipLost):
            writer.commit(status=Status.COMPLETED)
        assert get_run(store, run.id).status is Status.INTERRUPTED

    def test_one_whose_owner_left_word_of_a_failure_is_failed(self, store):
        owner = OwnerLock(store.path)
        run = create_run(store, pipeline="train", owner=owner.name)
        owner.note_failure(run.id, "the disk is full: " + "x" * 10_000)
        owner._lock.release()

        assert close_dead_runs(store) == [run.id]

        closed = get_run(store, run.id)
        assert closed.status is Status.FAILED
        assert closed.error.startswith("the disk is full: ")
        assert not (store.path / "owners" / f"{owner.name}.lock").exists()

    def test_a_queued_run_without_an_owner_is_not_dead(self, store):
        run = create_run(store, pipeline="train", owner=None, status=Status.QUEUED)

        assert close_dead_runs(store) == []
        assert get_run(store, run.id).status is Status.QUEUED

    def test_looking_for_dead_runs_uses_the_index_of_open_ones(self, store):
        [plan] = store.database.read(
            "EXPLAIN QUERY PLAN SELECT id, number, owner FROM runs "
            "WHERE status IN ('queued', 'running', 'canceling') AND owner IS NOT NULL"
        )

        assert "runs_open" in plan["detail"]


def write_many(path, n_commits, started):
    with Store.open(path) as store:
        run, writer = start(store)
        for number in range(n_commits):
            rows = [step_row(run, number * 20 + position) for position in range(20)]
            writer.commit(step_runs=rows, results=[result_row(run, row[2]) for row in rows])
            started.set()
        writer.commit(status=Status.COMPLETED)


def test_a_reader_sees_whole_commits_while_a_run_writes(store):
    started = SPAWN.Event()
    process = SPAWN.Process(target=write_many, args=(store.path, 150, started))
    process.start()
    assert started.wait(30)

    counts = set()
    while get_run(store).status is Status.RUNNING:
        counts.add(len(get_step_runs(store, get_run(store).id)))
    process.join(30)

    assert process.exitcode == 0
    assert len(get_step_runs(store, get_run(store).id)) == 3000
    assert counts
    assert all(count % 20 == 0 for count in counts)
