"""Scripts of that time that meet names which packages have removed since."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipelite.azureml.core import Experiment, Workspace
from pipelite.azureml.exceptions import ActivityFailedException
from pipelite.azureml.hints import explain
from pipelite.azureml.pipeline.core import Pipeline
from pipelite.azureml.pipeline.steps import PythonScriptStep

pytest.importorskip("numpy")
pytest.importorskip("pandas")
pytest.importorskip("sklearn")

#: Scripts by name, and what their failures have to say.
SCRIPTS = {
    "old_numbers": (
        "import numpy as np\nnp.zeros(3, dtype=np.float)",
        "AttributeError: module 'numpy' has no attribute 'float'",
        "NumPy removed np.float in 1.24: write float instead, or give the step an environment with numpy<1.24",
    ),
    "old_models": (
        "from sklearn.externals import joblib",
        "ImportError: cannot import name 'joblib' from 'sklearn.externals'",
        "scikit-learn removed sklearn.externals in 0.23: import joblib itself",
    ),
    "old_rows": (
        "import pandas as pd\nframe = pd.DataFrame({'x': [1]})\nframe = frame.append({'x': 2}, ignore_index=True)",
        "AttributeError: 'DataFrame' object has no attribute 'append'",
        "pandas removed DataFrame.append: pd.concat, .loc or .items take its place",
    ),
    "mistakes": ("raise KeyError('sold')", "KeyError: 'sold'", None),
}


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """What each of the scripts failed with, as steps of one pipeline."""
    folder = tmp_path_factory.mktemp("hints")
    for name, (script, _, _) in SCRIPTS.items():
        (folder / f"{name}.py").write_text(script)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIPELITE_WORKSPACE", str(folder / ".pipelite"))
        patch.setenv("PIPELITE_PROGRESS", "quiet")
        patch.chdir(folder)
        ws = Workspace("sub", "group", "shop")
        steps = [PythonScriptStep(name=name, script_name=f"{name}.py", source_directory=".") for name in SCRIPTS]
        run = Experiment(ws, "old").submit(Pipeline(ws, steps), continue_on_step_failure=True)
        with pytest.raises(ActivityFailedException):
            run.wait_for_completion(show_output=False)
        (native,) = ws.native.runs()
        return {name: step.error for name, step in native.steps.items()}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_step_that_fails_on_a_removed_name_says_what_takes_its_place(errors, name):
    _, raised, hint = SCRIPTS[name]

    assert raised in errors[name]
    if hint is None:
        assert "removed" not in errors[name]
    else:
        assert hint in errors[name]


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("module 'numpy' has no attribute 'float32x'", None),
        ("cannot import name 'Imputer' from 'sklearn.preprocessing' (/x.py)", "sklearn.impute.SimpleImputer"),
        ("No module named 'msrest.exceptions'", "azureml.exceptions.UserErrorException"),
        ("No module named 'sklearn_pandas'", "ColumnTransformer"),
        ("ImportError: numpy.core.multiarray failed to import", "ask for numpy<2 beside it"),
        ("'DataFrame' object has no attribute 'iteritems'", ".items take its place"),
        ("'OneHotEncoder' object has no attribute 'get_feature_names'", "get_feature_names_out"),
        ("no attribute 'get_feature_names_out'", None),
    ],
)
def test_each_removed_name_has_a_hint_of_its_own_and_others_have_none(message, hint):
    explained = explain(message)

    assert explained.startswith(message)
    assert (explained == message) if hint is None else (hint in explained)


@pytest.mark.parametrize(
    ("script", "hint"),
    [
        (
            "raise ModuleNotFoundError(\"No module named 'jsonpickle'\")",
            "jsonpickle came with the SDK, and does not come with this library: install it",
        ),
        ("import numpy as np\nnp.float", "NumPy removed np.float in 1.24"),
        (
            "import requests\nrequests.post('http://127.0.0.1:9/PipelineRuns/PipelineSubmit/1')",
            "nothing answers at the URL of what is published: `pipelite serve` does",
        ),
    ],
)
def test_a_script_itself_that_fails_says_so_too(tmp_path, script, hint):
    (tmp_path / "old.py").write_text(script)
    command = [sys.executable, "-m", "pipelite.azureml", "old.py"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(hint)
