"""How many bikes will be rented in an hour? Four models, trained side by side on two years of real data."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from features import describe, hour_of_day
from models import build
from pipelite import current_run, pipeline, step

HERE = Path(__file__).parent
CANDIDATES = ["typical hour", "linear", "forest", "boosting"]


@step
def load(path: Path):
    import pandas as pd

    return pd.read_csv(path, parse_dates=["dteday"])


@step
def clean(raw):
    """In order of time; what is missing is taken from the date or from the hour before."""
    hours = raw.rename(columns={"dteday": "date"})
    hours["hour"] = hours["hr"].map(hour_of_day)
    hours = hours.sort_values(["date", "hour"], ignore_index=True)
    hours["weather"] = hours["weathersit"].ffill()
    hours["working_day"] = hours["workingday"] == "Yes"
    return hours.drop(columns=["hr", "weathersit", "workingday", "weekday", "season", "casual", "registered"])


@step
def summarize(hours):
    by_year = hours.groupby(hours["date"].dt.year)["cnt"].sum()
    current_run().log("hours", len(hours))
    return {str(year): int(rides) for year, rides in by_year.items()}


@step(outputs=("train", "test"))
def split(table, hours, test_from: date):
    """Learn from the past, test on what came after."""
    is_test = hours["date"].dt.date >= test_from
    return table[~is_test], table[is_test]


@step
def add_features(hours):
    return describe(hours)


@step
def fit(candidate, train):
    return build(candidate).fit(train.drop(columns="cnt"), train["cnt"])


@step
def evaluate(model, test):
    error = (test["cnt"] - model.predict(test.drop(columns="cnt"))).abs()
    mae = round(float(error.mean()), 1)
    current_run().log("mae", mae)
    current_run().log("within_50", round(float((error <= 50).mean()), 3))
    return mae


@step
def pick_best(models, errors):
    return models[errors.index(min(errors))]


@step
def report(rides, errors, candidates):
    lines = ["Rides per year: " + ", ".join(f"{year} {count:,}" for year, count in rides.items()), ""]
    for error, candidate in sorted(zip(errors, candidates, strict=True)):
        lines.append(f"{candidate:<14}{error:>6} rides off per hour")
    path = current_run().scratch / "report.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pipeline(experiment="bikes")
def bikes(data: Path = HERE / "data" / "hours.csv", test_from: date = date(2012, 10, 1)):
    hours = clean(load(data))
    training, testing = split(add_features(hours), hours, test_from)
    models = fit.map(CANDIDATES, train=training)
    errors = evaluate.map(models, test=testing)
    return {
        "model": pick_best(models, errors),
        "report": report(summarize(hours), errors, CANDIDATES),
    }


if __name__ == "__main__":
    run = bikes.run()
    print(run.outputs["report"].read_text(encoding="utf-8"), end="")
