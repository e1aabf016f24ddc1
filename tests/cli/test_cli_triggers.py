"""`pipelite triggers`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelite.cli import main


@pytest.fixture
def published(command):
    command("publish", "flow.py:train", "--name", "Training")


@pytest.fixture
def invoke(folder):
    """Call `pipelite triggers` in this process; gives what it printed, after a look at the exit code."""

    def call(*words, exit_code=0):
        done = CliRunner().invoke(main, ["triggers", *words])
        assert done.exit_code == exit_code, done.output
        return done.output

    return call


def test_triggers_are_added_listed_paused_and_removed(invoke, published):
    added = invoke(
        *("add", "files", "Training", "-p", "n=5", "--files", "raw/*.csv", "--datastore", "local"),
        *("--interval", "5m", "--per-file"),
    )
    assert added == "files waits for: each file of local/raw/*.csv\n"
    invoke("add", "after", "Training", "--after", "other", "--state", "failed", "--state", "canceled")
    invoke("add", "version", "Training", "--version", "1.0", "--dataset", "bikes", "--cause-parameter", "n")

    after, files, version = json.loads(invoke("list", "--json"))
    assert (files["path"], files["datastore"], files["interval_s"], files["settle_s"]) == ("raw/*.csv", "local", 300, 5)
    assert (files["pipeline"], files["parameters"], files["per_file"]) == ("Training", {"n": 5}, True)
    assert (after["after"], after["states"]) == ("other", ["failed", "canceled"])
    assert (version["pipeline"], version["dataset"], version["cause_parameter"]) == ("Training 1.0", "bikes", "n")
    assert json.loads(invoke("show", "files", "--json")) == files

    assert invoke("pause", "files") == "files is paused\n"
    assert "paused" in invoke("list")
    raw = Path(".pipelite/data/raw")
    raw.mkdir(parents=True, exist_ok=True)
    (raw / "new.csv").touch()
    assert json.loads(invoke("resume", "files", "--json"))["is_paused"] is False
    assert invoke("history", "files").splitlines()[0].split() == ["AT", "CAUSE", "OUTCOME", "RUN", "REASON"]
    assert invoke("remove", "files") == "files is removed\n"
    assert [each["name"] for each in json.loads(invoke("list", "--json"))] == ["after", "version"]


def test_a_url_is_printed_once_and_renewed_and_revoked(invoke, published):
    url = invoke("add", "call", "Training", "--http").strip()
    assert url.startswith("http://127.0.0.1:8080/triggers/")
    assert url not in invoke("show", "call")

    renewed = json.loads(invoke("renew", "call", "--json"))["url"]
    assert renewed != url
    assert invoke("revoke", "call") == "call has no URL any more\n"
    assert json.loads(invoke("show", "call", "--json"))["has_url"] is False


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("Training",), "give exactly one of"),
        (("Training", "--http", "--dataset", "x"), "give exactly one of"),
        (("Training", "--http", "--per-file"), "--per-file goes with --files"),
        (("Training", "--dataset", "x", "--state", "failed"), "--state goes with --after"),
        (("Training", "--files", "x", "--interval", "often"), "no length of time"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(invoke, words, says):
    assert says in invoke("add", "wrong", *words, exit_code=2)
