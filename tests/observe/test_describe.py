"""A run as text and as JSON."""

from __future__ import annotations

import json

from pipelite.observe import describe_outputs, describe_run, summarize_run
from pipelite.records import RESULT, ArtifactRef, Status
from pipelite.store import get_step_runs, now_text

MODEL = ArtifactRef(
    digest="object#1", kind="estimator", path="ab/abc.pickle", size_bytes=1_500_000, type_name="sklearn.svm.SVC"
)
REPORT = ArtifactRef(digest="file#1", kind="file", path="cd/cde/report.txt", size_bytes=208, type_name="pathlib.Path")
TABLE = ArtifactRef(digest="dict:", kind="json", inline='{"a": [1, 2]}', type_name="dict")
NUMBER = ArtifactRef(digest="numpy:", kind="scalar", inline='{"dtype":"<f8","value":0.5}', type_name="numpy.float64")


def place(step, *path, output=RESULT):
    return {"step": step, "output": output, "path": list(path)}


def outputs_of(records, outputs, *step_runs):
    run = records.run(*step_runs, outputs=outputs)
    return dict(describe_outputs(records.store, run, get_step_runs(records.store, run.id)))


def test_a_run_is_described_with_parameters_steps_metrics_and_outputs(records):
    now = now_text()
    run = records.run(
        records.step("load", status="reused"),
        records.step("fit", key="k2", cpu_s=0.25, peak_memory_bytes=48_000_000, attempts=3),
        parameters={"rate": 0.1, "data": "a.csv"},
        experiment="nightly",
        tags={"who": "me"},
        outputs={"model": place("fit")},
        metrics=[(1, ("accuracy", "scalar", 1, "0.5", now)), (1, ("accuracy", "scalar", 2, "0.75", now))],
    )

    text = describe_run(records.store, run)

    assert run.id in text
    assert "status        completed in 1.5 s, 2 steps: 1 reused, 1 computed" in text
    assert "experiment    nightly" in text
    assert "parameters    rate=0.1, data=a.csv" in text
    assert "tags          who=me" in text
    assert "output model  5" in text
    assert "fit   completed    0.50 s  0.25 s  48.0 MB         3  accuracy=0.75" in text


def test_errors_stand_at_the_end_in_full(records):
    error = "step 'fit' failed: ValueError: bad\n\nTraceback ...\nValueError: bad"
    run = records.run(
        records.step(status="failed", outputs={}, error=error),
        status=Status.FAILED,
        error="step 'fit' failed: ValueError: bad",
    )

    text = describe_run(records.store, run)

    assert text.endswith(error)
    assert text.count("step 'fit' failed") == 1


def test_a_long_fan_out_takes_one_line_besides_its_failures(records):
    steps = [records.step(f"fit[{number}]", key=f"k{number}") for number in range(30)]
    steps[7]["status"] = "failed"
    run = records.run(*steps)

    short = describe_run(records.store, run)
    long = describe_run(records.store, run, all_steps=True)

    assert "fit[...]  30 steps: 29 computed, 1 failed" in short
    assert "fit[7]" in short
    assert "fit[8]" not in short
    assert "fit[8]" in long


def test_steps_that_wait_are_counted_too(records):
    run = records.run(records.step(), status=Status.RUNNING, options={"steps": 7})

    assert "7 steps: 1 computed" in describe_run(records.store, run)


def test_outputs_are_values_or_what_and_how_large_they_are(records):
    outputs = {
        "model": place("fit"),
        "report": place("report"),
        "table": place("table"),
        "second": place("table", "a", 1),
        "number": place("number"),
        "part": place("fit", "coef"),
        "both": {"list": [place("number"), place("table")]},
        "named": {"dict": {"n": place("number"), "m": {"value": 3}}},
        "skipped": place("never"),
    }

    found = outputs_of(
        records,
        outputs,
        records.step("fit", outputs={RESULT: MODEL}),
        records.step("report", key="k2", outputs={RESULT: REPORT}),
        records.step("table", key="k3", outputs={RESULT: TABLE}),
        records.step("number", key="k4", outputs={RESULT: NUMBER}),
        records.step("never", key=None, status="skipped", outputs={}),
    )

    assert found == {
        "model": "SVC (estimator, 1.5 MB)",
        "report": ".pipelite/artifacts/cd/cde/report.txt (208 bytes)",
        "table": '{"a": [1, 2]}',
        "second": "2",
        "number": "0.5",
        "part": "['coef'] of SVC (estimator, 1.5 MB)",
        "both": '[0.5, {"a": [1, 2]}]',
        "named": "{n: 0.5, m: 3}",
        "skipped": "nothing",
    }


def test_several_outputs_of_a_step_together_are_named(records):
    both = {"step": "split", "output": None, "path": []}

    found = outputs_of(records, {"parts": both}, records.step("split", outputs={"train": MODEL, "test": NUMBER}))

    assert found == {"parts": "{train: SVC (estimator, 1.5 MB), test: 0.5}"}


def test_an_output_named_like_a_field_of_an_artifact_is_still_an_output(records):
    outputs = {"all": {"dict": {"kind": place("fit"), "value": place("fit"), "item": place("fit")}}}

    found = outputs_of(records, outputs, records.step("fit"))

    assert found == {"all": "{kind: 5, value: 5, item: 5}"}


def test_the_summary_of_a_run_is_plain_json(records):
    run = records.run(records.step(), outputs={"model": place("fit")}, parameters={"rate": 0.1})

    summary = summarize_run(records.store, run)

    assert json.loads(json.dumps(summary)) == summary
    assert summary["outputs"] == {"model": {"value": 5, "type": "int"}}
    assert summary["steps"][0]["name"] == "fit"
    assert summary["steps"][0]["status"] == "completed"
