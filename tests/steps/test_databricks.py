"""Jobs on Databricks, by the official SDK over real HTTP: the server on loopback speaks the documented Jobs API."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from jobs_api import HELD, TOKEN, JobsApi

from pipelite import Workspace, pipeline, step
from pipelite.errors import CommandError, DefinitionError, StepFailed
from pipelite.steps import Environment, Input, Output, databricks

NOTEBOOK = "/Users/ann@example.org/train"
CLUSTER = "0923-164208-meows279"
TRACE = (
    "\x1b[0;31m---------------------------------------------------------------------------\x1b[0m\n"
    "ValueError                                Traceback (most recent call last)\n"
    "\x1b[0;32m<command-1>\x1b[0m in <module>\nValueError: no rides in May"
)


#: pyspark is 400 MB, and Spark runs on Java.
spark = pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None or shutil.which("java") is None, reason="needs pyspark and Java"
)


@pytest.fixture
def api() -> Iterator[JobsApi]:
    api = JobsApi()
    yield api
    api.close()


@pytest.fixture
def connection(api: JobsApi, tmp_path: Path) -> dict[str, object]:
    token = tmp_path / "databricks-token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    return {"host": api.host, "token": f"file:{token}", "retry_timeout_seconds": 20}


def flow_of(job, **options):
    @pipeline(**options)
    def flow():
        return job()

    return flow


def paths_of(api: JobsApi, end: str) -> list[str]:
    return [path for _, path in api.requests if path.endswith(end)]


def test_what_a_notebook_gives_back_is_the_output_of_its_step(api, connection):
    api.plan(NOTEBOOK, result='{"rows": 3, "best": "may"}')
    train = databricks(
        notebook=NOTEBOOK, cluster=CLUSTER, parameters={"month": Input("month"), "rate": 0.1}, connection=connection
    )

    @step
    def name_month() -> str:
        return "may"

    @pipeline
    def flow():
        found = train(name_month())
        return {"best": found["best"], "all": found}

    run = flow.run()

    assert run.outputs["best"] == "may"
    assert run.outputs["all"] == {"rows": 3, "best": "may"}
    (submitted,) = api.submitted
    (task,) = submitted["tasks"]
    assert task["existing_cluster_id"] == CLUSTER
    assert task["notebook_task"] == {
        "notebook_path": NOTEBOOK,
        "base_parameters": {"month": "may", "rate": "0.1"},
        "source": "WORKSPACE",
    }
    assert submitted["run_name"] == f"{run.id}/train"
    assert len(submitted["idempotency_token"]) <= 64


def test_states_page_and_durations_of_a_run_are_in_log_and_metrics(api, connection):
    api.plan(NOTEBOOK, result="done", states=["QUEUED", "PENDING", "RUNNING", "RUNNING", "TERMINATED"])

    run = flow_of(databricks(notebook=NOTEBOOK, cluster=CLUSTER, connection=connection)).run()

    made = run.steps["train"]
    page = "https://adb.example/?o=1#job/9/run/8001"
    assert run.outputs["result"] == "done"
    assert made.metrics["run_page"] == page
    assert made.metrics["setup_s"] == 61.0
    assert made.metrics["execution_s"] == 12.5
    assert made.metrics["cleanup_s"] == 0.0
    assert made.metrics["state"] == "TERMINATED"
    lines = [line for line in made.logs.splitlines() if line.startswith("databricks: ")]
    assert lines == [
        f"databricks: run 8001: {page}",
        *(f"databricks: run 8001 is {state}" for state in ("QUEUED", "PENDING", "RUNNING", "TERMINATED")),
    ]


def test_an_equal_job_is_reused_and_one_with_another_parameter_is_not(api, connection):
    api.plan(NOTEBOOK, result="1")
    train = databricks(notebook=NOTEBOOK, cluster=CLUSTER, parameters={"x": Input("x")}, connection=connection)

    @pipeline
    def flow(x: int):
        return train(x)

    flow.run(x=1)
    again, other = flow.run(x=1), flow.run(x=2)

    assert again.steps["train"].reused
    assert again.steps["train"].metrics["run_page"].endswith("/8001")
    assert not other.steps["train"].reused
    assert len(api.submitted) == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12), ("[1, null]", [1, None]), ("NaN", "NaN"), ("plain text", "plain text"), ('"quoted"', "quoted")],
)
def test_a_result_is_read_as_json_where_it_is_json(api, connection, text, value):
    api.plan(NOTEBOOK, result=text)

    assert databricks(notebook=NOTEBOOK, cluster=CLUSTER, connection=connection)() == value


def test_a_script_from_here_is_uploaded_with_its_folder_and_removed_after(api, connection, write):
    write("src/clean.py", "import helper\n")
    write("src/parts/helper.py", "x = 1\n")
    api.plan("clean.py", logs="4 rows\n")
    clean = databricks(
        python_script="clean.py",
        source_directory="src",
        cluster={"spark_version": "15.4.x-scala2.12", "node_type_id": "Standard_DS3_v2", "num_workers": 2},
        arguments=["--least", 3, ["--fast", True]],
        libraries=[{"pypi": {"package": "xgboost==2.1.0"}}],
        connection=connection,
    )

    run = flow_of(clean).run()

    (task,) = api.submitted[0]["tasks"]
    folder = f"/Users/ann@example.org/.pipelite/{api.submitted[0]['idempotency_token']}"
    assert task["spark_python_task"] == {
        "python_file": f"{folder}/clean.py",
        "parameters": ["--least", "3", "--fast", "true"],
    }
    assert task["new_cluster"]["num_workers"] == 2
    assert task["libraries"] == [{"pypi": {"package": "xgboost==2.1.0"}}]
    assert api.uploaded == {
        f"{folder}/clean.py": ("RAW", b"import helper\n"),
        f"{folder}/parts/helper.py": ("RAW", b"x = 1\n"),
    }
    assert api.files == {}
    assert "4 rows" in run.steps["clean"].logs


def test_a_script_counts_by_its_content(api, connection, write):
    write("src/clean.py", "print(1)\n")
    clean = databricks(
        python_script="clean.py", source_directory="src", cluster=CLUSTER, cache=True, connection=connection
    )
    flow_of(clean).run()
    same = flow_of(clean).run()
    write("src/clean.py", "print(2)\n")

    changed = flow_of(clean).run()

    assert same.steps["clean"].reused
    assert not changed.steps["clean"].reused


def test_a_notebook_from_here_is_uploaded_as_one(api, connection, write):
    write("books/report.ipynb", '{"cells": []}')
    api.plan("report", result="7")

    made = databricks(notebook=Path("books/report.ipynb"), cluster=CLUSTER, connection=connection)()

    assert made == 7
    ((path, (kind, _)),) = api.uploaded.items()
    assert (path.rpartition("/")[2], kind) == ("report", "JUPYTER")
    assert api.submitted[0]["tasks"][0]["notebook_task"]["notebook_path"] == path


def test_a_jar_runs_by_its_class(api, connection):
    api.plan("com.example.Clean", logs="ok")
    clean = databricks(
        main_class="com.example.Clean",
        arguments=[("--month", Input("month"))],
        libraries=[{"jar": "/Volumes/main/jars/clean.jar"}],
        cluster=CLUSTER,
        connection=connection,
    )

    @pipeline
    def flow():
        clean("2026-05")

    run = flow.run()

    (task,) = api.submitted[0]["tasks"]
    assert task["spark_jar_task"] == {"main_class_name": "com.example.Clean", "parameters": ["--month", "2026-05"]}
    assert task["libraries"] == [{"jar": "/Volumes/main/jars/clean.jar"}]
    assert "ok" in run.steps["Clean"].logs


def test_a_script_that_is_there_already_is_not_uploaded(api, connection):
    databricks(python_script="dbfs:/jobs/clean.py", cluster=CLUSTER, connection=connection)()

    assert api.submitted[0]["tasks"][0]["spark_python_task"]["python_file"] == "dbfs:/jobs/clean.py"
    assert api.uploaded == {}


def test_a_failing_notebook_fails_its_step_with_its_traceback_first(api, connection):
    api.plan(NOTEBOOK, result_state="FAILED", error="ValueError: no rides in May", error_trace=TRACE)

    with pytest.raises(StepFailed, match="step 'train' failed") as caught:
        flow_of(databricks(notebook=NOTEBOOK, cluster=CLUSTER, connection=connection)).run()

    message = str(caught.value.__cause__)
    assert message.startswith("-----")
    assert "\x1b" not in message
    assert "ValueError: no rides in May; its logs are on the page of the run: https://adb.example/" in message
    assert api.canceled == []


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (
            {
                "states": ["PENDING", "INTERNAL_ERROR"],
                "result_state": "FAILED",
                "code": "CLUSTER_ERROR",
                "state_message": "Cluster was terminated during startup: AZURE_QUOTA_EXCEEDED_EXCEPTION",
            },
            ["AZURE_QUOTA_EXCEEDED_EXCEPTION", "the cluster did not start or was lost", "node type"],
        ),
        (
            {"result_state": "TIMEDOUT", "state_message": "Run timed out"},
            ["longer than Databricks allows", "Run timed out"],
        ),
        (
            {"result_state": "CANCELED", "state_message": "Run cancelled."},
            ["was canceled on Databricks", "run it again"],
        ),
        (
            {
                "states": ["SKIPPED"],
                "result_state": "MAXIMUM_CONCURRENT_RUNS_REACHED",
                "state_message": "too many runs",
            },
            ["was skipped", "too many runs", "when there is room"],
        ),
        (
            {"result_state": "FAILED", "code": "LIBRARY_INSTALLATION_ERROR", "state_message": "no wheel"},
            ["no wheel", "libraries=[...]"],
        ),
    ],
)
def test_each_way_to_fail_says_what_happened_and_what_to_do(api, connection, outcome, words):
    api.plan(NOTEBOOK, **outcome)

    with pytest.raises(CommandError) as caught:
        databricks(notebook=NOTEBOOK, cluster=CLUSTER, connection=connection)()

    for word in [*words, "https://adb.example/?o=1#job/9/run/8001", NOTEBOOK]:
        assert word in str(caught.value)


def test_an_unknown_notebook_is_named_with_what_databricks_says(api, connection):
    with pytest.raises(CommandError, match="Unable to access the notebook") as caught:
        databricks(notebook="/Shared/nothing", cluster=CLUSTER, connection=connection)()

    assert str(caught.value).startswith("/Shared/nothing could not be run by Databricks")


def test_a_result_that_was_cut_off_is_an_error(api, connection):
    api.plan(NOTEBOOK, result='{"rows": [1, 2', truncated=True)

    with pytest.raises(CommandError, match="longer than the 5 MB"):
        databricks(notebook=NOTEBOOK, cluster=CLUSTER, connection=connection)()


def test_throttling_and_short_failures_are_waited_out(api, connection):
    api.plan(NOTEBOOK, result="1", states=["PENDING", "RUNNING", "RUNNING", "TERMINATED"])
    throttled = (429, {"Retry-After": "1"})
    api.fail_next("/submit", throttled, (503, {}))
    api.fail_next("/get", throttled, "drop", (503, {"Retry-After": "0"}))
    api.fail_next("/get-output", "drop")

    assert databricks(notebook=NOTEBOOK, cluster=CLUSTER, connection=connection)() == 1
    assert len(paths_of(api, "/submit")) == 3
    assert len(api.submitted) == 1


def test_a_submission_whose_answer_is_lost_is_not_made_twice(api, connection):
    api.plan(NOTEBOOK, result="1")
    api.fail_next("/submit", "drop after")

    assert databricks(notebook=NOTEBOOK, cluster=CLUSTER, connection=connection)() == 1
    assert len(paths_of(api, "/submit")) == 2
    assert len(api.submitted) == 1


def test_a_server_that_stays_away_is_an_error_that_says_for_how_long(api, connection):
    api.fail_next("/submit", *["drop"] * 10)

    with pytest.raises(CommandError, match="gave no answer for 1 s"):
        databricks(notebook=NOTEBOOK, cluster=CLUSTER, connection={**connection, "retry_timeout_seconds": 1})()


def test_refused_credentials_are_named_without_the_token(api, connection, monkeypatch):
    monkeypatch.setenv("WRONG_TOKEN", "dapi-wrong-token")
    wrong = {**connection, "token": "env:WRONG_TOKEN"}

    with pytest.raises(CommandError, match="refuses it: Invalid access token") as caught:
        databricks(notebook=NOTEBOOK, cluster=CLUSTER, connection=wrong)()

    assert "check the token" in str(caught.value)
    assert "dapi" not in str(caught.value)


def test_credentials_that_are_not_where_they_should_be_are_an_error(api, connection, monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)

    with pytest.raises(CommandError, match="environment variable NOT_SET, which is not set"):
        databricks(notebook=NOTEBOOK, cluster=CLUSTER, connection={**connection, "token": "env:NOT_SET"})()


def test_without_any_credentials_the_error_says_what_to_set(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("DATABRICKS_", "ARM_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))

    with pytest.raises(CommandError, match="set DATABRICKS_HOST and DATABRICKS_TOKEN"):
        databricks(notebook=NOTEBOOK, cluster=CLUSTER)()


def test_what_the_sdk_itself_looks_for_serves_too(api, monkeypatch):
    api.plan(NOTEBOOK, result="1")
    monkeypatch.setenv("DATABRICKS_HOST", api.host)
    monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)

    assert databricks(notebook=NOTEBOOK, cluster=CLUSTER)() == 1


def test_the_token_is_nowhere_in_the_workspace(api, connection, workspace):
    failing, printing = (databricks(notebook=path, cluster=CLUSTER, connection=connection) for path in ("/a", "/b"))
    api.plan("/a", result_state="FAILED", error=f"printed {TOKEN} by mistake", logs=f"token={TOKEN}")
    api.plan("/b", logs=f"token={TOKEN}")

    with pytest.raises(StepFailed):
        flow_of(failing).run()
    flow_of(printing).run()

    holding = [path for path in workspace.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert holding == []


def test_a_settings_name_that_the_api_does_not_know_is_an_error_before_anything_is_submitted(api, connection):
    cluster = {"spark_version": "15.4.x-scala2.12", "node_type_id": "a", "num_worker": 2}

    with pytest.raises(CommandError, match=r"knows no 'new_cluster.num_worker'"):
        databricks(notebook=NOTEBOOK, cluster=cluster, connection=connection)()
    assert api.submitted == []


def test_a_setting_of_the_connection_that_the_sdk_does_not_know_is_an_error(connection):
    with pytest.raises(CommandError, match="the SDK knows no setting 'hots'"):
        databricks(notebook=NOTEBOOK, cluster=CLUSTER, connection={**connection, "hots": "x"})()


def test_a_request_that_is_refused_says_why(api, connection):
    cluster = {"spark_version": "15.4.x-scala2.12", "node_type_id": "unknown", "num_workers": 2}

    with pytest.raises(CommandError, match=r"cannot be submitted: .* Node type unknown is not supported"):
        databricks(notebook=NOTEBOOK, cluster=cluster, connection=connection)()


def test_a_file_that_a_step_wrote_cannot_be_a_parameter(api, connection, tmp_path):
    train = databricks(notebook=NOTEBOOK, cluster=CLUSTER, parameters={"rides": Input("rides")}, connection=connection)

    @step
    def load() -> Path:
        path = tmp_path / "rides.csv"
        path.write_text("x\n")
        return path

    @pipeline
    def flow():
        return train(load())

    with pytest.raises(StepFailed, match="bring it to a datastore that the cluster reaches"):
        flow.run()
    assert api.submitted == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "takes one of notebook=, python_script= and main_class=; it has none"),
        ({"notebook": "/a", "main_class": "A"}, "it has notebook and main_class"),
        ({"notebook": "/a", "arguments": ["x"]}, "parameters"),
        ({"main_class": "A", "parameters": {"x": 1}}, "arguments"),
        ({"notebook": "/a", "parameters": {"x": Path("a.csv")}}, "does not reach the files of this machine"),
        ({"main_class": "A", "arguments": [Output("x")]}, "does not reach the files of this machine"),
        ({"main_class": "A", "arguments": "text"}, "takes a list"),
        ({"notebook": "/a", "parameters": {"x": object()}}, "takes texts, numbers, Input"),
        ({"notebook": "/a", "cluster": {"num_workers": 2}}, "needs a spark_version"),
        ({"notebook": "/a", "cluster": {"spark_version": "1", "num_workers": 2, "autoscale": {}}}, "not both"),
        ({"notebook": "/a", "cluster": 3}, "takes the id of a cluster"),
        ({"notebook": "/a", "libraries": ["xgboost"]}, "is no library"),
        ({"notebook": "/a", "connection": {"token": "dapi-secret"}}, "'env:NAME'"),
        ({"notebook": "/a", "connection": {"host": "https://ann:dapi-secret@x"}}, "holds a password"),
        ({"notebook": "/a", "environment": Environment(packages=["attrs"])}, "libraries"),
        ({"notebook": "/a", "source_directory": "src"}, "has to lie in the source directory"),
        ({"main_class": "A", "source_directory": "src"}, "goes with a notebook or a script"),
        ({"notebook": "/a", "cluster": "local"}, "pipelite.steps.notebook"),
        ({"python_script": "a.py", "cluster": "local", "libraries": [{"jar": "x"}]}, "environment=Environment"),
    ],
)
def test_a_job_that_cannot_work_is_refused_where_it_is_made(arguments, words):
    with pytest.raises(DefinitionError) as caught:
        databricks(**{"cluster": CLUSTER, **arguments})

    assert words in str(caught.value)
    assert "dapi-secret" not in str(caught.value)


@pytest.mark.parametrize("target", ["inline", "threads"])
def test_a_job_runs_also_without_a_process_of_its_own(api, connection, target):
    api.plan(NOTEBOOK, result="1")
    train = databricks(notebook=NOTEBOOK, cluster=CLUSTER, compute=target, connection=connection)

    assert flow_of(train).run().outputs["result"] == 1


def test_canceling_a_run_cancels_the_one_on_databricks(api, connection):
    api.plan(NOTEBOOK, states=[HELD, "TERMINATED"])
    run = flow_of(databricks(notebook=NOTEBOOK, cluster=CLUSTER, connection=connection)).submit()
    api.wait_for("submitted")

    run.cancel()
    run.wait()

    assert run.status == "canceled"
    api.wait_for("canceled")
    assert api.canceled == [8001]


def test_a_timeout_cancels_the_run_on_databricks(api, connection, workspace):
    api.plan(NOTEBOOK, states=[HELD, "TERMINATED"])

    with pytest.raises(StepFailed, match="longer than its timeout"):
        flow_of(databricks(notebook=NOTEBOOK, cluster=CLUSTER, timeout=15, connection=connection)).run()

    api.wait_for("canceled")
    assert api.canceled == [8001]
    wait_until_empty(workspace / "remote")


def test_a_worker_that_is_killed_has_its_run_canceled_before_its_retry_makes_another_one(api, connection):
    api.plan(NOTEBOOK, states=[HELD, "TERMINATED"], result="42")
    run = flow_of(databricks(notebook=NOTEBOOK, cluster=CLUSTER, retries=1, connection=connection)).submit()
    api.wait_for("submitted")

    for child in psutil.Process().children():
        # One of another test may have just ended.
        with contextlib.suppress(psutil.NoSuchProcess):
            if "popen_loky_posix" in " ".join(child.cmdline()):
                child.kill()

    api.wait_for("submitted", 2)
    assert api.canceled == [8001]
    api.release()
    run.wait()
    assert run.outputs["result"] == 42
    assert len({each["idempotency_token"] for each in api.submitted}) == 2


def test_what_was_uploaded_for_a_run_that_is_canceled_is_removed(api, connection, write):
    write("src/clean.py", "print(1)\n")
    api.plan("clean.py", states=[HELD, "TERMINATED"])
    clean = databricks(python_script="clean.py", source_directory="src", cluster=CLUSTER, connection=connection)
    run = flow_of(clean).submit()
    api.wait_for("submitted")

    run.cancel()
    run.wait()

    api.wait_for("canceled")
    until = time.monotonic() + 20
    while api.files:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_an_answer_that_never_came_does_not_leave_a_run_behind(api, connection):
    """The step gives up on a submission that was made, though nobody heard of it."""
    api.plan(NOTEBOOK, states=[HELD, "TERMINATED"])
    api.fail_next("/submit", "drop after")
    short = {**connection, "retry_timeout_seconds": 1}

    with pytest.raises(CommandError, match="gave no answer"):
        databricks(notebook=NOTEBOOK, cluster=CLUSTER, connection=short)()

    assert len(api.submitted) == 1
    assert api.canceled == [8001]


FLOW = """
import json, sys
from pathlib import Path
from pipelite import pipeline
from pipelite.steps import databricks

train = databricks(
    notebook="/Users/ann@example.org/train", cluster="0923-164208-meows279", connection=json.loads(Path("c.json").read_text())
)

@pipeline
def flow():
    return train()

if __name__ == "__main__":
    flow.run()
"""


def start_owner(connection: dict[str, object]) -> subprocess.Popen:
    Path("flow.py").write_text(FLOW)
    Path("c.json").write_text(json.dumps(connection))
    return subprocess.Popen([sys.executable, "flow.py"], stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_resumed_run_follows_the_one_that_is_under_way(api, connection, workspace, monkeypatch, how):
    monkeypatch.setenv("PIPELITE_GRACE", "0.2")
    api.plan(NOTEBOOK, states=[HELD, "TERMINATED"], result="42")
    owner = start_owner(connection)
    try:
        api.wait_for("submitted")
        wait_until_known(workspace / "remote")
        owner.send_signal(how)
        owner.wait(20)
    finally:
        owner.kill()
        owner.wait()
    (run,) = Workspace().runs()
    assert run.status == "interrupted"

    threading.Timer(0.5, api.release).start()
    done = subprocess.run(
        [sys.executable, "-m", "pipelite", "runs", "resume", run.id], check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    (run,) = Workspace().runs()
    assert run.outputs["result"] == 42
    assert "goes on with run 8001" in run.steps["train"].logs
    assert len(paths_of(api, "/submit")) == 1
    assert api.canceled == []
    assert os.listdir(workspace / "remote") == []


def test_a_run_under_way_that_was_to_do_something_else_is_canceled(api, connection, workspace):
    api.plan(NOTEBOOK, states=[HELD, "TERMINATED"], result="42")
    owner = start_owner(connection)
    try:
        api.wait_for("submitted")
        wait_until_known(workspace / "remote")
    finally:
        owner.kill()
        owner.wait()
    (note,) = (workspace / "remote").iterdir()
    note.write_text(json.dumps({**json.loads(note.read_text()), "wanted": "something else"}))
    (run,) = Workspace().runs()

    threading.Thread(target=lambda: (api.wait_for("submitted", 2), api.release())).start()
    done = subprocess.run(
        [sys.executable, "-m", "pipelite", "runs", "resume", run.id], check=False, capture_output=True
    )

    assert done.returncode == 0, done.stderr
    assert api.canceled == [8001]
    assert len(api.submitted) == 2


def test_a_second_ctrl_c_cancels_the_run_on_databricks(api, connection, workspace):
    api.plan(NOTEBOOK, states=[HELD, "TERMINATED"])
    owner = start_owner(connection)
    try:
        api.wait_for("submitted")
        for _ in range(2):
            owner.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert owner.wait(20) == 130
    finally:
        owner.kill()
        owner.wait()

    api.wait_for("canceled")
    assert api.canceled == [8001]
    wait_until_empty(workspace / "remote")


def wait_until_known(folder: Path) -> None:
    """Until the step run has written down which run it has under way."""
    until = time.monotonic() + 20
    while not any("8001" in path.read_text() for path in folder.iterdir()):
        assert time.monotonic() < until
        time.sleep(0.02)


def wait_until_empty(folder: Path) -> None:
    until = time.monotonic() + 20
    while os.listdir(folder):
        assert time.monotonic() < until
        time.sleep(0.02)


SPARK_SCRIPT = """
import sys
from pyspark.sql import SparkSession, functions as F

import helper

spark = SparkSession.builder.appName("clean").getOrCreate()
rides, least, out = sys.argv[1:]
frame = spark.read.csv(rides, header=True, inferSchema=True).filter(F.col("rentals") >= int(least))
if helper.FAILS:
    raise ValueError("no rides in May")
frame.coalesce(1).write.csv(out, header=True)
print("master", spark.sparkContext.master, "rows", frame.count())
"""


def make_spark_step(write, helper: str):
    write("src/clean.py", SPARK_SCRIPT)
    write("src/helper.py", helper)
    write("rides.csv", "day,rentals\nmon,120\ntue,80\nwed,300\n")
    return databricks(
        python_script="clean.py",
        source_directory="src",
        cluster="local[2]",
        arguments=[Input("rides"), Input("least"), Output("clean")],
    )


@pytest.mark.may_be_missing
@spark
def test_a_script_runs_on_the_spark_of_this_machine(write):
    clean = make_spark_step(write, "FAILS = False\n")

    @pipeline
    def flow(rides: Path, least: int):
        return clean(rides=rides, least=least)

    run, again = (flow.run(rides="rides.csv", least=100) for _ in range(2))

    (part,) = run.outputs["result"].glob("part-*.csv")
    assert part.read_text() == "day,rentals\nmon,120\nwed,300\n"
    assert "master local[2] rows 2" in run.steps["clean"].logs
    assert again.steps["clean"].reused


@pytest.mark.may_be_missing
@spark
def test_a_script_that_fails_on_the_spark_of_this_machine_shows_its_traceback(write):
    clean = make_spark_step(write, "FAILS = True\n")

    @pipeline
    def flow(rides: Path):
        return clean(rides=rides, least=100)

    with pytest.raises(StepFailed) as caught:
        flow.run(rides="rides.csv")

    message = str(caught.value.__cause__)
    assert message.startswith("Traceback (most recent call last):")
    assert "ValueError: no rides in May" in message
    assert message.endswith("ValueError: no rides in May\n\nclean.py exited with code 1")


def test_without_spark_the_error_names_what_to_install(write, monkeypatch, tmp_path):
    write("clean.py", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SPARK_HOME", raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))

    with pytest.raises(CommandError, match="there is no spark-submit"):
        databricks(python_script="clean.py", cluster="local")()
    (tmp_path / "bin" / "spark-submit").write_text("")
    (tmp_path / "bin" / "spark-submit").chmod(0o755)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(CommandError, match="there is no Java"):
        databricks(python_script="clean.py", cluster="local")()
