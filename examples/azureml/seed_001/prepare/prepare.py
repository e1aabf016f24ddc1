"""Leaves out what cannot be a length."""

import argparse
import csv
import os

parser = argparse.ArgumentParser()
parser.add_argument("--measured")
parser.add_argument("--prepared")
args = parser.parse_args()

with open(args.measured, newline="") as file:
    rows = [row for row in csv.DictReader(file) if float(row["length"]) > 0]

# The path is used like a folder; that it is made first is up to the script.
os.makedirs(args.prepared, exist_ok=True)
with open(os.path.join(args.prepared, "seeds.csv"), "w", newline="") as file:
    writer = csv.DictWriter(file, ["length", "width", "kind"])
    writer.writeheader()
    writer.writerows(rows)
