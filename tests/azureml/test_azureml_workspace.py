"""The workspace, its compute targets and environments, as scripts set them up."""

from __future__ import annotations

import json
import os

import pytest

from pipelite.azureml.core import Datastore, Environment, Experiment, RunConfiguration, Workspace
from pipelite.azureml.core.authentication import (
    AzureCliAuthentication,
    InteractiveLoginAuthentication,
    MsiAuthentication,
    ServicePrincipalAuthentication,
)
from pipelite.azureml.core.compute import (
    AksCompute,
    AmlCompute,
    BatchCompute,
    ComputeTarget,
    DatabricksCompute,
    DataFactoryCompute,
    HDInsightCompute,
    KustoCompute,
    RemoteCompute,
    SynapseCompute,
)
from pipelite.azureml.core.compute_target import ComputeTargetException
from pipelite.azureml.core.conda_dependencies import CondaDependencies
from pipelite.azureml.core.runconfig import DEFAULT_CPU_IMAGE, DockerConfiguration
from pipelite.azureml.data.azure_storage_datastore import AzureBlobDatastore, AzureFileDatastore
from pipelite.azureml.data.sql_data_reference import SqlDataReference
from pipelite.azureml.exceptions import NotOnOneBoxError, UserErrorException
from pipelite.azureml.train.estimator import Estimator
from pipelite.store.tokens import find_token

NAMES = {"subscription_id": "s", "resource_group": "g", "workspace_name": "w"}


@pytest.mark.parametrize("place", ["config.json", ".azureml/config.json", "aml_config/config.json"])
def test_a_config_is_found_here_or_above(ws, write, tmp_path, monkeypatch, place):
    write(place, json.dumps(NAMES))
    (tmp_path / "below/deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "below/deep")
    found = Workspace.from_config()
    assert (found.subscription_id, found.resource_group, found.name) == ("s", "g", "w")
    assert Workspace.from_config(path=str(tmp_path)).name == "w"
    assert Workspace.from_config(path=str(tmp_path / place)).name == "w"


def test_no_config_and_one_that_lacks_a_name_are_errors(ws, write):
    with pytest.raises(UserErrorException, match=r"no config\.json"):
        Workspace.from_config()
    write("config.json", '{"resource_group": "g"}')
    with pytest.raises(UserErrorException, match="subscription_id"):
        Workspace.from_config()


def test_a_config_that_is_written_is_found(ws):
    Workspace.create("made", subscription_id="s", resource_group="g").write_config()
    assert Workspace.from_config().name == Workspace.get("made").name == "made"


@pytest.mark.parametrize(
    "kind", ["experiments", "datasets", "compute_targets", "environments", "models", "webservices"]
)
def test_what_is_not_there_is_none_or_a_key_error(ws, kind):
    found = getattr(ws, kind)
    assert found.get("none") is None
    assert "none" not in found
    assert "none" not in set(found.keys())
    assert list(found) == []
    with pytest.raises(KeyError):
        found["none"]


def test_the_default_datastore_is_a_blob_store_until_another_is_set(ws, tmp_path):
    store = ws.get_default_datastore()
    assert (store.name, store.datastore_type) == ("workspaceblobstore", "AzureBlob")
    assert store.name in ws.datastores
    assert isinstance(store, AzureBlobDatastore)
    assert isinstance(Datastore.get(ws, "workspacefilestore"), AzureFileDatastore)
    ws.native.datastores.register("mine", tmp_path / "mine")
    ws.set_default_datastore("mine")
    assert ws.get_default_datastore().name == ws.datastores["mine"].name == "mine"
    with pytest.raises(UserErrorException):
        ws.set_default_datastore("none")


@pytest.mark.parametrize("name", ["-a", "a b", "", "a/b", "a" * 256])
def test_an_experiment_has_a_name_of_v1s(ws, name):
    with pytest.raises(UserErrorException, match="cannot be called"):
        Experiment(ws, name)
    assert Experiment(ws, "a_b-1").name == "a_b-1"


def test_an_experiment_submits_only_what_can_run(ws):
    with pytest.raises(UserErrorException, match="cannot be submitted"):
        Experiment(ws, "x").submit(object())
    assert list(Experiment(ws, "x").get_runs()) == []


def test_a_cluster_that_is_not_there_is_created(ws, capsys):
    for _ in range(2):
        try:
            cluster = ComputeTarget(workspace=ws, name="cpu-cluster")
            found = True
        except ComputeTargetException:
            found = False
            config = AmlCompute.provisioning_configuration(
                vm_size="STANDARD_D2_V2", vm_priority="lowpriority", max_nodes=4, idle_seconds_before_scaledown=2400
            )
            cluster = ComputeTarget.create(ws, "cpu-cluster", config)
            cluster.wait_for_completion(show_output=True, min_node_count=None, timeout_in_minutes=20)
    assert found
    assert isinstance(cluster, AmlCompute)
    assert (cluster.type, cluster.max_nodes, cluster.provisioning_state) == ("AmlCompute", 4, "Succeeded")
    assert (cluster.cluster_resource_id, cluster.location) == (cluster.id, "local")
    assert cluster.get_status().serialize()["scaleSettings"]["maxNodeCount"] == 4
    assert list(ws.compute_targets) == ["cpu-cluster"]
    said = capsys.readouterr()
    assert said.out == "Succeeded\n"
    assert said.err.count("has no meaning on one box") == 1


def test_a_cluster_of_another_kind_is_not_there(ws):
    ComputeTarget.create(ws, "adf", DataFactoryCompute.provisioning_configuration(location="here"))
    ComputeTarget.attach(ws, "brick", DatabricksCompute.attach_configuration("g", "w", access_token="t"))
    assert isinstance(DataFactoryCompute(ws, "adf"), DataFactoryCompute)
    assert isinstance(ComputeTarget(ws, "brick"), DatabricksCompute)
    for name in ("adf", "brick", "none"):
        with pytest.raises(ComputeTargetException):
            AmlCompute(ws, name)
    ComputeTarget(ws, "adf").delete()
    assert "adf" not in ws.compute_targets
    ComputeTarget.attach(ws, "vm", RemoteCompute.attach_configuration(address="host", ssh_port=22, username="me"))
    assert isinstance(ComputeTarget(ws, "vm"), RemoteCompute)


def test_machines_and_clusters_elsewhere_are_attached_as_this_box(ws, capsys):
    attached = {
        "vm": RemoteCompute.attach_configuration(username="ann", address="10.0.0.5", password="hush"),
        "spark": HDInsightCompute.attach_configuration(username="ann", address="10.0.0.6", password="hush"),
        "batch": BatchCompute.attach_configuration(resource_group="g", account_name="a"),
        "kusto": KustoCompute.attach_configuration("g", "w", application_key="hush"),
        "kubernetes": AksCompute.attach_configuration(resource_group="g", cluster_name="c"),
        "pool": SynapseCompute.attach_configuration(None, type="SynapseSpark", pool_name="p"),
    }
    for name, configuration in attached.items():
        ComputeTarget.attach(ws, name, configuration)
    assert {name: each.type for name, each in ws.compute_targets.items()} == {
        "vm": "VirtualMachine",
        "spark": "HDInsight",
        "batch": "Batch",
        "kusto": "Kusto",
        "kubernetes": "AKS",
        "pool": "SynapseSpark",
    }
    assert isinstance(RemoteCompute(ws, "vm"), RemoteCompute)
    assert "hush" not in ws.native.path.joinpath("pipelite.db").read_bytes().decode("latin-1")
    assert capsys.readouterr().err.count("how to sign in there") == 1


def test_a_cluster_is_described_and_changed(ws):
    cluster = ComputeTarget.create(ws, "cpu", AmlCompute.provisioning_configuration(min_nodes=1, max_nodes=2))
    cluster.update(max_nodes=5, idle_seconds_before_scaledown=60)
    assert (cluster.max_nodes, AmlCompute(ws, "cpu").max_nodes, AmlCompute(ws, "cpu").min_nodes) == (5, 5, 1)
    assert [each["nodeState"] for each in cluster.list_nodes()] == ["idle"]
    (size,) = AmlCompute.supported_vmsizes(workspace=ws, location="here")
    assert (size["name"], size["vCPUs"]) == ("local", os.cpu_count())


def test_a_target_of_the_workspace_itself_is_there_as_a_cluster(ws):
    ws.native.compute["gpu"] = {"kind": "local"}
    assert ComputeTarget(ws, "gpu").name == "gpu"


@pytest.mark.parametrize("given", [{"vm_priority": "cheap"}, {"min_nodes": 5, "max_nodes": 4}])
def test_a_cluster_that_cannot_be_is_an_error(given):
    with pytest.raises(UserErrorException):
        AmlCompute.provisioning_configuration(**given)


def test_the_target_of_a_run_configuration_is_a_name(ws):
    config = RunConfiguration()
    assert config.target == "local"
    config.target = ComputeTarget.create(ws, "cluster", AmlCompute.provisioning_configuration())
    assert config.target == "cluster"
    config.target = "other"
    assert config.target == "other"


def test_settings_of_containers_and_conda_are_taken(ws, capsys):
    config = RunConfiguration()
    config.target = "cpu"
    config.environment.docker.enabled = True
    config.environment.docker.base_image = DEFAULT_CPU_IMAGE
    config.environment.python.user_managed_dependencies = False
    config.auto_prepare_environment = True
    config.docker = DockerConfiguration(use_docker=True)
    config.environment.python.conda_dependencies = CondaDependencies.create(
        conda_packages=["scikit-learn"], pip_packages=["azureml-sdk", "attrs"]
    )
    assert config.environment.packages == ["attrs"]
    assert config.environment.native_code() == "Environment(packages=['attrs'])"
    assert capsys.readouterr().err.count("container image") == 1


def test_conda_dependencies_are_made_saved_and_read(ws, tmp_path):
    made = CondaDependencies.create(pip_packages=["pandas"], conda_packages=["pip"], python_version="3.6")
    made.add_pip_package("joblib")
    made.add_conda_package("numpy")
    made.set_python_version("3.8")
    path = made.save(str(tmp_path / "conda.yml"))
    again = CondaDependencies(path)
    assert again.pip_packages == made.pip_packages == ["pandas", "azureml-defaults", "joblib"]
    assert (again.conda_packages, again.python_version) == (["pip", "numpy"], "3.8")


def test_registered_environments_count_up_and_curated_ones_are_always_there(ws, write):
    write("requirements.txt", "# none\npandas\n")
    write("conda.yml", "dependencies:\n- python=3.6\n- pip:\n  - joblib\n")
    first = Environment.from_pip_requirements("batch_env", "requirements.txt").register(ws)
    again = Environment.from_pip_requirements("batch_env", "requirements.txt").register(ws)
    second = Environment.from_conda_specification("batch_env", "conda.yml").register(workspace=ws)
    assert [each.version for each in (first, again, second)] == ["1", "1", "2"]
    assert Environment.get(ws, "batch_env", version="1").packages == ["pandas"]
    assert ws.environments["batch_env"].packages == ["joblib"]
    assert Environment.get(ws, "AzureML-Minimal").name == "AzureML-Minimal"
    for wrong in (("none", None), ("batch_env", "3")):
        with pytest.raises(UserErrorException):
            Environment.get(ws, *wrong)


def test_an_environment_of_a_dockerfile_is_recorded_with_its_packages(ws, write, capsys):
    write("Dockerfile", "FROM somewhere\n")
    write("requirements.txt", "pandas\n")
    made = Environment.from_dockerfile("r", "Dockerfile", pip_requirements="requirements.txt").register(ws)
    again = Environment.get(ws, "r")
    assert again.docker.base_dockerfile == made.docker.base_dockerfile == "FROM somewhere\n"
    assert again.docker.base_image is None
    assert again.packages == ["pandas"]
    assert Environment.from_dockerfile("s", "FROM there\nRUN it").native_code() is None
    assert capsys.readouterr().err.count("container image") == 1


def test_databases_and_retired_stores_are_refused_with_a_way_out(ws):
    for register in (
        Datastore.register_azure_sql_database,
        Datastore.register_azure_postgre_sql,
        Datastore.register_azure_my_sql,
    ):
        with pytest.raises(NotOnOneBoxError, match=r"datastore 'rows': .*Dataset\.from_sql"):
            register(workspace=ws, datastore_name="rows", server_name="s", database_name="d")
    with pytest.raises(NotOnOneBoxError, match="register_azure_data_lake_gen2"):
        Datastore.register_azure_data_lake(ws, datastore_name="lake", store_name="s")
    with pytest.raises(NotOnOneBoxError, match=r"Dataset\.from_sql"):
        SqlDataReference(datastore=None, data_reference_name="rows", sql_query="select 1")


def test_an_estimator_takes_its_packages_and_says_what_it_does_not_use(ws, write, capsys):
    write("conda.yml", "dependencies:\n- pip:\n  - joblib\n")
    first = Estimator("src", entry_script="x.py", pip_packages=["pandas"], use_gpu=True, node_count=2)
    second = Estimator("src", entry_script="x.py", conda_dependencies_file="conda.yml")
    assert first.run_config.environment.packages == ["pandas"]
    assert second.run_config.environment.packages == ["joblib"]
    said = capsys.readouterr().err
    assert "use_gpu= of an estimator" in said
    assert "node_count= of an estimator" in said
    with pytest.raises(UserErrorException, match="entry_script"):
        Estimator("src")


def test_every_way_to_sign_in_gives_the_one_token_of_the_workspace_which_only_its_user_may_read(ws):
    file = ws.native.path / "token"
    ways = (
        InteractiveLoginAuthentication(),
        ServicePrincipalAuthentication("tenant", "id", "secret"),
        AzureCliAuthentication(),
        MsiAuthentication(),
    )
    assert not file.exists()
    headers = [way.get_authentication_header() for way in ways]
    assert headers == [{"Authorization": f"Bearer {file.read_text().strip()}"}] * 4
    assert file.stat().st_mode & 0o777 == 0o600
    found = find_token(ws.store, ways[0].get_token().token)
    assert (found.is_local, found.scope) == (True, "admin")


def test_a_token_that_cannot_be_read_is_an_error_and_stays(ws):
    (ws.native.path / "token").mkdir()
    with pytest.raises(UserErrorException, match="neither read nor made"):
        AzureCliAuthentication().get_token()
    assert (ws.native.path / "token").is_dir()


def test_secrets_are_kept_in_files_or_found_in_the_environment(ws, monkeypatch):
    vault = ws.get_default_keyvault()
    vault.set_secret("the-key", "hush")
    assert vault.get_secret("the-key") == "hush"
    assert oct(os.stat(ws.native.path / "secrets/the-key").st_mode)[-3:] == "600"
    monkeypatch.setenv("OTHER_KEY", "from outside")
    assert vault.get_secret("other-key") == "from outside"
    with pytest.raises(UserErrorException, match="no secret 'none'"):
        vault.get_secret("none")
