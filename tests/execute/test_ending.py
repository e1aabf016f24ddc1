"""A step ends with everything it started: when its time is over, when it is canceled, and when it is done."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipelite import Workspace, pipeline, step
from pipelite.errors import ParameterError, StepFailed
from pipelite.execute import badges, ending, local_target
from pipelite.execute.slots import Slot
from pipelite.store import request_cancel
from pipelite.store.owners import SEMAPHORES


def allowed(seconds: float) -> float:
    """A time limit for this machine as it is: it may have more to do than it has cores."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def survivors() -> set[int]:
    """What workers of this process started and is still there; the idle workers themselves may be."""
    target = local_target()
    workers = {slot.worker.pid for slot in target.slots if slot.worker is not None}
    return badges.find_wearers(ending._owner) - workers


def wait_until(holds, timeout_s: float = 10.0):
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def hold_the_interpreter():
    # Unlike CDLL, this keeps the interpreter's lock: no Python code runs in this process meanwhile.
    ctypes.PyDLL(None).sleep(60)


def start_a_child():
    subprocess.run(["sleep", "60"], check=True)


def start_a_session():
    subprocess.Popen(["sleep", "60"], start_new_session=True)
    time.sleep(60)


def fork_twice():
    daemonize()
    time.sleep(60)


def start_without_environment():
    subprocess.Popen(["/bin/sh", "-c", "sleep 60 & wait"], env={}, start_new_session=True)
    time.sleep(60)


def stop_yourself():
    os.kill(os.getpid(), signal.SIGSTOP)


def start_a_deaf_child():
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    subprocess.run([sys.executable, "-c", code], check=True)


def run_a_pipeline():
    @pipeline
    def inner():
        endure("start_a_child")

    inner.run()


def daemonize():
    """Leave a daemon behind, as in the books: fork, a session of its own, fork again."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", "60"])
        os._exit(0)
    os.wait()


WAYS = (
    hold_the_interpreter,
    start_a_child,
    start_a_session,
    fork_twice,
    start_without_environment,
    stop_yourself,
    start_a_deaf_child,
    run_a_pipeline,
)


@step
def endure(way: str):
    next(each for each in WAYS if each.__name__ == way)()


@step
def one():
    return 1


@step
def pass_on(value):
    return value


@step
def leave_behind(how: str):
    print("at work")
    if how == "child":
        subprocess.Popen(["sleep", "60"])
    elif how == "daemon":
        daemonize()
    elif how == "C code":
        ctypes.CDLL(None).system(b"sleep 60 &")
    elif how == "pool":
        import multiprocessing

        global pool
        pool = multiprocessing.get_context("fork").Pool(2)
    return how


@pytest.mark.parametrize("way", [way.__name__ for way in WAYS])
def test_a_timeout_ends_a_step_with_everything_it_started(workspace, way):
    @pipeline
    def flow():
        endure.with_options(timeout=0.5)(way)

    with pytest.raises(StepFailed, match=r"step 'endure' failed: TimeoutError: .*timeout of 0\.5 s") as caught:
        flow.run()

    record = Workspace().run(caught.value.run_id).steps["endure"].record
    assert record.duration_s < 0.5 + allowed(2)
    assert survivors() == set()


@pytest.mark.parametrize("way", [way.__name__ for way in WAYS])
def test_a_cancel_ends_a_step_with_everything_it_started(workspace, way):
    @pipeline
    def flow():
        endure(way)

    run = flow.submit()
    wait_until(lambda: "endure" in run.steps)
    run.cancel()
    asked = time.monotonic()

    assert run.wait(timeout=10).status == "canceled"
    assert time.monotonic() - asked < allowed(2)
    assert run.steps["endure"].status == "canceled"
    assert survivors() == set()


def test_an_import_that_hangs_is_ended_by_the_steps_timeout(workspace, tmp_path, monkeypatch):
    (tmp_path / "hanging.py").write_text(
        "import os, time\n"
        "from pipelite import step\n"
        "if 'PIPELITE_WORKER' in os.environ:\n"
        "    time.sleep(60)\n"
        "@step(timeout=0.5)\n"
        "def work():\n"
        "    return 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import hanging

    @pipeline
    def flow():
        hanging.work()

    with pytest.raises(StepFailed, match=r"step 'work' failed: TimeoutError: .*timeout of 0\.5 s"):
        flow.run()


def test_a_timeout_of_one_tiny_step_in_a_batch_ends_no_other(workspace):
    @step(timeout=0.5)
    def work(x):
        if x == 50:
            time.sleep(60)
        return x

    @pipeline(keep_going=True)
    def flow():
        return work.map(list(range(100)))

    @pipeline
    def before():
        # So that they are known to be tiny.
        return work.map([1000, 1001])

    before.run()
    with pytest.raises(StepFailed, match=r"step 'work\[50\]' failed: TimeoutError"):
        flow.run()

    statuses = [step.status for step in Workspace().run().steps.values()]
    assert statuses.count("completed") == 99


def test_a_timeout_is_tried_again_where_that_is_asked(workspace):
    @pipeline
    def flow():
        endure.with_options(timeout=0.3, retries=1)("start_a_child")

    with pytest.raises(StepFailed, match="TimeoutError"):
        flow.run()

    assert Workspace().run().steps["endure"].attempts == 2
    assert survivors() == set()


@pytest.mark.parametrize("how", ["child", "daemon", "C code"])
def test_a_process_that_a_finished_step_left_behind_is_ended_with_a_line_in_its_log(workspace, how):
    @pipeline
    def flow():
        return leave_behind(how)

    run = flow.run()

    assert run.outputs["result"] == how
    first, line = run.steps["leave_behind"].logs.splitlines()
    assert first == "at work"
    # What else was started may not yet be the program that it becomes.
    what = "sleep 60" if how == "child" else ".*"
    assert re.fullmatch(
        rf"pipelite: step 'leave_behind' left a process running; ended: {what} ?\(?process \d+\)?", line
    )
    assert survivors() == set()


def test_a_process_that_a_failed_step_left_behind_is_ended_too(workspace):
    @step
    def leave_and_fail():
        subprocess.Popen(["sleep", "60"])
        raise ValueError("no")

    @pipeline
    def flow():
        leave_and_fail()

    with pytest.raises(StepFailed, match="ValueError: no"):
        flow.run()

    assert "left a process running" in Workspace().run().steps["leave_and_fail"].logs
    assert survivors() == set()


def test_a_pool_that_replaces_its_processes_ends_with_the_worker(workspace):
    @pipeline
    def flow():
        return pass_on(leave_behind("pool"))

    run = flow.run()

    assert run.outputs["result"] == "pool"
    assert "left 2 processes running" in run.steps["leave_behind"].logs
    assert survivors() == set()


def test_a_step_may_use_joblib_pools_again_and_again_and_nothing_stays(workspace, monkeypatch):
    monkeypatch.setenv("PIPELITE_SLOTS", "1")

    @step
    def parallel(x):
        from joblib import Parallel, delayed

        return sum(Parallel(n_jobs=2)(delayed(abs)(-i) for i in range(x)))

    @pipeline
    def flow():
        return parallel.map([10, 11, 12])

    run = flow.run()

    assert run.outputs["result"] == [45, 55, 66]
    assert [step.logs for step in run.steps.values()] == ["", "", ""]
    assert survivors() == set()


def test_shared_memory_of_a_step_works_in_every_step_of_a_worker(workspace):
    @step
    def share(x):
        import multiprocessing
        from multiprocessing.shared_memory import SharedMemory

        block = SharedMemory(create=True, size=8)
        with multiprocessing.get_context("spawn").Pool(1) as others:
            results = others.map(abs, [-x])
            others.close()
            others.join()
        block.close()
        block.unlink()
        return results

    @pipeline
    def flow():
        return share.map([1, 2, 3, 4])

    run = flow.run()

    assert run.outputs["result"] == [[1], [2], [3], [4]]
    assert all(step.logs == "" for step in run.steps.values())


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("kill", "ended by SIGKILL, which is what the system sends when memory runs out; its memory peaked at {} MiB"),
        ("segfault", "ended by SIGSEGV; its memory peaked at {} MiB"),
        ("exit", "exited with code 7; its memory peaked at {} MiB"),
    ],
)
def test_the_message_for_a_dead_worker_names_step_signal_and_peak_memory(workspace, how, words):
    @step
    def die(how):
        block = bytearray(1_000_000_000)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "segfault":
            ctypes.string_at(0)
        os._exit(7 if block else 0)

    @pipeline
    def flow():
        die(how)

    with pytest.raises(StepFailed) as caught:
        flow.run()

    before, after = words.split("{}")
    text = str(caught.value)
    assert "step 'die' failed: WorkerDied: " in text
    assert before in text
    peak_mib = int(text.partition(before)[2].partition(after)[0])
    assert 950 < peak_mib < 1500
    assert abs(Workspace().run().steps["die"].peak_memory_bytes / 2**20 - peak_mib) < 1


def test_a_death_is_seen_though_a_forked_child_holds_the_workers_pipes(workspace):
    @step
    def fork_and_die():
        if os.fork() == 0:
            time.sleep(60)
        os.kill(os.getpid(), signal.SIGKILL)

    @pipeline
    def flow():
        fork_and_die()

    started = time.monotonic()
    with pytest.raises(StepFailed, match="ended by SIGKILL"):
        flow.run()

    assert time.monotonic() - started < allowed(5)
    assert survivors() == set()


def test_a_worker_that_died_while_it_had_nothing_to_do_fails_no_step(workspace):
    @step
    def leave_a_bomb():
        import threading

        threading.Timer(0.2, os._exit, (3,)).start()

    @pipeline
    def first():
        leave_a_bomb()

    @pipeline
    def second():
        return pass_on.map([1, 2, 3, 4])

    first.run()
    worker = next(slot.worker for slot in local_target().slots if slot.worker is not None)
    wait_until(lambda: not os.path.exists(f"/proc/{worker.pid}") or not worker.is_alive)

    run = second.run()
    assert run.outputs["result"] == [1, 2, 3, 4]
    assert all(step.attempts == 1 for step in run.steps.values())


def test_a_worker_in_which_memory_ran_out_is_replaced(workspace, monkeypatch):
    @step(cache=False)
    def fill(x):
        import resource

        limit = 1 << 32
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        return len(bytearray(2 * limit))

    @step(cache=False)
    def allocate():
        return len(bytearray(1 << 10)), os.getpid()

    @pipeline(keep_going=True)
    def flow():
        failed = fill.map([1, 2, 3])
        for i in range(4):
            allocate.with_options(name=f"after-{i}")()
        return failed

    with pytest.raises(StepFailed, match="MemoryError"):
        flow.run()

    statuses = {name: step.status for name, step in Workspace().run().steps.items()}
    assert [statuses[f"after-{i}"] for i in range(4)] == ["completed"] * 4


def test_a_worker_that_is_replaced_while_more_waits_for_it_leaves_nothing_behind(workspace):
    slot = Slot(0)
    slot._start()
    executor, process = slot._executor, slot.worker.process
    thread = executor._executor_manager_thread

    def replace(done):
        # In the pool's own thread, which has not handed this on when the worker goes.
        executor.submit(time.sleep, 60)
        slot.replace()

    executor.submit(time.sleep, 0.2).add_done_callback(replace)
    thread.join(20)

    assert not thread.is_alive()
    assert not psutil.pid_exists(process.pid)


def test_a_worker_keeps_its_process_however_much_memory_its_steps_keep(workspace, monkeypatch):
    @step(cache=False)
    def keep(x):
        globals().setdefault("kept", []).append(bytearray(200_000_000))
        time.sleep(0.6)
        return os.getpid()

    @pipeline
    def flow():
        first = keep(0)
        second = keep(first)
        return {"processes": [first, second, keep(second)]}

    run = flow.run()

    assert len(set(run.outputs["processes"])) == 1


OWNER = """
import ctypes, os, subprocess, sys, time
from pipelite import pipeline, step

@step
def hold():
    subprocess.Popen(["sleep", "60"], start_new_session=True)
    open("started", "w").close()
    ctypes.PyDLL(None).sleep(60)

@step
def wait():
    subprocess.Popen(["sleep", "60"], start_new_session=True)
    open("started-too", "w").close()
    time.sleep(60)

@step
def last(value):
    return 1

@pipeline
def flow():
    return {"hold": last(hold()), "wait": last(wait())}

if __name__ == "__main__":
    flow.run()
"""


def start_script(folder: Path, text: str = OWNER, **environment: str) -> tuple[subprocess.Popen[str], str]:
    """A script in a process of its own, and the word that all it starts wears."""
    (folder / "script.py").write_text(text)
    word = f"TEST-{os.urandom(8).hex()}"
    process = subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=folder,
        env={**os.environ, "PIPELITE_PROGRESS": "quiet", "MARK_OF_THIS_TEST": word, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait_until((folder / "started").exists)
    return process, word


@pytest.mark.parametrize("victims", ["the owner", "its whole group"])
def test_no_worker_and_nothing_it_started_outlives_its_owner_by_more_than_a_second(workspace, victims):
    process, word = start_script(workspace.parent)

    os.kill(process.pid, signal.SIGKILL) if victims == "the owner" else os.killpg(process.pid, signal.SIGKILL)
    killed = time.monotonic()
    process.wait()
    wait_until(lambda: not badges.find_wearers(word))

    assert time.monotonic() - killed < allowed(1)
    process.communicate()


def test_who_comes_next_clears_the_semaphores_of_a_group_that_was_killed(workspace):
    process, word = start_script(workspace.parent)
    semaphores = f"sem.loky-{process.pid}-*"
    assert list(SEMAPHORES.glob(semaphores))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not badges.find_wearers(word))
    assert list(SEMAPHORES.glob(semaphores))

    assert Workspace().store.owner.is_held

    assert not list(SEMAPHORES.glob(semaphores))


def test_nothing_stays_of_a_process_that_ends_as_it_should(workspace):
    (workspace.parent / "started").touch()
    process, word = start_script(
        workspace.parent, OWNER.replace("flow.run()", "flow.with_options(quiet=True)").replace("60", "0")
    )
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert badges.find_wearers(word) == set()

    process, word = start_script(workspace.parent, OWNER.replace("60", "0"))
    output, _ = process.communicate(timeout=30)

    assert process.returncode == 0, output
    assert badges.find_wearers(word) == set()


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelite", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_run_is_canceled_from_another_process(workspace):
    process, word = start_script(workspace.parent)
    wait_until((workspace.parent / "started-too").exists)
    run = Workspace().run()
    assert run.status == "running"

    asked = time.monotonic()
    run.cancel()
    assert run.wait(timeout=10).status == "canceled"
    took = time.monotonic() - asked
    output, _ = process.communicate(timeout=20)

    assert took < allowed(2)
    assert process.returncode == 130
    assert f"run {run.id} was canceled" in output
    assert {name: step.status for name, step in run.steps.items()} == {
        "hold": "canceled",
        "wait": "canceled",
        "last": "skipped",
        "last-2": "skipped",
    }
    assert badges.find_wearers(word) == set()


def test_a_run_is_canceled_on_the_command_line(workspace):
    process, _ = start_script(workspace.parent)
    run_id = Workspace().run().id

    done = call(workspace.parent, "runs", "cancel", "--json")
    process.communicate(timeout=20)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"id": run_id, "status": "canceled"}
    again = call(workspace.parent, "runs", "cancel", run_id)
    assert again.stdout == f"run {run_id} is canceled\n"


def test_an_interrupted_run_is_canceled_at_once(workspace):
    process, _ = start_script(workspace.parent)
    process.kill()
    process.communicate()
    run = Workspace().run()

    # Nobody has noticed yet that its owner is gone.
    run.cancel()

    assert run.status == "canceled"


def test_a_run_that_has_ended_stays_as_it_is(workspace):
    @pipeline
    def flow():
        return one()

    run = flow.run()
    Workspace().run(run.id).cancel()

    assert Workspace().run(run.id).status == "completed"


def test_while_its_steps_finish_a_run_is_canceling(workspace):
    @step
    def finish(path):
        Path(path).touch()
        time.sleep(0.8)

    @pipeline
    def flow():
        finish(str(workspace.parent / "at-work"))

    run = flow.submit()
    wait_until((workspace.parent / "at-work").exists)
    run._execution.coordinator.drain()
    wait_until(lambda: run.status == "canceling")

    assert run.wait(timeout=10).status == "canceled"
    assert run.steps["finish"].status == "completed"


def test_a_request_is_heard_while_a_long_step_is_waited_for(workspace):
    @pipeline
    def flow():
        endure("start_a_child")

    run = flow.submit()
    wait_until(lambda: "endure" in run.steps)
    asked = time.monotonic()
    request_cancel(Workspace().store, run.id)
    wait_until(lambda: run.status in ("canceling", "canceled"))

    assert time.monotonic() - asked < allowed(0.35)
    assert run.wait(timeout=10).status == "canceled"


def test_a_grace_that_is_no_number_is_told_before_anything_starts(workspace, monkeypatch):
    monkeypatch.setenv("PIPELITE_GRACE", "long")

    @pipeline
    def flow():
        return one()

    with pytest.raises(ParameterError, match="PIPELITE_GRACE is 'long'"):
        flow.run()

    assert Workspace().runs() == []
