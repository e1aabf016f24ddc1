"""A step runs with the packages that it asks for, in a virtual environment that is made once."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from processes import wait_until_gone, wait_until_there
from steps_in_environments import dies, raises, stays, version, where

from pipelite import Workspace, pipeline, step
from pipelite.errors import ComputeTargetError, DefinitionError, EnvironmentFailed, NotFoundError, StepFailed
from pipelite.steps import Environment, Output, installing, script, shell
from pipelite.steps.requirements import find_missing


def make_wheel(folder: Path, name: str, version: str, source: str) -> None:
    """A wheel, so that nothing has to come from an index."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", source)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


@step
def needs_pytest():
    return 1


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A requirements file that leads to a package which is not installed here."""
    make_wheel(tmp_path / "wheels", "pipelite_tiny", "1.0", "VERSION = '1.0'\n")
    make_wheel(tmp_path / "wheels", "pipelite_tiny", "2.0", "VERSION = '2.0'\n")
    path = tmp_path / "requirements.txt"
    path.write_text("--no-index\n--find-links ./wheels\npipelite_tiny==1.0  # the old one\n")
    return path


def test_a_function_runs_in_an_environment_that_is_made_for_it(tiny, workspace):
    there = version.with_options(environment=Environment(requirements=tiny, variables={"TINY_MODE": "fast"}))

    @pipeline
    def flow(x: int = 1):
        return {"first": there(x), "second": there(2)}

    run = flow.run()

    assert dict(run.outputs) == {"first": "1.0 1 fast", "second": "1.0 2 fast"}
    assert run.metrics["version/x"] == 1
    (made,) = Workspace().environments
    assert made.requirements == ("--no-index", "--find-links ./wheels", "pipelite_tiny==1.0")
    logs = run.steps["version"].logs + run.steps["version-2"].logs
    assert logs.count("making environment") == 1
    assert f"from {workspace / 'environments' / made.name / 'venv'}" in logs
    again = flow.run(x=3)
    assert again.steps["version-2"].reused
    assert again.outputs["first"] == "1.0 3 fast"


def test_a_script_and_a_program_run_in_an_environment(tiny, write):
    write(
        "src/show.py",
        """
        import os, sys
        import pipelite_tiny
        from pipelite import current_run

        current_run().log("seen", pipelite_tiny.VERSION)
        open(sys.argv[1], "w").write(f"{pipelite_tiny.VERSION} {os.environ['TINY_MODE']}")
        try:
            import pandas
        except ModuleNotFoundError:
            current_run().log("alone", True)
        """,
    )
    environment = Environment(requirements=tiny, variables={"TINY_MODE": "fast"})
    show = script("show.py", source_directory="src", arguments=[Output("text")], environment=environment)
    program = shell(
        ["python", "-c", "import pipelite_tiny; print(pipelite_tiny.VERSION)"],
        stdout=Output("printed"),
        environment=environment,
    )

    @pipeline
    def flow():
        return {"text": show(), "printed": program()}

    run = flow.run()

    assert run.outputs["text"].read_text() == "1.0 fast"
    assert run.outputs["printed"].read_text() == "1.0\n"
    assert run.metrics["seen"] == "1.0"
    assert run.metrics["alone"] is True


def test_the_environment_is_part_of_the_key(tiny):
    def run(**content):
        there = version.with_options(environment=Environment(**content))

        @pipeline
        def flow():
            return there(1)

        return flow.run()

    assert run(requirements=tiny).outputs["result"] == "1.0 1 None"
    tiny.write_text(tiny.read_text().replace("1.0", "2.0").replace("the old one", "the new one"))
    assert run(requirements=tiny).outputs["result"] == "2.0 1 None"
    assert run(requirements=tiny, variables={"TINY_MODE": "slow"}).outputs["result"] == "2.0 1 slow"
    tiny.write_text(tiny.read_text() + "\n# nothing new\n")
    assert run(requirements=tiny).steps["version"].reused
    assert len(list(Workspace().environments)) == 2


def in_mode(mode: str, environment: Environment, cached: bool = False) -> str:
    Workspace().environments.mode = mode
    there = where.with_options(environment=environment, cache=cached)

    @pipeline
    def flow():
        return there()

    return flow.run().outputs["result"]


def test_the_running_interpreter_serves_if_it_has_all_that_is_asked_for(workspace):
    assert (
        in_mode("check", Environment(packages=["attrs>=20", "blake3", "nothing-at-all; python_version < '3'"]))
        == sys.executable
    )
    assert list(Workspace().environments) == []


def test_what_is_installed_meanwhile_is_noticed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    assert find_missing(["pipelite_tiny>=1.0", "attrs"]) == ["pipelite_tiny>=1.0"]
    make_wheel(tmp_path / "wheels", "pipelite_tiny", "1.0", "")
    with zipfile.ZipFile(next((tmp_path / "wheels").iterdir())) as wheel:
        wheel.extractall(tmp_path)

    assert find_missing(["pipelite_tiny>=1.0", "attrs"]) == []


def test_the_setting_build_makes_an_environment_in_any_case_and_off_makes_none(workspace):
    built = in_mode("build", Environment())

    assert Path(built).is_relative_to(workspace / "environments")
    assert in_mode("off", Environment(packages=["nothing-at-all"])) == sys.executable
    assert [each.requirements for each in Workspace().environments] == [()]


def test_an_environment_that_cannot_be_made_is_an_error_with_the_missing_packages_and_the_installers_reason(tiny):
    tiny.write_text(tiny.read_text() + "pipelite_none==3.0\n")
    with pytest.raises(StepFailed) as failed:
        in_mode("check", Environment(requirements=tiny))

    cause = failed.value.__cause__
    assert isinstance(cause, EnvironmentFailed)
    assert str(cause).startswith(
        "this Python does not have pipelite_tiny==1.0, pipelite_none==3.0; the environment with "
    )
    assert "said:\n" in str(cause)
    assert "pipelite" in str(cause).partition("said:\n")[2]
    assert str(cause).endswith("\nWhere it will do all the same: pipelite environments mode off")
    assert list(Workspace().environments) == []
    assert not [path for path in (Workspace().path / "environments").iterdir() if path.is_dir()]


def test_without_uv_pip_makes_the_environment(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(installing, "find_uv", lambda: None)

    interpreter = Environment(requirements=tiny).prepare(tmp_path, "check")
    interpreter.release()

    code = "import pipelite_tiny, pipelite; print(pipelite_tiny.VERSION)"
    done = subprocess.run(
        [interpreter.python, "-c", code], env=interpreter.variables, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("1.0\n", "")


def test_many_processes_make_an_environment_once(tiny, tmp_path):
    code = (
        "import sys; from pathlib import Path; from pipelite.steps import Environment;"
        "Environment(requirements=sys.argv[1]).prepare(Path(sys.argv[2]), 'build').release()"
    )
    command = [sys.executable, "-c", code, str(tiny), str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate(timeout=120)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert "".join(said).count("making environment") == 1


def test_what_was_left_half_made_is_made_anew(tiny, tmp_path):
    environment = Environment(requirements=tiny)
    half = tmp_path / "environments" / environment.name / "venv"
    half.mkdir(parents=True)

    interpreter = environment.prepare(tmp_path, "build")
    interpreter.release()

    assert subprocess.run([interpreter.python, "-c", "import pipelite_tiny"], timeout=60).returncode == 0


def test_of_a_conda_file_the_pip_part_counts_and_the_rest_is_named(write, tmp_path):
    pytest.importorskip("yaml")
    path = write(
        "conda.yml",
        """
        name: project
        dependencies:
          - python=3.6
          - scipy
          - pip
          - pip:
            - attrs>=20
            - -r more.txt
        """,
    )
    with pytest.warns(UserWarning, match=r"only what is listed under pip is installed, and not python=3.6, scipy"):
        environment = Environment(conda_file=path)

    assert environment.identity() == Environment(packages=["attrs>=20", "-r more.txt"]).identity()


def test_the_command_line_lists_and_removes_environments(tiny, workspace):
    environment = Environment(requirements=tiny)
    environment.prepare(workspace, "build").release()

    def command(*words):
        return subprocess.run(
            [sys.executable, "-m", "pipelite", "environments", *words], capture_output=True, text=True, timeout=60
        )

    Workspace()
    header, line = command("list").stdout.splitlines()
    assert re.split(r"\s{2,}", header) == ["name", "python", "made at", "last used at", "size", "requirements"]
    assert line.split()[0] == environment.name
    (made,) = Workspace().environments
    assert 1000 < made.size_bytes < 10_000_000
    assert made.made_at[:10] <= made.last_used_at[:10]
    assert f'"name": "{environment.name}"' in command("list", "--json").stdout
    assert command("mode", "build").stdout == command("mode").stdout == "build\n"
    assert command("remove", environment.name).returncode == 0
    assert command("list", "--json").stdout == "[]\n"
    assert "there is no environment 'x'" in command("remove", "x").stderr
    with pytest.raises(NotFoundError):
        Workspace().environments.remove(environment.name)


def test_an_environment_in_which_a_step_runs_is_not_removed(tmp_path):
    Workspace().environments.mode = "build"
    environment = Environment()
    there = stays.with_options(environment=environment, timeout=60)

    @pipeline
    def flow():
        there(str(tmp_path / "pids"))

    run = flow.submit()
    wait_until_there(tmp_path / "pids")
    with pytest.raises(EnvironmentFailed, match="in use by a step that is running"):
        Workspace().environments.remove(environment.name)
    run.cancel()
    run.wait(timeout=60)

    wait_until_gone(tmp_path / "pids")
    Workspace().environments.remove(environment.name)
    assert list(Workspace().environments) == []


def test_the_environment_of_a_running_script_is_not_removed(tmp_path, write):
    Workspace().environments.mode = "build"
    write("src/stays.py", "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)")
    environment = Environment()
    there = script(
        "stays.py", source_directory="src", arguments=[str(tmp_path / "pids")], environment=environment, timeout=60
    )

    @pipeline
    def flow():
        there()

    run = flow.submit()
    wait_until_there(tmp_path / "pids")
    with pytest.raises(EnvironmentFailed, match="in use by a step that is running"):
        Workspace().environments.remove(environment.name)
    run.cancel()
    run.wait(timeout=60)

    wait_until_gone(tmp_path / "pids")
    Workspace().environments.remove(environment.name)


def test_a_requirements_file_that_is_not_there_is_an_error_that_names_the_step(tmp_path):
    there = version.with_options(environment=Environment(requirements="nowhere.txt"))

    @pipeline
    def flow():
        there(1)

    with pytest.raises(
        EnvironmentFailed, match=r"step 'version': the requirements file '.*/nowhere.txt' cannot be read"
    ):
        flow.run()
    assert Workspace().runs() == []


def test_explain_names_a_changed_environment():
    def run(package):
        there = where.with_options(environment=Environment(packages=[package]))

        @pipeline
        def flow():
            return there()

        return flow.run()

    run("attrs")
    changed = run("attrs>=20")

    explained = subprocess.run(
        [sys.executable, "-m", "pipelite", "runs", "explain", changed.id], capture_output=True, text=True, timeout=60
    ).stdout
    assert re.search(r"python 3\.\d+ with attrs \(\w+\) -> python 3\.\d+ with attrs>=20 \(\w+\)", explained), explained


def test_a_function_with_an_environment_does_not_run_in_a_thread(tiny):
    there = version.with_options(environment=Environment(requirements=tiny), compute="threads")

    @pipeline
    def flow():
        there(1)

    with pytest.raises(ComputeTargetError, match="step 'version' has an environment, but on compute target 'threads'"):
        flow.run()


def test_an_image_without_an_engine_that_works_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setenv("PIPELITE_CONTAINER_ENGINE", "false")

    @pipeline
    def flow():
        where.with_options(environment=Environment(image="python:3.11-slim"))()

    with pytest.raises(
        EnvironmentFailed, match=r"step 'where': an image needs docker or podman, and here false does not work"
    ):
        flow.run()


@pytest.mark.parametrize(("bad", "message"), [(dies, "SIGKILL"), (raises, "ValueError: not this number")])
def test_what_goes_wrong_in_an_environment_fails_its_step(bad, message):
    there = bad.with_options(environment=Environment(variables={"A": "b"}))

    @pipeline
    def flow():
        there()

    with pytest.raises(StepFailed, match=message):
        flow.run()


def test_a_module_that_needs_more_than_the_environment_has_is_an_error_that_says_so(tiny):
    @pipeline
    def flow():
        needs_pytest.with_options(environment=Environment(requirements=tiny))()

    with pytest.raises(StepFailed, match=r"needs_pytest: ModuleNotFoundError: No module named 'pytest'"):
        flow.run()


def test_a_timeout_ends_a_function_in_an_environment(tmp_path):
    there = stays.with_options(environment=Environment(variables={"A": "b"}), timeout=2)

    @pipeline
    def flow():
        there(str(tmp_path / "pids"))

    with pytest.raises(StepFailed, match="timeout of 2 s"):
        flow.run()

    wait_until_gone(tmp_path / "pids")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Environment(packages="pandas"), "packages='pandas' is wrong; it takes a list"),
        (lambda: Environment(packages=[1]), "packages=\\[1\\] is wrong"),
        (lambda: Environment(python="3"), "python='3' is wrong"),
        (lambda: Environment(image="--privileged"), "image='--privileged' is wrong"),
        (
            lambda: Environment(image="python:3", packages=["attrs"]),
            "image='python:3' brings its own Python and packages",
        ),
        (lambda: Environment(network=True), "network=True is for an image"),
        (lambda: Environment(variables={"A": 1}), "variables={'A': 1} is wrong"),
        (
            lambda: where.with_options(environment="pandas"),
            "environment='pandas' is wrong; environment takes an Environment",
        ),
    ],
)
def test_mistakes_are_found_where_they_are_written(make, message):
    with pytest.raises(DefinitionError, match=message):
        make()
