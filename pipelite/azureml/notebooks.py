"""Reads notebooks, and runs their cells one after the other in this process: without a kernel, and without their magics."""

from __future__ import annotations

import ast
import io
import json
import linecache
import os
import re
import sys
import tokenize
from pathlib import Path
from typing import Any

import attrs

from pipelite.azureml.exceptions import UserErrorException

_MAGIC = re.compile(r"(?P<space>\s*)(?:[\w, ]+=\s*)?(?:%{1,2}|!{1,2}|\?)\S|.*[\w)]\?{1,2}\s*$")
#: Magics whose argument or cell is code that counts.
_TIMED = ("time", "capture", "prun")
_WRITE = re.compile(r"%%(?:writefile|file)\s+(?P<append>-a\s+|--append\s+)?(?P<file>.+?)\s*$")
_CD = re.compile(r"\s*%cd\s+(?:-q\s+)?(?P<folder>[^-\s].*?)\s*$")
#: What IPython fills in on the line of a magic.
_FILLED = re.compile(r"\{(?P<expression>[^{}]+)\}|\$(?P<name>[A-Za-z_]\w*)")


@attrs.frozen(kw_only=True)
class Written:
    """What a cell with `%%writefile` writes."""

    #: Path, with what is to be filled in.
    file: str
    text: str
    is_appended: bool


@attrs.frozen(kw_only=True)
class Cell:
    """A cell with code."""

    #: From 1, of the cells with code, as Jupyter counts them when all are run.
    number: int
    #: Python; a line that is not is empty, so that lines keep their numbers.
    code: str
    #: Lines that are not run.
    skipped: tuple[str, ...] = ()
    written: Written | None = None


def read_cells(path: str) -> list[Cell]:
    """The cells of a notebook that have code.

    Raises
    ------
    UserErrorException
        If it is no notebook, or one of another form than today's.
    """
    try:
        book = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        cells = [each for each in book["cells"] if each["cell_type"] == "code"]
        sources = [each["source"] if isinstance(each["source"], str) else "".join(each["source"]) for each in cells]
    except (ValueError, KeyError, TypeError) as exc:
        raise UserErrorException(f"{path!r} is no notebook of format 4 that can be read: {exc!r}") from exc
    return [_read_cell(number, source) for number, source in enumerate(sources, 1)]


def name_of(path: str, number: int) -> str:
    """What a cell is called in messages and tracebacks."""
    return f"{os.path.basename(path)}, cell {number}"


def run_cells(path: str, namespace: dict[str, Any]) -> None:
    """Run all cells; an error says in which one it was."""
    namespace.setdefault("display", lambda *values, **_: print(*values, sep="\n"))
    for cell in read_cells(path):
        name = name_of(path, cell.number)
        for line in cell.skipped:
            print(f"{name}: not run: {line}", file=sys.stderr)
        try:
            if cell.written is not None:
                _write(cell.written, namespace)
            else:
                _run(cell.code, name, namespace)
        except Exception as exc:
            exc.add_note(f"This was in cell {cell.number} of {path}.")
            raise


def fill_in(text: str, namespace: dict[str, Any]) -> str:
    """A line of a magic with the values of variables, as IPython has it; what is none stays as it is."""

    def value(found: re.Match[str]) -> str:
        try:
            return str(eval(found["expression"] or found["name"], namespace))  # noqa: S307 - code of the notebook
        except (NameError, SyntaxError):
            return found[0]

    return _FILLED.sub(value, text)


def _run(code: str, name: str, namespace: dict[str, Any]) -> None:
    # Where tracebacks look for lines.
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    tree = ast.parse(code, name)
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr) and not code.rstrip().endswith(";"):
        # What a notebook shows below the cell.
        tree.body.pop()
        exec(compile(tree, name, "exec"), namespace)  # noqa: S102 - what it is for
        shown = eval(compile(ast.Expression(last.value), name, "eval"), namespace)  # noqa: S307 - the same
        if shown is not None:
            print(repr(shown))
    else:
        exec(compile(tree, name, "exec"), namespace)  # noqa: S102 - the same


def _write(written: Written, namespace: dict[str, Any]) -> None:
    file = os.path.expanduser(fill_in(written.file, namespace))
    verb = "Appending to" if written.is_appended else "Overwriting" if os.path.exists(file) else "Writing"
    with open(file, "a" if written.is_appended else "w", encoding="utf-8") as stream:
        stream.write(written.text)
    print(f"{verb} {file}")


def _read_cell(number: int, source: str) -> Cell:
    # As IPython does, where the whole cell is indented like its first line.
    indent = re.match(r"(?:[ \t]*\n)*([ \t]+)\S", source)
    if indent is not None:
        source = re.sub(f"(?m)^{indent[1]}", "", source)
    # A magic of the cell may stand behind empty lines.
    first, _, rest = source.lstrip().partition("\n")
    if not first.startswith("%%"):
        return _without_magics(number, source)
    found = _WRITE.match(first)
    if found is not None:
        file = found["file"].strip("'\"")
        text = rest if rest.endswith("\n") or not rest else f"{rest}\n"
        return Cell(number=number, code="", written=Written(file=file, text=text, is_appended=bool(found["append"])))
    if first[2:].split()[:1] and first[2:].split()[0] in _TIMED:
        above = source[: len(source) - len(rest)].count("\n")
        return _without_magics(number, "\n" * above + rest)
    return Cell(number=number, code="", skipped=(first,))


def _without_magics(number: int, source: str) -> Cell:
    """A cell with nothing in the place of lines that are no Python, where a statement may begin."""
    lines: list[str] = []
    skipped: list[str] = []
    statement: list[str] = []
    goes_on = False
    for line in source.splitlines():
        found = None if statement or goes_on else _MAGIC.match(line)
        if goes_on:
            skipped[-1] += f" {line.strip()}"
            lines.append("")
        elif found is not None and not _is_python(line):
            timed = re.match(r"\s*%time\s+(.*)", line)
            if timed:
                lines.append(f"{found['space']}{timed[1]}")
                continue
            gone = _CD.match(line)
            if gone:
                lines.append(f"{found['space'] or ''}{_change_folder(gone['folder'])}")
                continue
            skipped.append(line.strip())
            lines.append(f"{found['space'] or ''}pass")
        else:
            statement.append(line)
            lines.append(line)
            if not _is_open("\n".join(statement)):
                statement = []
            continue
        goes_on = line.endswith("\\")
    return Cell(number=number, code="\n".join(lines), skipped=tuple(skipped))


def _change_folder(folder: str) -> str:
    """`%cd` as Python, with variables filled in when it runs."""
    text = _FILLED.sub(lambda found: f"{{{found['expression'] or found['name']}}}", folder.strip("'\""))
    return f"__import__('os').chdir(__import__('os').path.expanduser(f{text!r}))"


def _is_python(line: str) -> bool:
    try:
        ast.parse(line.strip())
    except SyntaxError:
        return False
    return True


def _is_open(text: str) -> bool:
    """Whether a bracket, a text of several lines or a line with a backslash at its end goes on."""
    if text.endswith("\\"):
        return True
    try:
        list(tokenize.generate_tokens(io.StringIO(f"{text}\n").readline))
    except tokenize.TokenError as exc:
        return "multi-line" in str(exc) or "triple-quoted" in str(exc)
    except SyntaxError:
        return False
    return False
