"""`pipelite publish` and `pipelite endpoints`."""

from __future__ import annotations

from pathlib import Path


class TestPublish:
    def test_a_pipeline_is_published_shown_called_and_rolled_back(self, command, read_json):
        first = read_json("publish", "flow.py:train", "--name", "Training", "--version", "1.0", "--json")
        assert first["endpoint"].endswith(f"/pipelines/{first['id']}")
        helpers = Path("helpers.py")
        helpers.write_text(helpers.read_text() + "\nUNUSED = 1\n")
        command("publish", "flow.py:train", "--name", "Training", "--version", "1.1", "--default")

        [listed] = read_json("endpoints", "list", "--json")
        assert (listed["default"], [each["version"] for each in listed["versions"]]) == ("1.1", ["1.0", "1.1"])

        assert command("endpoints", "default", "Training", "1.0").stdout == "Training leads to 1.0\n"
        shown = command("endpoints", "show", "Training").stdout
        assert "1.0 (default)" in shown
        assert "n          a whole number  3" in shown

    def test_a_call_waits_in_the_queue_and_says_that_nothing_serves(self, command, read_json):
        command("publish", "flow.py:train")

        called = command("endpoints", "submit", "train", "-p", "n=5")

        run = read_json("runs", "show", called.stdout.strip(), "--json")
        assert (run["status"], run["parameters"]) == ("queued", {"n": 5, "start": 0})
        assert "nothing serves the workspace" in called.stderr

    def test_an_earlier_run_is_published_with_its_parameters(self, command, read_json):
        run = read_json("run", "flow.py:train", "-p", "n=2", "--json")
        Path("flow.py").unlink()

        published = read_json("publish", "--run", run["id"], "--name", "Earlier", "--json")

        assert {each["name"]: each["default"] for each in published["parameters"]} == {"n": 2, "start": 0}

    def test_a_version_is_disabled_enabled_and_archived(self, command, read_json):
        command("publish", "flow.py:train")
        for word, status in (("disable", "disabled"), ("enable", "active"), ("archive", "archived")):
            assert command("endpoints", word, "train", "1.0").stdout == f"train 1.0 is {status}\n"
        refused = command("endpoints", "submit", "train", exit_code=2)
        assert (refused.returncode, refused.stderr) == (2, "Error: train 1.0 is archived, and cannot be called\n")

    def test_what_is_wrong_is_wrong_usage(self, command):
        command("publish", "flow.py:train")
        for words, message in (
            (("publish",), "name a pipeline, or an earlier run"),
            (("publish", "flow.py:train", "--version", "a/b"), "the version 'a/b' is wrong"),
            (("endpoints", "show", "other"), "no pipeline is published as 'other'"),
            (("endpoints", "default", "train", "9"), "has no version '9'"),
            (("endpoints", "submit", "train", "-p", "n=many"), "takes a whole number"),
            (("endpoints", "submit", "train", "-p", "m=1"), "has no parameter 'm'"),
        ):
            refused = command(*words, exit_code=2)
            assert refused.returncode == 2, refused
            assert message in refused.stderr
