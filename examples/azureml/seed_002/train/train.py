"""An exponential average of a few rentals, by the rate that the pipeline is called with."""

import argparse

from azureml.core import Run

parser = argparse.ArgumentParser()
parser.add_argument("--input", type=float)
rate = parser.parse_args().input

average = 100.0
for rentals in (120, 90, 150, 130):
    average += rate * (rentals - average)
Run.get_context().log("average", average)
