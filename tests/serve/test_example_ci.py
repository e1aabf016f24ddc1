"""examples/ci: what a CI job runs, against a real server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serve.sites import wait_until

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "ci" / "start_run.py"

RENTALS = """
from pipelite import current_run, pipeline, step


@step
def forecast(days: int):
    current_run().log("rentals", 10 * days)


@pipeline
def predict(days: int):
    forecast(days)
"""


def environment(site, **given):
    return {**os.environ, "no_proxy": "127.0.0.1", "PIPELITE_URL": site.url, "PIPELITE_TOKEN": site.token, **given}


def start_script(site, *words, **given):
    return subprocess.Popen(
        [sys.executable, SCRIPT, *words],
        env=environment(site, **given),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def script():
    """Runs the script to its end; gives its exit code and what it printed."""

    def run(site, *words, **given):
        process = start_script(site, *words, **given)
        return process.communicate(timeout=60)[0], process.returncode

    return run


def test_the_script_of_the_azure_pipeline_starts_the_run_and_waits_for_it(own_site):
    (own_site.folder / "rentals.py").write_text(RENTALS)
    own_site.command("publish", "rentals.py:predict", "--name", "Rentals")
    own_site.start()
    described = yaml.safe_load((ROOT / "examples" / "ci" / "azure-pipelines.yml").read_text())
    [step] = [each for each in described["jobs"][0]["steps"] if "script" in each]
    settings = {"$(pipeliteUrl)": own_site.url, "$(pipeliteToken)": own_site.new_token("--scope", "submit")}
    given = {name: settings[value] for name, value in step["env"].items()}
    [days] = [each["default"] for each in described["parameters"] if each["name"] == "days"]

    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", step["script"].replace("${{ parameters.days }}", str(days))],
        cwd=ROOT,
        env={**environment(own_site), **given},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    [run] = own_site.get("/runs").json()["Runs"]
    assert done.stdout.splitlines()[-2:] == [f"run {run['Id']} is completed", "rentals: 30"]
    assert (run["Status"], run["ExperimentName"]) == ("completed", "nightly")


def test_a_run_that_fails_fails_the_job_and_gives_it_no_commands(site, script, tmp_path):
    shown, code = script(site, "Failing", "-p", f"path={tmp_path}/##vso[task.setvariable variable=a]b")

    assert code == 1
    assert re.search(r"^##vso\[task.logissue type=error\]run \S+ failed: step 'fail'", shown, re.MULTILINE)
    assert "RuntimeError: not yet" in shown
    assert shown.count("##") == 1


def test_what_is_not_accepted_is_told(site, script):
    for words, message in (
        (("Nothing",), "no pipeline is published as 'Nothing'"),
        (("Train", "-p", "n=many"), "takes a whole number"),
        (("Train", "--version", "9"), "is published as 'Train' with version '9'"),
    ):
        shown, code = script(site, *words)
        assert (code, message in shown) == (2, True), shown
    shown, code = script(site, "Train", PIPELITE_TOKEN="wrong")
    assert code == 2
    shown, code = script(site, "Train", PIPELITE_TOKEN="")
    assert (code, "PIPELITE_TOKEN have to be in the environment" in shown) == (2, True)


def status_of(site, shown):
    return site.get(f"/runs/{shown.split()[1]}").json()["Status"]


def test_a_job_that_is_canceled_or_out_of_time_cancels_its_run(site, script):
    process = start_script(site, "Lasting", "-p", "tag=canceled", "-p", "count=1000")
    first = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the job was canceled, and so is its run" in rest
    wait_until(lambda: status_of(site, first) == "canceled")

    shown, code = script(site, "Lasting", "-p", "tag=late", "-p", "count=1000", "--timeout", "0.5")

    assert code == 1, shown
    assert "takes longer than 0.5 s" in shown
    assert status_of(site, shown) == "canceled"


def test_a_server_that_is_killed_and_comes_again_is_waited_for(own_site):
    own_site.start()
    process = start_script(own_site, "Lasting", "-p", "tag=s", "-p", "count=4", "-p", "seconds=0.3")
    wait_until(lambda: "s1" in own_site.ledger())
    own_site.stop(signal.SIGKILL)

    own_site.start("--port", own_site.url.rpartition(":")[2])

    shown, _ = process.communicate(timeout=60)
    assert process.returncode == 0, shown
    assert len(own_site.get("/runs").json()["Runs"]) == 1
