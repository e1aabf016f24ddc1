"""Modules: scripts that are kept by name and version, and run by `ModuleStep`."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from azureml_scripts import write_file

from pipelite.azureml.core import Experiment, RunConfiguration, Workspace
from pipelite.azureml.exceptions import NotOnOneBoxError, UserErrorException
from pipelite.azureml.pipeline.core import Module, ModuleVersion, Pipeline, PipelineData, PipelineParameter
from pipelite.azureml.pipeline.core.graph import InputPortDef, OutputPortDef
from pipelite.azureml.pipeline.steps import ModuleStep, PythonScriptStep

GROW = """
    import argparse, os
    from azureml.core import Run

    parser = argparse.ArgumentParser()
    parser.add_argument("--to")
    parser.add_argument("--more")
    args = parser.parse_args()
    here = os.environ.get("AZUREML_DATAREFERENCE_seed")
    with open(here) if here else open(os.devnull) as file:
        text = file.read()
    with open(args.to, "w") as file:
        file.write(text + os.environ["AML_PARAMETER_letter"] + (args.more or ""))
    Run.get_context().log("length", os.path.getsize(args.to))
"""


@pytest.fixture(scope="module")
def grown(place):
    """A pipeline of three steps of one module, one of them by its other version, after a run."""
    ws = Workspace("sub", "group", "shop")
    write_file(place / "grow/grow.py", GROW)
    write_file(place / "grow/.amlignore", "notes.txt\n")
    write_file(place / "grow/notes.txt", "not for the module")
    module = Module.create(ws, name="Grow", description="A text that grows")
    longer = OutputPortDef(
        "longer", default_datastore_name="workspaceblobstore", default_datastore_mode="mount", label="text"
    )
    first = module.publish_python_script(
        "grow.py", "starts", inputs=[], outputs=[longer], params={"letter": "a"}, version="1", source_directory="grow"
    )
    later = module.publish_python_script(
        "grow.py",
        "goes on",
        inputs=[InputPortDef("seed", default_datastore_mode="mount")],
        outputs=[longer],
        params={"letter": "b"},
        is_default=True,
        source_directory="grow",
        arguments=["--to", longer, "--more", 7],
    )
    # What a version is does not change any more.
    write_file(place / "grow/grow.py", "raise SystemExit('the script was changed')\n")

    texts = [PipelineData(name) for name in ("one", "two", "three")]
    letter = PipelineParameter("letter", "c")
    steps = [
        ModuleStep(
            module_version=first,
            inputs_map={},
            outputs_map={"longer": texts[0]},
            runconfig=RunConfiguration(),
            compute_target="cpu",
            arguments=["--to", texts[0], "--more", letter],
        ),
        ModuleStep(module, inputs_map={"seed": texts[0]}, outputs_map={"longer": texts[1]}, name="middle"),
        ModuleStep(
            module=module,
            version="2",
            inputs_map={"seed": texts[1]},
            outputs_map={"longer": texts[2]},
            params={"letter": "z"},
        ),
    ]
    run = Experiment(ws, "modules").submit(Pipeline(ws, steps=[steps[-1]]), pipeline_parameters={"letter": "d"})
    run.wait_for_completion(show_output=False)
    return SimpleNamespace(ws=ws, module=module, first=first, later=later, run=run)


def test_its_steps_run_the_script_that_each_version_kept(grown):
    # The pipeline's parameter takes the place of the module's of the same name.
    assert {step.name: step.get_metrics()["length"] for step in grown.run.get_steps()} == {
        "Grow": 2,
        "middle": 4,
        "Grow-2": 6,
    }
    native = grown.ws.native.run(grown.run.id)
    assert native.output("Grow-2/three").path.read_text() == "ddb7z7"


def test_a_version_keeps_what_its_ignore_file_leaves(grown, place):
    kept = place / ".pipelite/azureml/modules" / grown.first.id
    assert sorted(each.name for each in kept.iterdir()) == [".amlignore", "grow.py"]


def test_versions_are_found_by_name_and_id_and_one_is_the_default(grown):
    again = Module.get(grown.ws, name="Grow")
    assert (again.id, again.description) == (grown.module.id, "A text that grows")
    assert list(again.get_versions()) == ["1", "2"]
    assert (again.get_default_version(), again.get_default(), again.resolve("1")) == ("2", grown.later, grown.first)
    assert ModuleVersion.get(grown.ws, grown.first.id).description == "starts"
    again.set_default_version("1")
    assert Module.get(grown.ws, grown.module.id).default_version == "1"
    assert repr(grown.first).startswith("ModuleVersion(Module: Grow, Version: 1")


def test_what_is_not_there_or_taken_is_an_error(grown, place):
    with pytest.raises(UserErrorException, match="a module 'Grow' already"):
        Module.create(grown.ws, "Grow", "again")
    with pytest.raises(UserErrorException, match="no module 'Shrink'"):
        Module.get(grown.ws, name="Shrink")
    with pytest.raises(ValueError, match="no version '3'; it has 1, 2"):
        ModuleStep(grown.module, version="3")
    with pytest.raises(ValueError, match="has a version '1' already"):
        grown.module.publish_python_script("grow.py", "x", version="1", source_directory="grow")
    with pytest.raises(ValueError, match=r"module 'Grow': .*shrink\.py"):
        grown.module.publish_python_script("shrink.py", "x", source_directory="grow")
    with pytest.raises(ValueError, match="inputs_map has nothing; the module has seed there"):
        ModuleStep(module_version=grown.later, outputs_map={"longer": PipelineData("x")})
    with pytest.raises(ValueError, match="module_version="):
        ModuleStep(grown.module, module_version=grown.first)


def test_a_step_runs_in_the_environment_of_its_module_unless_it_has_one_of_its_own(grown, place, capsys):
    write_file(place / "alone/alone.py", "print('alone')\n")
    config = RunConfiguration()
    config.environment.environment_variables = {"COLOUR": "red"}
    module = Module.create(grown.ws, "Alone", "by itself")
    module.publish_python_script("alone.py", "x", source_directory="alone", runconfig=config, category="any")
    assert ModuleStep(Module.get(grown.ws, name="Alone")).runconfig.all_variables() == {"COLOUR": "red"}
    assert ModuleStep(module, runconfig=RunConfiguration()).runconfig.all_variables() == {}
    assert "category= of a module" in capsys.readouterr().err


def test_its_steps_are_saved_as_those_of_scripts_and_reuse_what_they_computed(grown, place):
    grown.run.save("grown.yml")
    again = Pipeline.load_yaml(grown.ws, "grown.yml")
    assert [type(step) for step in again.steps] == [PythonScriptStep] * 3
    assert {each.action for each in again.native.plan(**again.values({"letter": "d"}))} == {"reuse"}


def test_modules_of_services_are_refused(grown):
    for publish in (grown.module.publish_azure_batch, grown.module.publish_adla_script):
        with pytest.raises(NotOnOneBoxError, match="publish_python_script keeps a script"):
            publish("x")
