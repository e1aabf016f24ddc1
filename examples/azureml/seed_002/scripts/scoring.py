"""What each worker of a batch inference runs: `init` once, `run` for a few files at a time."""

import os
import pickle

from azureml.core import Model

model = None


def init():
    global model
    with open(Model.get_model_path("bikes"), "rb") as file:
        model = pickle.load(file)


def run(mini_batch):
    import pandas as pd

    return [f"{os.path.basename(path)}: {model.predict(pd.read_csv(path)).mean():.1f}" for path in mini_batch]
