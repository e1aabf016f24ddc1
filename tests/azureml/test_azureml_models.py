"""The registry of models."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelite.azureml.core import Dataset, Model, Workspace
from pipelite.azureml.core.model import InferenceConfig
from pipelite.azureml.core.resource_configuration import ResourceConfiguration
from pipelite.azureml.core.webservice import AciWebservice, Webservice
from pipelite.azureml.exceptions import NotOnOneBoxError, UserErrorException, WebserviceException


@pytest.fixture
def model(ws, write) -> Model:
    return Model.register(
        workspace=ws,
        model_path=str(write("outputs/model.pkl", "one")),
        model_name="rides",
        tags={"area": "bikes"},
        properties={"AUC": 0.9},
        description="the first",
        model_framework="ScikitLearn",
    )


def test_versions_count_up_from_one_and_the_latest_is_meant(ws, model, write):
    second = Model.register(ws, str(write("outputs/model.pkl", "two")), "rides", tags=["new"])
    assert second.url == f"aml://asset/{second.id}"
    assert [(each.name, each.version, each.id) for each in (model, second)] == [
        ("rides", 1, "rides:1"),
        ("rides", 2, "rides:2"),
    ]
    assert (Model(ws, "rides").version, Model(ws, name="rides", version=1).version) == (2, 1)
    assert (Model(ws, id="rides:1").version, ws.models["rides"].version) == (1, 2)
    assert second.tags == {"new": ""}


def test_what_is_said_of_a_model_is_kept_as_texts(ws, model):
    found = Model(ws, "rides")
    assert (found.description, found.tags) == ("the first", {"area": "bikes"})
    assert found.properties == {"model_framework": "ScikitLearn", "AUC": "0.9"}
    found.add_tags({"stage": 1})
    found.update(description="the best")
    assert (Model(ws, "rides").tags, Model(ws, "rides").description) == ({"area": "bikes", "stage": "1"}, "the best")


def test_a_model_is_found_by_path_and_by_tag(ws, model, write):
    write("folder/a.txt", "a")
    Model.register(ws, "folder", "whole")
    assert Path(Model.get_model_path("rides")).read_text() == "one"
    assert Path(Model.get_model_path("whole", version=1, _workspace=ws), "a.txt").read_text() == "a"
    assert [each.name for each in Model.list(ws)] == ["rides", "whole"]
    for tags in ([["area", "bikes"]], ["area"], {"area": "bikes"}):
        assert [each.name for each in Model.list(ws, tags=tags)] == ["rides"]
    assert Model.list(ws, tags=[["area", "cars"]]) == []
    assert Model(ws, "rides", tags=["area"]).version == 1


def test_the_list_has_the_newest_first_or_alone(ws, model, write):
    for _ in range(10):
        Model.register(ws, "outputs/model.pkl", "rides")
    assert [each.version for each in Model.list(ws, name="rides")] == list(range(11, 0, -1))
    assert [each.version for each in Model.list(ws, name="rides", latest=True)] == [11]


def test_versions_are_listed_by_what_they_have_and_come_from(ws, model, write):
    write("rides.csv", "a\n1\n")
    rides = Dataset.Tabular.from_delimited_files("rides.csv").register(ws, "rides")
    made = Model.register(
        ws, "outputs/model.pkl", "rides", properties={"AUC": 0.8}, datasets=[("training data", rides)]
    )

    def versions(**asked):
        return [each.version for each in Model.list(ws, name="rides", **asked)]

    assert versions() == [2, 1]
    assert (versions(properties={"AUC": "0.8"}), versions(properties=["AUC"])) == ([2], [2, 1])
    assert (versions(dataset_id=rides.id), versions(dataset_id="none"), versions(run_id="none")) == ([2], [], [])
    assert {purpose: [each.name for each in found] for purpose, found in made.datasets.items()} == {
        "training data": ["rides"]
    }
    assert model.datasets == {}


def test_several_may_register_at_once(ws, model):
    # Each with a view of its own, as processes have.
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: Model.register(Workspace(), "outputs/model.pkl", "rides").version, range(8)))
    assert sorted(made) == list(range(2, 10))
    assert len(Model.list(ws, name="rides")) == 9


def test_a_model_is_downloaded_and_deleted(ws, model, tmp_path):
    assert Path(model.download(str(tmp_path / "here"))).read_text() == "one"
    with pytest.raises(UserErrorException, match="exist_ok"):
        model.download(str(tmp_path / "here"))
    assert model.download(str(tmp_path / "here"), exist_ok=True)
    place = Path(Model.get_model_path("rides"))
    assert place.stat().st_mode & 0o222 == 0
    model.delete()
    assert not place.exists()
    assert "rides" not in ws.models


def test_what_is_not_there_is_an_exception_of_services(ws, model):
    for wrong in ({"name": "none"}, {"name": "rides", "version": 7}, {"id": "rides:7"}):
        with pytest.raises(WebserviceException, match="ModelNotFound"):
            Model(ws, **wrong)
    with pytest.raises(UserErrorException, match="no file or folder"):
        Model.register(ws, "none.pkl", "rides")
    for name in ("-a", "a b", ""):
        with pytest.raises(UserErrorException, match="cannot be called"):
            Model.register(ws, "outputs/model.pkl", name)
    with pytest.raises(TypeError):
        Model.register(ws, "outputs/model.pkl", "rides", descripton="x")


def test_in_a_service_a_model_lies_below_a_folder_of_its_own(ws, write, monkeypatch):
    write("served/rides/1/model.pkl", "one")
    write("served/rides/3/model.pkl", "three")
    monkeypatch.setenv("AZUREML_MODEL_DIR", "served")
    assert Path(Model.get_model_path("rides")).read_text() == "three"
    assert Path(Model.get_model_path("rides", version=1)).read_text() == "one"


def test_the_framework_of_a_model_is_named_as_v1_named_it(ws, model):
    size = ResourceConfiguration(cpu=1, memory_in_gb=0.5)
    made = Model.register(
        ws, "outputs/model.pkl", "rides", model_framework=Model.Framework.SCIKITLEARN, resource_configuration=size
    )
    assert made.properties == {"model_framework": "ScikitLearn"}


def test_a_service_is_refused_with_what_to_do(ws, model):
    config = AciWebservice.deploy_configuration(cpu_cores=1, memory_gb=1)
    with pytest.raises(NotOnOneBoxError, match="starts no service here"):
        Model.deploy(ws, "service", [model], InferenceConfig(entry_script="score.py"), config)
    with pytest.raises(WebserviceException, match="no service 'service'"):
        Webservice(ws, "service")
    with pytest.raises(NotOnOneBoxError, match="builds no image"):
        Model.package(ws, [model], InferenceConfig(entry_script="score.py"))
