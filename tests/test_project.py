"""What holds for the project as a whole: what it installs, what importing it costs, what it is called."""

from __future__ import annotations

import configparser
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import pipelite
from core_install import MAX_BYTES, MAX_DISTRIBUTIONS, core_distributions, installed_bytes

ROOT = Path(__file__).parent.parent

#: Costly to import, or not installed everywhere: nothing of it may come with `import pipelite`.
HEAVY = (
    "attr", "attrs", "blake3", "click", "croniter", "flask", "fsspec", "joblib", "numpy", "pandas", "psutil", "pyarrow",
    "rich", "sklearn", "sqlite3", "sqlite_utils",
)  # fmt: skip


def python(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter and give what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_pipelite_imports_nothing_heavy():
    loaded = python("import sys, pipelite; print(*sys.modules)").split()

    assert "pipelite" in loaded
    assert not set(HEAVY) & set(loaded)


FLOW = """
import sys
from pipelite import pipeline, step

@step
def double(x):
    return 2 * x

@pipeline
def flow(x: int = 3):
    return double(double(x))

if __name__ == "__main__":
    result = flow.run().outputs["result"]
    print("result", result)
    print("modules", *sys.modules)
"""


def test_a_run_that_reuses_everything_imports_neither_sqlite_utils_nor_joblib_nor_numpy(workspace: Path):
    Path("flow.py").write_text(FLOW, encoding="utf-8")

    first, second = (
        subprocess.run([sys.executable, "flow.py"], capture_output=True, text=True, check=True).stdout for _ in range(2)
    )

    assert "result 12\n" in first
    assert "result 12\n" in second
    loaded = next(line for line in second.splitlines() if line.startswith("modules")).split()
    assert not {"sqlite_utils", "joblib", "numpy", "click", "croniter", "rich"} & set(loaded)


def test_the_core_runs_without_any_extra(workspace: Path, tmp_path: Path):
    Path("flow.py").write_text(FLOW, encoding="utf-8")
    hidden = tmp_path / "hidden"
    for name in (
        "flask",
        "fsspec",
        "numpy",
        "optuna",
        "pandas",
        "pyarrow",
        "rich",
        "scipy",
        "skops",
        "sklearn",
        "waitress",
    ):
        (hidden / name).mkdir(parents=True)
        (hidden / name / "__init__.py").write_text(f"raise ModuleNotFoundError('not here', name={name!r})\n")
    environment = {**os.environ, "PYTHONPATH": str(hidden)}

    for arguments in (["run", "flow.py:flow", "-p", "x=4"], ["runs", "list"], ["runs", "show"], ["doctor"]):
        command = [sys.executable, "-m", "pipelite", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (arguments, done.stdout + done.stderr)


def test_the_core_installs_few_and_small_distributions():
    sizes = {name: installed_bytes(distribution) for name, distribution in core_distributions().items()}

    assert 8 < len(sizes) <= MAX_DISTRIBUTIONS, sorted(sizes)
    assert 1_000_000 < sum(sizes.values()) <= MAX_BYTES, sizes


def test_the_public_names_are_sorted_and_each_can_be_had():
    assert pipelite.__all__ == sorted(pipelite.__all__)
    for name in pipelite.__all__:
        assert getattr(pipelite, name) is not None
        assert name in dir(pipelite)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'pipline'"):
        pipelite.pipline


def test_every_room_opens_with_a_docstring():
    rooms = sorted(path.parent.name for path in (ROOT / "pipelite").glob("*/__init__.py"))

    for room in rooms:
        assert importlib.import_module(f"pipelite.{room}").__doc__, room
    assert rooms


def test_every_folder_with_code_is_a_package():
    folders = {path.parent for path in (ROOT / "pipelite").rglob("*.py")}

    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_every_room_is_on_a_floor():
    setup = configparser.RawConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    floors = set(re.findall(r"\w+", setup["importlinter:contract:floors"]["layers"]))

    modules = {path.stem for path in (ROOT / "pipelite").iterdir() if path.suffix == ".py" or path.is_dir()}

    assert floors == modules - {"__init__", "__main__", "__pycache__"}


def test_the_changelog_has_the_version():
    headings = re.findall(r"^(\S.*)\n-{4,}$", (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8"), re.MULTILINE)

    assert headings[0].startswith(("Unreleased", pipelite.__version__))
    assert pipelite.__version__ in headings[0]


def test_continuous_integration_runs_the_second_command_of_the_readme():
    commands = readme_commands()

    last_line = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1]

    assert last_line == commands[1]


def test_the_commands_of_the_readme_name_only_extras_that_exist():
    setup = configparser.RawConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    known = set(setup["options.extras_require"])

    for command in readme_commands():
        (extras,) = re.findall(r"\.\[([\w,]+)\]", command)
        assert set(extras.split(",")) <= known


def test_the_commands_of_the_readme_start_files_that_exist():
    first, _ = readme_commands()

    script = shlex.split(first)[-1]

    assert (ROOT / script).is_file()


def readme_commands() -> list[str]:
    """The two set-up commands: the lines of the README that make a virtual environment."""
    lines = (ROOT / "README.rst").read_text(encoding="utf-8").splitlines()
    found = [line.strip().removeprefix("$ ") for line in lines if "python3 -m venv" in line]
    assert len(found) == 2
    return found


def test_no_two_test_files_have_the_same_name():
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]

    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_every_module_is_installed():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    named = settings["options.package_data"]["pipelite"].split()
    packages = {str(file.parent.relative_to(ROOT)) for file in (ROOT / "pipelite").rglob("__init__.py")}

    def is_found(folder: Path) -> bool:
        # As setuptools finds packages: each folder above is one, too.
        above = [folder, *folder.parents]
        return all(str(each) in packages for each in above[: above.index(Path("pipelite")) + 1])

    missing = [
        str(file.relative_to(ROOT / "pipelite"))
        for file in (ROOT / "pipelite").rglob("*.py")
        if not is_found(file.parent.relative_to(ROOT))
    ]
    assert [name for name in missing if name not in named] == []
    assert "azureml/shim/azureml/__init__.py" in missing
