"""Tries some models of rentals, each by cross-validation, and keeps the figures of all and the best one."""

import argparse
import json
import pickle

from azureml.core import Run
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

parser = argparse.ArgumentParser()
parser.add_argument("--label")
parser.add_argument("--metric")
parser.add_argument("--folds", type=int)
parser.add_argument("--metrics")
parser.add_argument("--model")
args = parser.parse_args()

run = Run.get_context()
frame = run.input_datasets["training_data"].to_pandas_dataframe().dropna()
X, y = frame.drop(columns=[args.label]), frame[args.label]

models = [
    make_pipeline(StandardScaler(), LinearRegression()),
    make_pipeline(StandardScaler(), PolynomialFeatures(2), Ridge(1.0)),
    make_pipeline(StandardScaler(), PolynomialFeatures(3), Ridge(1.0)),
]
figures, tried = {}, []
for number, model in enumerate(models):
    errors = -cross_val_score(model, X, y, cv=args.folds, scoring="neg_root_mean_squared_error")
    error = float(errors.mean() / (y.max() - y.min()))
    run.log(args.metric, error, step=number)
    figures[f"{run.id}_{number}"] = {args.metric: [error]}
    tried.append((error, number))

# Each output is one file at the path that the script was given.
with open(args.metrics, "w") as file:
    json.dump(figures, file)
best = models[min(tried)[1]].fit(X, y)
with open(args.model, "wb") as file:
    pickle.dump(best, file)
