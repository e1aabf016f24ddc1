"""`Experiment.start_logging`: runs of a script or notebook itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from pipelite.azureml.core import Experiment, Run, ScriptRunConfig
from pipelite.azureml.exceptions import UserErrorException
from pipelite.errors import PipeliteError


@pytest.fixture
def notes(ws):
    return Experiment(ws, "notes")


def test_what_is_logged_is_kept_as_that_of_any_other_run(ws, notes, write):
    run = notes.start_logging()
    run.log("alpha", 0.1)
    run.log("loss", 3)
    run.log("loss", 2, step=1)
    run.log_row("cosine", angle=0, cos=1.0)
    run.log_list("squares", (x * x for x in range(3)))
    run.tag("kind", "trial")
    run.add_properties({"author": "me"})
    run.upload_file("outputs/model.txt", str(write("model.txt", "weights")))
    logged = {"alpha": 0.1, "loss": [3, 2], "cosine": {"angle": 0, "cos": 1.0}, "squares": [0, 1, 4]}
    assert (run.get_status(), run.get_metrics(), run.get_metrics("alpha")) == ("Running", logged, {"alpha": 0.1})
    assert run.get_file_names() == ["outputs/model.txt"]
    run.complete()
    assert run.get_status() == run.get_details()["status"] == "Completed"

    found = Run(notes, run.id)
    assert type(found) is Run
    assert (found.get_metrics(), found.get_tags()) == (logged, {"kind": "trial"})
    found.download_file("outputs/model.txt", "again.txt")
    assert (ws.native.path.parent / "again.txt").read_text() == "weights"
    assert [each.id for each in notes.get_runs(tags={"kind": "trial"}, properties="author")] == [run.id]
    native = ws.native.run(run.id)
    assert (native.status, native.experiment) == ("completed", "notes")
    assert native.steps["script"].metrics["loss"] == 2
    assert run.register_model("weights", "outputs/model.txt").version == 1


def test_a_block_ends_as_its_body_does(notes):
    with notes.start_logging() as good:
        good.log("x", 1)
    with pytest.raises(ZeroDivisionError), notes.start_logging() as bad:
        1 / 0
    with notes.start_logging() as done:
        done.complete()
    assert [run.get_status() for run in (good, bad, done)] == ["Completed", "Failed", "Completed"]
    assert "ZeroDivisionError" in bad.get_details()["error"]["error"]["message"]


def test_a_run_ends_as_its_script_says(notes):
    failed, canceled = notes.start_logging(), notes.start_logging()
    failed.fail("no data", error_code="Empty")
    canceled.cancel()
    assert (failed.get_status(), canceled.get_status()) == ("Failed", "Canceled")
    assert "Empty: no data" in failed.get_details()["error"]["error"]["message"]
    for run in (failed, canceled):
        with pytest.raises(UserErrorException, match=rf"log 'x': run {run.id} has ended, it is {run.get_status()}"):
            run.log("x", 1)
        with pytest.raises(UserErrorException, match=r"child_run\(\)"):
            run.child_run()
        run.complete()
        run.tag("late", "yes")
    assert (failed.get_status(), canceled.get_status()) == ("Failed", "Canceled")
    assert canceled.get_tags() == {"late": "yes"}


def test_others_can_cancel_it(ws, notes):
    run = notes.start_logging()
    run.log("x", 1)
    other = ws.native.run(run.id)
    other.cancel()
    assert other.wait(10).status == "canceled"
    assert other.steps["script"].status == "canceled"
    assert run.get_status() == "Canceled"
    assert run.get_metrics() == {"x": 1}


def test_children_are_runs_below_it(notes):
    with notes.start_logging(display_name="sweep") as parent:
        for alpha in (1, 2):
            with parent.child_run(f"alpha {alpha}") as child:
                child.log("loss", 1 / alpha)
        more = parent.create_children(tag_key="fold", tag_values=["a", "b"]) + parent.create_children(count=1)
        with more[0].child_run() as grandchild:
            grandchild.log("deep", 1)
        for each in more:
            each.complete()
    assert parent.display_name == parent.name == "sweep"
    children = list(Run(notes, parent.id).get_children())
    assert [child.name for child in children][3:] == ["alpha 2", "alpha 1"]
    assert [child.get_metrics() for child in children][3:] == [{"loss": 0.5}, {"loss": 1.0}]
    assert [child.id for child in parent.get_children(tags={"fold": "b"})] == [more[1].id]
    assert {child.parent.id for child in children} == {parent.id}
    assert parent.parent is None
    assert parent.get_metrics(recursive=True) == {
        children[3].id: {"loss": 0.5},
        children[4].id: {"loss": 1.0},
        grandchild.id: {"deep": 1},
    }
    assert [run.id for run in notes.get_runs()] == [parent.id]
    assert len(list(notes.get_runs(include_children=True))) == 7


def test_a_script_is_submitted_below_it(notes, write):
    write("code/child.py", "from azureml.core import Run\nRun.get_context().log('x', 3)\n")
    with notes.start_logging() as parent:
        child = parent.submit_child(ScriptRunConfig("code", script="child.py"), tags={"kind": "script"})
        child.wait_for_completion()
    assert [(each.id, each.get_tags()) for each in parent.get_children()] == [(child.id, {"kind": "script"})]
    assert parent.get_metrics(recursive=True) == {child.id: {"x": 3}}
    assert [run.id for run in notes.get_runs()] == [parent.id]
    with pytest.raises(UserErrorException, match=r"submit_child\(\): run .* has ended"):
        parent.submit_child(None)


def test_many_are_open_at_once_and_take_no_slots_of_steps(notes):
    runs = [notes.start_logging() for _ in range(12)]
    for number, run in enumerate(runs):
        run.log("number", number)
    for run in runs:
        run.complete()
    assert [run.get_metrics()["number"] for run in notes.get_runs()] == list(reversed(range(12)))


def test_files_and_threads_of_a_run_that_is_over_are_let_go(notes):
    notes.start_logging().complete()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        notes.start_logging().complete()
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_a_folder_of_outputs_is_kept_when_it_completes_and_a_snapshot_from_the_start(ws, notes, write):
    write("code/train.py", "print()")
    run = notes.start_logging(outputs="outputs", snapshot_directory="code")
    write("outputs/deep/a.txt", "a")
    run.complete()
    assert run.get_file_names() == ["outputs/deep/a.txt"]
    kept = list((ws.native.path / "artifacts").rglob("train.py"))
    assert [path.read_text() for path in kept] == ["print()"]


def test_tags_change_while_it_goes_on(notes):
    with notes.start_logging() as run:
        run.set_tags({"a": 1, "b": 2})
        run.tag("a", "other")
        run.remove_tags(["b"])
        assert run.get_tags() == {"a": "other"}
        run.tag("b", "again")
        run.display_name = "mine"
    again = Run(notes, run.id)
    assert (again.get_tags(), again.display_name) == ({"a": "other", "b": "again"}, "mine")


def test_what_it_does_not_know_is_refused(notes):
    with pytest.raises(TypeError, match="takes no 'output'"):
        notes.start_logging(output="outputs")
    with pytest.raises(PipeliteError, match="does not exist"):
        notes.start_logging(snapshot_directory="nowhere")


_SCRIPT = """
    import os, signal, sys
    from azureml.core import Experiment, Workspace

    run = Experiment(Workspace.get("shop"), "notes").start_logging()
    run.log("x", 1)
    print(run.id, flush=True)
    if sys.argv[1] == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("how", "code", "why"), [("ends", 0, "its script ended"), ("dies", -signal.SIGKILL, "resume")])
def test_one_whose_process_is_gone_is_interrupted_with_what_it_had_logged(ws, notes, write, how, code, why):
    script = write("notes.py", textwrap.dedent(_SCRIPT))
    command = [sys.executable, "-m", "pipelite.azureml", str(script), how]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == code, ended.stderr
    native = ws.native.run(ended.stdout.strip())
    native.wait(10)
    assert native.status == native.steps["script"].status == "interrupted"
    assert why in str(native.error)
    run = Run(notes, native.id)
    assert (run.get_status(), run.get_metrics()) == ("Failed", {"x": 1})
    with pytest.raises(PipeliteError, match="cannot be resumed"):
        native.resume()


def test_what_was_submitted_ends_by_itself_and_knows_its_environment(ws, write):
    write("scripts/child.py", "from azureml.core import Run\nRun.get_context().log('rate', 3)\n")
    with Experiment(ws, "trial").start_logging() as run:
        child = run.submit_child(ScriptRunConfig("scripts", script="child.py"))
    with pytest.raises(NotImplementedError, match="ends by itself; cancel"):
        child.fail()
    child.wait_for_completion()
    assert [each.id for each in run.get_children()] == [child.id]
    assert child.parent.id == run.id
    assert child.get_metrics() == {"rate": 3}
    assert child.get_environment().name == "project_environment"
    with pytest.raises(Exception, match="not submitted with an environment"):
        run.get_environment()
