"""`pipelite schedules`."""

from __future__ import annotations

import pytest


@pytest.fixture
def published(command):
    command("publish", "flow.py:train", "--name", "Training")


class TestSchedules:
    def test_a_schedule_is_added_listed_changed_paused_and_removed(self, command, read_json, published):
        added = command(
            "schedules",
            "add",
            "nightly",
            "Training",
            "-p",
            "n=5",
            "--cron",
            "30 2 * * *",
            "--timezone",
            "Europe/Berlin",
        ).stdout
        assert added.startswith("nightly is due at 2")
        assert added.count(" 02:30:00") == 3

        [listed] = read_json("schedules", "list")
        assert (listed["pipeline"], listed["parameters"]) == ("Training", {"n": 5})
        assert (listed["due"], listed["dst_fold"]) == ("cron 30 2 * * * (Europe/Berlin)", "first")
        assert read_json("schedules", "next", "nightly", "-n", "3") == listed["next"]

        assert "04:00:00 (America/New_York)" in (
            command("schedules", "edit", "nightly", "--cron", "0 4 * * *", "--timezone", "America/New_York").stdout
        )
        changed = read_json(
            "schedules", "edit", "nightly", "-p", "start=1", "--overlap", "queue", "--history-days", "7"
        )
        assert (changed["parameters"], changed["overlap"]) == ({"n": 5, "start": 1}, "queue")
        assert (changed["history_days"], changed["slot_parameter"]) == (7, None)

        assert command("schedules", "pause", "nightly").stdout == "nightly is paused\n"
        assert "paused  -" in command("schedules", "list").stdout
        assert command("schedules", "resume", "nightly").stdout.startswith("nightly is due at")
        assert command("schedules", "remove", "nightly").stdout == "nightly is removed\n"
        assert read_json("schedules", "list") == []

    def test_a_version_is_kept_to_and_recurrences_are_lists(self, command, read_json, published):
        words = ("--recur", "Week", "--week-days", "Monday,Friday", "--hours", "9,17", "--minutes", "0,30")
        added = read_json("schedules", "add", "weekly", "Training", "--version", "1.0", *words)

        assert (added["pipeline"], added["due"]) == ("Training 1.0", "every 1 week on Monday, Friday (UTC)")
        assert {moment[11:16] for moment in read_json("schedules", "next", "weekly", "-n", "8")} == {
            "09:00",
            "09:30",
            "17:00",
            "17:30",
        }

    def test_runs_by_hand_and_backfilled_ones_are_in_the_history(self, command, read_json, published):
        command("schedules", "add", "hourly", "Training", "--cron", "0 * * * *")
        called = command("schedules", "run", "hourly")
        by_hand = called.stdout.strip()
        assert "nothing serves the workspace" in called.stderr

        made = read_json("schedules", "backfill", "hourly", "2026-03-01T09:30", "2026-03-01T12:00")

        history = read_json("schedules", "history", "hourly")
        assert [slot["run"] for slot in history] == [by_hand, *(each["id"] for each in reversed(made))]
        assert [slot["at"][11:13] for slot in history[1:]] == ["12", "11", "10"]
        shown = command("schedules", "history", "hourly").stdout
        assert "asked for by hand" in shown
        assert "2026-03-01 12:00:00+00:00" in shown
        again = command("schedules", "backfill", "hourly", "2026-03-01T09:30", "2026-03-01T12:00")
        assert (again.stdout, "every time has its run already" in again.stderr) == ("", True)

    def test_what_is_wrong_is_wrong_usage(self, command, published):
        for words, message in (
            (("add", "a", "Training"), "give one of cron=, every= and recurrence="),
            (("add", "a", "Training", "--cron", "0 0 31 2 *"), "would never be due"),
            (("add", "a", "Other", "--cron", "@daily"), "no pipeline is published as 'Other'"),
            (("add", "a", "Training", "--every", "5"), "'5' is no length of time"),
            (("add", "a", "Training", "--every", "5m", "--start", "soon"), "'soon' is no moment"),
            (("add", "a", "Training", "--every", "5m", "--hours", "3"), "--hours goes with --recur"),
            (("add", "a", "Training", "--recur", "Day", "--hours", "x"), "--hours has 'x'"),
            (("add", "a", "Training", "-p", "n=many", "--cron", "@daily"), "takes a whole number"),
            (("next", "a"), "there is no schedule 'a'"),
        ):
            assert message in command("schedules", *words, exit_code=2).stderr
