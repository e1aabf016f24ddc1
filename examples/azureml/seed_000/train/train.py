"""A line through the means, its slope held back by the regularisation rate."""

import argparse
import csv
import os

from azureml.core import Run

parser = argparse.ArgumentParser()
parser.add_argument("--folder", type=str, dest="folder")
parser.add_argument("--reg", type=float, dest="reg", default=0.0)
args = parser.parse_args()

with open(os.path.join(args.folder, "proc_data.csv"), newline="") as file:
    points = [(float(row["hour"]), float(row["cups"])) for row in csv.DictReader(file)]
x_mean = sum(x for x, _ in points) / len(points)
y_mean = sum(y for _, y in points) / len(points)
slope = sum((x - x_mean) * (y - y_mean) for x, y in points) / (sum((x - x_mean) ** 2 for x, _ in points) + args.reg)

run = Run.get_context()
run.log("cups less each hour", round(-slope, 3))
run.log("reg_rate", args.reg)
