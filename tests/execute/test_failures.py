"""What fails is told in full, what can be tried again is, and what does not depend on it is not lost."""

from __future__ import annotations

import os
import pickle
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from pipelite import Dataset, Workspace, current_run, pipeline, step
from pipelite.errors import StepFailed
from pipelite.execute.messages import Batch, Returned
from pipelite.execute.slots import Slot


@step
def fail(message: str):
    raise ValueError(message)


@step
def one():
    return 1


@step
def pass_on(value):
    return value


class Unpicklable(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")
        self.lock = open(os.devnull)  # noqa: SIM115 - a member that cannot be pickled


@step
def fail_unpicklably():
    raise Unpicklable("this", "that")


@step(retries=3, retry_delay=0.01)
def fail_twice(path: str):
    tries = Path(path)
    tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
    if len(tries.read_text()) < 3:
        raise OSError("not yet")
    return "at last"


@step
def leave(how: str):
    if how == "exit":
        sys.exit(3)
    if how == "die":
        os._exit(7)
    os.kill(os.getpid(), signal.SIGKILL)


@step
def print_a_lot():
    print("from Python")
    os.write(1, b"from a descriptor\n")
    os.system("echo from a child process")
    print("to stderr", file=sys.stderr)


@step
def slow(seconds: float):
    time.sleep(seconds)
    return seconds


def test_the_exception_arrives_with_its_traceback(workspace):
    @pipeline
    def flow():
        return pass_on(fail("bad data"))

    with pytest.raises(StepFailed) as caught:
        flow.run()

    text = str(caught.value)
    assert "step 'fail' failed: ValueError: bad data" in text
    assert "raise ValueError(message)" in text
    assert "pipelite runs logs" in text
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.step == "fail"
    run = Workspace().run()
    assert run.status == "failed"
    assert run.error == "step 'fail' failed: ValueError: bad data"
    assert run.steps["fail"].error.startswith("step 'fail' failed: ValueError: bad data\n\nTraceback")
    assert run.steps["pass_on"].status == "skipped"
    assert run.steps["pass_on"].record.reason == "step 'fail', which it needs, failed"


def test_the_traceback_shows_only_the_users_frames(workspace):
    @pipeline
    def flow():
        fail("x")

    with pytest.raises(StepFailed):
        flow.run()

    assert "worker.py" not in Workspace().run().steps["fail"].error


def test_of_an_error_of_the_library_the_traceback_shows_the_line_of_the_step_and_none_of_the_library(
    workspace, tmp_path
):
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n1,2,3\n")

    @step
    def read(data):
        return data.to_pandas()

    @pipeline
    def flow():
        read(Dataset.from_delimited_files(tmp_path / "ragged.csv"))

    with pytest.raises(StepFailed, match="has rows of different lengths"):
        flow.run()

    error = Workspace().run().steps["read"].error
    assert "return data.to_pandas()" in error
    assert "The above exception" not in error
    files = re.findall(r'File "(.*)", line', error)
    assert files == [__file__]


def test_an_exception_that_cannot_be_pickled_arrives_as_text(workspace):
    @pipeline
    def flow():
        fail_unpicklably()

    with pytest.raises(StepFailed, match="Unpicklable: this and that") as caught:
        flow.run()

    assert caught.value.__cause__ is None


def test_a_failed_step_is_tried_again_as_often_as_asked(workspace, tmp_path):
    @pipeline
    def flow():
        return fail_twice(str(tmp_path / "tries"))

    run = flow.run()

    assert run.outputs["result"] == "at last"
    assert run.steps["fail_twice"].attempts == 3


def test_only_the_named_exceptions_are_tried_again(workspace, tmp_path):
    @pipeline
    def flow():
        fail_twice.with_options(retry_on=(KeyError,))(str(tmp_path / "tries"))

    with pytest.raises(StepFailed, match="OSError: not yet"):
        flow.run()

    assert Workspace().run().steps["fail_twice"].attempts == 1


def test_retries_end_with_the_last_failure(workspace):
    @pipeline
    def flow():
        fail.with_options(retries=2)("still no")

    with pytest.raises(StepFailed, match="still no"):
        flow.run()

    assert Workspace().run().steps["fail"].attempts == 3


def test_with_keep_going_everything_else_goes_on(workspace):
    @pipeline(keep_going=True)
    def flow():
        pass_on(fail("x"))
        return {"one": pass_on.with_options(name="other")(one())}

    with pytest.raises(StepFailed):
        flow.run()

    statuses = {name: step.status for name, step in Workspace().run().steps.items()}
    assert statuses == {"fail": "failed", "pass_on": "skipped", "one": "completed", "other": "completed"}
    assert Workspace().run().outputs["one"] == 1


def test_without_it_what_has_not_started_is_skipped(workspace):
    @pipeline
    def flow():
        failed = fail("x")
        one().after(failed)
        pass_on(slow(0.0))

    with pytest.raises(StepFailed):
        flow.run()

    run = Workspace().run()
    assert run.steps["one"].status == "skipped"
    assert run.steps["one"].attempts == 0


def test_a_failed_step_is_not_reused_but_what_came_before_is(workspace):
    @pipeline
    def flow():
        fail(pass_on("x"))

    for _ in range(2):
        with pytest.raises(StepFailed):
            flow.run()

    run = Workspace().run()
    assert run.steps["pass_on"].reused
    assert run.steps["fail"].status == "failed"


@pytest.mark.parametrize(
    ("how", "words"),
    [("exit", "SystemExit: 3"), ("die", "exited with code 7"), ("kill", "ended by SIGKILL")],
)
def test_a_step_that_ends_its_process_fails_and_the_next_run_works(workspace, how, words):
    @pipeline
    def flow():
        leave(how)

    with pytest.raises(StepFailed, match=words):
        flow.run()

    @pipeline
    def after():
        return one()

    assert after.run().outputs["result"] == 1


def test_a_dying_worker_takes_only_its_own_step_along(workspace):
    @pipeline(keep_going=True)
    def flow():
        leave("kill")
        return pass_on.map(list(range(40)))

    with pytest.raises(StepFailed, match="step 'leave' failed"):
        flow.run()

    run = Workspace().run()
    assert run.outputs["result"] == list(range(40))
    assert all(step.attempts == 1 for step in run.steps.values())


def test_all_output_of_a_step_is_captured_wherever_it_comes_from(workspace):
    @pipeline
    def flow():
        print_a_lot()

    logs = flow.run().steps["print_a_lot"].logs

    assert logs.splitlines() == ["from Python", "from a descriptor", "from a child process", "to stderr"]


def test_output_of_a_failed_step_is_kept(workspace):
    @step
    def speak_and_fail():
        print("so far so good")
        raise RuntimeError("then not")

    @pipeline
    def flow():
        speak_and_fail()

    with pytest.raises(StepFailed):
        flow.run()

    assert Workspace().run().steps["speak_and_fail"].logs == "so far so good\n"


def test_a_step_that_takes_longer_than_its_timeout_fails(workspace):
    @pipeline
    def flow():
        slow.with_options(timeout=0.3)(60.0)

    started = time.monotonic()
    with pytest.raises(StepFailed, match=r"step 'slow' failed: TimeoutError: .*timeout of 0\.3 s"):
        flow.run()

    assert time.monotonic() - started < 20


def test_a_canceled_run_ends_at_once_and_says_so(workspace):
    @pipeline
    def flow():
        return pass_on(slow(60.0))

    run = flow.submit()
    while "slow" not in run.steps:
        time.sleep(0.01)
    run.cancel()

    assert run.wait(timeout=20).status == "canceled"
    assert {name: step.status for name, step in run.steps.items()} == {"slow": "canceled", "pass_on": "skipped"}


def test_durations_processor_time_and_memory_are_recorded(workspace):
    @step
    def work():
        block = bytearray(50_000_000)
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
        return len(block)

    @pipeline
    def flow():
        work()

    record = flow.run().steps["work"].record

    assert record.duration_s >= 0.1
    assert record.cpu_s >= 0.1
    assert 50_000_000 < record.peak_memory_bytes < 2_000_000_000
    assert record.started_at < record.ended_at


def test_a_step_that_uses_two_cores_gets_two(workspace, monkeypatch):
    @step(cpus=2, cache=False)
    def wide():
        return [os.environ["LOKY_MAX_CPU_COUNT"], os.environ["OMP_NUM_THREADS"]]

    @step(cache=False)
    def narrow():
        return [os.environ["LOKY_MAX_CPU_COUNT"], os.environ["OMP_NUM_THREADS"]]

    @pipeline
    def flow():
        return {"wide": wide(), "narrow": narrow()}

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    outputs = flow.run().outputs

    slots = str(min(2, len(os.sched_getaffinity(0))))
    assert outputs["wide"] == [slots, slots]
    assert outputs["narrow"] == ["1", "1"]


@step
def print_or_die(number: int):
    if number == 30:
        os.kill(os.getpid(), signal.SIGKILL)
    print(number)


def test_what_a_step_printed_is_shown_even_if_its_outcome_died_with_its_worker():
    @pipeline
    def flow():
        print_or_die.map(list(range(100)))

    with pytest.raises(StepFailed):
        flow.run()

    steps = Workspace().run().steps
    printed = {number for file in Workspace().path.glob("logs/*/*.log") for number in file.read_text().split()}
    assert printed
    assert [number for number in printed if steps[f"print_or_die[{number}]"].logs != f"{number}\n"] == []


@step(timeout=0.3)
def fill_scratch():
    (current_run().scratch / "half").write_text("not done")
    time.sleep(60)


def test_what_a_step_had_in_its_scratch_folder_goes_when_it_is_ended():
    @pipeline
    def flow():
        fill_scratch()

    with pytest.raises(StepFailed, match="TimeoutError"):
        flow.run()

    assert list((Workspace().path / "tmp").iterdir()) == []


class Unreadable:
    """Can be sent, but not received."""

    def __reduce__(self):
        return int, ("no number",)


def test_a_batch_that_a_worker_cannot_read_comes_back_with_the_reason():
    slot = Slot(0)
    try:
        returned: Returned = pickle.loads(slot.submit(Batch(Unreadable(), (), (), 1.0)).result(30))
    finally:
        slot.replace()

    assert returned.outcomes == ()
    assert returned.is_spent
    assert returned.loss is not None
    assert "could not go on: ValueError" in returned.loss
