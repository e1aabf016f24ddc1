"""How many lines there are, and how many are in doubt."""

import csv
import sys

from azureml.core import Run

with open(sys.argv[1], newline="") as file:
    lengths = [float(row["length"]) for row in csv.DictReader(file)]

run = Run.get_context()
run.log("lines", len(lengths))
run.log("in doubt", sum(length <= 0 for length in lengths))
