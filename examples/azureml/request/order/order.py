"""What to order for a number of guests."""

import argparse

from azureml.core import Run

parser = argparse.ArgumentParser()
parser.add_argument("--guests", type=int)
parser.add_argument("--sugar", type=float)
args = parser.parse_args()

run = Run.get_context()
run.log("cups", 3 * args.guests)
run.log("grams of sugar", 3 * args.guests * args.sugar)
