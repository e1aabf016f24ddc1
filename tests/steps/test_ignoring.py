"""Ignore files mean in a snapshot what they mean to git, which these tests ask."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pipelite.errors import FingerprintError
from pipelite.fingerprint import digest_file
from pipelite.store import SourceFolder, take_snapshot

FILES = (
    "a.txt",
    "b.log",
    "#c",
    "!d",
    "e f.txt",
    "logs/a.txt",
    "logs/b.log",
    "logs/deep/keep.log",
    "src/main.c",
    "src/logs/a.txt",
    "src/deep/er/x.tmp",
    "src/deep/er/y1.c",
    "src/deep/er/y2.c",
    "doc/frotz/a",
    "a/doc/frotz/b",
    "foo/x/bar",
    "foo/bar",
    "foo/x/y/bar",
    "name[1].txt",
)

RULES = (
    "*.log",
    "logs/",
    "/logs",
    "logs\n!logs/deep",
    "*.log\n!keep.log",
    "logs/*\n!logs/deep/",
    "doc/frotz/",
    "frotz",
    "**/logs",
    "foo/**/bar",
    "src/**",
    "src/*",
    "/*\n!/src",
    "*.[ct]*",
    "y[!2].c",
    "y?.c",
    "# a comment\n\n\\#c",
    "\\!d",
    "e f.txt   ",
    "name\\[1\\].txt",
    "name[1].txt",
    "deep/",
    "src/deep/er/*.tmp",
    "*\n!*/\n!*.c",
    "a",
    "[",
)


def fill(folder: Path) -> None:
    for name in FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def names_of(folder: Path) -> set[str]:
    return set(take_snapshot(SourceFolder(str(folder), "", 10**9)).files)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("rules", RULES)
def test_a_rule_leaves_out_what_it_leaves_out_for_git(tmp_path, rules):
    fill(tmp_path)
    (tmp_path / ".gitignore").write_text(rules)
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    listed = subprocess.run(
        ["git", "-c", "core.quotePath=off", "ls-files", "-z", "--others", "--exclude-standard"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert names_of(tmp_path) == {name for name in listed.split("\0") if name}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_rules_of_a_folder_hold_below_it_and_before_those_above(tmp_path):
    fill(tmp_path)
    (tmp_path / ".gitignore").write_text("*.log\n*.txt")
    (tmp_path / "logs" / ".gitignore").write_text("!b.log\n/deep")
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout

    assert names_of(tmp_path) == set(listed.splitlines())


def test_pipeliteignore_stands_in_for_gitignore(tmp_path):
    fill(tmp_path)
    (tmp_path / ".gitignore").write_text("*")
    (tmp_path / ".pipeliteignore").write_text("*/\n[!a]*")

    assert names_of(tmp_path) == {"a.txt"}


def test_caches_histories_and_environments_are_left_out_unless_a_rule_takes_them_in(tmp_path):
    for name in (".git/HEAD", "a/__pycache__/x.pyc", "x.pyc", "my-env/pyvenv.cfg", "my-env/lib/x.py", "outputs/model"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "a" / "outputs").mkdir()
    (tmp_path / "a" / "outputs" / "kept").write_text("")

    assert names_of(tmp_path) == {"a/outputs/kept"}

    (tmp_path / ".pipeliteignore").write_text("!outputs\n!x.pyc")

    assert names_of(tmp_path) == {".pipeliteignore", "a/outputs/kept", "outputs/model", "x.pyc"}


def test_a_snapshot_names_files_by_their_content(tmp_path):
    fill(tmp_path)

    files = take_snapshot(SourceFolder(str(tmp_path), "", 10**9)).files

    assert files["src/main.c"] == digest_file(tmp_path / "src" / "main.c")


def test_what_is_no_file_is_an_error_that_names_it(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(FingerprintError, match=r"pipe' is neither a file nor a folder"):
        names_of(tmp_path)


def test_a_link_to_a_file_beside_it_counts_by_content_and_one_to_nothing_is_an_error(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").symlink_to("a")

    assert names_of(tmp_path) == {"a", "b"}

    (tmp_path / "a").unlink()
    with pytest.raises(FingerprintError, match=r"b' is a link to '.*/a', which does not exist"):
        names_of(tmp_path)
