"""Prepares days: where a gauge failed, they are left out to train with, and filled in to predict for."""

import argparse
import csv
import os

parser = argparse.ArgumentParser()
parser.add_argument("--process_mode", choices=["train", "inference"])
parser.add_argument("--input")
parser.add_argument("--output")
args = parser.parse_args()

with open(args.input, newline="") as file:
    rows = list(csv.DictReader(file))
rains = [float(row["rain"]) for row in rows if row["rain"]]
usual = sum(rains) / len(rains)

columns = ["day", "rain", "level"] if args.process_mode == "train" else ["day", "rain"]
os.makedirs(args.output, exist_ok=True)
with open(os.path.join(args.output, "prepared.csv"), "w", newline="") as file:
    writer = csv.DictWriter(file, columns, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        if args.process_mode == "train" and not row["rain"]:
            continue
        writer.writerow({**row, "rain": row["rain"] or f"{usual:.1f}"})
