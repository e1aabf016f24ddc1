"""A script runs in a process of its own, in a private copy of its source, and is reused by what it would do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from processes import wait_until_gone

from pipelite import Workspace, pipeline, step
from pipelite.errors import CommandError, DefinitionError, FingerprintError, StepFailed
from pipelite.steps import Input, Output, script

Write = Callable[[str, str], Path]

UPPER = """
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--raw")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--out")
    given = parser.parse_args()
    print("upper is computed")
    with open(given.raw) as raw, open(given.out, "w") as out:
        out.write(raw.read().upper() * given.times)
"""


@step
def read(path: Path) -> str:
    assert not os.access(path, os.W_OK) or os.geteuid() == 0
    assert path.stat().st_mode & 0o222 == 0
    return path.read_text()


def upper(**options):
    return script(
        "upper.py",
        source_directory="src",
        arguments=["--raw", Input("raw"), "--times", Input("times"), "--out", Output("clean")],
        **options,
    )


@pytest.fixture
def source(write: Write) -> Path:
    write("raw.txt", "abc")
    return write("src/upper.py", UPPER).parent


def run_upper(times: int = 2, raw: str = "raw.txt"):
    clean = upper()

    @pipeline
    def flow(raw: Path, times: int):
        return {"text": read(clean(raw=raw, times=times))}

    return flow.run(raw=raw, times=times)


def test_a_script_is_given_paths_and_plain_values_and_its_output_reaches_a_function(source):
    run = run_upper()

    assert run.outputs["text"] == "ABCABC"
    assert run.steps["upper"].logs == "upper is computed\n"
    assert run.steps["upper"].outputs["clean"].name == "clean"


def test_a_second_run_reuses_the_script(source):
    run_upper()

    again = run_upper()

    assert again.steps["upper"].reused
    assert again.steps["upper"].logs == "upper is computed\n"


@pytest.mark.parametrize("changed", ["src/upper.py", "src/more.txt", "raw.txt"])
def test_a_change_of_its_source_or_input_computes_a_script_anew(source, write, changed):
    write("src/more.txt", "1")
    run_upper()

    with (source.parent / changed).open("a") as file:
        file.write("# changed\n")

    assert not run_upper().steps["upper"].reused


def test_only_what_is_in_the_snapshot_counts(source, write):
    write("src/.pipeliteignore", "notes/\n")
    run_upper()

    write("src/notes/today.txt", "nothing that the script needs")
    write("src/__pycache__/upper.cpython-311.pyc", "")

    assert run_upper().steps["upper"].reused


def test_the_name_of_the_source_directory_does_not_count(source):
    first = run_upper()
    source.rename(source.parent / "moved")
    moved = script(
        "upper.py",
        source_directory="moved",
        arguments=["--raw", Input("raw"), "--times", Input("times"), "--out", Output("clean")],
    )

    @pipeline
    def flow(raw: Path):
        return read(moved(raw=raw, times=2))

    again = flow.run(raw="raw.txt")

    assert again.steps["upper"].reused
    assert again.steps["upper"].outputs["clean"] == first.steps["upper"].outputs["clean"]


def test_other_arguments_compute_a_script_anew(source):
    run_upper(times=1)

    assert run_upper(times=3).outputs["text"] == "ABCABCABC"


def test_a_script_logs_metrics_tags_and_files_to_its_step(write):
    write(
        "src/train.py",
        """
        import subprocess, sys
        from pathlib import Path
        from pipelite import current_run

        run = current_run()
        run.log("accuracy", 0.5)
        run.log("accuracy", 0.75, step=1)
        run.log_row("loss", epoch=1, train=0.3)
        run.tag("stage", "draft")
        Path("outputs/model").mkdir()
        Path("outputs/model/weights.txt").write_text("1 2 3")
        assert run.name == "train" and run.parent.pipeline == "flow", run.name
        (run.scratch / "big").write_text("")
        # Also what the script starts belongs to the step.
        subprocess.run([sys.executable, "-c", "import pipelite; pipelite.current_run().log('inner', 7)"], check=True)
        """,
    )
    train = script("train.py", source_directory="src", cache=True)

    @pipeline
    def flow():
        train()

    run = flow.run()

    metrics = run.steps["train"].metrics
    assert (metrics["accuracy"], metrics["inner"], metrics["loss"]) == (0.75, 7, {"epoch": 1, "train": 0.3})
    assert [value for _, value in run.metric_series("accuracy")] == [0.5, 0.75]
    assert run.tags == {"stage": "draft"}
    kept = Workspace().path / "artifacts" / metrics["outputs/model/weights.txt"]["path"]
    assert kept.read_text() == "1 2 3"
    assert not list((Workspace().path / "tmp").glob("*scratch*"))

    assert flow.run().steps["train"].metrics == metrics


def test_a_script_that_raises_fails_its_step_with_its_traceback_first(write):
    write("src/helper.py", "def divide(x):\n    return 1 / x\n")
    write(
        "src/bad.py",
        """
        from pathlib import Path
        from helper import divide

        Path("outputs/so_far.txt").write_text("1")
        try:
            divide(0)
        except ZeroDivisionError as error:
            raise ValueError("not this number") from error
        """,
    )
    bad = script("bad.py", source_directory="src")

    @pipeline
    def flow():
        bad()

    with pytest.raises(StepFailed) as failed:
        flow.run()

    cause = failed.value.__cause__
    assert isinstance(cause, CommandError)
    lines = str(cause).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert '  File "helper.py", line 2, in divide' in lines
    assert "ZeroDivisionError: division by zero" in lines
    assert lines[-3:] == ["ValueError: not this number", "", "bad.py exited with code 1"]
    run = Workspace().runs()[0]
    assert "outputs/so_far.txt" in run.steps["bad"].metrics


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "import sys; print('no such table'); sys.exit(3)",
            "bad.py exited with code 3; it printed last:\nno such table",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "bad.py was ended by SIGKILL"),
        ("def f(:", "SyntaxError"),
    ],
)
def test_a_script_that_ends_without_a_traceback_says_how(write, code, message):
    write("src/bad.py", code)
    bad = script("bad.py", source_directory="src")

    @pipeline
    def flow():
        bad()

    with pytest.raises(StepFailed) as failed:
        flow.run()

    assert message in str(failed.value.__cause__)


def test_a_failed_script_is_tried_again(write, tmp_path):
    write(
        "src/flaky.py",
        """
        import sys
        from pathlib import Path

        tries = Path(sys.argv[1])
        tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
        sys.exit(len(tries.read_text()) < 3)
        """,
    )
    flaky = script("flaky.py", source_directory="src", arguments=[str(tmp_path / "tries")], retries=2)

    @pipeline
    def flow():
        flaky()

    assert flow.run().steps["flaky"].attempts == 3


@pytest.mark.parametrize("leaves", ["pass", "import os, sys; os.makedirs(sys.argv[2], exist_ok=True)"])
def test_an_output_that_was_not_written_is_an_error_that_names_it(write, leaves):
    write("src/half.py", f"import sys\nopen(sys.argv[1], 'w').close()\n{leaves}\n")
    half = script("half.py", source_directory="src", arguments=[Output("train"), Output("test", is_folder=True)])

    @pipeline
    def flow():
        half()

    with pytest.raises(
        StepFailed, match=r"step 'half' failed: .* wrote nothing to its output 'test'; it wrote 'train'"
    ):
        flow.run()


def test_several_outputs_flow_to_scripts_and_functions_by_name(write):
    write(
        "src/split.py",
        """
        import sys
        from pathlib import Path

        Path(sys.argv[1]).mkdir()
        (Path(sys.argv[1]) / "part").write_text("training")
        Path(sys.argv[2]).write_text("testing")
        """,
    )
    write(
        "src/join.py",
        """
        import sys
        from pathlib import Path

        folder, *files, joined = map(Path, sys.argv[1:])
        texts = [(folder / "part").read_text(), *(file.read_text() for file in files)]
        joined.write_text(" ".join(texts))
        """,
    )
    split = script(
        "split.py", source_directory="src", arguments=[Output("train"), Output("test", file_name="test.txt")]
    )

    @pipeline
    def flow():
        train, test = split()
        join = script("join.py", source_directory="src", arguments=[train, [test, test], Output("joined")])
        joined = join()
        return {"joined": read(joined["joined"]), "test": test}

    run = flow.run()

    assert run.outputs["joined"] == "training testing testing"
    assert run.outputs["test"].name == "test.txt"
    assert [each.reused for each in flow.run().steps.values()] == [True, True, True]


def test_a_script_is_mapped_over_what_another_step_found(write):
    write("src/write.py", "import sys; open(sys.argv[2], 'w').write(sys.argv[1] * int(sys.argv[3]))")
    repeat = script("write.py", source_directory="src", arguments=[Input("letter"), Output("text"), Input("times")])

    @step
    def letters():
        return ["a", "b"]

    @step
    def join(paths):
        return "".join(path.read_text() for path in paths)

    @pipeline
    def flow():
        return join(repeat.map(letters(), times=2))

    run = flow.run()

    assert run.outputs["result"] == "aabb"
    assert {"write[0]", "write[1]"} <= set(run.steps)


def test_a_path_among_the_arguments_counts_by_its_content(write):
    write("src/show.py", "import sys; print(open(sys.argv[1]).read())")
    table = write("table.csv", "1")
    show = script("show.py", source_directory="src", arguments=[Path("table.csv")], cache=True)

    @pipeline
    def flow():
        show()

    flow.run()
    assert flow.run().steps["show"].reused
    table.write_text("2")
    assert flow.run().steps["show"].logs == "2\n"


def test_plain_values_are_given_as_text(write):
    write("src/show.py", "import sys; print(sys.argv[1:])")
    show = script(
        "show.py", source_directory="src", arguments=[1, 0.5, True, date(2026, 1, 31), ["a b", "$HOME"], Input("x")]
    )

    @pipeline
    def flow():
        show(x=[3, False])

    logs = flow.run().steps["show"].logs
    assert logs == "['1', '0.5', 'true', '2026-01-31', 'a b', '$HOME', '3', 'false']\n"


def test_a_value_that_no_command_takes_is_an_error_that_names_it(source):
    @pipeline
    def flow():
        upper()(raw={"a": 1}, times=1)

    with pytest.raises(
        StepFailed, match=r"input 'raw' is a value of type 'dict'; a command takes texts, numbers and paths"
    ):
        flow.run()


def test_a_script_works_in_a_copy_that_is_its_own(source, write):
    write(
        "src/upper.py",
        UPPER
        + """
    import os
    open("left_behind", "w").close()
    open(__file__, "w").close()
""",
    )

    assert run_upper().outputs["text"] == "ABCABC"
    assert sorted(path.name for path in source.iterdir()) == ["upper.py"]
    assert source.joinpath("upper.py").read_text()
    assert run_upper(times=3).outputs["text"] == "ABCABCABC"


def test_what_a_script_prints_is_there_while_it_runs(write, tmp_path):
    write(
        "src/slow.py",
        """
        import os, sys, time

        print("begun")
        print("beside", file=sys.stderr)
        while not os.path.exists(sys.argv[1]):
            time.sleep(0.01)
        """,
    )
    slow = script("slow.py", source_directory="src", arguments=[str(tmp_path / "go")])

    @pipeline
    def flow():
        slow()

    run = flow.submit()
    try:
        until = time.monotonic() + 30
        while "slow" not in run.steps or run.steps["slow"].logs != "begun\nbeside\n":
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        (tmp_path / "go").touch()
    run.wait(30)


STAYS = """
    import os, subprocess, sys, time

    child = subprocess.Popen(
        [sys.executable, "-c", "import os, time; os.setsid(); time.sleep(600)"], start_new_session=True
    )
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    time.sleep(600)
"""


def test_a_timeout_ends_a_script_with_all_that_it_started(write, tmp_path):
    write("src/stays.py", STAYS)
    stays = script("stays.py", source_directory="src", arguments=[str(tmp_path / "pids")], timeout=2)

    @pipeline
    def flow():
        stays()

    with pytest.raises(StepFailed, match="timeout of 2 s"):
        flow.run()

    wait_until_gone(tmp_path / "pids")


def test_a_cancel_ends_a_script_with_all_that_it_started(write, tmp_path):
    write("src/stays.py", STAYS)
    stays = script("stays.py", source_directory="src", arguments=[str(tmp_path / "pids")])

    @pipeline
    def flow():
        stays()

    run = flow.submit()
    until = time.monotonic() + 30
    while not (tmp_path / "pids").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    run.cancel()
    run.wait(30)

    assert run.status == "canceled"
    wait_until_gone(tmp_path / "pids")


def test_a_script_runs_in_a_thread_too(source):
    clean = upper(compute="threads")

    @pipeline
    def flow(raw: Path):
        return read(clean(raw=raw, times=1))

    assert flow.run(raw="raw.txt").outputs["result"] == "ABC"


def test_called_outside_of_a_pipeline_a_script_just_runs(source, capfd):
    clean = upper()

    path = clean("raw.txt" and Path("raw.txt"), times=1)

    assert path.read_text() == "ABC"
    assert capfd.readouterr().out == "upper is computed\n"
    with pytest.raises(DefinitionError, match=r"step 'upper' got no value for 'times'; it takes upper\(raw, times\)"):
        clean(Path("raw.txt"))


def test_a_script_whose_folder_is_not_named_takes_its_own(source):
    clean = script("src/upper.py", arguments=["--raw", Path("raw.txt"), "--out", Output("clean")])

    assert clean().read_text() == "ABC"


FLOW = """
    from pathlib import Path

    from pipelite import pipeline
    from pipelite.steps import Output, script

    SOURCE = {source}
    write = script("write.py", source_directory=SOURCE, arguments=[Output("text")], cache=False)


    @pipeline
    def flow():
        return {{"text": write()}}


    if __name__ == "__main__":
        flow.run()
"""


@pytest.mark.parametrize("source", ['"src"', 'Path(__file__).parent / "src"'])
def test_a_rerun_takes_the_snapshot_of_the_run_and_not_the_files_of_today(write, tmp_path, source):
    import subprocess
    import sys

    write("src/write.py", "import sys; open(sys.argv[1], 'w').write('as it was')")
    flow = write("flow.py", FLOW.format(source=source))
    subprocess.run([sys.executable, str(flow)], check=True, timeout=60)
    write("src/write.py", "import sys; open(sys.argv[1], 'w').write('of today')")

    again = Workspace().runs()[0].rerun()

    assert again.outputs["text"].read_text() == "as it was"


def test_equal_source_is_stored_once(source, workspace):
    run_upper()
    (source.parent / "src" / "new.txt").write_text("")
    run_upper()
    (source.parent / "src" / "new.txt").unlink()
    run_upper(times=5)

    snapshots = [path for path in (workspace / "artifacts").glob("*/*/source") if path.is_dir()]
    assert sorted(len(list(path.iterdir())) for path in snapshots) == [1, 2]
    import subprocess
    import sys

    doctor = subprocess.run([sys.executable, "-m", "pipelite", "doctor"], capture_output=True, text=True, timeout=60)
    assert doctor.returncode == 0, doctor.stdout


def plan(made) -> None:
    @pipeline
    def flow():
        made()

    flow.run()


def test_a_source_directory_that_is_not_there_is_an_error_before_any_work():
    with pytest.raises(FingerprintError, match=r"step 'train': the source directory '.*/nowhere' does not exist"):
        plan(script("train.py", source_directory="nowhere"))


def test_a_script_that_is_not_there_is_an_error_that_names_the_folder(source):
    with pytest.raises(
        FingerprintError, match=r"step 'train': there is no file 'train.py' in the source directory '.*/src'"
    ):
        plan(script("train.py", source_directory="src"))


def test_a_script_that_is_ignored_is_an_error_that_says_so(source, write):
    write("src/.gitignore", "up*.py\n")
    with pytest.raises(FingerprintError, match=r"'upper.py' is left out of the snapshot .* a line !upper.py"):
        plan(script("upper.py", source_directory="src"))


def test_a_source_directory_over_the_limit_is_an_error_that_names_the_big_files(source, write):
    write("src/data/big.csv", "x" * 5000)
    write("src/data/small.csv", "x")
    with pytest.raises(
        FingerprintError, match=r"has 5\.\d KB, and its limit is 1\.0 KB; the biggest files are data/big.csv \(5"
    ):
        plan(script("upper.py", source_directory="src", size_limit_bytes=1000))


def test_a_link_that_leads_out_of_the_source_directory_is_refused(source, tmp_path):
    (tmp_path / "secret").write_text("")
    (source / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(FingerprintError, match=r"src/link' is a link to '.*/secret', which a snapshot does not follow"):
        plan(script("upper.py", source_directory="src"))


@pytest.mark.parametrize("file", ["../upper.py", "/tmp/upper.py", "a/../../b.py", ""])
def test_a_script_outside_of_its_source_directory_is_refused(file):
    with pytest.raises(DefinitionError, match="the file has to lie in the source directory 'src'"):
        script(file, source_directory="src")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: script("a.py", arguments="x"), r"script\('a.py'\): arguments='x' is wrong; it takes a list"),
        (
            lambda: script("a.py", arguments=[{"a": 1}]),
            "argument 1 is {'a': 1}; a command takes texts, numbers and paths",
        ),
        (lambda: script("a.py", arguments=[None]), "argument 1 is None"),
        (
            lambda: script("a.py", arguments=[read]),
            r"argument 1 is the step 'read' itself, .* did you mean read\(...\)",
        ),
        (lambda: script("a.py", arguments=[Output("x"), Output("x")]), "'x' is the name of two outputs"),
        (lambda: script("a.py", arguments=[Output("x"), Input("x")]), "'x' is the name of an input and of an output"),
        (lambda: script("a.py", outputs=("x",)), r"outputs= is not taken; write Output\(\"name\"\)"),
        (lambda: script("a.py", retrys=2), r"script\('a.py'\) has no option 'retrys'; did you mean 'retries'\?"),
        (lambda: script("a.py", size_limit_bytes=0), "size_limit_bytes=0 is wrong"),
        (lambda: script("a.py").with_options(outputs=("x",)), "outputs= is not taken"),
        (lambda: Input("not a name"), r"Input\('not a name'\) is wrong"),
        (lambda: Output("x", file_name="../y"), r"Output\('x'\): file_name='../y' is wrong"),
    ],
)
def test_mistakes_are_found_where_they_are_written(make, message):
    with pytest.raises(DefinitionError, match=message):
        make()


def test_a_script_step_travels_with_all_that_was_said_of_it(source):
    import pickle

    clean = pickle.loads(pickle.dumps(upper(retries=2)))

    assert clean(raw=Path("raw.txt"), times=2).read_text() == "ABCABC"
    assert (clean.name, clean.options.retries) == ("upper", 2)


def test_a_call_with_a_wrong_argument_names_what_the_script_takes(source):
    clean = upper()

    @pipeline
    def flow():
        clean(row="raw.txt", times=1)

    with pytest.raises(
        DefinitionError, match=r"takes no argument 'row'; did you mean 'raw'.*It takes upper\(raw, times\)"
    ):
        flow.run()
