"""Pipelines as people run them: scripts, edited between runs, imported, interrupted, run again."""

from __future__ import annotations

import functools
import importlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelite import Workspace, pipeline, step
from pipelite.errors import PipeliteError, SourceChangedError

FLOW = """
from pipelite import current_run, pipeline, step
from helpers import clean

SCALE = 10

class Box:
    def __init__(self, value):
        self.value = value

@step
def load(n: int):
    return list(range(n))

@step
def tidy(numbers):
    return Box(clean(numbers))

@step
def total(box):
    assert isinstance(box, Box)
    return sum(box.value) * SCALE

@pipeline
def train(n: int = 4):
    box = tidy(load(n))
    return {"box": box, "total": total(box)}

if __name__ == "__main__":
    run = train.run()
    assert isinstance(run.outputs["box"], Box)
    print(run.outputs["total"], {name: step.status for name, step in run.steps.items()})
"""

HELPERS = """
def clean(numbers):
    return [number for number in numbers if number > 0]

def unrelated():
    return 1
"""


@pytest.fixture
def project(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a script and a helper module."""
    monkeypatch.setenv("PIPELITE_PROGRESS", "quiet")
    folder = workspace.parent
    (folder / "flow.py").write_text(FLOW)
    (folder / "helpers.py").write_text(HELPERS)
    return folder


def python(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def statuses(*wanted: str) -> str:
    return str(dict(zip(("load", "tidy", "total"), wanted, strict=True)))


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    # Python takes a cached form for the source if size and second are the same, as they are only in tests.
    status = path.stat()
    os.utime(path, (status.st_atime, status.st_mtime + 10))


def test_a_script_runs_and_runs_again_with_everything_reused(project):
    assert python("flow.py").stdout.strip() == f"60 {statuses('completed', 'completed', 'completed')}"
    assert python("flow.py").stdout.strip() == f"60 {statuses('reused', 'reused', 'reused')}"


def test_editing_a_helper_recomputes_exactly_what_reaches_it(project):
    python("flow.py")

    edit(project / "helpers.py", "number > 0", "number > 1")

    assert python("flow.py").stdout.strip() == f"50 {statuses('reused', 'completed', 'completed')}"


def test_a_step_downstream_of_an_edit_is_reused_if_its_inputs_came_out_the_same(project):
    python("flow.py")

    edit(project / "helpers.py", "number > 0", "number >= 1")

    assert python("flow.py").stdout.strip() == f"60 {statuses('reused', 'completed', 'reused')}"


def test_going_back_to_older_code_finds_its_results_again(project):
    python("flow.py")
    edit(project / "helpers.py", "number > 0", "number > 1")
    python("flow.py")

    edit(project / "helpers.py", "number > 1", "number > 0")

    assert python("flow.py").stdout.strip() == f"60 {statuses('reused', 'reused', 'reused')}"


def test_a_script_an_import_and_the_command_line_share_results(project):
    python("flow.py")

    imported = python("-c", "import flow; print([step.status for step in flow.train.run().steps.values()])")
    commanded = python("-m", "pipelite", "run", "flow.py:train")

    assert imported.stdout.strip() == "['reused', 'reused', 'reused']"
    assert commanded.returncode == 0
    assert [step.status for step in Workspace().run().steps.values()] == ["reused"] * 3


def test_a_value_of_a_class_of_the_script_loads_wherever_it_is_asked_for(project):
    python("flow.py")

    done = python("-c", "import flow, pipelite; print(type(pipelite.Workspace().run().outputs['box']) is flow.Box)")

    assert done.stdout.strip() == "True"


def test_a_script_without_a_guard_works_too(project):
    script = FLOW.replace('if __name__ == "__main__":', "if True:")
    (project / "flow.py").write_text(script)

    assert python("flow.py").stdout.strip().startswith("60 ")
    assert len(Workspace().runs()) == 1


def test_a_script_whose_name_is_no_module_name_works(project):
    (project / "flow.py").rename(project / "my-flow.py")

    assert python("my-flow.py").stdout.strip().startswith("60 ")
    assert python("my-flow.py").stdout.strip() == f"60 {statuses('reused', 'reused', 'reused')}"


def test_an_edited_script_is_never_taken_for_its_cached_form(project, monkeypatch):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    python("flow.py")
    text = (project / "flow.py").read_text()

    (project / "flow.py").write_text(text.replace("SCALE = 10", "SCALE = 20"))

    assert python("flow.py").stdout.strip() == f"120 {statuses('reused', 'reused', 'completed')}"


def test_a_script_inside_a_package_runs_as_a_module(project):
    (project / "package").mkdir()
    (project / "package" / "__init__.py").write_text("")
    (project / "package" / "helpers.py").write_text(HELPERS)
    (project / "package" / "flow.py").write_text(FLOW.replace("from helpers", "from .helpers"))

    python("-m", "package.flow")

    again = python("-m", "package.flow")
    assert again.stdout.strip() == f"60 {statuses('reused', 'reused', 'reused')}"


def test_what_the_program_changes_behind_a_steps_back_is_an_error_and_no_wrong_result(project):
    edit(project / "flow.py", "    run = train.run()", "    SCALE = 20\n    run = train.run()")

    done = python("flow.py", check=False)

    assert done.returncode == 1
    assert "constant flow.SCALE is int:20 in the process that started the run, and int:10 after a fresh" in done.stderr
    assert "passed to the step as an argument" in done.stderr


def test_an_edit_under_a_living_process_is_noticed(project, monkeypatch):
    monkeypatch.syspath_prepend(str(project))
    flow = fresh_import("flow")
    assert flow.train.run().outputs["total"] == 60

    edit(project / "helpers.py", "number > 0", "number > 1")

    with pytest.raises(SourceChangedError, match=r"helpers\.py"):
        flow.train.run()


def test_reloaded_code_runs_in_warm_workers_too(project, monkeypatch):
    monkeypatch.syspath_prepend(str(project))
    flow = fresh_import("flow")
    assert flow.train.run().outputs["total"] == 60
    edit(project / "helpers.py", "number > 0", "number > 1")

    importlib.reload(sys.modules["helpers"])
    importlib.reload(flow)
    run = flow.train.run()

    assert run.outputs["total"] == 50
    assert [step.status for step in run.steps.values()] == ["reused", "completed", "completed"]


def fresh_import(name: str):
    for loaded in ("flow", "helpers"):
        sys.modules.pop(loaded, None)
    importlib.invalidate_caches()
    return importlib.import_module(name)


def test_ctrl_c_lets_running_steps_finish_and_exits_with_130(project):
    process, run = start_slow_script(project, seconds=1.5)

    process.send_signal(signal.SIGINT)

    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "was canceled" in output
    assert "Traceback" not in output
    assert run().status == "canceled"
    assert {name: each.status for name, each in run().steps.items()} == {"slow": "completed", "after": "skipped"}


def test_a_second_ctrl_c_ends_them_at_once(project):
    process, run = start_slow_script(project, seconds=600)

    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)

    process.communicate(timeout=60)
    assert run().status == "canceled"
    assert run().steps["slow"].status == "canceled"


def test_ctrl_c_on_the_command_line_exits_with_130(project):
    process, _ = start_slow_script(project, seconds=1.5, command=["-m", "pipelite", "run", "slow.py:flow"])

    process.send_signal(signal.SIGINT)

    process.communicate(timeout=60)
    assert process.returncode == 130


def start_slow_script(project: Path, *, seconds: float, command: list[str] | None = None):
    (project / "slow.py").write_text(
        "import time\n"
        "from pipelite import pipeline, step\n"
        "@step\n"
        "def slow():\n"
        "    print('started')\n"
        f"    time.sleep({seconds})\n"
        "    return 1\n"
        "@step\n"
        "def after(x):\n"
        "    return x\n"
        "@pipeline\n"
        "def flow():\n"
        "    return after(slow())\n"
        "if __name__ == '__main__':\n"
        "    flow.run()\n"
    )
    process = subprocess.Popen(
        [sys.executable, *(command or ["slow.py"])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Whoever started the tests may have told its children to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    workspace = Workspace()
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        runs = workspace.runs()
        if runs and "slow" in runs[0].steps:
            return process, functools.partial(Workspace().run, runs[0].id)
        time.sleep(0.05)
    raise AssertionError(process.communicate()[0])


def test_a_rerun_uses_the_source_that_the_run_kept(project):
    python("flow.py")
    kept = Workspace().run()
    edit(project / "helpers.py", "number > 0", "number > 1")
    edit(project / "flow.py", "SCALE = 10", "SCALE = 1000")

    again = kept.rerun()

    assert again.id != kept.id
    assert again.record.rerun_of == kept.id
    assert again.outputs["total"] == 60
    assert [step.status for step in again.steps.values()] == ["reused"] * 3
    assert list((project / ".pipelite" / "tmp").iterdir()) == []


@step
def one():
    return 1


def test_a_rerun_of_what_no_import_finds_says_so(workspace, monkeypatch):
    monkeypatch.setenv("PIPELITE_PROGRESS", "quiet")

    @pipeline
    def local():
        one()

    with pytest.raises(PipeliteError, match="inside of a function"):
        local.run().rerun()


@pytest.mark.parametrize("after", ["", "time.sleep(0.6)", "train.with_options(quiet=True).run(count=1)"])
def test_a_submitted_run_goes_on_where_the_script_ends(project, after):
    (project / "late.py").write_text(f"""
import atexit, sys, time
from pathlib import Path
from pipelite import pipeline, step

@step
def grow(x):
    # Runs in a worker, which ends as programs do.
    if "late" not in sys.argv:
        sys.argv.append("late")
        atexit.register(Path(f"ended-{{x}}").touch)
    time.sleep(0.2)
    return x + 1

@pipeline
def train(count: int = 5):
    x = 10 * count
    for _ in range(count):
        x = grow(x)
    return x

if __name__ == "__main__":
    train.submit()
    {after}
""")

    python("late.py")

    runs = Workspace().runs()
    assert [run.status for run in runs] == ["completed"] * len(runs)
    assert 55 in [run.outputs["result"] for run in runs]
    assert list(project.glob("ended-*"))


def test_ctrl_c_while_a_script_waits_at_its_end_leaves_the_submitted_run_to_a_resume(project):
    (project / "late.py").write_text("""
import time
from pipelite import pipeline, step

@step
def linger(seconds: float):
    print("lingers", flush=True)
    time.sleep(seconds)

@pipeline
def flow(seconds: float = 60.0):
    linger(seconds)

if __name__ == "__main__":
    print(flow.submit().id, flush=True)
""")
    process = subprocess.Popen([sys.executable, "late.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    run = Workspace().run(process.stdout.readline().strip())
    until = time.monotonic() + 30
    while time.monotonic() < until and not any("lingers" in each.logs for each in run.steps.values()):
        time.sleep(0.02)

    process.send_signal(signal.SIGINT)

    assert "Traceback" not in process.communicate(timeout=20)[1]
    assert (run.status, run.error) == ("interrupted", "Ctrl-C at the end of its script")


def test_no_process_outlives_a_script(project):
    done = python("-c", "import flow; flow.train.run(); import os; print(os.getpid())")

    left = [line for line in processes() if str(project) in line or f" {done.stdout.strip()} " in line]
    assert left == []


def test_workers_leave_when_their_parent_is_killed(project):
    process, _ = start_slow_script(project, seconds=600)
    children = [int(pid) for pid in re.findall(rf"^\s*(\d+)\s+{process.pid}\b", "\n".join(processes()), re.MULTILINE)]
    assert children

    process.kill()
    process.communicate(timeout=60)

    until = time.monotonic() + 5
    while time.monotonic() < until and any(is_running(pid) for pid in children):
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in children)
    assert Workspace().run().status in ("running", "interrupted")


def test_a_run_whose_process_was_killed_is_interrupted_once_the_workspace_is_opened_again(project):
    process, _ = start_slow_script(project, seconds=600)

    process.kill()
    process.communicate(timeout=60)

    found = python("-c", "import pipelite; print(pipelite.Workspace().run().status)")
    assert found.stdout.strip() == "interrupted"


def processes() -> list[str]:
    return subprocess.run(
        ["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z" and os.path.exists(f"/proc/{pid}")
