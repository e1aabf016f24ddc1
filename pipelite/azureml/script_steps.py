"""`script_step`: a script that was written for Azure ML, as a step of an ordinary pipeline."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelite.azureml.hints import explain
from pipelite.azureml.importing import SHIM
from pipelite.define import Step
from pipelite.errors import CommandError, PipeliteError
from pipelite.execute import StepContext, current_run
from pipelite.steps import Input, Output
from pipelite.steps.commands import encode, find_source, make_step, source_folder, take_list
from pipelite.steps.running import (
    COMMAND,
    DATASETS,
    FOLDER,
    SOURCE,
    STDOUT,
    Surroundings,
    chosen_python,
    is_dataset,
    library_variables,
    run_with,
)
from pipelite.steps.spark import spark_command
from pipelite.store import get_run, hold_store, take_snapshot

if TYPE_CHECKING:
    from pipelite.data import Dataset

#: Inputs that are the same for all calls of one step.
SETTING = "surroundings"
#: What Azure let a snapshot have.
SIZE_LIMIT_BYTES = 300_000_000
FILES_LIMIT = 2000
#: What of a source directory Azure took.
SNAPSHOT: dict[str, Any] = {
    "limit_files": FILES_LIMIT,
    "ignore_files": (".amlignore", ".gitignore"),
    "is_ignored_below": False,
    "takes_outputs": True,
}

_REFERENCE = re.compile(r"\$(?:\{(AZUREML_\w+|AML_\w+)\}|(AZUREML_\w+|AML_\w+))")


def script_step(
    file: str | os.PathLike[str] | None,
    *,
    source_directory: str | os.PathLike[str] | None = None,
    command: Sequence[Any] = (),
    arguments: Sequence[Any] = (),
    parameters: Mapping[str, Any] | None = None,
    datasets: Sequence[str] = (),
    mounted: Sequence[str] = (),
    rows: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]] | None = None,
    inputs: Sequence[str] = (),
    outputs: Sequence[Output] = (),
    variables: Mapping[str, str] | None = None,
    destinations: Mapping[str, tuple[str, str]] | None = None,
    spark: str | None = None,
    size_limit_bytes: int = SIZE_LIMIT_BYTES,
    **options: Any,
) -> Step[..., Any]:
    """A step that runs a script which imports `azureml`, unchanged.

    The script finds what it found in Azure: its inputs and outputs among its arguments and in environment variables, and
    the run that it is part of by `Run.get_context()`. It runs in a copy of its source directory, from which what
    `.amlignore` says is left out, or `.gitignore` where there is none; only the one in the directory itself is read.
    Azure left out nothing else. Here histories, caches and virtual environments (`.git`, `__pycache__`, `.venv` and the
    like) are left out too, unless a rule such as `!.git` takes them in; a folder `outputs` is taken, as it was there.

    A path of `outputs` that is no folder is one at which nothing lies when the script starts. What is not there when it has
    ended is an empty folder for the steps that read it.

    Parameters
    ----------
    file : path
        The script, seen from the source directory; None for a step that runs `command`.
    command : list
        A program and its arguments, instead of a script.
    arguments : list
        As for `pipelite.steps.script`; an `Input` that is one of `datasets` is given as the id of the dataset.
    parameters : mapping
        Values that the script finds in variables `AML_PARAMETER_...`: texts, or `Input(...)`.
    datasets : list of str
        Inputs that are datasets and found as such in `Run.get_context().input_datasets`.
    mounted : list of str
        Inputs whose paths are found there.
    rows : mapping of str to list of (method, options)
        How rows are read of inputs that are files: `Dataset.Tabular.from_...`, and calls on what that gives.
    inputs : list of str
        Inputs that are not among the arguments.
    outputs : list of Output
        Outputs that are not among the arguments.
    variables : mapping of str to str
        More environment variables.
    destinations : mapping of output to (datastore, path)
        Where a folder that the script wrote is put besides; `{run-id}` and `{output-name}` are filled in.
    spark : str, optional
        Have `spark-submit` run the script, with this master, such as "local[2]"; it is told its run as arguments, too.
    size_limit_bytes : int
        The most that the files of the source directory may have together; 2,000 files are the most that it may have.
    **options
        Those of `@step`, without `outputs`.

    Raises
    ------
    DefinitionError
        If an argument or an option is wrong.
    """
    where = f"script_step({os.fspath(file) if file is not None else list(command)[:2]!r})"
    if file is not None:
        needed, source = find_source(file, source_directory, size_limit_bytes, where, **SNAPSHOT)
        folder: Any = source
        words = [needed, *take_list(arguments, "arguments", where)]
        name = os.path.basename(needed)
    else:
        first, *rest = take_list(command, "command", where)
        folder = None
        if source_directory is not None:
            folder = source_folder(source_directory, size_limit_bytes, where, **SNAPSHOT)
        words, name = [first, *rest], os.path.basename(str(first))
    given = dict(parameters or {})
    named = [Input(each) for each in dict.fromkeys((*datasets, *mounted, *inputs))]
    written = [*_iter_outputs(words), *outputs]
    return make_step(
        run_azureml_script,
        [*words, *given.values(), *named, *outputs],
        {
            SOURCE: folder,
            COMMAND: encode(words),
            STDOUT: None,
            DATASETS: encode([Input(each) for each in datasets]),
            SETTING: {
                "is program": file is None,
                "spark": spark,
                "parameters": {key: encode(value) for key, value in given.items()},
                "outputs": encode(list(outputs)),
                "folders": [each.name for each in written if each.is_folder],
                "mounted": list(mounted),
                "rows": {name: [list(call) for call in calls] for name, calls in (rows or {}).items()},
                "variables": dict(variables or {}),
                "destinations": {key: list(value) for key, value in (destinations or {}).items()},
            },
        },
        where=where,
        default_name=name,
        options=options,
    )


def copy_source(file: str, source_directory: str | os.PathLike[str], target: Path, where: str) -> None:
    """Copy what a step with this script would be given of its source directory.

    Raises
    ------
    ValueError
        If the script is not there, or the folder is over its limits.
    """
    try:
        _, source = find_source(file, source_directory, SIZE_LIMIT_BYTES, where, **SNAPSHOT)
        names = take_snapshot(source).files or {}
    except PipeliteError as exc:
        raise ValueError(f"{where}: {exc}") from exc
    for name in names:
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.join(source.path, name), copy)


def _iter_outputs(words: Sequence[Any]) -> Iterator[Output]:
    for each in words:
        if isinstance(each, list):
            yield from _iter_outputs(each)
        elif isinstance(each, Output):
            yield each


def run_azureml_script(**inputs: Any) -> Any:
    """Run a script in the surroundings that Azure ML gave it; gives the paths of its outputs."""
    setting = inputs.pop(SETTING)
    for name, calls in setting["rows"].items():
        inputs[name] = _read_rows(inputs[name], calls)
    around = _AzureSurroundings(setting, inputs)
    interpreter: tuple[str, ...] = () if setting["is program"] else (chosen_python(),)
    if setting["spark"] is not None:
        interpreter = spark_command(setting["spark"])
        told = [word for name in run_variables(current_run()) for word in (f"--{name}", f"${name}")]
        inputs[COMMAND] = [*inputs[COMMAND], *told]
    try:
        written = run_with(inputs, interpreter, around)
    except CommandError as exc:
        raise CommandError(explain(str(exc))) from None
    for name, (datastore, path) in setting["destinations"].items():
        _upload(name, around.written[name], datastore, path)
    return written


class _AzureSurroundings(Surroundings):
    kept = ("outputs", "logs")
    may_leave_empty = True

    def __init__(self, setting: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
        self._setting = setting
        self._direct = {each["input"] for each in inputs[DATASETS]}
        self.more_outputs = setting["outputs"]
        self.written: Mapping[str, Path] = {}

    def path_of(self, dataset: Dataset, name: str, work: Path) -> Path:
        # What stands for a dataset that the script finds as such is its id.
        return Path(dataset_id(dataset)) if name in self._direct else mounted(dataset)

    def variables(
        self, here: StepContext, inputs: Mapping[str, Any], outputs: Mapping[str, Path], work: Path
    ) -> dict[str, str]:
        self.written = outputs
        setting = self._setting
        found: dict[str, str] = dict(setting["variables"])
        by_name = {*self._direct, *setting["mounted"]}
        modes = []
        for name, value in inputs.items():
            if is_dataset(value):
                path = self.path_of(value, name, work)
            elif isinstance(value, Path):
                path = value.absolute()
            else:
                continue
            found[f"AZUREML_DATAREFERENCE_{name}"] = str(path)
            if name in by_name:
                found[name] = str(path)
                modes.append(f"{name}:{'direct' if name in self._direct else 'mount'}")
        for name, path in outputs.items():
            found[f"AZUREML_DATAREFERENCE_{name}"] = str(path)
            if name in setting["folders"]:
                found[name] = str(path)
        for name, value in setting["parameters"].items():
            text = inputs[value["input"]] if isinstance(value, Mapping) else value
            found[f"AML_PARAMETER_{name}"] = str(text)
        found["AZUREML_DATASET_ENVIRONMENT_VARS"] = ",".join(modes)
        found["AZUREML_DATASET_FILE_OUTPUTS"] = ";".join(setting["folders"])
        paths = {**os.environ, **library_variables()}.get("PYTHONPATH", "")
        # A script finds what lies beside it, as anywhere, and what lies in the folder that it runs in.
        found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(SHIM), str(work / FOLDER), paths)))
        if setting["is program"] and here._interpreter is None:
            # A command that says `python` means that of the step.
            found["PATH"] = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", "")))
        return {**found, **run_variables(here)}

    def argument(self, text: str, variables: Mapping[str, str]) -> str:
        # As a port's text stands in the middle of an argument.
        return _REFERENCE.sub(lambda found: variables.get(found[1] or found[2], found[0]), text)


def _read_rows(value: Any, calls: Sequence[Any]) -> Dataset:
    """Rows of the files that a step wrote."""
    from pipelite.azureml.core.dataset import DataType, TabularDatasetFactory

    (method, options), *others = calls
    types = {name: DataType(each) for name, each in options.get("set_column_types", {}).items()}
    made = getattr(TabularDatasetFactory, method)(str(value), **{**options, "set_column_types": types or None})
    for name, given in others:
        made = getattr(made, name)(**given)
    native: Dataset = made.native
    return native


def dataset_id(dataset: Dataset) -> str:
    """The id of a dataset, by which `azureml.core.Dataset.get_by_id` finds it."""
    from pipelite.azureml.core.dataset import of_native

    made: str = of_native(dataset).definition_id
    return made


def mounted(dataset: Dataset) -> Path:
    """A path to read a dataset from: of its file, if it was made of just that, else a folder."""
    path = dataset.as_path()
    sources = dataset.definition.sources
    if path.is_dir() or (len(sources) == 1 and os.path.basename(sources[0].path) == path.name):
        return path
    # The only file of a folder: scripts expect the folder.
    return path.parents[dataset.files[0].count("/")]


def run_variables(here: StepContext) -> dict[str, str]:
    """What tells a script which run it is part of."""
    from pipelite.azureml import _state

    run_id = here._run_id
    if run_id is None:
        return {}
    store = hold_store()
    experiment = get_run(store, run_id).experiment
    subscription, group, name = _state.workspace_names(store)
    return {
        "AZUREML_RUN_ID": f"{run_id}/{here.name}",
        "AZUREML_ROOT_RUN_ID": run_id,
        "AZUREML_ARM_SUBSCRIPTION": subscription,
        "AZUREML_ARM_RESOURCEGROUP": group,
        "AZUREML_ARM_WORKSPACE_NAME": name,
        "AZUREML_ARM_PROJECT_NAME": experiment,
        "AZUREML_EXPERIMENT_ID": _state.make_id("experiment", experiment),
        "AZUREML_WORKSPACE_ID": _state.make_id(str(store.path)),
        "AZUREML_SERVICE_ENDPOINT": "http://127.0.0.1",
        "AZUREML_RUN_TOKEN": "local",
        "AZUREML_RUN_TOKEN_EXPIRY": "0",
    }


def _upload(output: str, folder: Path, datastore: str, path: str) -> None:
    from pipelite.azureml import _state

    here = current_run()
    target = path.replace("{run-id}", str(here.id)).replace("{output-name}", output)
    if any(folder.iterdir()):
        _state.open_workspace().datastores[datastore].upload(folder, target, overwrite=True)
