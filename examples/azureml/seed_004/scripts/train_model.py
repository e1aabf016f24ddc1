"""Learns how much honey a warm day brings."""

import argparse
import csv
import os

from azureml.core import Run


def train(folder, reg):
    with open(os.path.join(folder, "prepped_data.csv"), newline="") as file:
        days = [
            (float(row["temperature"]), float(row["honey"])) for row in csv.DictReader(file) if float(row["rain"]) < 1
        ]
    x_mean = sum(x for x, _ in days) / len(days)
    y_mean = sum(y for _, y in days) / len(days)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in days) / (sum((x - x_mean) ** 2 for x, _ in days) + reg)
    run = Run.get_context()
    run.log("grams for each degree", round(slope, 2))
    run.log("reg_rate", reg)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--training-data", type=str, dest="training_data")
    train(parser.parse_args().training_data, 0.0)
