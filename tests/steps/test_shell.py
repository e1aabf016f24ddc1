"""A command is an argument vector; what it reads and writes are inputs and outputs of its step."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipelite import pipeline, step
from pipelite.errors import DefinitionError, StepFailed
from pipelite.steps import Input, Output, shell


@step
def make_table(rows: list[str]) -> Path:
    from pipelite import current_run

    path = current_run().scratch / "table.csv"
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


@step
def read(path: Path) -> str:
    return path.read_text()


def test_a_command_takes_and_makes_files():
    sort = shell(["sort", "-r", Input("table"), "-o", Output("sorted")])

    @pipeline
    def flow(rows: list):
        return read(sort(make_table(rows)))

    run = flow.run(rows=["a", "c", "b"])

    assert run.outputs["result"] == "c\nb\na\n"
    assert flow.run(rows=["a", "c", "b"]).steps["sort"].reused
    assert not flow.run(rows=["b", "a"]).steps["sort"].reused


def test_what_a_command_prints_goes_to_its_log_or_to_an_output(write):
    write("table.csv", "a\nb\n")
    shown = shell(["cat", Path("table.csv")], name="shown", cache=True)
    kept = shell(["cat", Path("table.csv")], name="kept", stdout=Output("copy", file_name="copy.csv"))

    @pipeline
    def flow():
        shown()
        return kept()

    run = flow.run()

    assert run.steps["shown"].logs == "a\nb\n"
    assert run.steps["kept"].logs == ""
    assert (run.outputs["result"].name, run.outputs["result"].read_text()) == ("copy.csv", "a\nb\n")


def test_no_shell_looks_at_the_arguments():
    echo = shell(["echo", "$HOME", "*", "; false", Input("text")], stdout=Output("said"))

    @pipeline
    def flow(text: str):
        return read(echo(text))

    assert flow.run(text="$(id) | `id`").outputs["result"] == "$HOME * ; false $(id) | `id`\n"


def test_a_command_runs_in_an_empty_folder_or_in_a_copy_of_its_source(write):
    write("tools/count.sh", "#!/bin/sh\nls\nwc -l < words.txt\n").chmod(0o755)
    write("tools/words.txt", "a\nb\n")
    alone = shell(["ls", "-A"], cache=True)
    count = shell(["./count.sh"], source_directory="tools", cache=True)

    @pipeline
    def flow():
        alone()
        count()

    run = flow.run()

    assert run.steps["ls"].logs == "outputs\n"
    assert run.steps["count.sh"].logs.split() == ["count.sh", "outputs", "words.txt", "2"]


def test_a_command_may_log_to_its_step():
    code = "from pipelite import current_run; current_run().log('size', 3)"
    log = shell([sys.executable, "-c", code], name="log")

    @pipeline
    def flow():
        log()

    assert flow.run().metrics["size"] == 3


def test_a_command_that_fails_says_how_and_what_it_printed_last():
    bad = shell(["sh", "-c", "echo no such table >&2; exit 4"])

    @pipeline
    def flow():
        bad()

    with pytest.raises(StepFailed, match=r"step 'sh' failed: CommandError: sh exited with code 4; .*\nno such table\n"):
        flow.run()


def test_a_program_that_is_not_there_is_an_error_that_names_it():
    missing = shell(["no-such-program"])

    @pipeline
    def flow():
        missing()

    with pytest.raises(StepFailed, match="there is no program 'no-such-program'"):
        flow.run()


def test_a_path_that_is_gone_is_an_error_that_names_the_step_and_the_input():
    count = shell(["wc", Input("table")])

    @pipeline
    def flow(table: Path):
        count(table)

    with pytest.raises(Exception, match=r"step 'wc', argument 'table': there is no file or folder 'nowhere.csv'"):
        flow.run(table="nowhere.csv")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: shell("sort x"), r"a command is a list: .* write shell\(\[\"sh\", \"-c\", 'sort x'\]\)"),
        (lambda: shell([]), "the first of a command is a program"),
        (lambda: shell([Input("program")]), "the first of a command is a program"),
        (lambda: shell(["ls"], stdout="x"), "stdout='x' is wrong; it takes an Output"),
        (lambda: shell(["ls", Output("x")], stdout=Output("x")), "'x' is the name of two outputs"),
    ],
)
def test_mistakes_are_found_where_they_are_written(make, message):
    with pytest.raises(DefinitionError, match=message):
        make()
