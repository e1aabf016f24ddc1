"""Learns the level from the rain, and registers what it learned if that is better than what there is."""

import argparse
import json
import os

import numpy as np
from azureml.core import Model, Run

parser = argparse.ArgumentParser()
parser.add_argument("--input")
args = parser.parse_args()

days = np.loadtxt(os.path.join(args.input, "prepared.csv"), delimiter=",", skiprows=1)
slope, level = np.polyfit(days[:, 1], days[:, 2], 1)
error = float(np.abs(level + slope * days[:, 1] - days[:, 2]).mean())

run = Run.get_context()
run.log("error in metres", error)
ws = run.experiment.workspace
known = ws.models.get("lake-level")
if known is None or error < float(known.tags["error"]):
    os.makedirs("outputs", exist_ok=True)
    with open("outputs/lake.json", "w") as file:
        json.dump({"slope": slope, "level": level}, file)
    Model.register(ws, model_path="outputs/lake.json", model_name="lake-level", tags={"error": f"{error:.4f}"})
