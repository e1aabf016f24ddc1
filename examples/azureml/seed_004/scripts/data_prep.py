"""Takes from the weighings of beehives the columns that count; called with `--in_folder` it goes on to training."""

import argparse
import os

from azureml.core import Run
from train_model import train

run = Run.get_context()

parser = argparse.ArgumentParser()
parser.add_argument("--raw-ds", type=str, dest="raw_dataset_id")
parser.add_argument("--out_folder", "--folder", type=str, dest="folder")
parser.add_argument("--in_folder", type=str, dest="in_folder")
parser.add_argument("--reg", type=float, dest="reg")
args = parser.parse_args()

if args.in_folder:
    train(args.in_folder, args.reg)
else:
    # The argument is the id of the dataset; the data come by its name.
    raw_df = run.input_datasets["raw_data"].to_pandas_dataframe()
    prepped_df = raw_df[["temperature", "rain", "honey"]]
    run.log("days", len(prepped_df))
    os.makedirs(args.folder, exist_ok=True)
    prepped_df.to_csv(os.path.join(args.folder, "prepped_data.csv"), index=False)
