"""Fingerprints of what notebook cells define: their source is in no file, only where Python looks lines up."""

from __future__ import annotations

import ast
import asyncio
import inspect
import itertools
import linecache

import pytest

from pipelite.fingerprint import Fingerprinter


class Notebook:
    """Runs cells as ipykernel does: each under a file name that does not exist, its text registered by that name."""

    def __init__(self, monkeypatch):
        self.names = {"__name__": "__main__", "__builtins__": __builtins__}
        self._numbers = itertools.count(1)
        self._monkeypatch = monkeypatch

    def run(self, text):
        name = f"/tmp/ipykernel_0/{next(self._numbers)}.py"
        self._monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(keepends=True), name))
        tree = compile(text, name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for node in tree.body:
            # Cell by cell, statement by statement, in one namespace.
            code = compile(ast.Module([node], []), name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = eval(code, self.names)
            if inspect.iscoroutine(result):
                asyncio.run(result)

    def digest(self, name):
        return Fingerprinter().code(self.names[name]).digest


@pytest.fixture
def notebook(monkeypatch):
    return Notebook(monkeypatch)


def test_a_function_has_its_source(notebook):
    notebook.run("RATE = 2\n\ndef f(x):\n    return x * RATE\n")

    found = Fingerprinter().code(notebook.names["f"])

    assert [label.rpartition(".")[2] for label in found.parts] == ["f", "RATE"]
    assert found.not_tracked == ()
    assert found.sources == {}


def test_a_cell_that_runs_again_changes_nothing(notebook):
    notebook.run("def f(x):\n    return x * 2\n")
    before = notebook.digest("f")
    notebook.run("\n# Again.\ndef f(x):\n    return x * 2\n")

    assert notebook.digest("f") == before


def test_a_function_that_is_defined_anew_is_new(notebook):
    notebook.run("def f(x):\n    return x * 2\n")
    before = notebook.digest("f")
    notebook.run("def f(x):\n    return x * 3\n")

    assert notebook.digest("f") != before


def test_a_helper_that_is_defined_anew_counts(notebook):
    notebook.run("def g(x):\n    return x\n")
    notebook.run("def f(x):\n    return g(x)\n")
    before = notebook.digest("f")
    notebook.run("def g(x):\n    return x + 1\n")

    assert notebook.digest("f") != before


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("class C:\n    def m(self):\n        return 1\n", "class C:\n    def m(self):\n        return 2\n"),
        ("class C:\n    x: int = 1\n", "class C:\n    x: float = 1\n"),
        ("class C:\n    x = 1\n", "class C:\n    x = 2\n"),
    ],
)
def test_a_class_that_is_defined_anew_counts(notebook, first, second):
    notebook.run("def f():\n    return C()\n")
    notebook.run(first)
    before = notebook.digest("f")
    notebook.run("1 + 1\n" + first)
    again = notebook.digest("f")
    notebook.run(second)

    assert again == before
    assert notebook.digest("f") != before


def test_cells_may_await_at_the_top(notebook):
    notebook.run("def f(x):\n    return x\n\nasync def g():\n    return 1\n")
    before = notebook.digest("f")
    notebook.run("def f(x):\n    return x\n\nif False:\n    await g()\n")

    assert notebook.digest("f") == before


def test_a_cell_and_a_file_agree(notebook, tmp_path, monkeypatch):
    text = "def f(x):\n    return x * 2\n"
    (tmp_path / "cell_as_file.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    import cell_as_file

    notebook.run(text)

    assert Fingerprinter().code(cell_as_file.f).digest == notebook.digest("f")
