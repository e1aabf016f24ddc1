"""Triggers over HTTP: the routes about them, and the secret URLs that fire them."""

import pytest
import requests

from pipelite import FileChange, HttpCall, Trigger, Workspace


@pytest.fixture
def triggers(own_site, monkeypatch):
    """A server that has a trigger with a URL and one on files; gives both."""
    monkeypatch.setenv("PIPELITE_PROGRESS", "quiet")
    own_site.start()
    options = {"workspace": own_site.workspace}
    call = Trigger.create("call", "Train", {"n": 5}, on=HttpCall(), **options)
    (own_site.folder / "in").mkdir()
    on = FileChange(own_site.folder / "in/*", interval=0.2, settle=0)
    return call, Trigger.create("files", "Reading", {"data": "x"}, on=on, description="new ones", **options)


def test_a_secret_url_starts_a_run_without_a_token_and_says_nothing_more(own_site, triggers):
    call, _ = triggers
    url = call.url
    assert url.startswith(own_site.url)

    answer = requests.post(
        url, data=b"\xff anything", headers={"Content-Type": "x/y", "Idempotency-Key": "one"}, timeout=60
    )
    again = requests.post(url, headers={"Idempotency-Key": "one"}, timeout=60)

    assert (answer.status_code, answer.json()["Status"]) == (202, "queued")
    assert again.json() == answer.json()
    run = own_site.get(f"/runs/{answer.json()['Id']}?wait=60").json()
    assert (run["Status"], run["Parameters"]["n"], run["Tags"]["trigger"]) == ("completed", 5, "call")
    assert requests.post(url, data=b"x" * 70_000, timeout=60).status_code == 413
    assert requests.post(url, headers={"Idempotency-Key": "a b"}, timeout=60).status_code == 400
    assert requests.get(url, timeout=60).status_code == 401
    assert len(Workspace(own_site.workspace).runs()) == 1
    assert call.secret not in own_site.errors

    call.pause()
    refused = requests.post(url, timeout=60)
    assert (refused.status_code, refused.json()["Error"]["Code"]) == (409, "Conflict")
    assert call.history()[0].reason == "the trigger was paused"
    call.revoke_secret()
    assert requests.post(url, timeout=60).status_code == 404


def test_who_guesses_secrets_is_slowed_down_and_who_knows_one_is_not(own_site, triggers):
    call, _ = triggers
    assert requests.post(call.url, timeout=60).status_code == 202

    guesses = [requests.post(f"{own_site.url}/triggers/{number}", timeout=60) for number in range(12)]

    assert [each.status_code for each in guesses] == [404] * 10 + [429] * 2
    assert 0 < int(guesses[-1].headers["Retry-After"]) <= 60
    assert guesses[0].json()["Error"]["Message"] == "there is no trigger with this URL"
    assert requests.post(call.url, timeout=60).status_code == 202


def test_triggers_are_listed_shown_paused_and_resumed(own_site, triggers):
    reader, others = (
        own_site.new_token("--scope", "read"),
        own_site.new_token("--scope", "admin", "--pipeline", "Train"),
    )
    (own_site.folder / "in/a").touch()
    listed = own_site.ask("GET", "/triggers", reader).json()["Triggers"]

    assert [each["Name"] for each in listed] == ["call", "files"]
    assert listed[1]["On"] == {
        "Kind": "files",
        "Path": str(own_site.folder / "in/*"),
        "Datastore": None,
        "PerFile": False,
        "IntervalSeconds": 0.2,
        "SettleSeconds": 0.0,
    }
    assert (listed[0]["Pipeline"], listed[0]["ParameterAssignments"]) == ("Train", {"n": 5})
    assert [each["Name"] for each in own_site.ask("GET", "/triggers", others).json()["Triggers"]] == ["call"]
    assert own_site.ask("POST", "/triggers/files/pause", others).status_code == 404
    assert own_site.ask("POST", "/triggers/call/pause", reader).status_code == 403
    assert own_site.ask("POST", "/triggers/call/pause", others).json()["Paused"] is True
    assert own_site.post("/triggers/call/resume").json()["Paused"] is False
    assert own_site.get("/triggers/none").status_code == 404
    shown = own_site.get("/triggers/files").json()
    while not shown["History"]:
        shown = own_site.get("/triggers/files").json()
    assert shown["History"][0]["Cause"] == {"files": 1, "paths": [str(own_site.folder / "in/a")]}
    assert shown["History"][0]["Outcome"] == "fired"
