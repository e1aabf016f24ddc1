"""The command as a whole."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import pipelite
from pipelite.cli import main
from pipelite.cli.main import PipeliteGroup
from pipelite.cli.output import print_json
from pipelite.errors import PipeliteError, WorkspaceError

HEAVY = ("attrs", "blake3", "joblib", "numpy", "rich", "sqlite3", "sqlite_utils")


@pytest.fixture
def failing():
    """Make a command that raises what it is given."""

    def make(error):
        @click.group(cls=PipeliteGroup)
        def group():
            pass

        @group.command()
        def go():
            raise error

        return CliRunner().invoke(group, ["go"])

    return make


def test_the_version_is_shown():
    assert CliRunner().invoke(main, ["--version"]).output == f"pipelite, version {pipelite.__version__}\n"


def test_every_command_and_option_has_help():
    waiting = [("pipelite", main)]
    while waiting:
        words, command = waiting.pop()
        assert command.help, words
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, (words, parameter.name)
        waiting += [(f"{words} {name}", child) for name, child in getattr(command, "commands", {}).items()]


def test_every_command_that_shows_something_can_print_json():
    leaves = [*main.commands.values(), *main.commands["runs"].commands.values()]

    for command in leaves:
        if not isinstance(command, click.Group):
            assert {"as_json"} <= {parameter.name for parameter in command.params}, command.name
            assert any("--workspace" in parameter.opts for parameter in command.params), command.name


def test_help_imports_none_of_the_rooms():
    code = (
        "import sys\nfrom pipelite.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("error", "code"), [(PipeliteError("it broke"), 1), (WorkspaceError("it broke"), 2)])
def test_an_error_that_pipelite_explains_is_one_message_and_an_exit_code(failing, error, code):
    result = failing(error)

    assert result.exit_code == code
    assert result.stderr == "Error: it broke\n"


def test_a_bug_keeps_its_traceback(failing):
    assert isinstance(failing(KeyError("bug")).exception, KeyError)


def test_an_interrupt_exits_with_130(failing):
    assert failing(KeyboardInterrupt()).exit_code == 130


def test_json_has_no_numbers_that_json_does_not_have(capsys):
    print_json({"a": [float("nan"), 1.5, float("inf")]})

    assert capsys.readouterr().out.split() == ["{", '"a":', "[", "null,", "1.5,", "null", "]", "}"]
