"""Where steps run: threads, the coordinator's own thread, executors of the user's; and how a name leads there."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipelite import Workspace, current_run, pipeline, step
from pipelite.errors import ComputeTargetError, StepFailed
from pipelite.execute import StepEnded


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    """A process pool of the user's."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


@step
def where(number: int) -> tuple[int, str]:
    print(f"here is {number}")
    current_run().log("number", number)
    return os.getpid(), threading.current_thread().name


@pipeline
def places(count: int = 2) -> Any:
    return where.map(list(range(count)))


@step(cache=False)
def meet(number: int, folder: str) -> str:
    """Ends only once another of its kind is at work too."""
    Path(folder, str(number)).touch()
    until = time.monotonic() + 10
    while len(os.listdir(folder)) < 2 and time.monotonic() < until:
        time.sleep(0.005)
    name = current_run().name or ""
    current_run().log("name", name)
    return name


@pipeline
def meeting(folder: str) -> Any:
    return meet.map([0, 1], folder=folder)


class TestThreads:
    def test_steps_run_in_threads_of_this_process(self) -> None:
        run = places.with_options(compute="threads").run()

        assert [place[0] for place in run.outputs["result"]] == [os.getpid()] * 2
        assert all(name.startswith("pipelite-thread-") for _, name in run.outputs["result"])

    def test_each_knows_its_own_step_run(self, tmp_path: Path) -> None:
        (folder := tmp_path / "met").mkdir()
        Workspace().compute["two"] = {"kind": "threads", "size": 2}

        run = meeting.with_options(compute="two").run(folder=str(folder))

        assert run.outputs["result"] == ["meet[0]", "meet[1]"]
        assert run.metrics["meet[0]/name"] == "meet[0]"
        assert run.metrics["meet[1]/name"] == "meet[1]"

    def test_prints_go_to_the_terminal_and_memory_is_not_told(self, capfd: pytest.CaptureFixture[str]) -> None:
        run = places.with_options(compute="threads").run(count=1)

        assert "here is 0" in capfd.readouterr().out
        assert run.steps["where[0]"].logs == ""
        assert run.steps["where[0]"].peak_memory_bytes is None

    def test_a_result_is_taken_on_any_other_target(self) -> None:
        first = places.with_options(compute="threads").run()

        second = places.run()

        assert all(found.reused for found in second.steps.values())
        assert second.outputs["result"] == first.outputs["result"]

    def test_a_timeout_is_refused_before_anything_starts(self) -> None:
        for target in ("threads", "inline"):
            with pytest.raises(ComputeTargetError, match=f"'patient' has a timeout of 5 s, but on compute .*{target}"):
                waiting.with_options(compute=target).run()

        assert Workspace().runs() == []

    def test_failures_have_tracebacks_and_are_retried(self, tmp_path: Path) -> None:
        run = stumbling.with_options(compute="threads", keep_going=True).submit(path=str(tmp_path / "tries"))
        with pytest.raises(StepFailed, match="never"):
            run.wait(30)

        assert run.steps["third_time_lucky"].attempts == 3
        assert run.outputs["lucky"] == 3
        assert "raise ValueError" in (run.steps["never"].error or "")
        assert run.steps["after"].status == "skipped"

    def test_reads_of_steps_at_the_same_time_are_kept_apart(self, tmp_path: Path) -> None:
        (tmp_path / "met").mkdir()
        for name in ("0", "1"):
            (tmp_path / f"{name}.txt").write_text(name)
        Workspace().compute["pair"] = {"kind": "threads", "size": 2}
        target = reading.with_options(compute="pair")
        target.run(folder=str(tmp_path))
        (tmp_path / "1.txt").write_text("changed")

        run = target.run(folder=str(tmp_path))

        assert [run.steps[name].reused for name in ("read[0]", "read[1]")] == [True, False]
        assert run.outputs["result"] == ["0", "changed"]

    def test_a_file_that_a_thread_of_the_step_reads_counts(self, tmp_path: Path) -> None:
        (file := tmp_path / "data.txt").write_text("old")
        target = reading_aside.with_options(compute="threads")
        target.run(file=str(file))
        assert target.run(file=str(file)).steps["read_aside"].reused
        file.write_text("new")

        assert target.run(file=str(file)).outputs["result"] == "new"

    def test_a_function_that_no_process_could_be_sent_runs(self) -> None:
        lock = threading.Lock()

        @step
        def locked() -> bool:
            with lock:
                return True

        @pipeline
        def guarded() -> Any:
            return locked()

        assert guarded.with_options(compute="threads").run().outputs["result"] is True

    def test_a_cancel_lets_running_steps_finish(self, tmp_path: Path) -> None:
        run = lingering.with_options(compute="inline").submit(file=str(tmp_path / "started"))
        _wait_for(tmp_path / "started")

        run.cancel()

        assert run.wait(20).status == "canceled"
        assert run.steps["linger"].status == "completed"
        assert run.steps["linger-2"].status == "skipped"

    def test_a_submitted_run_goes_on_when_the_script_has_ended(self, tmp_path: Path) -> None:
        script = tmp_path / "flow.py"
        script.write_text(
            "import time\n"
            "from pipelite import pipeline, step\n"
            "@step\n"
            "def slow(x):\n"
            "    time.sleep(0.1)\n"
            "    return x + 1\n"
            "@pipeline\n"
            "def flow():\n"
            "    return slow(slow(slow(1)))\n"
            'if __name__ == "__main__":\n'
            '    flow.with_options(compute="threads").submit()\n'
        )

        subprocess.run([sys.executable, script], check=True, timeout=60)

        assert Workspace().run().outputs["result"] == 4


class TestInline:
    def test_steps_run_one_after_the_other_in_the_thread_of_the_run(self) -> None:
        run = places.with_options(compute="inline").run()

        assert {place[0] for place in run.outputs["result"]} == {os.getpid()}
        assert {name for _, name in run.outputs["result"]} == {f"pipelite-run-{run.id}"}
        assert run.metrics["where[0]/number"] == 0

    def test_classes_of_the_running_script_arrive_as_themselves(self, tmp_path: Path) -> None:
        script = tmp_path / "flow.py"
        script.write_text(
            "from pipelite import pipeline, step\n"
            "class Box:\n"
            "    pass\n"
            "@step\n"
            "def make():\n"
            "    return Box()\n"
            "@step\n"
            "def look(box):\n"
            "    return isinstance(box, Box)\n"
            "@pipeline\n"
            "def flow():\n"
            "    return look(make())\n"
            'if __name__ == "__main__":\n'
            '    print(flow.with_options(compute="inline").run().outputs["result"])\n'
        )

        done = subprocess.run([sys.executable, script], check=True, timeout=60, capture_output=True, text=True)

        assert done.stdout == "True\n"


class TestNames:
    def test_one_run_may_use_several_targets(self, pool: Executor) -> None:
        Workspace().compute["pool"] = pool

        outputs = mixed.run().outputs

        assert outputs["threads"][0] == outputs["inline"][0] == os.getpid()
        assert len({outputs["local"][0], outputs["pool"][0], os.getpid()}) == 3

    def test_a_name_that_is_not_known_is_an_error_before_anything_starts(self) -> None:
        with pytest.raises(ComputeTargetError, match="step 'where' is to run on compute target 'thread', which"):
            places.with_options(compute="thread").run()

        assert Workspace().runs() == []

    def test_settings_are_kept_in_the_workspace(self, workspace: Path) -> None:
        Workspace().compute["wide"] = {"kind": "threads", "size": 8}

        assert Workspace().compute["wide"] == {"kind": "threads", "size": 8}
        assert sorted(Workspace().compute) == ["inline", "local", "threads", "wide"]
        del Workspace().compute["wide"]
        assert "wide" not in Workspace().compute

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ({"kind": "cloud"}, "kind is 'cloud'; one of 'local', 'threads', 'inline', 'dask' is expected"),
            ({"kind": "threads", "size": 0}, "size is 0; a whole number from 1"),
            ({"kind": "threads", "cores": 2}, "has no setting 'cores'; it takes size"),
            ({"kind": "dask"}, "address is missing"),
            (3, "a setting such as"),
        ],
    )
    def test_a_wrong_setting_is_refused(self, setting: Any, message: str) -> None:
        with pytest.raises(ComputeTargetError, match=message):
            Workspace().compute["mine"] = setting

    def test_built_in_names_stay_what_they_are(self) -> None:
        with pytest.raises(ComputeTargetError, match="'local' is built in"):
            Workspace().compute["local"] = {"kind": "inline"}


class TestExecutors:
    def test_steps_run_in_supervised_processes_of_a_process_pool(self, pool: Executor) -> None:
        run = places.with_options(compute=pool).run()

        assert all(process != os.getpid() for process, _ in run.outputs["result"])
        assert run.steps["where[1]"].logs == "here is 1\n"
        assert run.metrics["where[1]/number"] == 1
        assert (run.steps["where[0]"].peak_memory_bytes or 0) > 1_000_000

    def test_a_timeout_ends_the_step(self, pool: Executor) -> None:
        started = time.monotonic()

        with pytest.raises(StepFailed, match=r"longer than its timeout of 1.5 s"):
            hanging.with_options(compute=pool).run()

        assert time.monotonic() - started < 15

    def test_a_step_that_dies_fails_alone_and_is_retried(self, pool: Executor, tmp_path: Path) -> None:
        run = dying.with_options(compute=pool).run(file=str(tmp_path / "once"))

        assert run.outputs["dead"] == "back"
        assert run.steps["die_once"].attempts == 2
        assert all(run.steps[name].attempts == 1 for name in ("where[0]", "where[1]", "where[2]"))

    def test_a_cancel_ends_what_runs(self, pool: Executor, tmp_path: Path) -> None:
        run = lingering.with_options(compute=pool).submit(file=str(tmp_path / "started"), seconds=30.0)
        _wait_for(tmp_path / "started")
        started = time.monotonic()

        run.cancel()

        assert run.wait(20).status == "canceled"
        assert time.monotonic() - started < 5
        assert run.steps["linger"].status == "canceled"
        assert run.steps["linger"].logs == "lingering\n"

    def test_steps_run_in_the_threads_of_a_thread_pool(self) -> None:
        with ThreadPoolExecutor(2, thread_name_prefix="mine") as executor:
            run = places.with_options(compute=executor).run()

        assert all(process == os.getpid() and name.startswith("mine") for process, name in run.outputs["result"])

    @pytest.mark.parametrize("end", ["cancel", "interrupt"])
    def test_a_step_in_a_thread_pool_may_end_when_it_is_asked_to(self, tmp_path: Path, end: str) -> None:
        started = tmp_path / "started"
        with ThreadPoolExecutor(1) as executor:
            run = listening.with_options(compute=executor).submit(file=str(started))
            while not started.exists():
                time.sleep(0.005)
            if end == "cancel":
                run.cancel()
            else:
                run._execution.coordinator.interrupt("because", at_once=True)
            run.wait(10)

        status = {"cancel": "canceled", "interrupt": "interrupted"}[end]
        assert (run.status, run.steps["listen"].status) == (status, status)

    def test_files_of_a_run_in_a_thread_pool_are_let_go(self) -> None:
        with ThreadPoolExecutor(1) as executor:
            run = places.with_options(compute=executor, regenerate_outputs=True).run()

        held = [os.readlink(file.path) for file in os.scandir("/proc/self/fd") if os.path.lexists(file.path)]
        assert [path for path in held if run.id in path] == []

    def test_any_other_executor_will_do(self) -> None:
        run = places.with_options(compute=OneThreadEach()).run(count=3)

        assert [run.steps[name].logs for name in run.steps] == [f"here is {number}\n" for number in range(3)]

    def test_a_process_with_many_open_files_supervises_too(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
        files: list[int] = []
        try:
            while len(files) < 1100:
                files.append(os.open(os.devnull, os.O_RDONLY))
            run = places.with_options(compute=OneThreadEach()).run(count=3)
        finally:
            for file in files:
                os.close(file)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

        assert len(run.outputs["result"]) == 3

    def test_an_executor_that_takes_nothing_any_more_fails_the_run_in_words(self) -> None:
        for executor in (ThreadPoolExecutor(1), ProcessPoolExecutor(1)):
            executor.shutdown()
            with pytest.raises(StepFailed, match="cannot schedule new futures after shutdown"):
                places.with_options(compute=executor).run()


class OneThreadEach(Executor):
    """An executor that nobody has heard of."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(function(*args, **kwargs))
            except BaseException as exc:
                future.set_exception(exc)

        threading.Thread(target=run).start()
        return future


@step(timeout=5)
def patient() -> int:
    return 1


@pipeline
def waiting() -> Any:
    return patient()


@step(retries=2)
def third_time_lucky(path: str) -> int:
    with open(path, "a") as file:
        file.write(".")
    tries = os.path.getsize(path)
    if tries < 3:
        raise RuntimeError("not yet")
    return tries


@step
def never() -> int:
    raise ValueError("never")


@step
def after(value: int) -> int:
    return value


@pipeline
def stumbling(path: str) -> Any:
    return {"lucky": third_time_lucky(path), "after": after(never())}


@step
def read(name: str, folder: str) -> str:
    text = Path(folder, f"{name}.txt").read_text()
    Path(folder, "met", name).touch()
    until = time.monotonic() + 10
    while len(os.listdir(Path(folder, "met"))) < 2 and time.monotonic() < until:
        time.sleep(0.005)
    return text


@pipeline
def reading(folder: str) -> Any:
    return read.map(["0", "1"], folder=folder)


@step
def read_aside(file: str) -> str:
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(Path(file).read_text).result()


@pipeline
def reading_aside(file: str) -> Any:
    return read_aside(file)


@step(cache=False)
def listen(file: str) -> None:
    Path(file).touch()
    while not current_run()._is_asked_to_end():
        time.sleep(0.005)
    raise StepEnded


@pipeline
def listening(file: str) -> None:
    listen(file)


@step(cache=False)
def linger(file: str, seconds: float, before: Any = None) -> int:
    print("lingering", flush=True)
    Path(file).touch()
    time.sleep(seconds)
    return 1


@pipeline
def lingering(file: str, seconds: float = 0.3) -> Any:
    return linger(file, seconds, linger(file, seconds))


@step(timeout=1.5)
def hang() -> None:
    time.sleep(30)


@pipeline
def hanging() -> Any:
    return hang()


@step(retries=1)
def die_once(file: str) -> str:
    mark = f"{file}.died"
    if not os.path.exists(mark):
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "back"


@pipeline
def dying(file: str) -> Any:
    return {"dead": die_once(file), "others": where.map([0, 1, 2])}


@pipeline
def mixed() -> Any:
    return {
        name: where.with_options(compute=name)(number)
        for number, name in enumerate(("threads", "inline", "local", "pool"))
    }


def _wait_for(path: Path, timeout_s: float = 20.0) -> None:
    until = time.monotonic() + timeout_s
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert path.exists()
