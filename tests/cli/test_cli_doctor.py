"""`pipelite doctor`."""

from __future__ import annotations

import pytest


@pytest.fixture
def stored_file(command, folder):
    """The one artifact with a file of a run."""
    command("run", "flow.py:train")
    (found,) = (folder / ".pipelite" / "artifacts").rglob("report.txt")
    return found


def damage(path):
    path.chmod(0o600)
    path.write_text("something else")


def test_a_whole_workspace_is_told_to_be_so(command, stored_file):
    text = command("doctor").stdout

    assert "workspace " in text
    assert "database" in text
    assert "versions" in text
    assert "sizes" in text
    assert "\nerror" not in text


def test_a_damaged_artifact_is_an_error_and_exits_with_1(command, stored_file):
    damage(stored_file)

    text = command("doctor", exit_code=1).stdout

    assert "report.txt" in text
    assert "\nerror" in text


def test_a_repaired_workspace_computes_what_was_damaged(command, stored_file):
    damage(stored_file)

    repaired = command("doctor", "--repair").stdout

    assert "repaired: 1 damaged artifacts removed" in repaired
    assert "6 steps, 5 reused, 1 computed" in command("run", "flow.py:train").stderr


def test_the_findings_as_json_have_a_level(read_json, stored_file):
    report = read_json("doctor", "--deep")

    assert report["repaired"] == []
    assert {"name", "level", "message"} == set(report["findings"][0])
    assert {"database", "artifacts", "versions", "sizes"} <= {finding["name"] for finding in report["findings"]}


def test_a_folder_without_a_workspace_is_wrong_usage(command):
    assert "there is no workspace at" in command("doctor", exit_code=2).stderr
