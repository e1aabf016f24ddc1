"""What docs/coverage.rst and docs/azureml.rst name is there."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import pipelite.azureml

ROOT = Path(__file__).parents[2]
COVERAGE = (ROOT / "docs" / "coverage.rst").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "azureml.rst").read_text(encoding="utf-8")
MISSING = "not there yet"


def rows_of(text: str) -> list[list[str]]:
    """The cells of all rows of list tables, without the rows of headings."""
    tables = re.split(r"^\.\. list-table::\n", text, flags=re.MULTILINE)[1:]
    found = []
    for table in tables:
        body = re.match(r"(?:(?:   .*)?\n)+", table)
        assert body, table
        rows = re.split(r"^   \* - ", body[0], flags=re.MULTILINE)[2:]
        found += [[cell.strip() for cell in re.split(r"^     - ", row, flags=re.MULTILINE)] for row in rows]
    return found


CAPABILITIES = rows_of(COVERAGE)


def test_each_of_the_five_documents_has_its_table():
    titles = re.findall(r"^(\d{3}): .*\n-+$", COVERAGE, re.MULTILINE)

    assert titles == ["000", "001", "002", "003", "004"]
    assert len(CAPABILITIES) > 80
    assert {len(row) for row in CAPABILITIES} == {4}


@pytest.mark.parametrize("what, pages, example, tests", CAPABILITIES, ids=[row[0] for row in CAPABILITIES])
def test_every_page_example_and_test_of_a_capability_exists(what, pages, example, tests):
    named = re.findall(r":doc:`(\w+)`", pages)
    assert named
    assert [page for page in named if not (ROOT / "docs" / f"{page}.rst").is_file()] == []

    folder = example.strip("`")
    assert example == MISSING or list((ROOT / "examples" / folder).glob("*.*"))

    written = re.findall(r"``([\w/.]+)::(\w+)``", tests)
    assert written or tests == MISSING
    for file, name in written:
        assert re.search(rf"^ *def {name}\(", (ROOT / "tests" / file).read_text(encoding="utf-8"), re.MULTILINE), name


def names_of_azureml() -> dict[str, object]:
    found: dict[str, object] = {}
    for info in pkgutil.walk_packages(pipelite.azureml.__path__, "pipelite.azureml."):
        # One runs a script, one is for processes of steps, and one warns that v1 had no such module.
        if info.name.endswith((".__main__", ".pipeline.step")) or ".shim" in info.name:
            continue
        module = importlib.import_module(info.name)
        # What is imported from elsewhere does not count; plain values have no module.
        found |= {
            name: value
            for name, value in vars(module).items()
            if not inspect.ismodule(value) and getattr(value, "__module__", info.name).startswith("pipelite.azureml")
        }
    return found


def test_every_name_of_the_sdk_in_the_guide_is_one_that_scripts_find():
    names = names_of_azureml()
    every_name = GUIDE.partition("\nEvery name\n")[2].partition("\nWhat v1 refused\n")[0]
    rows = [row for row in rows_of(every_name) if not row[1].lower().startswith(MISSING)]
    given = [name for row in rows for name in re.findall(r"``([A-Z]\w+(?:\.\w+)?)``", row[0])]

    assert len(given) > 100
    for name in given:
        first, _, second = name.partition(".")
        assert first in names, name
        if second:
            found = names[first]
            assert hasattr(found, second) or f"self.{second}" in inspect.getsource(found), name
