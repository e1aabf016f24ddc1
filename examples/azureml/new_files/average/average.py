"""The average of the readings that this run is about."""

import argparse
import csv

from azureml.core import Run

parser = argparse.ArgumentParser()
parser.add_argument("--readings")
args = parser.parse_args()

with open(args.readings, newline="") as file:
    degrees = [float(row["degrees"]) for row in csv.DictReader(file)]
run = Run.get_context()
run.log("readings", len(degrees))
run.log("average", sum(degrees) / len(degrees))
