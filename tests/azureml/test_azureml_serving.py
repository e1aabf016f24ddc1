"""What is published from scripts in the style of Azure ML is called over REST as it was there, and followed to its end."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import requests
from azureml_scripts import write_file

from pipelite import automate
from pipelite.azureml.core import Dataset, Experiment, Workspace
from pipelite.azureml.core.authentication import InteractiveLoginAuthentication
from pipelite.azureml.data.datapath import DataPath, DataPathComputeBinding
from pipelite.azureml.exceptions import UserErrorException
from pipelite.azureml.pipeline.core import Pipeline, PipelineEndpoint, PipelineParameter, PipelineRun, PublishedPipeline
from pipelite.azureml.pipeline.steps import PythonScriptStep
from serve.sites import Site

SHOW = """
import sys
from edition import EDITION
from azureml.core import Run

rate, epochs, label, loud, data = sys.argv[1:]
print(f"edition={EDITION} rate={rate} epochs={epochs} label={label} loud={loud} data={open(data).read().strip()}")
Run.get_context().log("rate", float(rate))
"""
#: A process of its own, which runs a pipeline and ends.
OTHER = """
from azureml.core import Experiment, Workspace
from azureml.pipeline.core import Pipeline, PipelineParameter
from azureml.pipeline.steps import PythonScriptStep

ws = Workspace("sub", "group", "shop")
rate = PipelineParameter("rate", 0.25)
step = PythonScriptStep(script_name="tell.py", source_directory="other", arguments=["--rate", rate], name="tell")
run = Experiment(ws, "elsewhere").submit(Pipeline(ws, [step]), continue_on_step_failure=True)
run.wait_for_completion(show_output=False)
print("made", run.id)
"""

pytestmark = pytest.mark.filterwarnings("ignore:run .* waits in the queue")


class Shop:
    """A workspace with published pipelines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ws = Workspace("sub", "group", "shop")
        self.store = self.ws.get_default_datastore()
        for name in ("one", "two"):
            write_file(folder / f"{name}.txt", f"{name} cup")
        files = [str(folder / "one.txt"), str(folder / "two.txt")]
        self.store.upload_files(files, target_path="cups", show_progress=False)
        self.dataset = Dataset.File.from_files((self.store, "cups/two.txt")).register(self.ws, "second_cup")
        self.first = self.make("first").publish("Cups", "Shows what it is given", "1.0")
        # The folder of the scripts is another from here on.
        self.second = self.make("second").publish("Cups", "Shows what it is given", "1.0")
        self.endpoint = PipelineEndpoint.publish(self.ws, "Cups", "Leads to one of them", self.first)
        self.endpoint.add(self.second)

    def make(self, edition: str) -> Pipeline:
        write_file(self.folder / "scripts" / "show.py", SHOW)
        write_file(self.folder / "scripts" / "edition.py", f"EDITION = {edition!r}\n")
        data = PipelineParameter("data", DataPath(self.store, "cups/one.txt"))
        pair = (data, DataPathComputeBinding(mode="mount"))
        values = {"reg_rate": 0.5, "epochs": 3, "label": "a", "loud": False}
        given = [PipelineParameter(name, value) for name, value in values.items()]
        step = PythonScriptStep(
            name="Show it",
            script_name="show.py",
            source_directory=str(self.folder / "scripts"),
            arguments=[*given, pair],
            inputs=[pair],
        )
        return Pipeline(self.ws, [step])

    def said(self, run_id: str) -> str:
        """What the script of a run printed, when it has ended."""
        run = PipelineRun(Experiment(self.ws, "over-rest"), run_id)
        assert run.wait_for_completion(show_output=False) == "Finished"
        return run.find_step_run("Show it")[0].get_stdout_log().strip()


@pytest.fixture(scope="module")
def shop(place):
    return Shop(place)


@pytest.fixture(scope="module")
def header(shop):
    """What scripts ask for first, often before anything serves the workspace."""
    return InteractiveLoginAuthentication().get_authentication_header()


@pytest.fixture(scope="module")
def served(shop, header):
    """The process that serves the workspace."""
    site = Site(shop.folder)
    site.start()
    yield site
    site.stop()


@pytest.fixture
def post(served, header):
    """Sends a request as scripts do."""

    def send(url, **body):
        return requests.post(url, headers=header, json={"ExperimentName": "over-rest", **body}, timeout=60)

    return send


@pytest.fixture
def in_vain(post):
    """The error in the answer to a request that starts nothing."""

    def send(url, status, **body):
        before = automate.count_waiting(Workspace().store)
        answer = post(url, **body)
        assert (answer.status_code, automate.count_waiting(Workspace().store)) == (status, before), answer.text
        with pytest.raises(requests.HTTPError):
            answer.raise_for_status()
        assert set(answer.json()) == {"error", "correlation"}
        return answer.json()["error"]

    return send


def test_a_request_as_scripts_make_it_starts_a_run_that_is_followed_to_its_end(shop, post):
    answer = post(
        shop.first.endpoint, ParameterAssignments={"reg_rate": 0.1}, Description="of today", tags={"by": "me"}
    )

    answer.raise_for_status()
    entity = answer.json()
    assert shop.said(entity.get("Id")) == "edition=first rate=0.1 epochs=3 label=a loud=False data=one cup"
    assert (entity["PipelineId"], entity["RunHistoryExperimentName"]) == (shop.first.id, "over-rest")
    assert entity["Status"]["StatusCode"] in ("NotStarted", "Running", "Finished")
    assert (entity["ParameterAssignments"], entity["RunType"]) == ({"reg_rate": "0.1"}, "HTTP")
    run = PipelineRun.get(shop.ws, entity["Id"])
    assert (run.get_status(), run.tags["by"], run._native.record.description) == ("Finished", "me", "of today")
    assert [each.id for each in PipelineRun.get_pipeline_runs(shop.ws, shop.first.id)].count(run.id) == 1


def test_values_are_taken_as_text_and_paths_and_datasets_in_their_own_fields(shop, post):
    texts = {"reg_rate": "1e-2", "epochs": "7", "label": 5, "loud": "True"}
    path = {"data": {"DataStoreName": "workspaceblobstore", "RelativePath": "cups/two.txt"}}

    made = post(shop.first.endpoint, ParameterAssignments=texts, DataPathAssignments=path).json()["Id"]

    assert shop.said(made) == "edition=first rate=0.01 epochs=7 label=5 loud=True data=two cup"


def test_a_run_of_what_is_published_is_published_itself_with_its_values(shop, post):
    texts = {"reg_rate": "1e-2", "epochs": "7", "label": 5, "loud": "True"}
    path = {"data": {"DataStoreName": "workspaceblobstore", "RelativePath": "cups/two.txt"}}
    made = post(shop.first.endpoint, ParameterAssignments=texts, DataPathAssignments=path).json()["Id"]
    shop.said(made)

    published = PipelineRun.get(shop.ws, made).publish_pipeline("From a run", "As it was", "1")

    again = post(published.endpoint, ParameterAssignments={"epochs": 8}).json()["Id"]
    assert shop.said(again) == "edition=first rate=0.01 epochs=8 label=5 loud=True data=two cup"


def test_values_that_no_parameter_takes_are_left_out_and_the_run_says_so(shop, post):
    answer = post(shop.first.endpoint, ParameterAssignments={"epochs": 8, "season": "spring", "9": "x"}).json()

    assert (answer["HasWarnings"], answer["ParameterAssignments"]) == (True, {"epochs": "8"})
    assert PipelineRun.get(shop.ws, answer["Id"]).get_tags()["azureml.unknown_parameters"] == "9, season"
    assert "epochs=8" in shop.said(answer["Id"])
    assert post(shop.first.endpoint).json()["HasWarnings"] is False


@pytest.mark.parametrize("form", ["saved", "by name", "literal", "never registered"])
def test_a_dataset_is_named_by_its_id_its_name_or_where_it_is(shop, post, form):
    given = {
        "saved": {"SavedDataSetReference": {"Id": shop.dataset.id}},
        "never registered": {
            "SavedDataSetReference": {"Id": Dataset.Tabular.from_delimited_files((shop.store, "cups/two.txt")).id}
        },
        "by name": {"DataSetReference": {"Name": "second_cup", "Version": "1"}},
        "literal": {"LiteralValue": {"DataStoreName": "workspaceblobstore", "RelativePath": "cups/two.txt"}},
    }[form]

    # What the others have done with the same values is taken over.
    made = post(shop.first.endpoint, DataSetDefinitionValueAssignments={"data": given}).json()["Id"]

    assert shop.said(made) == "edition=first rate=0.5 epochs=3 label=a loud=False data=two cup"


def test_keys_that_nobody_knows_are_no_reason_to_refuse(shop, post):
    answer = post(
        shop.first.endpoint,
        RunSource="SDK",
        RunType="SDK",
        EnableNotification=False,
        DisplayName="mine",
        StepTags={"a": "b"},
        ParentRunId="20260101-000000-aaaaaa",
        Properties={"x": 1},
        ContinueRunOnStepFailure=True,
        Anything=[1, 2],
    )

    answer.raise_for_status()
    made = answer.json()
    assert (made["RunType"], made["tags"]) == ("SDK", {"parent_run_id": "20260101-000000-aaaaaa"})
    run = PipelineRun.get(shop.ws, made["Id"])
    assert run.wait_for_completion(show_output=False) == "Finished"
    assert run._native.record.options["keep_going"] is True


@pytest.mark.parametrize(
    ("body", "target", "said"),
    [
        ({"ParameterAssignments": {"reg_rate": "much"}}, "reg_rate", "takes a number"),
        ({"ParameterAssignments": {"epochs": 2.5}}, "epochs", "takes a whole number"),
        ({"ParameterAssignments": {"epochs": "2.0"}}, "epochs", "takes a whole number"),
        ({"ParameterAssignments": {"loud": "very"}}, "loud", "takes true or false"),
        ({"ParameterAssignments": [1]}, "ParameterAssignments", "is an object"),
        ({"ExperimentName": "no name!"}, "ExperimentName", "letters, digits"),
        ({"ExperimentName": None}, "ExperimentName", "letters, digits"),
        ({"DataPathAssignments": {"data": {"DataStoreName": "nowhere"}}}, "data", "over the network"),
        ({"DataPathAssignments": {"data": "cups"}}, "data", "DataStoreName"),
        ({"ParameterAssignments": {"data": "/etc/passwd"}}, "data", "over the network"),
        ({"ParameterAssignments": {"data": ["/etc/passwd"]}}, "data", "over the network"),
        ({"ParameterAssignments": {"data": "http://127.0.0.1/x"}}, "data", "over the network"),
        ({"DataSetDefinitionValueAssignments": {"data": {"SavedDataSetReference": {"Id": "x"}}}}, "data", "no registered"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_the_form_that_clients_know(shop, in_vain, body, target, said):
    error = in_vain(shop.first.endpoint, 400, **body)

    assert said in error["message"]
    assert target in (None, error["target"])


def test_what_is_not_there_or_not_allowed_is_said_in_that_form_too(shop, served, in_vain):
    base, _, _ = shop.first.endpoint.rpartition("/")

    assert in_vain(f"{base}/{shop.endpoint.id}", 404)["code"] == "NotFound"
    assert in_vain(f"{shop.endpoint.endpoint}/7", 404)["code"] == "NotFound"
    assert in_vain(f"{shop.endpoint.endpoint[:-1]}", 404)["code"] == "NotFound"
    answer = requests.post(shop.first.endpoint, json={"ExperimentName": "x"}, timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "Unauthorized")
    answer = requests.post(
        shop.first.endpoint, json={}, headers={"Authorization": f"Bearer {served.new_token('--scope', 'read')}"}, timeout=10
    )  # fmt: skip
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "Forbidden")


def test_a_disabled_pipeline_is_refused_until_it_is_enabled(shop, post, in_vain):
    shop.second.disable()
    try:
        assert in_vain(shop.second.endpoint, 409)["code"] == "Conflict"
        with pytest.raises(UserErrorException, match="disabled"):
            shop.second.submit(shop.ws, "over-rest")
    finally:
        shop.second.enable()

    assert shop.said(post(shop.second.endpoint).json()["Id"]).startswith("edition=second")


def test_the_address_of_an_endpoint_stays_while_its_default_is_switched(shop, post, in_vain):
    url = shop.endpoint.endpoint
    by_name = url.split("Id")[0] + "Name?name=Cups"

    editions = [
        shop.said(post(address).json()["Id"]).split()[0]
        for address in (url, f"{url}/1", by_name, f"{by_name}&pipelineVersion=1")
    ]
    shop.endpoint.set_default_version("1")
    editions.append(shop.said(post(url).json()["Id"]).split()[0])

    assert editions == [f"edition={each}" for each in ("first", "second", "first", "second", "second")]
    shop.endpoint.disable()
    for address in (url, f"{url}/0", by_name):
        assert "disabled" in in_vain(address, 409)["message"]
    shop.endpoint.enable()
    shop.endpoint.set_default_version("0")


def test_a_run_is_looked_at_where_the_history_of_an_experiment_was(shop, served, post):
    made = post(shop.first.endpoint).json()["Id"]
    shop.said(made)
    place = "/history/v1.0/subscriptions/sub/resourceGroups/group/providers/Microsoft.MachineLearningServices/workspaces/shop"

    details = served.get(f"{place}/experiments/over-rest/runs/{made}/details").json()
    children = served.get(f"{place}/experiments/over-rest/runs/{made}/children").json()["value"]

    assert (details["runId"], details["status"]) == (made, "Completed")
    assert [(each["name"], each["status"]) for each in children] == [("Show it", "Completed")]
    answer = served.get(f"{place}/experiments/another/runs/{made}/details")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NotFound")


def test_a_run_of_another_process_is_published_with_the_scripts_that_it_had(shop, served, post):
    write_file(shop.folder / "other" / "tell.py", "import sys; print('told', sys.argv[1:])")
    write_file(shop.folder / "other.py", textwrap.dedent(OTHER))
    done = subprocess.run(
        [sys.executable, "-m", "pipelite.azureml", "other.py"],
        cwd=shop.folder,
        env=served.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    run = PipelineRun.get(shop.ws, done.stdout.split()[-1])

    published = run.publish_pipeline("Told elsewhere/again", "as it was", "v 1", continue_on_step_failure=False)
    write_file(shop.folder / "other" / "tell.py", "raise SystemExit('this is not what was published')")

    made = PipelineRun.get(shop.ws, post(published.endpoint, ParameterAssignments={"rate": "0.75"}).json()["Id"])
    assert made.wait_for_completion(show_output=False) == "Finished"
    assert made.find_step_run("tell")[0].get_stdout_log().strip() == "told ['--rate', '0.75']"
    assert (published.name, published.version, published.get_step_names()) == ("Told elsewhere/again", "v 1", ["tell"])
    assert (run._native.record.options["keep_going"], published.continue_on_step_failure) == (True, False)


def test_submissions_from_python_take_texts_and_objects(shop, served):
    given = {"epochs": "4", "data": DataPath(shop.store, "cups/two.txt")}

    run = shop.first.submit(shop.ws, "over-rest", pipeline_parameters=given)
    other = Experiment(shop.ws, "over-rest").submit(shop.endpoint, pipeline_parameters={"data": shop.dataset})
    rows = Dataset.Tabular.from_delimited_files((shop.store, "cups/one.txt"))
    unregistered = shop.first.submit(shop.ws, "over-rest", pipeline_parameters={"epochs": 41, "data": rows})

    assert shop.said(unregistered.id).endswith("epochs=41 label=a loud=False data=one cup")
    assert unregistered._native.record.pipeline == "Cups"
    assert shop.said(run.id) == "edition=first rate=0.5 epochs=4 label=a loud=False data=two cup"
    assert shop.said(other.id).endswith("data=two cup")
    with pytest.raises(UserErrorException, match="epochs"):
        shop.first.submit(shop.ws, "over-rest", pipeline_parameters={"epochs": "many"})
    with pytest.raises(UserErrorException, match="no file or folder"):
        rows = Dataset.Tabular.from_delimited_files((shop.store, "cups/three.txt"), validate=False)
        shop.first.submit(shop.ws, "over-rest", pipeline_parameters={"data": rows})


def test_names_and_versions_of_published_pipelines_are_not_unique(shop):
    named = [each for each in PublishedPipeline.list(shop.ws) if each.name == "Cups"]

    assert [each.id for each in named] == [shop.second.id, shop.first.id]
    assert [(each.version, each.status, each.get_step_names()) for each in named] == [
        ("1.0", "Active", ["Show it"])
    ] * 2
    assert shop.first.total_run_steps == 1
    assert shop.first.graph_id != shop.second.graph_id
    assert PublishedPipeline.get(shop.ws, shop.first.id).description == "Shows what it is given"


def test_a_disabled_pipeline_is_listed_only_if_it_is_asked_for(shop):
    shop.first.disable()
    try:
        active = [each.id for each in PublishedPipeline.list(shop.ws)]
        everything = [each.id for each in PublishedPipeline.get_all(shop.ws, active_only=False)]
        assert (shop.first.id in active, shop.first.id in everything) == (False, True)
        assert PublishedPipeline.get(shop.ws, shop.first.id).status == "Disabled"
    finally:
        shop.first.enable()


def test_what_else_a_process_has_made_is_no_part_of_what_it_publishes(shop):
    folder = shop.folder / "passing"
    write_file(folder / "passing.py", "print('gone soon')")
    Pipeline(shop.ws, [PythonScriptStep("passing.py", source_directory=str(folder))]).publish("Passing")
    shutil.rmtree(folder)

    assert shop.make("fourth").publish("Cups of another day").status == "Active"


@pytest.mark.parametrize("id", ["no-such-id", "Cups"])
def test_a_published_pipeline_is_found_by_its_id_only(shop, id):
    with pytest.raises(UserErrorException, match="no published pipeline"):
        PublishedPipeline.get(shop.ws, id)


class TestEndpoints:
    @pytest.fixture
    def made(self, shop, request):
        """An endpoint of a test's own."""
        found = PipelineEndpoint.publish(shop.ws, request.node.name, "For a test", shop.first)
        yield found
        found.archive()

    def test_versions_are_texts_that_count_from_0(self, shop, made):
        made.add(shop.second)
        before = made.get_default_version()
        made.add_default(shop.first)

        assert next(each.pipeline.name for each in made.list_versions()) == shop.first.name
        assert [(each.version, each.pipeline_id) for each in made.list_versions()] == [
            ("0", shop.first.id),
            ("1", shop.second.id),
            ("2", shop.first.id),
        ]
        assert (before, made.get_default_version(), made.default_version) == ("0", "2", "2")
        assert [each.id for each in made.list_pipelines()] == [shop.first.id, shop.second.id, shop.first.id]
        assert (made.get_pipeline().id, made.get_pipeline("1").id) == (shop.first.id, shop.second.id)

    def test_the_default_is_set_by_version_or_by_pipeline(self, shop, made):
        made.add(shop.second)
        made.set_default(shop.second)
        by_pipeline = made.get_default_version()
        made.set_default_version("0")

        assert (by_pipeline, made.get_default_version()) == ("1", "0")

    @pytest.mark.parametrize("version", ["2", "-1", "1.0", 7])
    def test_a_version_that_is_not_there_is_an_error(self, made, version):
        for ask in (made.set_default_version, made.get_pipeline):
            with pytest.raises(ValueError, match="has no version"):
                ask(version)

    def test_a_pipeline_that_was_not_added_cannot_be_the_default(self, shop, made):
        with pytest.raises(ValueError, match="was not added"):
            made.set_default(shop.second)

    def test_a_name_is_taken_once(self, shop, made):
        with pytest.raises(ValueError, match="already"):
            PipelineEndpoint.publish(shop.ws, made.name, "again", shop.second)
        with pytest.raises(ValueError, match="already"):
            made.set_name("Cups")

    def test_it_is_found_by_its_id_and_by_its_name_as_it_is_now(self, shop, made):
        before = made.name
        made.set_name("Another name")

        assert PipelineEndpoint.get(shop.ws, name="Another name").id == made.id
        assert PipelineEndpoint.get(shop.ws, id=made.id).description == "For a test"
        with pytest.raises(UserErrorException, match="no pipeline endpoint"):
            PipelineEndpoint.get(shop.ws, name=before)

    def test_an_archived_one_frees_its_name_and_comes_back_under_another(self, shop, made):
        name = made.name
        made.archive()
        listed = [each.id for each in PipelineEndpoint.list(shop.ws)]

        assert (made.status, made.id in listed, made.name == name) == ("Disabled", False, False)
        assert made.id in [each.id for each in PipelineEndpoint.list(shop.ws, active_only=False)]
        with pytest.raises(UserErrorException, match="disabled"):
            made.submit("over-rest")
        with pytest.raises(ValueError, match="already"):
            made.reactivate("Cups")
        made.reactivate("Back again")
        assert (made.status, made.name) == ("Active", "Back again")

    def test_a_pipeline_that_is_not_published_is_published_for_it(self, shop, made):
        made.add_default(shop.make("third"))

        published = made.get_pipeline()
        assert (made.get_default_version(), published.name, published.status) == ("1", made.name, "Active")
        assert published.id in [each.id for each in PublishedPipeline.list(shop.ws)]

    def test_it_is_no_endpoint_of_the_rest_of_the_workspace(self, shop, made):
        assert {made.id, made.name} & set(shop.ws.native.endpoints) == set()
        assert shop.ws.native.published["Cups"].id == shop.second.id
