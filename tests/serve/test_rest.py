"""The routes, each asked over HTTP of the real server."""

import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
import requests

from pipelite.serve.routes import ROUTES
from serve.sites import wait_until


def test_a_call_is_answered_with_the_id_of_a_run_that_can_be_followed_to_its_end(site):
    body = {"ExperimentName": "mine", "ParameterAssignments": {"n": 3, "scale": 2}, "Tags": {"by": "me"}}
    made = site.post("/pipelines/Train", json=body)

    assert made.status_code == 202
    assert made.json()["Status"] == "queued"
    assert made.json()["Version"] == "1.0"
    run = site.get(made.headers["Location"] + "?wait=60").json()
    assert run["Id"] == made.json()["Id"]
    assert (run["Status"], run["ExperimentName"], run["Tags"]) == ("completed", "mine", {"by": "me"})
    assert run["Parameters"] == {"n": 3, "scale": 2.0}
    assert run["Metrics"] == {"largest": 2}
    assert run["Outputs"]["total"]["Value"] == 6.0
    assert {name: step["Status"] for name, step in run["Steps"].items()} == {"load": "completed", "total": "completed"}
    assert run["Published"] == {"Id": made.json()["PipelineId"], "Name": "Train", "Version": "1.0"}
    assert None not in (run["CreatedAt"], run["StartedAt"], run["EndedAt"], run["DurationSeconds"])


def test_who_waits_gets_the_whole_run_once_it_has_ended_and_its_state_if_it_has_not(site):
    assert site.call("Train", n=3)["Outputs"]["total"]["Value"] == 3.0

    early = site.post("/pipelines/Lasting?wait=0.2", json={"ParameterAssignments": {"tag": "early", "count": 100}})
    assert early.status_code == 202
    assert early.json()["Status"] in ("queued", "running")
    canceled = site.post(f"/runs/{early.json()['Id']}/cancel")
    assert (canceled.status_code, canceled.json()["Id"]) == (202, early.json()["Id"])
    assert site.get(f"/runs/{early.json()['Id']}?wait=60").json()["Status"] == "canceled"


def test_a_version_is_called_by_its_id_or_by_name_and_version(site):
    versions = site.get("/pipelines?name=Train").json()["Pipelines"]
    assert [each["Version"] for each in versions] == ["1.0", "1.1"]

    by_id = site.post(f"/pipelines/{versions[1]['Id']}").json()
    by_name = site.post("/pipelines/Train?version=1.1").json()

    assert by_id["PipelineId"] == by_name["PipelineId"] == versions[1]["Id"]
    missing = site.post("/pipelines/Train?version=9")
    assert (missing.status_code, missing.json()["Error"]["Code"]) == (404, "NotFound")


def test_equal_idempotency_keys_are_one_run_and_others_are_refused(site):
    key = {"Idempotency-Key": "the-same"}
    first, again = (
        site.post("/pipelines/Train", json={"ParameterAssignments": {"n": 2}}, headers=key).json()["Id"]
        for _ in range(2)
    )
    other = site.post("/pipelines/Train", json={"ParameterAssignments": {"n": 3}}, headers=key)

    assert first == again
    assert (other.status_code, other.json()["Error"]["Code"]) == (409, "Conflict")


def test_a_call_that_is_repeated_is_the_same_run_wherever_the_endpoint_leads_by_now(site):
    key = {"Idempotency-Key": "repeated"}
    first = site.post("/pipelines/Train", headers=key).json()["Id"]
    site.ask("PUT", "/endpoints/Train", json={"DefaultVersion": "1.1"})
    try:
        again = site.post("/pipelines/Train", headers=key).json()["Id"]
        explicit = site.post("/pipelines/Train?version=1.1", headers=key)
    finally:
        site.ask("PUT", "/endpoints/Train", json={"DefaultVersion": "1.0"})

    assert again == first
    assert explicit.status_code == 409


@pytest.mark.parametrize(
    ("assignments", "parameter"),
    [({"m": 1}, "m"), ({"n": "many"}, "n"), ({"n": 1.5}, "n"), ({"n": None}, "n"), ({"scale": True}, "scale")],
)
def test_wrong_parameters_are_a_400_that_names_the_parameter_and_no_run(site, assignments, parameter):
    before = len(site.get("/runs?limit=500").json()["Runs"])

    answer = site.post("/pipelines/Train", json={"ParameterAssignments": assignments})

    assert answer.status_code == 400
    assert answer.json()["Error"]["Parameter"] == parameter
    assert len(site.get("/runs?limit=500").json()["Runs"]) == before


def test_runs_are_listed_by_filters_and_page_by_page(site):
    made = [site.post("/pipelines/Train", json={"ExperimentName": "listed"}).json()["Id"] for _ in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        page = site.get(f"/runs?experiment=listed&limit=2{cursor and '&cursor=' + cursor}").json()
        assert len(page["Runs"]) <= 2
        seen += [run["Id"] for run in page["Runs"]]
        cursor = page["NextCursor"]

    assert seen == made[::-1]
    wait_until(lambda: site.get("/runs?experiment=listed&status=completed").json()["Runs"][4:])
    assert [run["Id"] for run in site.get("/runs?experiment=listed&pipeline=Train").json()["Runs"]] == seen
    assert site.get("/runs?experiment=listed&status=failed").json() == {"Runs": [], "NextCursor": None}
    for wrong in (
        "status=lost",
        "limit=0",
        "limit=501",
        "limit=x",
        "cursor=-1",
        "cursor=x",
        "color=red",
        "limit=1&limit=2",
    ):
        assert site.get(f"/runs?{wrong}").status_code == 400, wrong


def test_a_failed_run_is_resumed_and_a_run_is_repeated_through_the_queue(site):
    marker = site.folder / "marker"
    failed = site.call("Failing", path=str(marker))
    assert (failed["Status"], failed["Steps"]["fail"]["Status"]) == ("failed", "failed")
    assert "not yet" in failed["Steps"]["fail"]["Error"]
    marker.touch()

    resumed = site.post(f"/runs/{failed['Id']}/resume")

    assert (resumed.status_code, resumed.json()["Id"]) == (202, failed["Id"])
    assert site.get(f"/runs/{failed['Id']}?wait=60").json()["Status"] == "completed"
    repeated = site.post(f"/runs/{failed['Id']}/rerun").json()["Id"]
    run = site.get(f"/runs/{repeated}?wait=60").json()
    assert (run["RerunOf"], run["Status"], run["Parameters"]) == (failed["Id"], "completed", {"path": str(marker)})
    again = site.post(f"/runs/{repeated}/resume")
    assert (again.status_code, again.json()["Error"]["Code"]) == (409, "Conflict")


def test_a_run_that_was_canceled_while_it_waited_begins_when_it_is_resumed(site):
    blocking = [
        site.post("/pipelines/Lasting", json={"ParameterAssignments": {"tag": "block", "count": 100}}).json()["Id"]
        for _ in range(2)
    ]
    waiting = site.post("/pipelines/Train", json={"ParameterAssignments": {"n": 2}, "Priority": -1}).json()["Id"]
    assert site.post(f"/runs/{waiting}/cancel").json()["Status"] == "canceled"
    for each in blocking:
        site.post(f"/runs/{each}/cancel")

    assert site.post(f"/runs/{waiting}/resume").json()["Status"] == "queued"

    assert site.get(f"/runs/{waiting}?wait=60").json()["Outputs"]["total"]["Value"] == 1.0


def test_logs_come_whole_from_an_offset_by_their_last_lines_or_by_ranges(site):
    run = site.call("Train", n=50)
    logs = f"/runs/{run['Id']}/steps/load/logs"
    whole = site.get(logs)

    assert whole.headers["Content-Type"].startswith("text/plain")
    assert whole.text.splitlines()[:2] == ["loading", "line 0"]
    size = len(whole.content)
    assert whole.headers["Next-Offset"] == str(size)
    assert site.get(f"{logs}?tail=2").text == "line 48\nline 49\n"
    assert site.get(f"{logs}?tail=0").text == ""
    assert site.get(f"{logs}?tail=1000").content == whole.content
    assert site.get(f"{logs}?offset={size - 8}").text == "line 49\n"
    assert site.get(f"{logs}?offset={size + 100}").text == ""
    part = site.get(logs, headers={"Range": "bytes=0-6"})
    assert (part.status_code, part.text, part.headers["Content-Range"]) == (206, "loading", f"bytes 0-6/{size}")
    assert site.get(logs, headers={"Range": "bytes=-8"}).text == "line 49\n"
    assert site.get(logs, headers={"Range": f"bytes={size + 5}-"}).status_code == 416
    assert site.get(f"/runs/{run['Id']}/steps/unload/logs").status_code == 404


@pytest.fixture(scope="module")
def kinds(site):
    return site.call("Kinds")


def test_plain_values_come_as_json_and_what_is_put_together_from_them(site, kinds):
    outputs = f"/runs/{kinds['Id']}/outputs"
    words = {"a": [1, None, "ü"], "b": 1.0}

    assert site.get(f"{outputs}/words").json() == words
    assert site.get(f"{outputs}/part").json() == words["a"]
    assert site.get(f"{outputs}/both").json() == [words, 1.0]
    mixed = site.get(f"{outputs}/mixed")
    assert (mixed.status_code, mixed.json()["Error"]["Code"]) == (409, "Conflict")
    assert site.get(f"{outputs}/nothing").status_code == 404


def test_arrays_tables_files_and_folders_come_in_forms_that_others_read(site, kinds):
    import numpy as np
    import pandas as pd

    outputs = f"/runs/{kinds['Id']}/outputs"

    assert np.load(io.BytesIO(site.get(f"{outputs}/array").content)).tolist() == list(range(10))
    frame = pd.DataFrame({"x": [1, 2], "y": ["a", "b"]})
    parquet = pd.read_parquet(io.BytesIO(site.get(f"{outputs}/frame").content))
    assert parquet.to_dict("list") == frame.to_dict("list")
    table = site.get(f"{outputs}/frame?format=csv")
    assert table.headers["Content-Type"].startswith("text/csv")
    assert table.text.splitlines() == [",x,y", "0,1,a", "1,2,b"]
    archive = zipfile.ZipFile(io.BytesIO(site.get(f"{outputs}/folder").content))
    assert archive.testzip() is None
    assert {name: len(archive.read(name)) for name in archive.namelist()} == {"one.txt": 1, "inner/two.txt": 1000}


def test_a_file_comes_as_it_is_in_ranges_and_once(site, kinds):
    path = f"/runs/{kinds['Id']}/outputs/file"
    whole = site.get(path)

    assert whole.content == b"0123456789"
    assert 'filename="a text.txt"' in whole.headers["Content-Disposition"]
    assert site.get(path, headers={"Range": "bytes=2-4"}).content == b"234"
    assert site.get(path, headers={"Range": "bytes=7-"}).content == b"789"
    assert site.get(path, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304


def test_pickles_come_as_bytes_and_to_administrators_only(site, kinds):
    path = f"/runs/{kinds['Id']}/outputs"

    assert site.get(f"{path}/thing").content.startswith(b"pipelite pickle")
    submitter = site.new_token("--scope", "submit")
    for wanted in ("thing", "frame?format=pickle"):
        refused = site.get(f"{path}/{wanted}", token=submitter)
        assert (refused.status_code, refused.json()["Error"]["Code"]) == (403, "Forbidden")
    assert site.get(f"{path}/frame", token=submitter).status_code == 200


def test_an_endpoint_is_shown_switched_and_rolled_back(site):
    assert {each["Name"] for each in site.get("/endpoints").json()["Endpoints"]} >= {"Train", "Kinds"}
    switched = site.ask("PUT", "/endpoints/Train", json={"DefaultVersion": "1.1"})

    assert switched.json()["DefaultVersion"] == "1.1"
    assert site.post("/pipelines/Train").json()["Version"] == "1.1"
    back = site.ask("PUT", "/endpoints/Train", json={"DefaultVersion": "1.0"})
    assert back.json()["DefaultVersion"] == "1.0"
    shown = site.get("/endpoints/Train").json()
    assert [each["Version"] for each in shown["Versions"]] == ["1.0", "1.1"]
    assert site.ask("PUT", "/endpoints/Train", json={"DefaultVersion": "7"}).status_code == 404
    assert site.ask("PUT", "/endpoints/Train", json={}).json()["Error"]["Parameter"] == "DefaultVersion"
    assert site.get("/endpoints/Nothing").status_code == 404


def test_a_version_is_shown_with_what_it_takes(site):
    shown = site.get("/pipelines/Train").json()

    assert shown["Parameters"]["n"] == {"type": "integer", "description": "a whole number", "default": 4}
    assert shown["Required"] == []
    assert site.get("/pipelines/Lasting").json()["Required"] == ["tag"]


def test_the_document_describes_each_route_and_the_parameters_of_each_pipeline(site):
    document = site.get("/openapi.json").json()

    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]["/runs/{id}"]) == {"get"}
    assert set(document["paths"]["/endpoints/{name}"]) == {"get", "put"}
    body = document["paths"]["/pipelines/Train"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["ParameterAssignments"]["properties"]["scale"]["type"] == "number"


def test_every_route_is_in_the_docs_and_no_other():
    page = (Path(__file__).parents[2] / "docs" / "serving.rst").read_text(encoding="utf-8")

    told = re.findall(r"^   \* - ``(\w+) (/\S*)``$", page, re.MULTILINE)

    assert sorted(told) == sorted((route.method, route.path) for route in ROUTES)


def test_health_and_metrics_say_how_the_server_is(site):
    assert requests.get(f"{site.url}/healthz", timeout=10).json() == {"Status": "ok"}
    site.call("Train")
    lines = site.get("/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))

    assert float(values['pipelite_runs{status="completed"}']) >= 1
    assert float(values["pipelite_queue_length"]) >= 0
    assert float(values['pipelite_runners{state="idle"}']) >= 1
    name = "pipelite_http_request_duration_seconds"
    answered = float(values['pipelite_http_requests_total{method="GET",route="/healthz",status="200"}'])
    assert float(values[f'{name}_bucket{{route="/healthz",le="+Inf"}}']) == answered >= 1


def test_a_path_lies_on_a_datastore_or_below_a_folder_that_was_allowed(site):
    data = site.workspace / "data" / "raw"
    data.mkdir(parents=True, exist_ok=True)
    (data / "on a store.txt").write_text("store")
    (site.folder / "allowed" / "root.txt").write_text("root")

    run = site.call("Reading", data="local/raw/on a store.txt", more=[str(site.folder / "allowed" / "root.txt")])

    outputs = run["Outputs"]
    assert run["Status"] == "completed", run["Error"]
    assert outputs["text"]["Value"] == "store"
    assert site.get(outputs["more"]["Url"]).json() == ["root"]


def test_a_server_that_is_killed_goes_on_with_all_that_it_took_and_does_nothing_twice(own_site):
    own_site.start("--max-concurrent-runs", "2")
    made = [
        own_site.post("/pipelines/Lasting", json={"ParameterAssignments": {"tag": f"r{number}-", "count": 2}}).json()[
            "Id"
        ]
        for number in range(6)
    ]
    wait_until(lambda: len(own_site.ledger()) >= 3)
    own_site.stop(signal.SIGKILL)

    own_site.start("--max-concurrent-runs", "2")

    runs = [own_site.get(f"/runs/{each}?wait=60").json() for each in made]
    assert [run["Status"] for run in runs] == ["completed"] * 6
    assert all(run["Steps"]["work"]["Attempts"] == 1 for run in runs)
    assert sorted(set(own_site.ledger())) == sorted(f"r{number}-{step}" for number in range(6) for step in range(2))


def test_a_server_that_is_told_to_end_lets_steps_finish_and_the_next_goes_on(own_site):
    own_site.start()
    body = {"ParameterAssignments": {"tag": "s", "count": 4, "seconds": 0.5}}
    run = own_site.post("/pipelines/Lasting", json=body).json()["Id"]
    wait_until(lambda: own_site.ledger())

    assert own_site.stop() == 0

    own_site.start()
    assert own_site.get(f"/runs/{run}?wait=60").json()["Status"] == "completed"
    assert own_site.ledger() == ["s0", "s1", "s2", "s3"]


def test_a_second_signal_ends_it_at_once_also_with_much_to_do_and_what_ran_can_go_on(own_site):
    own_site.grace_s = 1000
    own_site.start("--max-concurrent-runs", "2")
    body = {"ParameterAssignments": {"tag": "s", "count": 2, "seconds": 600}}
    runs = [own_site.post("/pipelines/Lasting", json=body).json()["Id"] for _ in range(5)]
    waiting = threading.Thread(target=own_site.get, args=(f"/runs/{runs[0]}?wait=300",))
    waiting.start()
    wait_until(lambda: len(own_site.ledger()) == 2)
    own_site.process.send_signal(signal.SIGTERM)
    wait_until(lambda: requests.get(f"{own_site.url}/healthz", timeout=10).status_code == 503)
    refused = own_site.post("/pipelines/Train")
    assert (refused.status_code, refused.json()["Error"]["Code"]) == (503, "Ending")

    own_site.stop()

    waiting.join()
    listed = json.loads(own_site.command("runs", "list", "--json").stdout)
    assert sorted(each["status"] for each in listed) == ["interrupted"] * 2 + ["queued"] * 3


def test_a_server_on_a_unix_socket_answers_this_user_only(own_site):
    import socket

    own_site.start("--unix-socket", str(own_site.folder / "socket"))
    path = own_site.folder / "socket"
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(path))
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert line.makefile("rb").read().startswith(b"HTTP/1.1 200")


def test_where_it_listens_is_told_as_json_to_who_asks(own_site):
    with subprocess.Popen(
        [sys.executable, "-m", "pipelite", "serve", "--port", "0", "--json"],
        cwd=own_site.folder,
        env=own_site.environment,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            told = json.loads("".join(iter(lambda: process.stdout.readline().decode(), "}\n")) + "}")
            own_site.url = told["url"]
            assert told["token_file"] == str(own_site.workspace / "token")
            assert own_site.get("/runs").status_code == 200
        finally:
            process.terminate()


def test_an_address_that_is_taken_is_told_in_words(site):
    port = site.url.rpartition(":")[2]

    done = site.command("serve", "--port", port, check=False)

    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_the_server_sees_to_schedules_unless_it_is_told_not_to(own_site):
    own_site.command("schedules", "add", "often", "Train", "--every", "1s", "-p", "n=2")
    own_site.start("--no-scheduler")
    assert own_site.call("Train", n=3)["Status"] == "completed"
    time.sleep(1.5)
    assert len(own_site.get("/runs").json()["Runs"]) == 1
    own_site.stop()

    own_site.start()

    wait_until(lambda: len([run for run in own_site.get("/runs").json()["Runs"] if run["Status"] == "completed"]) >= 3)


@pytest.fixture
def at_night(site):
    """A schedule that is not due while a test looks."""
    body = {"Name": "at night", "Pipeline": "Train", "Cron": "30 2 1 1 *", "TimeZone": "Europe/Berlin"}
    made = site.post("/schedules", json={**body, "ParameterAssignments": {"n": 2}})
    yield made
    site.ask("DELETE", "/schedules/at night")


def test_a_schedule_is_made_shown_changed_and_removed(site, at_night):
    assert (at_night.status_code, at_night.headers["Location"]) == (201, "/schedules/at%20night")
    made = site.get(at_night.headers["Location"]).json()
    assert made == at_night.json()
    assert (made["Pipeline"], made["Version"], made["ParameterAssignments"]) == ("Train", None, {"n": 2})
    assert made["NextAt"].endswith("-01-01T02:30:00+01:00")
    assert (made["Overlap"], made["DstGap"], made["HistoryDays"]) == ("skip", "shift", 90)

    weekly = {"Frequency": "Week", "Interval": 2, "WeekDays": ["Friday"], "Hours": [9, 17], "Minutes": [0]}
    change = {"Recurrence": weekly, "Overlap": "queue", "Start": "2026-01-02", "ParameterAssignments": {"n": 3}}
    changed = site.ask("PATCH", made["Url"], json=change)

    assert (changed.status_code, changed.json()["Recurrence"]) == (200, weekly)
    assert changed.json()["Cron"] is None
    assert [time[11:16] for time in site.get(f"{made['Url']}/next?limit=3").json()["Next"]][:2] in (
        ["09:00", "17:00"],
        ["17:00", "09:00"],
    )
    assert site.post(f"{made['Url']}/pause").json()["NextAt"] is None
    assert [(each["Name"], each["Paused"]) for each in site.get("/schedules").json()["Schedules"]] == [
        ("at night", True)
    ]
    assert site.post(f"{made['Url']}/resume").json()["Paused"] is False
    assert site.post("/schedules", json={"Name": "at night", "Pipeline": "Train", "Cron": "@daily"}).status_code == 409
    assert site.ask("DELETE", made["Url"]).status_code == 204
    assert site.get(made["Url"]).status_code == 404


def test_runs_of_a_schedule_are_asked_for_and_its_history_says_so(site):
    body = {"Name": "daily", "Pipeline": "Lasting", "Version": "1.0", "Cron": "0 6 * * *", "SlotParameter": "tag"}
    site.post("/schedules", json={**body, "ParameterAssignments": {"count": 1}})

    now = site.post("/schedules/daily/run")
    earlier = site.post("/schedules/daily/backfill", json={"From": "2026-01-01", "To": "2026-01-02T23:00"})

    assert (now.status_code, earlier.status_code) == (202, 202)
    assert site.get(now.headers["Location"] + "?wait=60").json()["Status"] == "completed"
    runs = [site.get(f"/runs/{run['Id']}?wait=60").json() for run in earlier.json()["Runs"]]
    assert [run["Parameters"]["tag"] for run in runs] == ["2026-01-01T06:00:00+00:00", "2026-01-02T06:00:00+00:00"]
    slots = site.get("/schedules/daily/history").json()["Slots"]
    assert [slot["Reason"] for slot in slots] == ["asked for by hand", "backfill", "backfill"]
    assert site.post("/schedules/daily/backfill", json={"From": "2026-01-01", "To": "2026-01-02"}).json() == {
        "Runs": []
    }
    site.ask("DELETE", "/schedules/daily")


def test_schedules_are_for_tokens_of_their_scope_and_pipelines(site, at_night):
    path = at_night.json()["Url"]
    reader, caller = (site.new_token("--scope", scope) for scope in ("read", "submit"))
    other = site.new_token("--scope", "submit", "--pipeline", "Lasting")

    assert site.get(f"{path}/history", token=reader).status_code == 200
    assert site.post(f"{path}/run", token=reader).status_code == 403
    for method, where in (("PATCH", path), ("DELETE", path), ("POST", f"{path}/pause"), ("POST", "/schedules")):
        assert site.ask(method, where, token=caller).status_code == 403, where
    assert site.post(f"{path}/run", token=caller).status_code == 202
    assert site.get("/schedules", token=other).json() == {"Schedules": []}
    assert (site.get(path, token=other).status_code, site.post(f"{path}/run", token=other).status_code) == (404, 404)


@pytest.mark.parametrize(
    ("wrong", "parameter"),
    [
        ({"Cron": "0 0 31 2 *"}, None),
        ({"Cron": "R * * * *"}, None),
        ({"Cron": "@daily", "EverySeconds": 60}, None),
        ({"Cron": "@daily", "TimeZone": "../etc/passwd"}, None),
        ({"Cron": "@daily", "TimeZone": "x\0y"}, "TimeZone"),
        ({"Cron": "@daily", "Start": "yesterday it was"}, "Start"),
        ({"Cron": "@daily", "Start": "0001-01-01T00:00:00+14:00"}, None),
        ({"Cron": "@daily", "JitterSeconds": 1e300}, None),
        ({"Cron": "@daily", "Overlap": "never"}, "Overlap"),
        ({"Cron": "@daily", "HistoryDays": True}, "HistoryDays"),
        ({"Cron": "@daily", "ParameterAssignments": {"n": "many"}}, "n"),
        ({"Cron": "@daily", "ParameterAssignments": {"m": 1}}, "m"),
        ({"EverySeconds": 0}, "EverySeconds"),
        ({"EverySeconds": 10**30}, "EverySeconds"),
        ({"Recurrence": {}}, "Frequency"),
        ({"Recurrence": {"Frequency": "Day", "Minutes": [60]}}, "Minutes"),
        ({"Recurrence": {"Frequency": "Day", "Seconds": [1]}}, "Recurrence"),
        ({"Recurrence": {"Frequency": "Hour", "Hours": [1]}}, None),
        ({"Name": "a/b", "Cron": "@daily"}, None),
        ({"Colour": "red", "Cron": "@daily"}, "Colour"),
    ],
)
def test_what_cannot_be_a_schedule_is_a_400(site, wrong, parameter):
    answer = site.post("/schedules", json={"Name": "wrong", "Pipeline": "Train", **wrong})

    assert (answer.status_code, answer.json()["Error"]["Parameter"]) == (400, parameter), answer.text
    assert site.get("/schedules/wrong").status_code == 404


def test_paths_of_schedules_are_where_those_of_calls_may_be(site):
    data = site.workspace / "data" / "scheduled"
    data.mkdir(parents=True, exist_ok=True)
    (data / "a.txt").touch()
    body = {"Name": "reading", "Pipeline": "Reading", "Cron": "@yearly"}

    outside = site.post("/schedules", json={**body, "ParameterAssignments": {"data": "/etc/passwd"}})
    inside = site.post("/schedules", json={**body, "ParameterAssignments": {"data": "local/scheduled/a.txt"}})

    assert (outside.status_code, outside.json()["Error"]["Parameter"]) == (400, "data")
    assert inside.json()["ParameterAssignments"] == {"data": str(data / "a.txt")}
    changed = site.ask("PATCH", "/schedules/reading", json={"ParameterAssignments": {"data": "/etc/passwd"}})
    assert changed.status_code == 400
    site.ask("DELETE", "/schedules/reading")
