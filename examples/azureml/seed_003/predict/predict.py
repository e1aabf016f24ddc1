"""The level of each day, by the registered model."""

import argparse
import json
import os

import numpy as np
from azureml.core import Model

parser = argparse.ArgumentParser()
parser.add_argument("--input")
parser.add_argument("--output")
args = parser.parse_args()

with open(Model.get_model_path("lake-level")) as file:
    model = json.load(file)
days = np.loadtxt(os.path.join(args.input, "prepared.csv"), delimiter=",", skiprows=1)

os.makedirs(args.output, exist_ok=True)
with open(os.path.join(args.output, "levels.csv"), "w") as file:
    file.writelines(f"{day:.0f},{model['level'] + model['slope'] * rain:.2f}\n" for day, rain in days)
