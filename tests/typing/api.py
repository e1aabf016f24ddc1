"""Code as users write it. It only has to type-check, which mypy does; nothing runs it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, assert_type

from pipelite import (
    Artifact,
    Dataset,
    Recurrence,
    Run,
    Schedule,
    StepRun,
    Workspace,
    current_run,
    first_of,
    pipeline,
    step,
)
from pipelite.errors import StepFailed


@step
def load(path: Path) -> list[float]:
    return [float(line) for line in path.read_text().splitlines()]


@step(outputs=("train", "test"))
def split(rows: list[float], test_fraction: float = 0.25) -> tuple[list[float], list[float]]:
    cut = int(len(rows) * test_fraction)
    return rows[cut:], rows[:cut]


@step(retries=2, retry_delay=timedelta(seconds=1), timeout=600, cpus=2, cache=timedelta(days=1))
def fit(rate: float, train: list[float]) -> float:
    current_run().log("rows", len(train), step=1)
    return rate * sum(train)


@step
def score(model: float, test: list[float]) -> float:
    accuracy = model / (1 + len(test))
    current_run().log("accuracy", accuracy)
    current_run().log_row("point", x=1, y=2.5)
    (current_run().scratch / "note.txt").write_text("done")
    return accuracy


@pipeline(experiment="typing", tags={"kind": "sample"}, keep_going=True)
def train(data: Path, rates: list[float] | None = None, until: date = date(2026, 1, 1)) -> dict[str, Any]:
    training, testing = split(load(data))
    models = fit.map(rates or [0.1, 0.2], train=training)
    scores = score.map(models, test=testing)
    assert_type(scores, list[float])
    return {"models": models, "scores": scores}


@pipeline
def growing(data: Path, is_small: bool = False) -> dict[str, Any]:
    rates = load(data)
    models = fit.map(rates, train=rates)
    chosen = first_of(fit.when(is_small)(0.1, rates), fit.unless(is_small)(0.2, rates))
    assert_type(chosen, float)
    return {"models": models, "chosen": chosen, "first": models[0]}


@pipeline
def nested(data: Path) -> dict[str, Any]:
    return train.with_options(regenerate_outputs=True)(data)


@pipeline(register_outputs={"first": "first"})
def split_of(data: Dataset, other: Dataset | None = None) -> dict[str, Any]:
    training, testing = data.keep_columns(["x"]).filter("x > @low", low=1).random_split(0.8)
    assert_type(training, Dataset)
    return {"first": count(training), "second": count(testing)}


@step
def count(data: Dataset) -> int:
    return len(data.to_pandas())


def use_data(folder: Path) -> None:
    workspace = Workspace(folder)
    lake = workspace.datastores.register("lake", "s3://lake", credentials={"key": "env:KEY"})
    lake.upload(folder, "raw", overwrite=True)
    data = Dataset.from_delimited_files(lake.path("raw/*.csv")).register("rows", tags={"a": "b"})
    assert_type(Dataset.get("rows", 1), Dataset)
    assert_type(workspace.datasets["rows"], Dataset)
    run = split_of.run(data="rows:1", other=data)
    assert_type(run.output("first").register("first"), Dataset)


def use_schedules(folder: Path) -> None:
    endpoint = Workspace(folder).endpoints["train"]
    schedule = Schedule.create(
        "weekly",
        endpoint,
        {"rates": [0.5]},
        recurrence=Recurrence("Week", 1, week_days=["Monday"], hours=[9]),
        timezone="Europe/Berlin",
        jitter=timedelta(minutes=5),
    )
    schedule.update(cron="30 2 * * *", overlap="queue")
    assert_type(schedule.next(3), list[datetime])
    assert_type(schedule.run_now(), Run)
    assert_type(Workspace(folder).schedules["weekly"], Schedule)
    print(*(f"{slot.local} {slot.outcome} {slot.reason}" for slot in schedule.history()))


def use(folder: Path) -> None:
    # Called directly, both are what they were.
    assert_type(load(folder), list[float])
    assert_type(fit.with_options(cpus=1)(0.1, [1.0]), float)

    run = train.run(data=folder, rates=[0.5])
    assert_type(run, Run)
    assert_type(run.steps["fit[0]"], StepRun)
    assert_type(run.output("models"), Artifact)
    later = train.submit(data=folder)
    try:
        later.wait(timeout=10)
    except StepFailed as error:
        print(error.step, error.run_id)
    print(run.metrics["score[0]/accuracy"], run.outputs["scores"], run.duration_s)

    for each in Workspace(folder).runs():
        assert_type(each, Run)
        print(each.id, each.status, each.parameters)
