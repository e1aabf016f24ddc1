"""The mean of the cups sold in each hour of the day."""

import argparse
import os

from azureml.core import Run

run = Run.get_context()
raw_df = run.input_datasets["raw_data"].to_pandas_dataframe()

parser = argparse.ArgumentParser()
parser.add_argument("--folder", type=str, dest="folder")
output_folder = parser.parse_args().folder

proc_data = raw_df.dropna().groupby("hour", as_index=False)["cups"].mean()
run.log("hours", len(proc_data))

os.makedirs(output_folder, exist_ok=True)
proc_data.to_csv(os.path.join(output_folder, "proc_data.csv"), index=False)
