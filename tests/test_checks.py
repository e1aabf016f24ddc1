"""The checks of style, types, layers and docs, so that one command runs everything."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    ["ruff check", "ruff format --check", "mypy", "lint-imports"],
)
def test_the_code_passes(command: str):
    tool, *arguments = command.split()

    done = subprocess.run([BIN / tool, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_docs_build_without_a_warning(tmp_path: Path):
    command = [BIN / "sphinx-build", "-W", "--keep-going", "-q", "-d", tmp_path / "doctrees", "docs", tmp_path / "html"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "html" / "index.html").is_file()


#: The clock itself; and programs that run by the path of their file, or on other machines, without the package.
OF_THE_MACHINE = {"clock.py", "execute/badges.py", "steps/databricks_guard.py"}


def calls_of_the_time(tree: ast.AST) -> list[int]:
    """Lines that ask the machine for the time, or import what does."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            is_call = any(name.name == "time" for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            is_call = node.module == "time"
        elif isinstance(node, ast.Constant):
            # In the language of the database: dates have no other word for the present.
            is_call = isinstance(node.value, str) and bool(
                re.search(r"\(.*'now'|CURRENT_(TIME|DATE)|unixepoch\(", node.value)
            )
        else:
            is_call = (
                isinstance(node, ast.Attribute)
                and node.attr in ("now", "utcnow", "today")
                and (ast.unparse(node.value) in ("datetime", "date", "datetime.datetime", "datetime.date"))
            )
        if is_call:
            lines.append(node.lineno)
    return lines


def test_all_time_comes_from_the_one_clock():
    package = ROOT / "pipelite"
    found = {
        str(path.relative_to(package)): calls_of_the_time(ast.parse(path.read_text(encoding="utf-8")))
        for path in package.rglob("*.py")
    }

    assert {name for name, lines in found.items() if lines} == OF_THE_MACHINE
