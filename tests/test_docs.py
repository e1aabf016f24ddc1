"""Every code block of README.rst and docs/ is run, in the order of its page, in an empty folder per page.

- ``python``: run as a script. With a first line ``# name.py`` it is written to that file for the commands below it,
  one of which has to use it.
- ``console``: each ``$`` line is run in a shell; where lines follow, they are its output. ``...`` stands for anything;
  ids of runs, times, and figures with a unit of time or size are not compared. With ``:class: fails`` the last command
  has to fail; with ``:class: any-order`` lines may come in any order, as those of steps that run side by side do.
- ``nginx``: on the page about serving only; tests/serve/test_nginx.py has nginx use it.
- ``text``: not code (a picture, a listing of files), so it may not look like code.

Of a set-up command of the README (``python3 -m venv ...``) only the last part is run, and only if it is not these tests
themselves: installing is what continuous integration does, by the same line (tests/test_project.py).
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from pipelite.execute import badges

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.rst", *sorted((ROOT / "docs").glob("*.rst"))]

DIRECTIVE = re.compile(r"^(?P<indent> *)\.\. (?:code-block|code|sourcecode)::(?P<language>.*)$")
#: What differs from machine to machine and from run to run, and what stands for it in comparisons.
VARYING = (
    (re.compile(r"\b\d{8}-\d{6}-\w{6}\b"), "<run>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b"), "<time>"),
    (re.compile(r"\b\d[\d.,]* ?(ms|s|min|kB|KB|MB|GB|bytes)\b"), r"<\1>"),
    # Columns are as wide as the widest figure in them.
    (re.compile(r"(?<=\S) {2,}"), "  "),
)


@dataclass
class Block:
    language: str
    classes: tuple[str, ...]
    code: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    found = []
    number = 0
    while number < len(lines):
        match = DIRECTIVE.match(lines[number])
        number += 1
        if not match:
            continue
        start = number
        depth = len(match["indent"])
        while number < len(lines) and (not lines[number].strip() or indent(lines[number]) > depth):
            number += 1
        body = textwrap.dedent("\n".join(lines[start:number])).strip("\n")
        options = re.match(r"(?::[\w-]+:.*\n)*", body + "\n").group()
        classes = re.findall(r"^:class: (.*)$", options, re.MULTILINE)
        code = body[len(options) :].strip("\n") + "\n"
        found.append(Block(match["language"].strip(), tuple(" ".join(classes).split()), code, start))
    return found


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def commands_of(code: str) -> list[tuple[str, str]]:
    """Each command with the output that is shown below it; a command that ends in a backslash goes on."""
    assert code.startswith("$ "), f"a console block starts with a command: {code!r}"
    return [split_command(part) for part in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]]


def split_command(part: str) -> tuple[str, str]:
    lines = part.splitlines(keepends=True)
    count = next(number for number, line in enumerate(lines, 1) if not line.endswith("\\\n"))
    return "".join(lines[:count]).strip(), "".join(lines[count:])


def run(command: list[str] | str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run as a new user would: this environment's commands first on PATH, no terminal, a workspace in the folder."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PIPELITE") and name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    }
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["COLUMNS"] = "100"
    environment["PAGE_OF_THE_DOCS"] = str(folder)
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        shell=isinstance(command, str),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def lines_of(text: str) -> list[str]:
    for pattern, standard in VARYING:
        text = pattern.sub(standard, text)
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def is_shown(want: list[str], got: list[str]) -> bool:
    """Whether an output is as the page shows it, `...` standing for anything."""
    want_text, got_text = ("\n".join([*lines, ""]) for lines in (want, got))
    return doctest.OutputChecker().check_output(want_text, got_text, doctest.ELLIPSIS)


def is_shown_in_any_order(want: list[str], got: list[str]) -> bool:
    """The same, line by line; a line `...` stands for any number of lines."""
    left = list(got)
    for line in want:
        if line == "...":
            continue
        found = next((each for each in left if is_shown([line], [each])), None)
        if found is None:
            return False
        left.remove(found)
    return "..." in want or not left


def check_output(want: str, got: str, *, any_order: bool, place: str) -> None:
    compare = is_shown_in_any_order if any_order else is_shown
    assert compare(lines_of(want), lines_of(got)), f"{place}: shown is\n\n{want}\nand printed was\n\n{got}"


class PageRunner:
    """Runs the blocks of one page one after the other."""

    def __init__(self, page: Path, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.unused_files: set[str] = set()

    def run(self, block: Block) -> None:
        place = f"{self.page.name}:{block.line}"
        runner = getattr(self, f"run_{block.language}", None)
        assert runner, f"{place}: blocks in {block.language or 'no'} language cannot be run; see tests/test_docs.py"
        runner(block, place)

    def run_python(self, block: Block, place: str) -> None:
        name = re.match(r"# ([\w/]+\.py)\n", block.code)
        if name:
            path = self.folder / name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code.removeprefix(name[0]), encoding="utf-8")
            compile(path.read_text(encoding="utf-8"), place, "exec")
            self.unused_files.add(path.stem)
            return
        script = self.folder / f"block_{block.line}.py"
        script.write_text(block.code, encoding="utf-8")
        done = run([sys.executable, str(script)], self.folder)
        assert done.returncode == 0, f"{place}: {done.stdout}"

    def run_console(self, block: Block, place: str) -> None:
        commands = commands_of(block.code)
        for number, (command, output) in enumerate(commands, 1):
            done = self.run_command(command)
            if done is None:
                continue
            fails = "fails" in block.classes and number == len(commands)
            assert (done.returncode != 0) == fails, f"{place}: {command}: exit {done.returncode}\n{done.stdout}"
            if output.strip():
                check_output(output, done.stdout, any_order="any-order" in block.classes, place=place)

    def run_command(self, command: str) -> subprocess.CompletedProcess[str] | None:
        """None if these tests are what the command runs."""
        self.unused_files -= {name for name in self.unused_files if re.search(rf"\b{name}\b", command)}
        if not command.startswith("python3 -m venv "):
            return run(command, self.folder)
        last = command.rpartition("&&")[2].split()
        return None if last[1:] == ["-m", "pytest"] else run([sys.executable, *last[1:]], ROOT)

    def run_nginx(self, block: Block, place: str) -> None:
        assert self.page.name == "serving.rst", (
            f"{place}: tests/serve/test_nginx.py takes its configuration from elsewhere"
        )

    def run_text(self, block: Block, place: str) -> None:
        looks_like_code = re.search(r"^(\$ |>>> |import |from \w+ import |def |@)", block.code, re.MULTILINE)
        assert not looks_like_code, f"{place}: this is code, so it has to be run"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_code_block_runs(page: Path, tmp_path: Path):
    runner = PageRunner(page, tmp_path)

    try:
        for block in blocks_of(page):
            runner.run(block)
    finally:
        # What a page starts it also ends, unless one of its blocks failed.
        badges.end_wearers(str(tmp_path), timeout_s=10)

    assert not runner.unused_files, "files that no command below them uses"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_code_hides_from_these_tests(page: Path):
    text = page.read_text(encoding="utf-8")

    hidden = [
        line for line in text.splitlines() if line.rstrip().endswith("::") and not re.match(r" *\.\. [\w-]+::", line)
    ]

    assert hidden == [], "write literal blocks as `.. code-block::`"
    assert not re.search(r"^ *\.\. (literalinclude|parsed-literal|highlight|testcode|doctest)::", text, re.MULTILINE)
    assert not re.search(r"^ *>>> ", text, re.MULTILINE)


def commands_below(command: click.Command, *names: str):
    """Every command with the words that call it."""
    yield " ".join(names), command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands_below(child, *names, name)


def all_commands() -> dict[str, click.Command]:
    from pipelite.cli import main

    assert isinstance(main, click.Group)
    return dict(commands_below(main, "pipelite"))


def test_every_command_has_help():
    without = [words for words, command in all_commands().items() if not (command.help or "").strip()]

    assert without == []


def test_every_command_and_no_other_is_documented():
    documented = re.findall(r"^ *\$ (pipelite[ \w-]*?) --help$", (ROOT / "docs" / "cli.rst").read_text(), re.MULTILINE)

    assert sorted(documented) == sorted(all_commands())


def test_every_option_has_help():
    without = [
        f"{words} {option.opts[0]}"
        for words, command in all_commands().items()
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]

    assert without == []


def test_every_page_is_in_the_table_of_contents():
    contents = (ROOT / "docs" / "index.rst").read_text(encoding="utf-8")

    for page in (ROOT / "docs").glob("*.rst"):
        assert page.name == "index.rst" or re.search(rf"^ +{page.stem}$", contents, re.MULTILINE), page.name
