"""What scripts import of `azureml`, in a process as `python -m pipelite.azureml` starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from pipelite.azureml.importing import SHIM

NAMES = {
    "azureml": "",
    "azureml.core": "Workspace Experiment Run Dataset Datastore Model Environment ScriptRunConfig RunConfiguration Keyvault "
    "ComputeTarget VERSION experiment",
    "azureml.core.authentication": "InteractiveLoginAuthentication ServicePrincipalAuthentication "
    "AzureCliAuthentication MsiAuthentication",
    "azureml.core.compute": "ComputeTarget AmlCompute RemoteCompute AksCompute DataFactoryCompute DatabricksCompute AdlaCompute",
    "azureml.core.compute_target": "ComputeTargetException",
    "azureml.core.conda_dependencies": "CondaDependencies",
    "azureml.core.dataset": "Dataset",
    "azureml.core.datastore": "Datastore",
    "azureml.core.environment": "Environment CondaDependencies",
    "azureml.core.experiment": "Experiment",
    "azureml.core.keyvault": "Keyvault",
    "azureml.core.model": "Model InferenceConfig",
    "azureml.core.resource_configuration": "ResourceConfiguration",
    "azureml.core.run": "Run _OfflineRun",
    "azureml.core.runconfig": "RunConfiguration DEFAULT_CPU_IMAGE DEFAULT_GPU_IMAGE DockerConfiguration CondaDependencies "
    "MpiConfiguration PyTorchConfiguration TensorflowConfiguration JarLibrary PyPiLibrary MavenLibrary",
    "azureml.core.script_run_config": "ScriptRunConfig",
    "azureml.core.webservice": "Webservice AciWebservice AksWebservice LocalWebservice",
    "azureml.core.workspace": "Workspace",
    "azureml.data": "OutputFileDatasetConfig TabularDataset FileDataset DataType",
    "azureml.data.abstract_dataset": "AbstractDataset",
    "azureml.data.azure_storage_datastore": "AzureBlobDatastore AzureFileDatastore AbstractAzureStorageDatastore",
    "azureml.data.data_reference": "DataReference",
    "azureml.data.datapath": "DataPath DataPathComputeBinding",
    "azureml.data.dataset_consumption_config": "DatasetConsumptionConfig",
    "azureml.data.dataset_type_definitions": "PromoteHeadersBehavior",
    "azureml.data.dataset_factory": "TabularDatasetFactory FileDatasetFactory DataType",
    "azureml.data.file_dataset": "FileDataset",
    "azureml.data.sql_data_reference": "SqlDataReference",
    "azureml.data.output_dataset_config": "OutputFileDatasetConfig OutputTabularDatasetConfig",
    "azureml.data.tabular_dataset": "TabularDataset",
    "azureml.exceptions": "UserErrorException ActivityFailedException ExperimentExecutionException "
    "RunEnvironmentException ComputeTargetException WebserviceException",
    "azureml.pipeline.core": "Pipeline PipelineData PipelineParameter PipelineRun StepRun PublishedPipeline "
    "PipelineEndpoint Schedule ScheduleRecurrence TimeZone TrainingOutput StepSequence PipelineStep PortDataReference "
    "Module PipelineDraft",
    "azureml.pipeline.core.graph": "PipelineParameter TrainingOutput PipelineData InputPortDef OutputPortDef",
    "azureml.pipeline.core.module": "Module ModuleVersion",
    "azureml.pipeline.core.pipeline_draft": "PipelineDraft",
    "azureml.pipeline.core.pipeline": "Pipeline",
    "azureml.pipeline.core.run": "PipelineRun StepRun",
    "azureml.pipeline.core.schedule": "Schedule ScheduleRecurrence TimeZone",
    "azureml.pipeline.steps": "PythonScriptStep EstimatorStep DataTransferStep DatabricksStep AdlaStep ParallelRunStep "
    "ParallelRunConfig AutoMLStep AutoMLStepRun HyperDriveStep HyperDriveStepRun MpiStep CommandStep RScriptStep ModuleStep "
    "AzureBatchStep KustoStep SynapseSparkStep",
    "azureml.train.automl": "AutoMLConfig",
    "azureml.train.dnn": "TensorFlow PyTorch",
    "azureml.train.estimator": "Estimator",
    "azureml.train.hyperdrive": "HyperDriveConfig RandomParameterSampling GridParameterSampling BayesianParameterSampling "
    "HyperDriveRun BanditPolicy MedianStoppingPolicy TruncationSelectionPolicy NoTerminationPolicy PrimaryMetricGoal choice randint uniform "
    "quniform loguniform qloguniform normal qnormal lognormal qlognormal",
    "azureml.telemetry": "set_diagnostics_collection",
    "azureml.train.hyperdrive.run": "HyperDriveRun PrimaryMetricGoal",
    "azureml.train.sklearn": "SKLearn",
    "azureml.widgets": "RunDetails",
}

SCRIPT = """
    import importlib, json, subprocess, sys, warnings

    from azureml.core import experiment
    from azureml.core import Workspace
    import pipelite.azureml.core

    names = json.loads(sys.argv[1])
    for module in ("azureml.opendatasets", "azureml.contrib.notebook", "azureml.train.automl.run"):
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as exc:
            print(exc)
    for module, listed in names.items():
        found = importlib.import_module(module)
        for name in listed.split():
            if not hasattr(found, name):
                print("missing:", module, name)
    print(Workspace is pipelite.azureml.core.Workspace, experiment.Experiment.__name__, __name__, sys.argv[2:])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from azureml.pipeline.step import PythonScriptStep
        from azureml.pipeline.step import EstimatorStep
    print(*(each.message for each in caught))
    try:
        import azureml.nothing
    except ModuleNotFoundError as exc:
        print(exc)
    try:
        Experiment
    except NameError as exc:
        print(exc)
    import beside
    print(subprocess.run([sys.executable, "-c", "import azureml.core; print(azureml.core.VERSION)"], capture_output=True, text=True).stdout)
"""


@pytest.fixture
def run_script(ws, write, tmp_path):
    import json

    write("scripts/all.py", SCRIPT)
    write("scripts/beside.py", "print('beside')")
    command = [sys.executable, "-m", "pipelite.azureml", "scripts/all.py", json.dumps(NAMES), "--more"]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)


def test_a_script_runs_with_all_that_it_imports(run_script):
    assert run_script.stderr == ""
    assert run_script.stdout.splitlines() == [
        (
            "there is no azureml.opendatasets here: Azure's public data sets are not copied; put the files that you need on a "
            "datastore, or read them by their URL: Dataset.Tabular.from_delimited_files(...), from_parquet_files(...)"
        ),
        (
            "there is no azureml.contrib.notebook here: pipelite.steps.notebook runs a notebook as a step; a PythonScriptStep runs "
            "it as a script"
        ),
        "there is no azureml.train.automl.run here: it comes with AutoMLStep, in a later version",
        "True Experiment __main__ ['--more']",
        "module azureml.pipeline.step is taken as azureml.pipeline.steps, which is how SDK v1 spells it; it refused the other",
        "No module named 'azureml.nothing'",
        "name 'Experiment' is not defined",
        "beside",
        "1.62.0",
        "",
    ]
    assert run_script.returncode == 0


def test_the_script_of_a_step_loads_nothing_besides_what_one_of_this_library_loads(ws):
    code = """
        import sys
        from pipelite import current_run
        current_run().log("a", 1)
        native = set(sys.modules)
        from azureml.core import Dataset, Datastore, Run, Workspace
        Run.get_context()
        print(*(set(sys.modules) - native))
    """
    loaded = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(SHIM), *sys.path))},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()
    assert "azureml.core.run" not in loaded  # It has the one name by which it was asked for.
    assert "pipelite.azureml.core.dataset" in loaded
    assert [name for name in loaded if not name.removeprefix("pipelite.").startswith("azureml")] == []


def test_a_module_or_a_package_runs_as_python_runs_it(ws, write, tmp_path):
    write("service/names.py", "WORD = 'found'")
    write(
        "service/build.py",
        """
        import sys
        import azureml.core
        from service.names import WORD
        from .names import WORD as again
        print(__name__, __package__, WORD, again, sys.argv)
        """,
    )
    write("service/__main__.py", "from service import build")
    said = []
    for module in ("service.build", "service"):
        command = [sys.executable, "-W", "error", "-m", "pipelite.azureml", "-m", module, "--more"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert done.stderr == ""
        said += done.stdout.splitlines()
    folder = tmp_path / "service"
    assert said == [
        f"__main__ service found found ['{folder / 'build.py'}', '--more']",
        f"service.build service found found ['{folder / '__main__.py'}', '--more']",
    ]


def test_a_script_that_is_not_there_is_an_error(ws):
    nothing = (
        ([], "usage:"),
        (["-m"], "usage:"),
        (["none.py"], "there is no script 'none.py'"),
        (["-m", "none"], "there is no module 'none' to run"),
    )
    for arguments, said in nothing:
        done = subprocess.run(
            [sys.executable, "-m", "pipelite.azureml", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1
        assert said in done.stderr
