"""Steps in containers, by a real engine: docker or podman, whichever works on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from container_engines import IMAGE, WITHOUT_PYTHON, configure_podman, make_images
from steps_in_environments import leaves_with, sees, stays, where

from pipelite import Workspace, pipeline, step
from pipelite.errors import DefinitionError, EnvironmentFailed, StepFailed
from pipelite.execute.containers import ENGINE_VARIABLE
from pipelite.steps import Environment, Input, Output, script, shell

pytestmark = pytest.mark.may_be_missing


@pytest.fixture(scope="session")
def engine_variables():
    """What the environment has to hold for the engine to work, with the images in it."""
    problems = []
    for name in ("docker", "podman"):
        if shutil.which(name) is None:
            problems.append(f"there is no {name}")
            continue
        folder = Path(tempfile.mkdtemp(prefix="pipelite-tests-"))
        variables = {ENGINE_VARIABLE: name, **(configure_podman(folder) if name == "podman" else {})}
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in variables.items():
                patch.setenv(variable, value)
            problem = make_images(name, folder)
            if problem is None:
                yield variables
                subprocess.run([name, "rmi", "--force", IMAGE, WITHOUT_PYTHON], capture_output=True, timeout=120)
        shutil.rmtree(folder)
        if problem is None:
            return
        problems.append(f"{name} says {problem}")
    pytest.skip(f"no container engine works here: {'; '.join(problems)}")


@pytest.fixture(autouse=True)
def engine(engine_variables, monkeypatch) -> str:
    """The engine's name; no container is there afterwards."""
    for variable, value in engine_variables.items():
        monkeypatch.setenv(variable, value)
    name = engine_variables[ENGINE_VARIABLE]
    yield name
    assert list_containers(name) == []


def wait_until(condition) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def list_containers(engine: str, *which: str) -> list[str]:
    command = [engine, "ps", "--all", "--format", "{{.Names}}", "--filter", "name=pipelite-", *which]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.split()


def image(**options) -> Environment:
    return Environment(image=IMAGE, **options)


def test_a_function_runs_in_a_container(tmp_path):
    (tmp_path / "input.txt").write_text("of the input")
    there = sees.with_options(environment=image(variables={"MODE": "fast"}))

    @pipeline
    def flow(path: Path, x: int = 1):
        made, told = there(path, x)
        return {"made": made, "told": told}

    run = flow.run(path=tmp_path / "input.txt")

    made, (process, path) = run.outputs["made"], run.outputs["told"]
    assert made.read_text() == "fast"
    # The first process there is, with this library behind all that the image has.
    assert (process, path) == (1, "/pipelite-library")
    assert run.metrics["x"] == 1
    assert run.steps["sees"].logs == "seen of the input\n"
    assert flow.run(path=tmp_path / "input.txt").steps["sees"].reused


def test_a_script_and_a_command_run_in_a_container(write):
    write(
        "src/show.py",
        """
        import os, socket, sys
        from pathlib import Path
        from pipelite import current_run

        current_run().log("process", os.getpid())
        try:
            socket.create_connection(("127.0.0.1", 9), timeout=5)
        except OSError as exc:
            print("no network:", exc)
        Path("outputs/kept.txt").write_text("kept")
        Path(sys.argv[2]).write_text(Path(sys.argv[1]).read_text() + os.environ["MODE"])
        """,
    )
    environment = image(variables={"MODE": " and fast"})
    show = script("show.py", source_directory="src", arguments=[Input("text"), Output("copy")], environment=environment)
    program = shell(
        ["/bin/sh", "-c", "echo $0 $$; test -e /usr/bin/env || echo alone", "pid"],
        stdout=Output("printed"),
        environment=environment,
    )
    path = write("input.txt", "slow")

    @pipeline
    def flow():
        shown = show(text=path)
        return {"text": shown, "again": show(text=shown), "printed": program()}

    run = flow.run()

    assert run.outputs["text"].read_text() == "slow and fast"
    assert run.outputs["again"].read_text() == "slow and fast and fast"
    assert run.outputs["printed"].read_text() == "pid 1\nalone\n"
    assert run.metrics["show/process"] == 1
    assert "no network:" in run.steps["show"].logs
    assert os.stat(run.outputs["text"]).st_uid == os.getuid()


def test_folders_go_into_a_container_and_come_out_of_it(write):
    write(
        "src/copy.py",
        """
        import sys
        from pathlib import Path

        for path in Path(sys.argv[1]).iterdir():
            Path(sys.argv[2], path.name).write_text(path.read_text() + " copied")
        """,
    )
    arguments = [Input("data"), Output("copies", is_folder=True)]
    copy = script("copy.py", source_directory="src", arguments=arguments, environment=image())
    path = write("data/a.txt", "a")

    @pipeline
    def flow():
        return copy(data=copy(data=path.parent))

    run = flow.run()

    assert (run.outputs["result"] / "a.txt").read_text() == "a copied copied"


def test_inputs_cannot_be_written_to(write):
    write("src/spoil.py", "import sys; open(sys.argv[1], 'a').write('more')")
    spoil = script("spoil.py", source_directory="src", arguments=[Input("text")], environment=image())
    path = write("input.txt", "as it was")

    @pipeline
    def flow():
        spoil(text=path)

    with pytest.raises(StepFailed, match="Read-only file system"):
        flow.run()
    assert path.read_text() == "as it was"


def test_an_exit_code_fails_the_step_with_its_traceback(write):
    write("src/fails.py", "print('so far')\nraise SystemExit(3)")
    write("src/raises.py", "raise ValueError('not this number')")

    def run(file):
        step = script(file, source_directory="src", environment=image())

        @pipeline
        def flow():
            step()

        return flow.run()

    with pytest.raises(StepFailed, match=r"fails.py exited with code 3|python3 exited with code 3"):
        run("fails.py")
    with pytest.raises(StepFailed, match="ValueError: not this number"):
        run("raises.py")


@pytest.mark.parametrize(
    ("code", "message"),
    [(9, "its worker process exited with code 9"), (137, "its worker process was ended by SIGKILL")],
)
def test_the_death_of_a_container_fails_its_step(code, message):
    @pipeline
    def flow():
        leaves_with.with_options(environment=image())(code)

    with pytest.raises(StepFailed, match=message):
        flow.run()


def test_a_timeout_ends_a_function_in_a_container(engine, tmp_path):
    there = stays.with_options(environment=image(), timeout=5)

    @pipeline
    def flow():
        there(str(tmp_path / "pids"))

    with pytest.raises(StepFailed, match="timeout of 5 s"):
        flow.run()

    assert list_containers(engine) == []


def test_a_cancel_ends_a_script_in_a_container(engine, write):
    write("src/stays.py", "import time; print('here', flush=True); time.sleep(600)")
    there = script("stays.py", source_directory="src", environment=image())

    @pipeline
    def flow():
        there()

    run = flow.submit()
    wait_until(lambda: list_containers(engine, "--filter", "status=running"))
    run.cancel()
    run.wait(timeout=60)

    assert run.status == "canceled"
    assert list_containers(engine) == []


def test_a_container_ends_with_the_process_that_runs_the_pipeline(engine, write):
    path = write(
        "flow.py",
        f"""
        from pipelite import pipeline
        from pipelite.steps import Environment, shell

        sleep = shell(["/bin/sleep", "600"], environment=Environment(image="{IMAGE}"))

        @pipeline
        def flow():
            sleep()

        if __name__ == "__main__":
            flow.run()
        """,
    )
    process = subprocess.Popen([sys.executable, path], stderr=subprocess.DEVNULL)
    wait_until(lambda: list_containers(engine, "--filter", "status=running"))
    process.kill()
    process.wait(timeout=60)

    wait_until(lambda: not list_containers(engine))


def test_the_image_is_part_of_the_key(engine):
    there = shell(
        ["/bin/sh", "-c", "echo here"], stdout=Output("text"), environment=Environment(image="localhost/tagged")
    )

    @pipeline
    def flow():
        return there()

    def tag(image):
        subprocess.run([engine, "tag", image, "localhost/tagged"], check=True, timeout=60)

    try:
        tag(IMAGE)
        assert not flow.run().steps["sh"].reused
        assert flow.run().steps["sh"].reused
        tag(WITHOUT_PYTHON)
        assert not flow.run().steps["sh"].reused
        tag(IMAGE)
        assert flow.run().steps["sh"].reused
    finally:
        subprocess.run([engine, "rmi", "localhost/tagged"], capture_output=True, timeout=60)


def test_a_function_in_an_image_without_a_python_that_fits_is_an_error_that_says_so():
    @pipeline
    def flow():
        where.with_options(environment=Environment(image=WITHOUT_PYTHON))()

    with pytest.raises(StepFailed, match=r"a function cannot run in the image: .* has no Python"):
        flow.run()


def test_what_travels_by_value_is_refused_before_any_work():
    @step
    def inside():
        return 1

    @pipeline
    def flow():
        inside.with_options(environment=image())()

    with pytest.raises(DefinitionError, match="step 'inside' is to run in another Python"):
        flow.run()


def test_an_image_that_is_nowhere_is_an_error_that_names_the_step():
    @pipeline
    def flow():
        where.with_options(environment=Environment(image="localhost:1/nowhere/nothing:1"))()

    with pytest.raises(
        EnvironmentFailed, match=r"step 'where': the image 'localhost:1/nowhere/nothing:1' cannot be had; "
    ):
        flow.run()
    assert Workspace().runs() == []
