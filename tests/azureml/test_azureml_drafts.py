"""Drafts: pipelines that are kept to be changed, submitted and published later."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from azureml_scripts import write_file

from pipelite.azureml.core import Workspace
from pipelite.azureml.data.datapath import DataPath
from pipelite.azureml.exceptions import NotOnOneBoxError, UserErrorException
from pipelite.azureml.pipeline.core import Pipeline, PipelineDraft, PipelineParameter
from pipelite.azureml.pipeline.steps import PythonScriptStep

SAY = "import sys\nfrom azureml.core import Run\nRun.get_context().log('said', ' '.join(sys.argv[1:]))\n"


def make_pipeline(ws: Workspace, name: str) -> Pipeline:
    word = PipelineParameter("word", "plain")
    step = PythonScriptStep("say.py", name=name, source_directory="src", arguments=[word, name])
    return Pipeline(ws, [step], description=f"It says {name}")


@pytest.fixture(scope="module")
def drafted(place):
    """A draft that was changed, submitted and published."""
    ws = Workspace("sub", "group", "shop")
    write_file(place / "src/say.py", SAY)
    made = PipelineDraft.create(
        ws,
        name="First",
        description="a trial",
        experiment_name="drafts",
        pipeline=make_pipeline(ws, "old"),
        pipeline_parameters={"word": "loud"},
        continue_on_step_failure=True,
        tags={"stage": "early"},
        properties={"owner": "ann"},
    )
    other = PipelineDraft.create(ws, make_pipeline(ws, "other"))
    draft = PipelineDraft.get(ws, id=made.id)
    draft.update(name="Second", pipeline=make_pipeline(ws, "new"))
    run = PipelineDraft.get(ws, made.id).submit_run()
    at_once = [each.name for each in run.get_steps()]
    run.wait_for_completion(show_output=False)
    return SimpleNamespace(ws=ws, draft=draft, other=other, run=run, at_once=at_once, published=draft.publish())


def test_it_runs_as_it_was_changed_with_what_it_was_given(drafted):
    run = drafted.run
    assert {step.name: step.get_metrics() for step in run.get_steps()} == {"new": {"said": "loud new"}}
    assert (run.experiment.name, run.get_tags(), run.get_properties()) == (
        "drafts",
        {"stage": "early"},
        {"owner": "ann"},
    )


def test_its_steps_are_there_as_soon_as_it_is_submitted(drafted):
    assert drafted.at_once == ["new"]


def test_it_is_published_as_it_is_with_the_defaults_of_its_pipeline(drafted):
    published = drafted.published
    assert (published.name, published.description, published.get_step_names()) == ("Second", "a trial", ["new"])
    assert published.continue_on_step_failure


def test_drafts_are_listed_by_tags_and_deleted(drafted):
    ws = drafted.ws
    assert [each.id for each in PipelineDraft.list(ws, tags={"stage": "early"})] == [drafted.draft.id]
    assert {each.id for each in PipelineDraft.list(ws)} == {drafted.draft.id, drafted.other.id}
    assert (drafted.other.name, drafted.other.tags, drafted.other.properties) == ("Pipeline draft", {}, {})
    drafted.other.delete()
    with pytest.raises(UserErrorException, match="no pipeline draft with the id"):
        PipelineDraft.get(ws, drafted.other.id)


def test_values_that_cannot_be_or_cannot_be_kept_are_errors(drafted):
    pipeline = make_pipeline(drafted.ws, "old")
    with pytest.raises(UserErrorException, match="'loudness' does not exist"):
        PipelineDraft.create(drafted.ws, pipeline, pipeline_parameters={"loudness": 3})
    place = DataPath(drafted.ws.get_default_datastore(), "x")
    with pytest.raises(UserErrorException, match="texts and numbers are kept"):
        drafted.draft.update(pipeline_parameters={"word": place})


def test_what_ran_or_was_published_makes_no_draft(drafted):
    with pytest.raises(NotOnOneBoxError, match="a draft is made of a Pipeline"):
        PipelineDraft.clone_from_pipeline_run(drafted.ws, drafted.run)
    with pytest.raises(NotOnOneBoxError, match="a draft is made of a Pipeline"):
        PipelineDraft.clone_from_published_pipeline(drafted.ws, drafted.published)
