"""Every edit that matters is seen, and no other: R11 (c)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from edits.counting import COUNTING
from edits.layout import LAYOUT

EDITS = Path(__file__).parent / "edits"
#: Reaches the same program through an import inside a function: from source that is never imported.
LAZY_STEP = "def step(x):\n    import flow\n    return flow.step(x)\n"


def install(folder: Path, name: str, version: str) -> None:
    package = folder / "site-packages" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("def compute(x):\n    return x\n\n\ndef other(x):\n    return x\n")
    metadata = folder / "site-packages" / f"{name}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nVersion of it.\n")
    (metadata / "RECORD").write_text(f"{name}/__init__.py,,\n")


def write_variants(root: Path, edits: Iterable[tuple[Any, ...]]) -> list[Path]:
    base = root / "base"
    shutil.copytree(EDITS / "program", base)
    install(base, "fakelib", "1.0")
    install(base, "otherlib", "1.0")
    (base / "lazy_step.py").write_text(LAZY_STEP)
    (base / "unused.py").write_text("SPARE = 1\n")
    (base / "moved.py").write_text("def deep(x):\n    return x - 42\n")
    folders = [base]
    for number, (_, file, old, new, *_) in enumerate(edits):
        folder = root / f"edit{number}"
        shutil.copytree(base, folder)
        text = (folder / file).read_text()
        changed = text.replace(old, new, 1) if file.startswith("site-packages") else text.replace(old, new)
        assert old in text, f"{file} has no {old!r}"
        assert new == "\r\n" or file.startswith("site-packages") or text.count(old) == 1, f"{old!r} is not unique"
        (folder / file).write_text(changed, newline="")
        folders.append(folder)
    return folders


def fingerprint_all(folders: list[Path], module: str) -> list[dict[str, Any]]:
    command = [sys.executable, str(EDITS / "fingerprint_variants.py"), module]
    environment = {"PYTHONPATH": str(EDITS.parents[2]), "PATH": ""}
    done = subprocess.run(
        command, input="\n".join(map(str, folders)), capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["error"] for one in found if "error" in one] == []
    return found


def changed_parts(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {label for label, identity in before["parts"].items() if after["parts"].get(label) != identity}


@pytest.mark.parametrize("module", ["flow", "lazy_step"])
def test_no_edit_that_matters_is_missed(module: str, tmp_path: Path) -> None:
    base, *variants = fingerprint_all(write_variants(tmp_path, COUNTING), module)

    stale = [edit[0] for edit, one in zip(COUNTING, variants, strict=True) if one["digest"] == base["digest"]]

    assert len(COUNTING) >= 40
    assert stale == []
    assert len({one["digest"] for one in variants}) == len(variants)
    if module == "flow":
        # From source alone some parts go by other names: what is decorated, say, is one part with its decorator.
        expected = {edit[0]: {edit[-1]} for edit in COUNTING if edit[-1]}
        found = {edit[0]: changed_parts(base, one) for edit, one in zip(COUNTING, variants, strict=True) if edit[-1]}
        assert found == expected


@pytest.mark.parametrize("module", ["flow", "lazy_step"])
def test_no_edit_that_does_not_matter_changes_anything(module: str, tmp_path: Path) -> None:
    base, *variants = fingerprint_all(write_variants(tmp_path, LAYOUT), module)

    needless = {
        edit[0]: sorted(changed_parts(base, one))
        for edit, one in zip(LAYOUT, variants, strict=True)
        if one["digest"] != base["digest"]
    }

    assert len(LAYOUT) >= 40
    assert needless == {}


@pytest.mark.parametrize("module", ["flow", "lazy_step"])
def test_the_same_program_elsewhere_has_the_same_fingerprint(module: str, tmp_path: Path) -> None:
    here, there = write_variants(tmp_path / "here", []) + write_variants(tmp_path / "there" / "deep", [])

    one, other = fingerprint_all([here, there], module)

    assert one == other
    assert one["not_tracked"] == []
    # What is imported inside functions is followed from its source, and not imported.
    assert one["loaded"] == (["flow"] if module == "flow" else [])
    assert {"helpers.py", "lazy/inner.py", "lazy/constants.py", "named.py"} <= set(one["sources"])
