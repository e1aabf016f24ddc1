"""Reads pipelines from YAML, as v1 had them."""

from __future__ import annotations

import ast
import difflib
import inspect
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pipelite.azureml._notices import note_ignored
from pipelite.azureml.core import runconfig_files
from pipelite.azureml.core.dataset import AbstractDataset, Dataset, FileDataset, TabularDataset
from pipelite.azureml.core.datastore import Datastore
from pipelite.azureml.core.runconfig import RunConfiguration
from pipelite.azureml.data.data_reference import DataReference
from pipelite.azureml.data.datapath import DataPath, DataPathComputeBinding
from pipelite.azureml.data.dataset_consumption_config import DatasetConsumptionConfig
from pipelite.azureml.data.output_dataset_config import OutputAsInput, OutputFileDatasetConfig, Rows
from pipelite.azureml.exceptions import UserErrorException
from pipelite.azureml.pipeline.core.graph import InputPortBinding, PipelineData, PipelineParameter
from pipelite.azureml.pipeline.core.step import PipelineStep
from pipelite.azureml.pipeline.core.yaml_places import NOTHING, Place
from pipelite.data import Dataset as NativeDataset

if TYPE_CHECKING:
    from pipelite.azureml.core.workspace import Workspace
    from pipelite.azureml.pipeline.core.pipeline import Pipeline

_PIPELINE_KEYS = ("name", "description", "parameters", "data_references", "data_reference", "default_compute", "steps")
_TYPES: Mapping[str, type] = {"int": int, "float": float, "bool": bool, "string": str}
_DATA_KEYS = ("datastore", "path_on_datastore", "dataset_name", "dataset_version", "dataset_id", "dataset", "bind_mode")
_INPUT_KEYS = ("source", "bind_mode", "is_dataset", "rows", "path_on_compute", "overwrite")
_OUTPUT_KEYS = (
    *("destination", "datastore", "bind_mode", "type", "path_on_datastore", "register_as", "pipeline_output_name"),
    *("path_on_compute", "overwrite", "data_type", "is_directory"),
)
#: Keys of steps that are said in words of their own, whatever the class calls them.
_STEP_KEYS = ("type", "compute", "arguments", "parameters", "inputs", "outputs", "run_after")
#: Kinds that are made of more than YAML says. v1 read of these only `ParallelRunStep`.
_ONLY_IN_PYTHON = ("AutoMLStep", "EstimatorStep", "HyperDriveStep", "ModuleStep", "MpiStep", "ParallelRunStep")
#: Kinds that say what to do instead, whatever else they are given.
_ELSEWHERE = ("AdlaStep", "AzureBatchStep", "KustoStep", "RScriptStep", "SynapseSparkStep")
#: What the expression for a dataset may call: nothing of it reads or writes data.
_DATASET_CALLS = (
    *("get", "from_delimited_files", "from_parquet_files", "from_json_lines_files", "from_files", "from_sql"),
    *("take", "skip", "random_split", "keep_columns", "filter"),
)
#: Keys that were for services.
_NO_MEANING = ("adla_compute_name",)
#: What a step of the class can be made of besides; each has the place of something that only Python can say.
_NOT_FROM_YAML = ("hash_paths", "params", "runconfig_pipeline_params", "others")


def load_pipeline(workspace: Workspace, filename: str | os.PathLike[str]) -> Pipeline:
    """A pipeline from a file.

    Raises
    ------
    ValueError
        Naming the file, the step and the key that is wrong.
    MissingExtraError
        If PyYAML is not installed, which comes with the extra `environments`.
    """
    file = os.fspath(filename)
    place = Place(file)
    with place.told():
        section = place.mapping(runconfig_files.read_file(file)).get("pipeline")
    if section is None:
        raise place.error("there is no section 'pipeline'")
    return _Reader(workspace, file, place.mapping(section, _PIPELINE_KEYS)).pipeline()


class _Reader:
    def __init__(self, workspace: Workspace, file: str, section: Mapping[str, Any]) -> None:
        self._workspace = workspace
        self._place = Place(file)
        self._folder = os.path.dirname(os.path.abspath(file))
        self._section = section
        self._parameters = {
            name: self._read_parameter(self._place.at("parameter", name), name, fields)
            for name, fields in self._place.at("parameters").mapping(section.get("parameters")).items()
        }
        references = section.get("data_references") or section.get("data_reference")
        self._data = dict(self._place.at("data_references").mapping(references))
        #: What steps write, by the name under which others ask for it.
        self._written: dict[str, Any] = {}

    def pipeline(self) -> Pipeline:
        from pipelite.azureml.pipeline.core.pipeline import Pipeline

        keys = self._place.at("steps").mapping(self._section.get("steps"))
        if not keys:
            raise self._place.error("key 'steps' is missing or empty")
        drafts = [_Draft(self._place.at("step", key), key, fields) for key, fields in keys.items()]
        for draft in drafts:
            draft.outputs = {
                name: self._make_output(draft.place.at("outputs").at(repr(name)), name, fields)
                for name, fields in draft.place.at("outputs").mapping(draft.fields.get("outputs")).items()
            }
        made = {draft.key: self._make_step(draft) for draft in drafts}
        for draft in drafts:
            for earlier in draft.fields.get("run_after") or ():
                if earlier not in made:
                    raise draft.place.error(f"key 'run_after' names step {earlier!r}, which is not there")
                made[draft.key].run_after(made[earlier])
        with self._place.told():
            return Pipeline(
                self._workspace,
                [made[draft.key] for draft in drafts],
                description=self._section.get("description") or self._section.get("name"),
            )

    # Parameters and data.

    def _read_parameter(self, place: Place, name: str, fields: Any) -> PipelineParameter:
        given = place.mapping(fields, ("type", "default"))
        kind, default = given.get("type"), given.get("default")
        with place.told():
            if kind == "datapath":
                path = place.at("default").mapping(default, ("datastore", "path_on_datastore"))
                return PipelineParameter(name, DataPath(self._datastore(path), path.get("path_on_datastore")))
            if kind == "dataset":
                return PipelineParameter(name, self._dataset(place, place.mapping(default, _DATA_KEYS)))
            if not isinstance(kind, str) or kind not in _TYPES:
                raise place.error(f"key 'type' is {kind!r}; one of {', '.join(_TYPES)}, datapath, dataset is expected")
            if kind == "float" and type(default) is int:
                default = float(default)
            if type(default) is not _TYPES[kind]:
                raise place.error(f"key 'default' is {default!r}, which is no {kind}")
            return PipelineParameter(name, default)

    def _datastore(self, fields: Mapping[str, Any]) -> Datastore:
        return Datastore(self._workspace, fields.get("datastore"))

    def _dataset(self, place: Place, fields: Mapping[str, Any]) -> AbstractDataset:
        if "dataset_name" in fields:
            found = Dataset.get_by_name(
                self._workspace, fields["dataset_name"], fields.get("dataset_version") or "latest"
            )
        elif "dataset_id" in fields:
            found = Dataset.get_by_id(self._workspace, fields["dataset_id"])
        elif "dataset" in fields:
            found = read_dataset(str(fields["dataset"]))
        else:
            raise place.error("one of 'datastore', 'dataset_name', 'dataset_id' and 'dataset' is expected")
        return found  # type: ignore[no-any-return]

    def _make_output(self, place: Place, name: str, fields: Any) -> Any:
        given = place.mapping(fields, _OUTPUT_KEYS)
        key = given.get("destination") or name
        if key in self._written:
            raise place.error(f"key 'destination' is {key!r}, which another output is called already")
        if key in self._data or key in self._parameters:
            raise place.error(f"key 'destination' is {key!r}, which is a data reference or a parameter")
        with place.told():
            made: Any
            kind = given.get("type", "PipelineData")
            if kind == "OutputFileDatasetConfig":
                destination = None
                if "datastore" in given or "path_on_datastore" in given:
                    destination = (self._datastore(given), given.get("path_on_datastore"))
                made = OutputFileDatasetConfig(name, destination)
                made = made.as_upload() if given.get("bind_mode") == "upload" else made
                if given.get("register_as"):
                    made = made.register_on_complete(given["register_as"])
            elif kind == "PipelineData":
                datastore = self._datastore(given) if "datastore" in given else None
                mode = given.get("bind_mode") or "mount"
                made = PipelineData(
                    name,
                    datastore,
                    output_mode=mode,
                    output_path_on_compute=given.get("path_on_compute"),
                    pipeline_output_name=given.get("pipeline_output_name"),
                )
                if given.get("register_as"):
                    made = made.as_dataset().register(given["register_as"])
            else:
                raise place.error(f"key 'type' is {kind!r}; 'PipelineData' or 'OutputFileDatasetConfig' is expected")
        self._written[key] = made
        return made

    def _make_input(self, place: Place, name: str, fields: Any) -> Any:
        given = place.mapping(fields, _INPUT_KEYS)
        if "source" not in given:
            raise place.error("key 'source' is missing")
        source, mode = given["source"], given.get("bind_mode")
        with place.told():
            if source in self._written:
                return self._read_output(self._written[source], name, given)
            if source in self._parameters:
                return self._read_parameter_as_input(self._parameters[source], name, mode)
            if source in self._data:
                data = place.mapping(self._data[source], _DATA_KEYS)
                if "datastore" in data:
                    return DataReference(
                        self._datastore(data), name, data.get("path_on_datastore"), mode=_as_mode(mode, "mount")
                    )
                dataset = self._dataset(self._place.at("data reference", source), data)
                natural = "direct" if isinstance(dataset, TabularDataset) else "mount"
                mode = mode or data.get("bind_mode")
                # Rows have no path, whatever v1's own example asked for.
                mode = natural if natural == "direct" else _as_mode(mode, natural)
                return DatasetConsumptionConfig(name, dataset, mode)
        known = [*self._data, *self._parameters, *self._written]
        near = difflib.get_close_matches(str(source), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or 'none'}"
        raise place.error(
            f"key 'source' is {source!r}, which is no data reference, no parameter, and no destination of an output; {hint}"
        )

    def _read_output(self, made: Any, name: str, given: Mapping[str, Any]) -> Any:
        calls = [(str(method), dict(options)) for method, options in given.get("rows") or ()]
        rows = Rows(*calls) if calls else None
        mode = _as_mode(given.get("bind_mode"), "mount")
        if isinstance(made, OutputFileDatasetConfig):
            return OutputAsInput(made, name, mode, rows)
        if isinstance(made, PipelineData) and not given.get("is_dataset"):
            return InputPortBinding(name, made, mode)
        dataset = made.as_dataset() if isinstance(made, PipelineData) else made
        return dataset._with(input_name=name, mode=mode, rows=rows)

    def _read_parameter_as_input(self, parameter: PipelineParameter, name: str, mode: Any) -> Any:
        if isinstance(parameter.default_value, DataPath):
            pair = (parameter, DataPathComputeBinding(_as_mode(mode, "mount")))
            return pair if name == parameter.name else InputPortBinding(name, pair)
        if isinstance(parameter.default_value, AbstractDataset):
            natural = "direct" if isinstance(parameter.default_value, TabularDataset) else "mount"
            return DatasetConsumptionConfig(name, parameter, mode or natural)
        raise ValueError(f"parameter {parameter.name!r} is no data")

    # Steps.

    def _make_step(self, draft: _Draft) -> PipelineStep:
        place, fields = draft.place, draft.fields
        make = _class_of(place, fields.get("type"))
        if make.__name__ in _ELSEWHERE:
            make(str(fields.get("name") or draft.key))
        taken = inspect.signature(make).parameters
        known = [*_STEP_KEYS, *(each for each in taken if each not in _NOT_FROM_YAML), *_NO_MEANING]
        place.mapping(fields, [*known, "parameters", "runconfig"])
        given: dict[str, Any] = {"name": fields.get("name") or draft.key}
        for key, value in fields.items():
            if key in _NO_MEANING or (key == "runconfig" and key not in taken):
                note_ignored(f"{key} of a {make.__name__} in YAML")
            elif key in taken and key not in ("name", *_STEP_KEYS) and value not in NOTHING:
                is_parameter = isinstance(value, Mapping) and [*value] == ["source"]
                given[key] = self._value(place.at(key), value) if is_parameter else value
        inputs = self._inputs(place, fields, "inputs")
        self._give_places(draft, given, taken)
        if "compute_target" in taken:
            target = fields.get("compute") or fields.get("compute_target") or self._section.get("default_compute")
            given["compute_target"] = target
        if make.__name__ == "DataTransferStep":
            return self._make_transfer(draft, make, given)
        ports = {"inputs": list(inputs.values()), "outputs": list(draft.outputs.values())}
        given |= {name: values for name, values in ports.items() if name in taken and values}
        if isinstance(given.get("command"), list):
            given["command"] = self._words(draft, "command", inputs)
        words = self._words(draft, "arguments", inputs)
        self._give_values(draft, make.__name__, given, taken, words)
        if given.get("version") is not None:
            given["version"] = str(given["version"])
        with place.told():
            made: PipelineStep = make(**given)
        return made

    def _inputs(self, place: Place, fields: Mapping[str, Any], key: str) -> dict[str, Any]:
        found = place.at(key).mapping(fields.get(key))
        return {name: self._make_input(place.at(key).at(repr(name)), name, each) for name, each in found.items()}

    def _give_places(self, draft: _Draft, given: dict[str, Any], taken: Mapping[str, Any]) -> None:
        """Paths, which are seen from the working directory, and if nothing is there from the file."""
        script = given.get("script_name") or given.get("python_script_name")
        if "source_directory" in given:
            given["source_directory"] = self._find(str(given["source_directory"]))
        elif script is not None and "source_directory" in taken:
            given["source_directory"] = os.getcwd() if os.path.exists(script) else self._folder
        if "runconfig" in given:
            with draft.place.at("runconfig").told():
                given["runconfig"] = self._runconfig(given["runconfig"])

    def _runconfig(self, value: Any) -> RunConfiguration:
        if isinstance(value, Mapping):
            made = RunConfiguration()
            runconfig_files.fill(made, value, self._folder)
            return made
        return RunConfiguration.load(self._find(str(value)))

    def _find(self, path: str) -> str:
        for each in (path, path.replace("\\", "/")):
            for folder in (os.getcwd(), self._folder):
                found = os.path.join(folder, each)
                if os.path.exists(found):
                    return os.path.normpath(found)
        return path

    def _words(self, draft: _Draft, key: str, inputs: Mapping[str, Any]) -> list[Any]:
        """Arguments, in which `input:`, `output:` and `parameter:` stand in front of names."""
        given = draft.fields.get(key) or []
        if not isinstance(given, list):
            raise draft.place.error(f"key {key!r} is {given!r}; a list is expected")
        kinds: Mapping[str, Mapping[str, Any]] = {
            "input": inputs,
            "output": draft.outputs,
            "parameter": self._parameters,
        }
        found = []
        for value in given:
            kind, colon, name = str(value).partition(":")
            if not colon or kind not in kinds:
                found.append(value)
            elif name in kinds[kind]:
                found.append(kinds[kind][name])
            else:
                raise draft.place.error(
                    f"key {key!r} has {value!r}, and there is no {kind} {name!r}; there are: {', '.join(kinds[kind]) or 'none'}"
                )
        return found

    def _give_values(
        self, draft: _Draft, kind: str, given: dict[str, Any], taken: Mapping[str, Any], words: list[Any]
    ) -> None:
        values = {
            name: self._value(draft.place.at("parameters").at(repr(name)), each)
            for name, each in draft.place.at("parameters").mapping(draft.fields.get("parameters")).items()
        }
        if kind == "DatabricksStep":
            if "notebook_path" in given:
                given["notebook_params"] = values or None
            else:
                words += [word for name, value in values.items() for word in (f"--{name}", value)]
                given["jar_params" if "main_class_name" in given else "python_script_params"] = words
            return
        if values and "params" not in taken:
            note_ignored(f"parameters of a {kind} in YAML")
        elif values:
            given["params"] = values
        if words and "arguments" in taken:
            given["arguments"] = words
        elif words:
            raise draft.place.error(f"key 'arguments' is not known; a {kind} takes none")

    def _value(self, place: Place, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        source = place.mapping(value, ("source",)).get("source")
        if source not in self._parameters:
            raise place.error(
                f"key 'source' is {source!r}, which is no parameter of the pipeline; there are: "
                f"{', '.join(self._parameters) or 'none'}"
            )
        return self._parameters[source]

    def _make_transfer(self, draft: _Draft, make: Callable[..., Any], given: dict[str, Any]) -> PipelineStep:
        for key in ("source_data_reference", "destination_data_reference"):
            place = draft.place.at(key)
            found = place.mapping(draft.fields.get(key))
            if len(found) != 1:
                raise draft.place.error(
                    f"key {key!r} is {draft.fields.get(key)!r}; one name with its source is expected"
                )
            ((name, fields),) = found.items()
            given[key] = self._make_input(place.at(repr(name)), name, fields)
        if draft.fields.get("parameters"):
            note_ignored("parameters of a DataTransferStep in YAML")
        with draft.place.told():
            made: PipelineStep = make(**given)
            for each in draft.outputs.values():
                made.give_output(each)  # type: ignore[attr-defined]
        return made


class _Draft:
    """A step as it stands in the file."""

    def __init__(self, place: Place, key: str, fields: Any) -> None:
        self.place = place
        self.key = key
        self.fields = place.mapping(fields)
        self.outputs: dict[str, Any] = {}


def _class_of(place: Place, kind: Any) -> Callable[..., Any]:
    from pipelite.azureml.pipeline import steps

    known = [name for name in steps.__all__ if name.endswith("Step")]
    if kind is None:
        raise place.error("key 'type' is missing")
    if kind not in known:
        near = difflib.get_close_matches(str(kind), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
        raise place.error(f"key 'type' is {kind!r}, which is no kind of step; {hint}")
    if kind in _ONLY_IN_PYTHON:
        raise place.error(f"key 'type' is {kind!r}, which is not read from YAML; make it in Python")
    made: Callable[..., Any] = getattr(steps, kind)
    return made


def _as_mode(mode: Any, default: str) -> str:
    return default if mode in NOTHING else str(mode)


def read_dataset(text: str) -> AbstractDataset:
    """A dataset from the expression that stands for it: calls of `Dataset` with plain arguments, one on the other.

    Raises
    ------
    UserErrorException
        If it is anything else.
    """
    try:
        native = _evaluate(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError) as exc:
        raise UserErrorException(f"{text!r} is no dataset: {exc}") from exc
    if not isinstance(native, NativeDataset):
        raise UserErrorException(f"{text!r} is no dataset")
    return (TabularDataset if native.is_tabular else FileDataset)(native, text)


def _evaluate(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id == "Dataset":
        return NativeDataset
    if isinstance(node, ast.Subscript):
        return _evaluate(node.value)[ast.literal_eval(node.slice)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _DATASET_CALLS:
        called = getattr(_evaluate(node.func.value), node.func.attr)
        options = {each.arg: ast.literal_eval(each.value) for each in node.keywords if each.arg is not None}
        return called(*map(ast.literal_eval, node.args), **options)
    raise ValueError(f"calls of Dataset are expected, not {ast.unparse(node)}")
