"""Pipelines and schedules as YAML."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import pytest
from azureml_scripts import write_file

from pipelite.azureml.core import Dataset, Experiment, RunConfiguration, Workspace
from pipelite.azureml.core.conda_dependencies import CondaDependencies
from pipelite.azureml.data import OutputFileDatasetConfig
from pipelite.azureml.data.data_reference import DataReference
from pipelite.azureml.data.datapath import DataPath, DataPathComputeBinding
from pipelite.azureml.exceptions import NotOnOneBoxError, UserErrorException
from pipelite.azureml.pipeline.core import (
    Pipeline,
    PipelineData,
    PipelineParameter,
    PipelineRun,
    PublishedPipeline,
    Schedule,
)
from pipelite.azureml.pipeline.core.graph_views import Graph
from pipelite.azureml.pipeline.steps import CommandStep, DatabricksStep, DataTransferStep, PythonScriptStep
from pipelite.errors import MissingExtraError

yaml = pytest.importorskip("yaml")

_PREP = """
    import argparse, os, shutil

    parser = argparse.ArgumentParser()
    parser.add_argument("--source")
    parser.add_argument("--out")
    parser.add_argument("--times", type=int)
    args = parser.parse_args()
    text = open(args.source).read() if os.path.isfile(args.source) else open(args.source + "/words.txt").read()
    os.makedirs(args.out)
    with open(os.path.join(args.out, "words.txt"), "w") as file:
        file.write(text * args.times + os.environ["AML_PARAMETER_ENDING"])
"""
_COUNT = """
    import os, sys

    from azureml.core import Run

    Run.get_context().log("letters", len(open(os.path.join(sys.argv[2], "words.txt")).read()))
"""
_FILE = """
    pipeline:
        name: Counts letters
        parameters:
            Times:
                type: int
                default: 3
            Ending:
                type: string
                default: "!"
            Where:
                type: datapath
                default:
                    datastore: workspaceblobstore
                    path_on_datastore: other/words.txt
        data_references:
            Words:
                datastore: workspaceblobstore
                path_on_datastore: in/words.txt
        default_compute: cpu-cluster
        steps:
            Count:
                type: "PythonScriptStep"
                name: "count"
                script_name: "count.py"
                source_directory: "scripts"
                arguments:
                - "--data"
                - input:prepped
                inputs:
                    prepped:
                        source: prepped_words
                        bind_mode: mount
            Prep:
                type: PythonScriptStep
                name: prep
                runconfig: ".\\\\prep.runconfig"
                parameters:
                    ENDING:
                        source: Ending
                    OTHER: 7
                script_name: prep.py
                source_directory: scripts
                allow_reuse: True
                version: 2
                arguments:
                - --source
                - input:words
                - --out
                - output:out
                - --times
                - parameter:Times
                inputs:
                    words:
                        source: Words
                        bind_mode: mount
                outputs:
                    out:
                        destination: prepped_words
                        datastore: workspaceblobstore
                        bind_mode: mount
"""


@pytest.fixture(scope="module")
def saved(place):
    """A pipeline that was read from a file, run, and published; and what it and its run were saved as."""
    ws = Workspace("sub", "group", "shop")
    write_file(place / "scripts/prep.py", _PREP)
    write_file(place / "scripts/count.py", _COUNT)
    write_file(place / "yaml/prep.runconfig", "environmentVariables:\n  GREETING: 1\n")
    write_file(place / "in/words.txt", "abc")
    write_file(place / "yaml/pipeline.yml", _FILE)
    ws.get_default_datastore().upload_files(["in/words.txt"], target_path="in")
    pipeline = Pipeline.load_yaml(ws, "yaml/pipeline.yml")
    run = Experiment(ws, "letters").submit(pipeline, pipeline_parameters={"Times": 2})
    run.wait_for_completion(show_output=False)
    published = run.publish_pipeline(name="Letters", description="counts", version="1")
    published.save("published.yml")
    run.save(str(place / "yaml/again"))
    return ws, pipeline, run, published


def test_a_pipeline_of_a_file_runs(saved):
    _, pipeline, run, _ = saved
    assert run.find_step_run("count")[0].get_metrics() == {"letters": 7}
    assert [(step.name, step.version) for step in pipeline.steps] == [("prep", "2"), ("count", None)]
    assert pipeline.description == "Counts letters"
    assert pipeline.steps[0].runconfig.environment_variables == {"GREETING": "1"}


@pytest.mark.parametrize("name", ["published.yml", "yaml/again"])
def test_what_was_saved_is_read_back_as_the_same_pipeline(saved, place, name):
    ws, pipeline, _, _ = saved
    again = Pipeline.load_yaml(ws, str(place / name))
    # The same text of a module: the same steps, which are all reused.
    assert again.code.partition("\n")[2] == pipeline.code.partition("\n")[2]
    assert {each.action for each in again.native.plan(Times=2)} == {"reuse"}


def test_a_published_pipeline_is_saved_under_its_name_and_a_run_in_a_folder(saved, place, tmp_path):
    _, _, run, published = saved
    assert yaml.safe_load((place / "published.yml").read_text())["pipeline"]["name"] == "Letters"
    run.save(tmp_path)
    PublishedPipeline.get(published.workspace, published.id).save(str(tmp_path / "other.yml"))
    found = yaml.safe_load((tmp_path / "pipeline.yml").read_text())["pipeline"]
    assert found["name"] == "Counts letters"
    assert found["parameters"] == {"Times": {"type": "int", "default": 3}, "Ending": {"type": "string", "default": "!"}}
    assert found["steps"]["prep"]["inputs"] == {"words": {"bind_mode": "mount", "source": "words"}}
    assert found["steps"]["count"]["arguments"] == ["--data", "input:prepped"]


def test_a_graph_has_steps_data_and_what_connects_them(saved):
    ws, pipeline, run, published = saved
    for graph in (pipeline.graph, PipelineRun.get(ws, run.id).get_graph(), published.get_graph()):
        assert isinstance(graph, Graph)
        assert [node.name for node in graph.module_nodes] == ["prep", "count"]
        assert [(node.name, node.type) for node in graph.datasource_nodes] == [("words", "DataReference")]
        assert [(edge.source_port.node.name, edge.dest_port.node.name) for edge in graph.edges] == [
            ("words", "prep"),
            ("prep", "count"),
        ]
        assert {name: each.default_value for name, each in graph.params.items()} == {"Times": 3, "Ending": "!"}
        count = graph.node_name_dict["count"][0]
        assert count.get_input("prepped").incoming_edge.source_port is graph.get_node("prep").get_output("out")
        assert (count.get_input("none"), count.get_output("none"), graph.get_node("none")) == (None, None, None)
        assert graph.node_dict["prep"].params == {"ENDING": {"source": "Ending"}, "OTHER": 7}
        assert run.find_step_run("count")[0].id == f"{run.id}/{count.node_id}"


def test_what_others_made_has_no_graph(ws):
    from pipelite import pipeline, step

    @step
    def one():
        return 1

    @pipeline
    def native():
        return one()

    run = PipelineRun.get(ws, native.run().id)
    with pytest.raises(UserErrorException, match=f"run {run.id} is not of a Pipeline that was made by these calls"):
        run.get_graph()
    with pytest.raises(UserErrorException, match="pipelite graph"):
        run.save()


def _read(ws, write, text):
    return Pipeline.load_yaml(ws, str(write("pipeline.yml", text)))


def test_every_kind_of_step_and_data_is_read_back(ws, write):
    write("code/a.py")
    write("data/rides.csv", "x,y\n1,2\n3,4\n")
    store = ws.get_default_datastore()
    store.upload_files(["data/rides.csv"], target_path="rides")
    rides = Dataset.Tabular.from_delimited_files((store, "rides/rides.csv")).register(ws, "rides")
    files = Dataset.File.from_files((store, "rides"))
    config = RunConfiguration(conda_dependencies=CondaDependencies.create(pip_packages=["attrs"], conda_packages=["c"]))
    config.environment.environment_variables["COLOUR"] = "red"
    path = PipelineParameter("place", DataPath(store, "rides"))
    table = PipelineParameter("table", rides)
    is_quick = PipelineParameter("quick", True)
    rate = PipelineParameter("rate", 0.5)
    rows, model, folder = PipelineData("rows"), PipelineData("model", store), OutputFileDatasetConfig("folder")
    chosen = rows.as_dataset().parse_delimited_files().keep_columns(["x"]).as_named_input("chosen")
    copy = DataTransferStep("copy", DataReference(store, "rides", "rides"), DataReference(store, "there", "copied"))
    first = PythonScriptStep(
        "a.py",
        name="first",
        source_directory="code",
        compute_target="cpu",
        runconfig=config,
        allow_reuse=False,
        version="3",
        arguments=[
            "--rate",
            rate,
            rides.take(1).as_named_input("rides"),
            files.as_named_input("files").as_mount(),
            1.5,
        ],
        inputs=[(path, DataPathComputeBinding()), table_as(table)],
        outputs=[rows.as_dataset().register("kept_rows"), model, folder.register_on_complete("kept")],
        params={"quick": is_quick, "fixed": 0},
    )
    second = CommandStep(
        command=["cat", copy.get_output(), folder.as_input("back")],
        name="first",
        source_directory="code",
        compute_target="cpu",
        inputs=[copy.get_output(), model.as_input("model"), chosen],
        outputs=[OutputFileDatasetConfig("more", (store, "more/{run-id}")).as_upload()],
    )
    third = CommandStep(command="ls", name="third", source_directory="code", compute_target="cpu")
    third.run_after(second)
    spark = DatabricksStep(
        "spark",
        python_script_name="a.py",
        source_directory="code",
        num_workers=0,
        python_script_params=["--rate", rate],
        inputs=[DataReference(store, "rides", "rides")],
        outputs=[PipelineData("rows")],
    )
    made = Pipeline(ws, [third, spark, first], description="All")
    run = made.publish(name="All")
    run.save("all.yml")
    again = Pipeline.load_yaml(ws, "all.yml")
    assert again.code.partition("\n")[2] == made.code.partition("\n")[2]
    again.publish(name="All").save("again.yml")
    assert Path("again.yml").read_text() == Path("all.yml").read_text()


def table_as(parameter):
    from pipelite.azureml.data.dataset_consumption_config import DatasetConsumptionConfig

    return DatasetConsumptionConfig("from_table", parameter)


def test_a_notebook_and_an_own_name_for_a_path_are_read(ws, write):
    ws.native.datastores.register("lake", "memory://lake")
    found = _read(
        ws,
        write,
        """
        pipeline:
            parameters:
                Rate: {type: float, default: 1}
                Where: {type: datapath, default: {datastore: lake, path_on_datastore: a}}
            data_references:
                far: {datastore: lake, path_on_datastore: b}
            default_compute: bricks
            steps:
                Note:
                    type: DatabricksStep
                    notebook_path: /Users/ann/train
                    existing_cluster_id: abc
                    run_name: ~
                    parameters:
                        rate: {source: Rate}
                    inputs:
                        far: {source: far}
        """,
    )
    assert '"rate": Input("Rate")' in found.code
    assert '"far": "memory://lake/b"' in found.code
    assert found.steps[0].name == "Note"


def _with_step(step):
    lines = "\n".join(f"                {line}" for line in step.splitlines())
    return f"pipeline:\n    steps:\n        one:\n{lines}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pipelines: 1", r"pipeline\.yml: there is no section 'pipeline'"),
        ("- 1", "holds list; keys and values"),
        ("a: [", r"pipeline\.yml.* is no YAML"),
        ("pipeline:\n  steps: {}\n  steps: {}", r"pipeline\.yml: line 3: key 'steps' is there twice"),
        ("pipeline: {steps: [{a: 1, b: 2, a: 3}]}", "line 1: key 'a' is there twice"),
        ("pipeline: 3", "3 is not what is expected"),
        ("pipeline: {steps: {}}", "key 'steps' is missing"),
        ("pipeline: {step: {}}", r"pipeline\.yml: key 'step' is not known; did you mean 'steps'\?"),
        ("pipeline: {1: {}}", "the key 1 is no text"),
        ("pipeline: {parameters: {a: {type: date}}, steps: {}}", "parameter 'a': key 'type' is 'date'"),
        ("pipeline: {parameters: {a: {type: int, default: x}}, steps: {}}", "parameter 'a': key 'default' is 'x'"),
        (
            "pipeline: {parameters: {a: {type: datapath, default: {datastore: none-such}}}}",
            "parameter 'a': .*none-such",
        ),
        ("pipeline: {parameters: {a: {type: dataset, default: {}}}}", "parameter 'a': one of 'datastore'"),
        ("pipeline: {parameters: {a: {type: dataset, default: {dataset: open(1)}}}}", "is no dataset"),
        (
            "pipeline: {parameters: {a: {type: dataset, default: {dataset: Dataset.from_files('x').download('y')}}}}",
            "is no dataset: calls of Dataset are expected",
        ),
        (_with_step("name: x"), r"pipeline\.yml: step 'one': key 'type' is missing"),
        (_with_step("type: PythonStep"), "step 'one': key 'type' is 'PythonStep'.* did you mean 'PythonScriptStep'"),
        (_with_step("type: AutoMLStep"), "is not read from YAML; make it in Python"),
        (_with_step("type: ModuleStep"), "is not read from YAML; make it in Python"),
        (_with_step("type: PythonScriptStep"), "step 'one': .*script_name"),
        (_with_step("type: PythonScriptStep\nscript_name: no.py"), "step 'one': there is no script 'no.py'"),
        (
            _with_step("type: PythonScriptStep\nscript: a.py"),
            "step 'one': key 'script' is not known; did you mean 'script",
        ),
        (
            _with_step("type: PythonScriptStep\nscript_name: a.py\narguments: [output:x]"),
            "step 'one': key 'arguments' has 'output:x', and there is no output 'x'; there are: none",
        ),
        (_with_step("type: PythonScriptStep\nscript_name: a.py\narguments: x"), "key 'arguments' is 'x'; a list"),
        (
            _with_step("type: PythonScriptStep\nscript_name: a.py\ninputs: {x: {source: y}}\noutputs: {z: {}}"),
            "step 'one': inputs: 'x': key 'source' is 'y', which is no data reference, .* there are: z",
        ),
        (
            _with_step("type: PythonScriptStep\nscript_name: a.py\ninputs: {x: {}}"),
            "inputs: 'x': key 'source' is missing",
        ),
        (
            _with_step("type: PythonScriptStep\nscript_name: a.py\nparameters: {x: {source: y}}"),
            "parameters: 'x': key 'source' is 'y', which is no parameter",
        ),
        (
            _with_step("type: PythonScriptStep\nscript_name: a.py\noutputs: {x: {}, y: {destination: x}}"),
            "outputs: 'y': key 'destination' is 'x', which another output",
        ),
        (
            _with_step("type: PythonScriptStep\nscript_name: a.py\noutputs: {x: {type: Y}}"),
            "outputs: 'x': key 'type' is 'Y'",
        ),
        (
            _with_step("type: PythonScriptStep\nscript_name: a.py\noutputs: {x: {bind_mode: fly}}"),
            "outputs: 'x': PipelineData 'x': output_mode='fly'",
        ),
        (_with_step("type: PythonScriptStep\nscript_name: a.py\nrun_after: [two]"), "key 'run_after' names step 'two'"),
        (
            _with_step("type: PythonScriptStep\nscript_name: a.py\nrunconfig: no.yml"),
            "runconfig: there is no run config",
        ),
        (_with_step("type: DataTransferStep"), "key 'source_data_reference' is None; one name with its source"),
        (_with_step("type: DataTransferStep\narguments: [1]"), "key 'arguments'|source_data_reference"),
    ],
)
def test_a_mistake_is_told_with_file_step_and_key(ws, write, text, said):
    write("a.py")
    with pytest.raises(ValueError, match=said) as told:
        _read(ws, write, text)
    assert "pipeline.yml" in str(told.value)


def test_a_data_reference_that_a_parameter_is_called_like_is_refused(ws, write):
    write("a.py")
    text = """
        pipeline:
            data_references: {x: {datastore: workspaceblobstore}}
            steps: {one: {type: PythonScriptStep, script_name: a.py, outputs: {x: {}}}}
    """
    with pytest.raises(ValueError, match="key 'destination' is 'x', which is a data reference or a parameter"):
        _read(ws, write, text)


def test_a_step_that_nothing_runs_says_what_to_do(ws, write):
    text = _with_step("type: AdlaStep\nscript_name: a.usql\nname: lake\nsource_directory: .")
    with pytest.raises(NotOnOneBoxError, match=r"step 'lake': .*DuckDB"):
        _read(ws, write, text)


def test_without_pyyaml_the_extra_is_named(ws, write, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    for read in (Pipeline.load_yaml, Schedule.load_yaml):
        with pytest.raises(MissingExtraError, match="environments"):
            read(ws, str(write("pipeline.yml", "pipeline: {}")))


def test_a_schedule_by_the_clock_is_read(ws, write):
    found = Schedule.load_yaml(
        ws,
        str(
            write(
                "schedule.yml",
                """
                Schedule:
                    description: "Fridays"
                    recurrence:
                        frequency: Week
                        interval: 1
                        start_time: 2031-06-06T10:50:00
                        time_zone: UTC
                        hours:
                        - 1
                        minutes:
                        - 0
                        time_of_day: null
                        week_days:
                        - Friday
                    pipeline_parameters: {'a': 1}
                    wait_for_provisioning: True
                    wait_timeout: 3600
                    datastore_name: ~
                    continue_on_step_failure: None
                """,
            )
        ),
    )
    recurrence = found.pop("recurrence")
    assert found == {
        "description": "Fridays",
        "pipeline_parameters": {"a": 1},
        "wait_for_provisioning": True,
        "wait_timeout": 3600,
        "datastore_name": None,
        "continue_on_step_failure": None,
    }
    assert (recurrence.frequency, recurrence.week_days, recurrence.hours) == ("Week", ["Friday"], [1])
    assert recurrence.start_time == datetime(2031, 6, 6, 10, 50)
    assert recurrence.time_zone.name == "UTC"


def test_a_schedule_on_changes_of_data_is_read_and_made(saved, place):
    ws, _, _, published = saved
    write_file(
        place / "data.yml",
        """
        Schedule:
            recurrence: ~
            datastore_name: "workspaceblobstore"
            polling_interval: 5
            path_on_datastore: "in"
        """,
    )
    info = Schedule.load_yaml(ws, "data.yml")
    made = Schedule.create(
        ws,
        "changes",
        published.id,
        "letters",
        recurrence=info.get("recurrence"),
        datastore=info.get("datastore_name"),
        polling_interval=info.get("polling_interval"),
        path_on_datastore=info.get("path_on_datastore"),
    )
    assert (made.datastore_name, made.polling_interval, made.path_on_datastore) == ("workspaceblobstore", 5, "in")


@pytest.mark.parametrize("zone", ["Central Standard Time (Mexico)", "CentralStandardTimeMexico", "America/Mexico_City"])
def test_a_time_zone_has_the_names_of_windows_and_others(ws, write, zone):
    text = f"Schedule: {{recurrence: {{frequency: Day, interval: 1, time_of_day: 10:30, time_zone: {zone}}}}}"
    recurrence = Schedule.load_yaml(ws, str(write("schedule.yml", text)))["recurrence"]
    assert (recurrence.time_zone.name, recurrence.time_of_day) == ("CentralStandardTimeMexico", "10:30")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Schedules: 1", r"schedule\.yml: there is no section 'Schedule'"),
        ("Schedule: {recurence: 1}", r"Schedule: key 'recurence' is not known; did you mean 'recurrence'\?"),
        ("Schedule: {recurrence: {frequency: Day}}", "Schedule: recurrence: key 'interval' is missing"),
        ("Schedule: {recurrence: {frequency: Day, interval: 0}}", "Schedule: recurrence: .*interval=0"),
        ("Schedule: {recurrence: {frequency: Day, interval: 1, time_zone: Moon}}", "key 'time_zone' is 'Moon'"),
        ("Schedule: {recurrence: {frequency: Day, interval: 1, start_time: 5}}", "key 'start_time' is 5"),
        ("Schedule: {datastore_name: none-such}", "Schedule: datastore_name: .*none-such"),
    ],
)
def test_a_mistake_in_a_schedule_is_told_with_its_place(ws, write, text, said):
    with pytest.raises(ValueError, match=said):
        Schedule.load_yaml(ws, str(write("schedule.yml", text)))


def test_a_run_configuration_is_kept_in_a_file(ws, write, tmp_path):
    made = RunConfiguration(script="a.py", conda_dependencies=CondaDependencies.create(pip_packages=["attrs"]))
    made.target = "gpu"
    made.environment_variables["A"] = "b"
    made.environment.docker.enabled = True
    made.save(tmp_path, name="mine")
    for found in (RunConfiguration.load(tmp_path, "mine"), RunConfiguration.load(tmp_path / ".azureml/mine.runconfig")):
        assert (found.script, found.target, found.environment_variables) == ("a.py", "gpu", {"A": "b"})
        assert found.environment.docker.enabled
        assert found.environment.packages == ["attrs"]
    write("env.yml", "dependencies: [python=3.6, numpy, {pip: [requests]}]")
    write("other.yml", "environment: {python: {condaDependenciesFile: env.yml}}")
    conda = RunConfiguration.load("other.yml").environment.python.conda_dependencies
    assert (conda.python_version, conda.conda_packages, conda.pip_packages) == ("3.6", ["numpy"], ["requests"])
    with pytest.raises(UserErrorException, match="no run configuration 'none'"):
        RunConfiguration.load(tmp_path, "none")
