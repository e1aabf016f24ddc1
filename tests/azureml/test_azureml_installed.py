"""An ordinary install, where this library lies among the installed packages and not in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from azureml_scripts import write_file

ROOT = Path(__file__).parents[2]
PIPELINE = """
    import pipelite
    from azureml.core import Experiment, Workspace
    from azureml.pipeline.core import Pipeline
    from azureml.pipeline.steps import PythonScriptStep

    print(pipelite.__file__)
    ws = Workspace.create(name="shop")
    step = PythonScriptStep("say.py", name="say", source_directory="steps")
    run = Experiment(ws, "say").submit(Pipeline(ws, [step]))
    run.wait_for_completion(show_output=False)
    print(run.find_step_run("say")[0].get_metrics())
"""
STEP = """
    import pipelite
    from azureml.core import Run

    Run.get_context().log("library", pipelite.__file__)
"""


def run(*command: str, cwd: Path) -> str:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**variables, "PIPELITE_PROGRESS": "quiet", "PIPELITE_WORKSPACE": str(cwd / ".pipelite")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def installed(tmp_path: Path) -> tuple[str, Path]:
    """A virtual environment with what an install of this library puts there: its Python, and where that is."""
    run(sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env"), cwd=tmp_path)
    python = str(tmp_path / "env/bin/python")
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    # What it needs is found where it is; an editable install there is not, for that takes a file that is read only there.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    # A copy, because building leaves something behind.
    source = tmp_path / "source"
    shutil.copytree(ROOT / "pipelite", source / "pipelite", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "README.rst", "pyproject.toml", "setup.cfg"):
        shutil.copyfile(ROOT / name, source / name)
    build = ("-c", "import setuptools; setuptools.setup()", "-q", "build_py", "--build-lib", str(packages))
    run(sys.executable, *build, cwd=source)
    return python, packages


def test_an_installed_library_runs_a_script_and_that_of_its_step(installed, tmp_path):
    pytest.importorskip("pandas")
    python, packages = installed
    write_file(tmp_path / "shop/pipeline.py", PIPELINE)
    write_file(tmp_path / "shop/steps/say.py", STEP)

    said = run(python, "-m", "pipelite.azureml", "pipeline.py", cwd=tmp_path / "shop").splitlines()

    library = str(packages / "pipelite/__init__.py")
    assert (said[0], said[-1]) == (library, str({"library": library}))
