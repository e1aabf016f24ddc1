"""A scikit-learn pipeline, which is another thing of that name, inside of a step."""

import argparse
import csv
import os

from azureml.core import Run
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

parser = argparse.ArgumentParser()
parser.add_argument("--data")
args = parser.parse_args()

with open(os.path.join(args.data, "seeds.csv"), newline="") as file:
    rows = list(csv.DictReader(file))
X = [[float(row["length"]), float(row["width"])] for row in rows]
y = [int(row["kind"]) for row in rows]
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[:120], y[:120])

run = Run.get_context()
run.log("seeds", len(rows))
run.log("accuracy", model.score(X[120:], y[120:]))
