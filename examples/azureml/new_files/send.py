"""What the station does: `python -m pipelite.azureml send.py monday 3.5 12 8.5` puts the readings of a day on the datastore."""

import sys
from pathlib import Path

from azureml.core import Workspace

day, *degrees = sys.argv[1:]
file = Path(f"{day}.csv")
file.write_text("".join(["hour,degrees\n", *(f"{6 * number},{each}\n" for number, each in enumerate(degrees, 1))]))
datastore = Workspace.from_config().get_default_datastore()
datastore.upload_files([str(file)], target_path="readings", overwrite=True, show_progress=False)
